# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The threshold rule: points for every resource whose available amount covers the predicted need."""

from __future__ import annotations

from ..estate.nouns import Host
from ..estate.resources import RESOURCES, Resources
from .policies import Policy
from .question import Question


def available(host: Host, question: Question) -> Resources:
    """Return what ``host`` has free: capacity less present use and active reservations of other VMs, never below 0.

    On the VM's own host, what the VM itself uses counts as free. A host whose present use is unknown counts the
    sum of its VMs' use, or their configured size where that is unknown too.
    """
    vms = question.estate.vms_by_host.get(host.key, ())
    residents = [vm for vm in vms if vm.key != question.vm.key]
    if host.used is not None:
        own = question.vm.used if len(residents) < len(vms) else None
        used = host.used - (own or Resources())
    else:
        used = sum((vm.used or vm.allocated for vm in residents), Resources())
    held = sum((r.amount for r in question.other_reservations if r.host_key == host.key), Resources())
    return (host.capacity - used - held).maximum(Resources())


def threshold_score(free: Resources, need: Resources, policy: Policy) -> float:
    """Return the sum of the weights of the resources of which ``free`` covers ``need``."""
    return sum(policy.weights[resource] for resource in RESOURCES if free[resource] >= need[resource])

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Capacity held on simulated hosts: admission, and what a hold turns into when its VM has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...estate.resources import FIELD_OF, RESOURCES, Resources
from ...libraries import library
from ..protocol import Hold, HoldRefused
from .world import Moment, World

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: Rounding left by adding up amounts.
_TOLERANCE = 1e-6


def free_for(world: World, moment: Moment, host_id: str, reservation_id: str) -> Resources:
    """Return what the host can still promise to ``reservation_id``.

    Its capacity less its own load, what is guaranteed to its VMs and what other hard holds keep; of memory also less
    what its VMs use beyond their guarantee, since memory in use cannot be lent.
    """
    number = world.host_number[host_id]
    here = moment.active_host_of == number
    promised = moment.guaranteed[here].sum(axis=0)
    served = world.service(moment, moment.now_ts).served[here, :, 0]
    memory = RESOURCES.index("memory")
    promised[memory] = np.maximum(served[:, memory], moment.guaranteed[here][:, memory]).sum()
    free = world.capacity[number] - world.own_load[number] - promised
    for hold in moment.holds:
        arrived = here[world.vm_number[hold["vm_uuid"]]] if hold["vm_uuid"] in world.vm_number else False
        counted = arrived or hold["reservation_id"] == reservation_id or hold["tier"] != "hard"
        if hold["host_id"] == host_id and not counted:
            free = free - np.array(list(Resources.from_dict(hold["amount"])))
    return Resources(*(float(amount) for amount in np.maximum(free, 0.0)))


def admit(world: World, moment: Moment, hold: Hold) -> None:
    """Raise `HoldRefused` when the platform cannot promise a hard hold, or a fault has it refuse."""
    host = world.hosts[world.host_number[hold.host_id]]
    for live in moment.faults:
        fault = live.fault
        meant = world.matches_host(fault.host, hold.host_id) and world.matches_vm(fault.vm, hold.vm_uuid)
        if fault.kind == "hold_refused" and live.ready(moment.now_ts) and meant:
            raise RefusedOnRequest(
                live.fault_id, f"{host.name} refuses the hold: {fault.message or 'refused on request'}"
            )
    if moment.host_states[world.host_number[hold.host_id]] != "up":
        raise HoldRefused(
            f"{host.name} holds no capacity while it is in state {moment.host_states[world.host_number[hold.host_id]]}",
            details={"host": host.name},
        )
    if hold.tier != "hard":
        return
    free = free_for(world, moment, hold.host_id, hold.reservation_id)
    short = {
        FIELD_OF[name]: hold.amount[name] - free[name]
        for name in world.scenario.capabilities.enforces
        if hold.amount[name] > free[name] + _TOLERANCE
    }
    if short:
        raise HoldRefused(
            f"{host.name} cannot guarantee {', '.join(sorted(short))}: it has promised too much of it already",
            advice="Choose another host, ask for less, or reserve in the soft tier.",
            details={"host": host.name, "shortfall": short, "free": free.as_dict()},
        )


class RefusedOnRequest(HoldRefused):
    """A fault of the scenario refused the hold."""

    def __init__(self, fault_id: str, message: str) -> None:
        super().__init__(message, details={"fault_id": fault_id})
        self.fault_id = fault_id


def enforcement(world: World, tier: str) -> dict[str, str]:
    """Return who enforces a hold of that tier, per resource: a soft one is a promise of the ledger alone."""
    enforced = world.scenario.capabilities.enforces if tier == "hard" else frozenset()
    return {name: "hypervisor" if name in enforced else "ledger" for name in RESOURCES}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""In which state a domain is, and on which side of a migration this host stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...libraries import library
from .faults import is_code

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

# Sites: where the VM of a domain lives. ``here``; on its source while it is ``arriving`` here; on its destination after
# it has ``left`` in post-copy; ``nowhere`` when it is only defined.
#: Sites of domains whose VM runs on another host.
SITES_ELSEWHERE = frozenset({"arriving", "left"})


class DomainState(NamedTuple):
    """``power_state`` as in the estate, ``site`` as above; ``stalled`` when its post-copy lost the connection.

    ``partial``: it runs here in post-copy, with part of its memory still on its source.
    """

    power_state: str
    site: str
    stalled: bool = False
    partial: bool = False


def domain_state(domain: libvirt.virDomain) -> DomainState:
    """Return a domain's state. Raises `libvirt.libvirtError`, with NO_DOMAIN when it has gone."""
    state, reason = domain.state()
    if state == libvirt.VIR_DOMAIN_PAUSED:
        return _paused(domain, reason)
    if state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
        stalled = state == libvirt.VIR_DOMAIN_RUNNING and reason == libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED
        late = state == libvirt.VIR_DOMAIN_RUNNING and reason == libvirt.VIR_DOMAIN_RUNNING_POSTCOPY
        return DomainState("running", "here", stalled, partial=stalled or late)
    if state == libvirt.VIR_DOMAIN_PMSUSPENDED:
        return DomainState("suspended", "here")
    # SHUTDOWN is off too: QEMU has stopped the CPUs for good and only awaits its end. So is, for a moment, a VM whose
    # arrival broke off when libvirtd comes back; as running it would look like a second copy.
    saved = state == libvirt.VIR_DOMAIN_SHUTOFF and reason == libvirt.VIR_DOMAIN_SHUTOFF_SAVED
    return DomainState("suspended" if saved else "off", "nowhere")


def _paused(domain: libvirt.virDomain, reason: int) -> DomainState:
    if reason == libvirt.VIR_DOMAIN_PAUSED_POSTCOPY:
        return DomainState("running", "left")
    if reason == libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED:
        return DomainState("running", "left", stalled=True)
    if reason in (libvirt.VIR_DOMAIN_PAUSED_MIGRATION, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP):
        operation = job_operation(domain)
        if operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
            return DomainState("running", "here")  # stands still for the last pages
        if operation == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN or operation is None:
            return DomainState("paused", "arriving")
    return DomainState("paused", "here")


def job_operation(domain: libvirt.virDomain) -> int | None:
    """Return which operation (VIR_DOMAIN_JOB_OPERATION_...) the domain's job is; None when there is no job."""
    try:
        stats = domain.jobStats()
    except libvirt.libvirtError as error:
        if is_code(error, "OPERATION_INVALID", "OPERATION_UNSUPPORTED"):
            return None
        raise
    return stats.get("operation") if stats.get("type") else None

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holding capacity for a VM that is to come: a child resource pool with a reservation, tagged with what it is for.

A pool belongs to a cluster (or to a lone host): vSphere then guarantees the amount somewhere in the cluster, and the
ledger that it is this host. Clusters without DRS have no pools, so there the ledger is alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...estate.resources import RESOURCES, Resources
from ..protocol import Hold, HoldRefused, HypervisorFault
from . import bandwidth
from .clusters import CONFIGURATION, has_drs
from .hosts import core_mhz
from .lookup import VmNotHere, find_vm, read_host, read_vm, reference
from .notes import field_key, read_note, write_note
from .properties import Record, moid_of, read_everywhere, read_one
from .sdk import pyvmomi
from .session import Session
from .tasks import wait_for

#: The custom attribute on a pool of ours; its text is JSON {reservation_id, host_id, vm_uuid, tier}.
NOTE = "foresight.hold"
#: A pool of ours is called this plus the reservation's id.
NAME_PREFIX = "foresight-"
#: Resources that a pool can guarantee.
ENFORCED = frozenset({"cpu", "memory"})
#: The token that says what to reserve on the VM's devices once it has arrived (a `bandwidth.Plan`, its keys as text).
BANDWIDTH = "bandwidth"

_POOL_PATHS = (
    "name",
    "parent",
    "owner",
    "customValue",
    "config.cpuAllocation.reservation",
    "config.memoryAllocation.reservation",
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a hold for a host goes: the clock of the host's cores, its compute resource, and the pool to be divided."""

    core_mhz: float
    owner: str
    parent_pool: Any
    has_pools: bool


def enforcement(by_pool: bool) -> dict[str, str]:
    """Return per resource who enforces it."""
    return {resource: "hypervisor" if by_pool and resource in ENFORCED else "ledger" for resource in RESOURCES}


def place(session: Session, hold: Hold) -> Hold:
    """Hold CPU and memory of a hard reservation in a pool; a soft one is the ledger's alone, also if it was hard.

    Returns the hold with ``enforced_by`` and ``tokens``. Raises `HoldRefused` when vSphere will not guarantee it, with
    nothing left behind.
    """
    if hold.tier != "hard":
        release(session, hold.reservation_id)
        return replace(hold, enforced_by=enforcement(False), tokens={})
    site = _site(session, hold)
    tokens = _bandwidth_tokens(session, hold)
    if not site.has_pools:
        return replace(hold, enforced_by=enforcement(False), tokens=tokens)
    existing = find_pool(session, hold.reservation_id)
    if existing is None:
        pool = _create(session, hold, site)
    else:
        pool = existing.reference
        _update(session, hold, site, pool)
        _tag(session, hold, existing)
    tokens |= {"pool": moid_of(pool), "compute_resource": site.owner}
    return replace(hold, enforced_by=enforcement(True), tokens=tokens)


def foresee(session: Session, hold: Hold) -> dict[str, str]:
    """Return per resource who would enforce the hold if it were placed now; changes nothing."""
    return enforcement(hold.tier == "hard" and _site(session, hold).has_pools)


def release(session: Session, reservation_id: str) -> bool:
    """Remove the pool of the reservation; VMs in it move to its parent. Return whether there was one."""
    pool = find_pool(session, reservation_id)
    if pool is None:
        return False
    _destroy(session, pool.reference)
    return True


def find_all(session: Session) -> tuple[Hold, ...]:
    """Return all holds in place, by the pools' names and notes, with the amounts that vSphere really reserves."""
    key = field_key(session, NOTE)
    wanted = {"ResourcePool": _POOL_PATHS, "HostSystem": ["parent", "summary.hardware.cpuMhz"]}
    records = read_everywhere(session, wanted)
    hosts = [record for record in records if record.kind == "HostSystem"]
    return tuple(_hold_from(record, read_note(record, key), hosts) for record in records if _is_ours(record))


def find_pool(session: Session, reservation_id: str) -> Record | None:
    """Return the pool that holds the reservation, with its properties."""
    name = NAME_PREFIX + reservation_id
    records = read_everywhere(session, {"ResourcePool": _POOL_PATHS})
    return next((record for record in records if record.get("name") == name), None)


def parent_of(session: Session, pool: Any) -> Any:
    """Return the pool itself, or its parent where it is one of ours."""
    record = read_one(session, pool, ["name", "parent"])
    return record.get("parent") if record is not None and _is_ours(record) else pool


def _site(session: Session, hold: Hold) -> Site:
    host = read_host(session, hold.host_id, ["parent", "summary.hardware.cpuMhz"])
    owner = host.get("parent")
    resource = read_one(session, owner, ["resourcePool"])
    root = resource.get("resourcePool") if resource is not None else None
    return Site(
        core_mhz=core_mhz(host),
        owner=moid_of(owner) or "",
        parent_pool=_pool_of_vm(session, hold.vm_uuid, owner) or root,
        has_pools=_has_pools(session, owner),
    )


def _has_pools(session: Session, owner: Any) -> bool:
    if not isinstance(owner, pyvmomi.vim.ClusterComputeResource):
        return True
    record = read_one(session, owner, [CONFIGURATION])
    return record is not None and has_drs(record)


def _pool_of_vm(session: Session, vm_uuid: str, owner: Any) -> Any:
    """Return the VM's pool where it already is on this compute resource: it is to stay in it after the move."""
    vm = find_vm(session, vm_uuid)
    record = read_one(session, vm, ["resourcePool"]) if vm is not None else None
    pool = record.get("resourcePool") if record is not None else None
    if pool is None:
        return None
    owned = read_one(session, pool, ["owner"])
    if owned is None or moid_of(owned.get("owner")) != moid_of(owner):
        return None
    return parent_of(session, pool)


def _bandwidth_tokens(session: Session, hold: Hold) -> dict[str, Any]:
    """Return how the VM's network and disk demand is to be guaranteed after the move.

    That is found now, as the host that it leaves is the only one to know what its devices carried.
    """
    try:
        vm = read_vm(session, hold.vm_uuid, bandwidth.VM_PATHS)
    except VmNotHere:
        return {}
    found = bandwidth.plan(session, vm, hold.amount)
    texts = {resource: {str(key): value for key, value in parts.items()} for resource, parts in found.items()}
    return {BANDWIDTH: texts} if texts else {}


def _create(session: Session, hold: Hold, site: Site) -> Any:
    name, spec = NAME_PREFIX + hold.reservation_id, _spec(hold, site)
    parent = site.parent_pool
    try:
        pool = session.write("create a resource pool", lambda: parent.CreateResourcePool(name, spec))
    except HypervisorFault as error:
        raise _refused(error, hold) from error.__cause__  # vCenter's own fault
    try:
        write_note(session, pool, NOTE, _note(hold))
        _verify(session, pool, spec)
    except BaseException:
        _destroy(session, pool)
        raise
    return pool


def _update(session: Session, hold: Hold, site: Site, pool: Any) -> None:
    spec = _spec(hold, site)
    try:
        session.write("change a resource pool", lambda: pool.UpdateConfig(None, spec))
    except HypervisorFault as error:
        raise _refused(error, hold) from error.__cause__  # vCenter's own fault
    _verify(session, pool, spec)


def _tag(session: Session, hold: Hold, pool: Record) -> None:
    """Write the note that a run which died right after making the pool could not write."""
    if read_note(pool, field_key(session, NOTE)) != _note(hold):
        write_note(session, pool.reference, NOTE, _note(hold))


def _note(hold: Hold) -> dict[str, str]:
    return {
        "reservation_id": hold.reservation_id,
        "host_id": hold.host_id,
        "vm_uuid": hold.vm_uuid,
        "tier": hold.tier,
    }


def _verify(session: Session, pool: Any, spec: Any) -> None:
    """Check by reading back that the server reserves what it was told to."""
    paths = ("config.cpuAllocation.reservation", "config.memoryAllocation.reservation")
    record = read_one(session, pool, paths)
    wanted = (spec.cpuAllocation.reservation, spec.memoryAllocation.reservation)
    held = tuple(record.get(path) for path in paths) if record is not None else (None, None)
    if held != wanted:
        raise HoldRefused(
            f"Endpoint {session.endpoint!r} reserves {held} (MHz, MiB) where it was told {wanted}",
            details={"wanted": list(wanted), "held": list(held)},
        )


def _destroy(session: Session, pool: Any) -> None:
    task = session.write("remove a resource pool", pool.Destroy_Task)
    wait_for(session, task, "remove a resource pool")


def _refused(fault: HypervisorFault, hold: Hold) -> HoldRefused:
    return HoldRefused(
        f"vSphere will not hold {hold.amount.cpu_cores:g} cores and {hold.amount.memory_mib:g} MiB: {fault.message}",
        advice="Its admission control counts all reservations in the pool; free some or choose another host.",
        details=fault.details,
    )


def _spec(hold: Hold, site: Site) -> Any:
    return pyvmomi.vim.ResourceConfigSpec(
        cpuAllocation=_allocation(math.ceil(hold.amount.cpu_cores * site.core_mhz)),
        memoryAllocation=_allocation(math.ceil(hold.amount.memory_mib)),
    )


def _allocation(reservation: int) -> Any:
    """Return a guarantee without a limit; expandable, so that a VM's memory overhead comes on top of it."""
    shares = pyvmomi.vim.SharesInfo(level="normal", shares=4000)
    return pyvmomi.vim.ResourceAllocationInfo(
        reservation=reservation, expandableReservation=True, limit=-1, shares=shares
    )


def _is_ours(record: Record) -> bool:
    return str(record.get("name")).startswith(NAME_PREFIX)


def _hold_from(record: Record, note: Mapping[str, Any], hosts: Sequence[Record]) -> Hold:
    host_id = str(note.get("host_id") or _only_host(record.get("owner"), hosts))
    mhz = next((core_mhz(host) for host in hosts if host.moid == host_id), 1.0)
    return Hold(
        reservation_id=str(record.get("name")).removeprefix(NAME_PREFIX),
        host_id=host_id,
        vm_uuid=str(note.get("vm_uuid", "")),
        amount=Resources(
            cpu_cores=float(record.get("config.cpuAllocation.reservation") or 0) / mhz,
            memory_mib=float(record.get("config.memoryAllocation.reservation") or 0),
        ),
        tier=str(note.get("tier", "hard")),
        enforced_by=enforcement(True),
        tokens={"pool": record.moid, "compute_resource": moid_of(record.get("owner"))},
    )


def _only_host(owner: Any, hosts: Sequence[Record]) -> str:
    """Return the id of the owner's host where it has only one, as every lone ESXi host, which can hold no notes."""
    found = [host.moid for host in hosts if moid_of(host.get("parent")) == moid_of(owner)]
    return found[0] if len(found) == 1 else ""


def hold_pool(session: Session, reservation_id: str) -> Any:
    """Return the pool that holds the reservation, None without one."""
    record = find_pool(session, reservation_id) if reservation_id else None
    return reference(session, "ResourcePool", record.moid) if record is not None else None

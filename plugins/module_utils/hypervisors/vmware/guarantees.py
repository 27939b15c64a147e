# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A VM's own reservations after a move, as the tier of its reservation says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ..protocol import Hold, HypervisorFault, PermissionDenied
from . import bandwidth
from .holds import BANDWIDTH, enforcement, release
from .lookup import read_host, read_vm
from .notes import field_key, read_note, write_note
from .properties import Record, read_one
from .sdk import pyvmomi
from .session import Session
from .tasks import wait_for

#: The custom attribute on a VM that says what we gave it and what it had of its own: JSON
#: {figure: {"own", "before", "given"}}. Figures are cpu_mhz, memory_mib, network/KEY (Mbit/s of the card with that
#: device key) and disk/KEY (I/O operations per second of that disk).
NOTE = "foresight.guarantee"
_PATHS = (
    *bandwidth.VM_PATHS,
    "customValue",
    "config.cpuAllocation",
    "config.memoryAllocation",
    "config.hardware.memoryMB",
)
#: Reservations by figure.
Figures = dict[str, int]


def settle(session: Session, hold: Hold) -> dict[str, str]:
    """Turn the hold into the VM's own reservations and remove its pool; return who guarantees each resource now.

    A hard tier guarantees the amount, or more where the VM had more of its own; a soft one leaves the VM what is its
    own. The reservation is set while the VM is still in the hold's pool, so that nobody can take the room in between.
    What was given is noted first: after a crash at any point, a repetition knows the VM's own reservations.
    """
    vm = read_vm(session, hold.vm_uuid, _PATHS)
    current = _current(vm)
    note = read_note(vm, field_key(session, NOTE))
    own = {figure: _own(value, note.get(figure)) for figure, value in current.items()}
    given = _given(session, vm, hold) if hold.tier == "hard" else {}
    wanted = _within_limits(vm, {figure: max(value, given.get(figure, 0)) for figure, value in own.items()})
    if wanted != current:
        write_note(session, vm.reference, NOTE, _note(own, current, wanted))
        _reserve_machine(session, vm, current, wanted)
    done = {resource: _reserve_devices(session, vm, resource, current, wanted) for resource in ("network", "disk")}
    release(session, hold.reservation_id)
    guaranteed = {resource for resource, reserved in done.items() if reserved and _names(given, resource)}
    return {**enforcement(hold.tier == "hard"), **dict.fromkeys(guaranteed, "hypervisor")}


def _given(session: Session, vm: Record, hold: Hold) -> Figures:
    """Return what the reservation guarantees, by figure; of network and disk what vSphere can, as planned before."""
    host = read_host(session, hold.host_id, ["summary.hardware.cpuMhz"])
    given = {
        "cpu_mhz": math.ceil(hold.amount.cpu_cores * float(host.get("summary.hardware.cpuMhz") or 1)),
        "memory_mib": math.ceil(hold.amount.memory_mib),
    }
    planned: Mapping[str, Mapping[str, int]] = hold.tokens.get(BANDWIDTH, {})
    able = bandwidth.controlled(session, vm) if planned else {}
    for resource, parts in planned.items():
        if able.get(resource, frozenset()).issuperset(int(key) for key in parts):
            given.update({f"{resource}/{key}": value for key, value in parts.items()})
    return given


def _names(figures: Mapping[str, int], resource: str) -> list[str]:
    return [figure for figure in figures if figure.partition("/")[0] == resource]


def _current(vm: Record) -> Figures:
    """Return all reservations of the VM."""
    figures = {
        "cpu_mhz": int(vm.get("config.cpuAllocation").reservation or 0),
        "memory_mib": int(vm.get("config.memoryAllocation").reservation or 0),
    }
    for figure, device in _devices(vm).items():
        figures[figure] = int(getattr(_allocation(device), "reservation", None) or 0)
    return figures


def _devices(vm: Record) -> dict[str, Any]:
    """Return the VM's network cards and disks by figure."""
    types = pyvmomi.vim.vm.device
    kinds = {"network": types.VirtualEthernetCard, "disk": types.VirtualDisk}
    return {
        f"{resource}/{device.key}": device
        for resource, kind in kinds.items()
        for device in vm.get("config.hardware.device") or ()
        if isinstance(device, kind)
    }


def _allocation(device: Any) -> Any:
    """Return what a network card or disk reserves, shares and is limited to; None where nothing is set."""
    disk = isinstance(device, pyvmomi.vim.vm.device.VirtualDisk)
    return device.storageIOAllocation if disk else device.resourceAllocation


def _own(current: int, noted: Any) -> int:
    """Return what the VM had before we gave it anything, or has if somebody has changed that since."""
    if not isinstance(noted, dict) or current not in (noted.get("given"), noted.get("before")):
        return current
    return int(noted.get("own", current))


def _note(own: Figures, current: Figures, wanted: Figures) -> dict[str, dict[str, int]]:
    """Return the note for the change from ``current`` to ``wanted``; it is true before the change and after it."""
    return {
        figure: {"own": own[figure], "before": current[figure], "given": value}
        for figure, value in wanted.items()
        if not own[figure] == current[figure] == value
    }


def _within_limits(vm: Record, wanted: Figures) -> Figures:
    """Return what of ``wanted`` vSphere can reserve: never more than a limit or the configured memory."""
    limits = {figure: getattr(_allocation(device), "limit", None) for figure, device in _devices(vm).items()}
    limits["cpu_mhz"] = vm.get("config.cpuAllocation").limit
    limits["memory_mib"] = vm.get("config.memoryAllocation").limit
    bounded = {figure: _at_most(value, limits[figure]) for figure, value in wanted.items()}
    bounded["memory_mib"] = min(bounded["memory_mib"], int(vm.get("config.hardware.memoryMB")))
    return bounded


def _at_most(value: int, limit: Any) -> int:
    return value if limit is None or limit < 0 else min(value, int(limit))


def _reserve_machine(session: Session, vm: Record, current: Figures, wanted: Figures) -> None:
    """Set CPU and memory in complete allocations, since vSphere replaces these, and check them by reading back."""
    pair = (wanted["cpu_mhz"], wanted["memory_mib"])
    if pair == (current["cpu_mhz"], current["memory_mib"]):
        return
    spec = pyvmomi.vim.vm.ConfigSpec(
        cpuAllocation=_reserving(vm.get("config.cpuAllocation"), pair[0]),
        memoryAllocation=_reserving(vm.get("config.memoryAllocation"), pair[1]),
    )
    after = _reconfigure(session, vm, spec)
    found = (after.get("cpu_mhz"), after.get("memory_mib"))
    if found != pair:
        raise HypervisorFault(f"Endpoint {session.endpoint!r} reserves {found} (MHz, MiB) where it was told {pair}")


def _reserving(allocation: Any, reservation: int) -> Any:
    """Return a VM's allocation with another reservation.

    It is a copy without ``overheadLimit``: a server tells that of a running VM, and fails whoever sends it back
    (vSphere Web Services API, ResourceAllocationInfo).
    """
    return pyvmomi.vim.ResourceAllocationInfo(
        reservation=reservation,
        limit=allocation.limit,
        shares=allocation.shares,
        expandableReservation=allocation.expandableReservation,
    )


def _reserve_devices(session: Session, vm: Record, resource: str, current: Figures, wanted: Figures) -> bool:
    """Set the reservations of the VM's cards or disks; return whether vSphere reserves what is wanted now.

    A VM that has arrived is not to fail for what vSphere refuses here (no bandwidth set aside for virtual machines, a
    role without this privilege): the resource then stays the ledger's, and is reported so.
    """
    devices = {figure: device for figure, device in _devices(vm).items() if figure in _names(wanted, resource)}
    changed = {figure: wanted[figure] for figure in devices if wanted[figure] != current[figure]}
    if not changed:
        return True
    changes = [_device_change(devices[figure], value) for figure, value in changed.items()]
    try:
        after = _reconfigure(session, vm, pyvmomi.vim.vm.ConfigSpec(deviceChange=changes))
    except (HypervisorFault, PermissionDenied):
        return False
    return all(after.get(figure) == value for figure, value in changed.items())


def _device_change(device: Any, reservation: int) -> Any:
    """Return the change of a device that sets its reservation and leaves its limit and shares as they are."""
    types, shares = pyvmomi.vim.vm.device, pyvmomi.vim.SharesInfo
    if isinstance(device, types.VirtualDisk):
        if device.storageIOAllocation is None:
            info = pyvmomi.vim.StorageResourceManager.IOAllocationInfo
            device.storageIOAllocation = info(limit=-1, shares=shares(level="normal", shares=1000))
        device.storageIOAllocation.reservation = reservation
    else:
        if device.resourceAllocation is None:
            allocation = types.VirtualEthernetCard.ResourceAllocation
            device.resourceAllocation = allocation(limit=-1, share=shares(level="normal", shares=50))
        device.resourceAllocation.reservation = reservation
    return types.VirtualDeviceSpec(operation="edit", device=device)


def _reconfigure(session: Session, vm: Record, spec: Any) -> Figures:
    """Change the VM's configuration and return its reservations as they are read back, empty for a VM that is gone."""
    machine = vm.reference
    task = session.write("set a VM's reservations", lambda: machine.ReconfigVM_Task(spec))
    wait_for(session, task, "set a VM's reservations")
    after = read_one(session, machine, _PATHS)
    return _current(after) if after is not None else {}

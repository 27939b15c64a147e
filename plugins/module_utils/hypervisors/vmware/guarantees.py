# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A VM's own reservations after a move, as the tier of its reservation says."""

from __future__ import annotations

import math
from typing import Any

from ..protocol import Hold, HypervisorFault
from .holds import enforcement, release
from .lookup import read_host, read_vm
from .notes import field_key, read_note, write_note
from .properties import Record, read_one
from .sdk import pyvmomi
from .session import Session
from .tasks import wait_for

#: The custom attribute on a VM that says what we gave it and what it had of its own before, in MHz and MiB.
NOTE = "foresight.guarantee"
_PATHS = (
    "customValue",
    "config.cpuAllocation",
    "config.memoryAllocation",
    "config.hardware.memoryMB",
)


def settle(session: Session, hold: Hold) -> dict[str, str]:
    """Turn the hold into the VM's own reservations and remove its pool; return who guarantees each resource now.

    A hard tier guarantees the amount, or more where the VM had more of its own; a soft one leaves the VM what is its
    own. The reservation is set while the VM is still in the hold's pool, so that nobody can take the room in between.
    """
    vm = read_vm(session, hold.vm_uuid, _PATHS)
    host = read_host(session, hold.host_id, ["summary.hardware.cpuMhz"])
    own = _own(vm, read_note(vm, field_key(session, NOTE)))
    wanted = own
    if hold.tier == "hard":
        given = (
            math.ceil(hold.amount.cpu_cores * float(host.get("summary.hardware.cpuMhz") or 1)),
            math.ceil(hold.amount.memory_mib),
        )
        wanted = _within_limits(vm, (max(own[0], given[0]), max(own[1], given[1])))
    if wanted != _current(vm):
        _reconfigure(session, vm, wanted)
        write_note(session, vm.reference, NOTE, {"given": list(wanted), "own": list(own)})
    release(session, hold.reservation_id)
    return enforcement(hold.tier == "hard")


def _current(vm: Record) -> tuple[int, int]:
    """Return the VM's reservations in MHz and MiB."""
    return (
        int(vm.get("config.cpuAllocation").reservation or 0),
        int(vm.get("config.memoryAllocation").reservation or 0),
    )


def _own(vm: Record, note: dict[str, Any]) -> tuple[int, int]:
    """Return what the VM had before we gave it anything, or has if somebody has changed that since."""
    current = _current(vm)
    given, own = note.get("given"), note.get("own")
    if given != list(current) or not isinstance(own, list) or len(own) != 2:
        return current
    return int(own[0]), int(own[1])


def _within_limits(vm: Record, wanted: tuple[int, int]) -> tuple[int, int]:
    """Return what of ``wanted`` vSphere can reserve: never more than a limit or the configured memory."""
    cpu_limit = vm.get("config.cpuAllocation").limit
    memory_limit = vm.get("config.memoryAllocation").limit
    cpu = wanted[0] if cpu_limit is None or cpu_limit < 0 else min(wanted[0], int(cpu_limit))
    memory = min(wanted[1], int(vm.get("config.hardware.memoryMB")))
    if memory_limit is not None and memory_limit >= 0:
        memory = min(memory, int(memory_limit))
    return cpu, memory


def _reconfigure(session: Session, vm: Record, wanted: tuple[int, int]) -> None:
    """Set both reservations, in complete allocations since vSphere replaces these, and check them by reading back."""
    spec = pyvmomi.vim.vm.ConfigSpec(
        cpuAllocation=vm.get("config.cpuAllocation"), memoryAllocation=vm.get("config.memoryAllocation")
    )
    spec.cpuAllocation.reservation, spec.memoryAllocation.reservation = wanted
    machine = vm.reference
    task = session.write("set a VM's reservations", lambda: machine.ReconfigVM_Task(spec))
    wait_for(session, task, "set a VM's reservations")
    after = read_one(session, machine, _PATHS)
    found = _current(after) if after is not None else None
    if found != wanted:
        raise HypervisorFault(f"Endpoint {session.endpoint!r} reserves {found} (MHz, MiB) where it was told {wanted}")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Memory held on a host by placeholders: paused domains whose memory is allocated when they start.

A merely defined or paused domain takes next to nothing; one with immediate allocation really takes its memory from
the host. A hold consists of several, so that it can be given up piece by piece while the VM's own memory arrives.
Each carries its hold in its metadata, and its uuid follows from the reservation's id, so that any task finds it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import ForesightError, InvalidOption
from ...estate.resources import FIELD_OF, RESOURCES, Resources
from ...libraries import library
from ..protocol import Hold, HoldRefused
from .connection import Connection
from .faults import is_code
from .marks import HOLD, element, is_placeholder, placeholder_name, placeholder_uuid, read_mark
from .samples import used_memory_mib
from .xml import add, parse, serialise, text

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: How a placeholder's memory is backed.
BACKINGS = ("allocated", "locked", "hugepages")
#: A hold has at most so many parts, and none smaller than this.
MAX_PARTS = 8
MIN_PART_MIB = 256
#: How far a hold gives way ahead of the arriving memory, as a share of a part: what may arrive between two looks.
AHEAD_SHARE = 0.25
#: What a placeholder's process takes beside its memory; 20 MiB measured with QEMU 10.0.
PART_OVERHEAD_MIB = 24
#: A part whose process holds less than this share of its memory does not count as held.
HELD_SHARE = 0.9
#: Threads that fault a placeholder's memory in.
MAX_ALLOCATION_THREADS = 8
KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One placeholder as found on the host. ``held_mib`` is what its process really holds of ``memory_mib``."""

    uuid: str
    mark: Mapping[str, str]
    held_mib: float

    @property
    def memory_mib(self) -> int:
        """The size it was started with."""
        return int(self.mark["part_mib"])

    @property
    def held(self) -> bool:
        """Whether the host has really given it its memory."""
        return self.held_mib >= HELD_SHARE * self.memory_mib


def part_sizes(memory_mib: float) -> tuple[int, ...]:
    """Return the sizes in MiB of the placeholders that together hold at least ``memory_mib``; none for nothing.

    Sizes are even, as hugepages of 2 MiB need.
    """
    if memory_mib <= 0:
        return ()
    count = max(1, min(MAX_PARTS, int(memory_mib // MIN_PART_MIB)))
    size = -(-memory_mib // (2 * count)) * 2
    return (int(size),) * count


class Holds:
    """The holds on one host."""

    def __init__(self, connection: Connection, options: Mapping[str, Any]) -> None:
        """Take the endpoint's options; raises `InvalidOption` for an unknown ``hold_backing``."""
        self._connection = connection
        self._arrived_mib: dict[str, float] = {}
        self._backing = options.get("hold_backing") or "allocated"
        if self._backing not in BACKINGS:
            raise InvalidOption("endpoints.hold_backing", f"unknown {self._backing!r}; known are {', '.join(BACKINGS)}")

    def place(self, hold: Hold) -> Hold:
        """Hold the memory of a hard hold and return it with ``enforced_by`` and ``tokens`` filled.

        A soft hold is the ledger's alone. What is held already in the same sizes stays, other sizes are replaced.
        Raises `HoldRefused`, and leaves nothing, when the host cannot give the memory.
        """
        missing_mib = hold.amount.memory_mib - self._arrived_mib.get(hold.reservation_id, 0.0)
        sizes = part_sizes(missing_mib) if hold.tier == "hard" else ()
        present = self._parts(hold.reservation_id)
        if [part.memory_mib for part in present] != list(sizes) or not all(part.held for part in present):
            self.release(hold.reservation_id)
            self._start(hold, sizes)
        uuids = [placeholder_uuid(hold.reservation_id, part) for part in range(len(sizes))]
        return replace(hold, enforced_by=_enforcement(bool(sizes)), tokens={"placeholders": uuids})

    def _start(self, hold: Hold, sizes: tuple[int, ...]) -> None:
        if not sizes:
            return
        try:
            capabilities = self._connection.ask(lambda raw: self._check_free(raw, sizes), "read the free memory")
            for number, size in enumerate(sizes):
                document = serialise(placeholder(capabilities, hold, number, size, self._backing))
                self._connection.ask(partial(_create_paused, document), "hold memory")
        except ForesightError as error:
            self.release(hold.reservation_id)
            if isinstance(error, HoldRefused):
                raise
            raise HoldRefused(
                f"{error.message}; nothing is held for {hold.reservation_id}",
                advice="Check the host's free memory and its hold_backing option.",
                details=error.details,
            ) from error

    def _check_free(self, raw: libvirt.virConnect, sizes: tuple[int, ...]) -> ET.Element:
        """Return the host's capabilities; raises `HoldRefused` when its free memory does not suffice."""
        memory = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        free = memory["total"] / KIB_PER_MIB - used_memory_mib(memory)
        needed = sum(sizes) + PART_OVERHEAD_MIB * len(sizes)
        if self._backing != "hugepages" and free < needed:  # to try it would set the kernel on the host's other VMs
            raise HoldRefused(
                f"Endpoint {self._connection.endpoint!r} has {free:.0f} MiB of memory free, the hold needs {needed}",
                advice="Choose another host, or free memory on this one.",
                details={"free_mib": round(free), "needed_mib": needed},
            )
        return parse(raw.getCapabilities())

    def release(self, reservation_id: str) -> bool:
        """Give up the memory held for a reservation; returns whether there was any."""
        parts = self._parts(reservation_id)
        self._destroy(parts)
        return bool(parts)

    def give_way(self, reservation_id: str, arrived_mib: float) -> None:
        """Give up what the arriving VM has taken itself by now, and a little ahead of it."""
        self._arrived_mib[reservation_id] = max(arrived_mib, self._arrived_mib.get(reservation_id, 0.0))
        parts = self._parts(reservation_id)
        if not parts:
            return
        size = parts[0].memory_mib
        keep_mib = float(parts[0].mark["memory_mib"]) - self._arrived_mib[reservation_id] - AHEAD_SHARE * size
        self._destroy(parts[max(0, int(keep_mib // size)) :])

    def _destroy(self, parts: tuple[Part, ...]) -> None:
        def destroy(raw: libvirt.virConnect) -> None:
            for part in parts:
                try:
                    raw.lookupByUUIDString(part.uuid).destroy()
                except libvirt.libvirtError as error:
                    if not is_code(error, "NO_DOMAIN", "OPERATION_INVALID"):
                        raise

        if parts:
            self._connection.ask(destroy, "give up held memory")

    def all(self) -> tuple[Hold, ...]:
        """Return every hold that has placeholders here, with the memory that is really held."""
        found: dict[str, list[Part]] = {}
        for part in self._parts():
            found.setdefault(part.mark["reservation"], []).append(part)
        return tuple(_hold_of(parts) for parts in found.values())

    def held_mib(self, vm_uuid: str) -> float:
        """Return how much memory is held here for a VM, by whatever reservation."""
        return sum(part.held_mib for part in self._parts() if part.mark["vm"] == vm_uuid)

    def _parts(self, reservation_id: str | None = None) -> tuple[Part, ...]:
        """Return the placeholders of one reservation, or of all, in the order of their numbers."""
        parts = self._connection.ask(_read_parts, "list holds")
        wanted = (part for part in parts if reservation_id in (None, part.mark["reservation"]))
        return tuple(sorted(wanted, key=lambda part: (part.mark["reservation"], int(part.mark["part"]))))


def _create_paused(document: str, raw: libvirt.virConnect) -> None:
    raw.createXML(document, libvirt.VIR_DOMAIN_START_PAUSED)


def _read_parts(raw: libvirt.virConnect) -> list[Part]:
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    parts = []
    for domain, stats in raw.getAllDomainStats(libvirt.VIR_DOMAIN_STATS_BALLOON, flags):
        uuid = domain.UUIDString()
        mark = read_mark(domain, HOLD) if is_placeholder(domain.name(), uuid) else None
        if mark is not None:
            parts.append(Part(uuid, mark, stats.get("balloon.rss", 0) / KIB_PER_MIB))
    return parts


def _hold_of(parts: list[Part]) -> Hold:
    """Return the hold that these placeholders make, its memory as much as they really hold."""
    mark = parts[0].mark
    amount = Resources.from_dict({name: mark[name] for name in FIELD_OF.values()})
    held_mib = sum(part.memory_mib for part in parts if part.held)
    return Hold(
        reservation_id=mark["reservation"],
        host_id=mark["host"],
        vm_uuid=mark["vm"],
        amount=replace(amount, memory_mib=min(amount.memory_mib, held_mib)),
        tier=mark["tier"],
        enforced_by=_enforcement(held_mib > 0),
        tokens={"placeholders": [part.uuid for part in parts]},
    )


def _enforcement(memory_held: bool) -> dict[str, str]:
    """Say truthfully who enforces what: placeholders hold memory and nothing else."""
    return {name: "hypervisor" if name == "memory" and memory_held else "ledger" for name in RESOURCES}


def placeholder(capabilities: ET.Element, hold: Hold, number: int, memory_mib: int, backing: str) -> ET.Element:
    """Return the domain XML of one placeholder: memory, and no device that is not forced upon it."""
    arch = text(capabilities, "host/cpu/arch")
    guests = [guest for guest in capabilities.iterfind("guest/arch") if guest.get("name") == arch]
    kinds = {domain.get("type") for guest in guests for domain in guest.iterfind("domain")}
    uuid = placeholder_uuid(hold.reservation_id, number)
    root = ET.Element("domain", {"type": "kvm" if "kvm" in kinds else "qemu"})
    add(root, "name", placeholder_name(uuid))
    add(root, "uuid", uuid)
    add(root, "description", "Holds memory for a VM that is to be migrated here (foresight.migration).")
    mark = {
        "reservation": hold.reservation_id,
        "vm": hold.vm_uuid,
        "host": hold.host_id,
        "tier": hold.tier,
        "part": str(number),
        "part_mib": str(memory_mib),
        **{name: repr(value) for name, value in hold.amount.as_dict().items()},
    }
    add(root, "metadata").append(element(HOLD, mark))
    add(root, "memory", str(memory_mib), {"unit": "MiB"})
    add(root, "vcpu", "1")
    if backing == "locked":
        limit = memory_mib + 16 * PART_OVERHEAD_MIB  # libvirt wants a limit where memory is locked
        add(add(root, "memtune"), "hard_limit", str(limit), {"unit": "MiB"})
    memory = add(root, "memoryBacking")
    if backing != "allocated":
        add(memory, backing)
    cpus = sum(1 for _cpu in capabilities.iterfind("host/topology/cells/cell/cpus/cpu"))
    threads = str(max(1, min(MAX_ALLOCATION_THREADS, cpus)))
    add(memory, "allocation", attributes={"mode": "immediate", "threads": threads})
    add(add(root, "os"), "type", "hvm", {"arch": arch})
    devices = add(root, "devices")
    add(devices, "controller", attributes={"type": "usb", "model": "none"})
    add(devices, "memballoon", attributes={"model": "none"})
    return root

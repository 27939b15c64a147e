# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The holds on a host: memory by placeholders, and the other resources by restraining the VMs that run there.

A merely defined or paused domain takes next to nothing; one with immediate allocation really takes its memory from
the host. A hold consists of several, so that it can be given up piece by piece while the VM's own memory arrives.
Each carries its hold in its metadata, and its uuid follows from the reservation's id, so that any task finds it.
CPU, network and disk are held as `residents` says; the first placeholder's mark tells which of them are.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import ForesightError, InvalidOption
from ...estate.resources import RESOURCES, Resources
from ...libraries import library
from ..protocol import Hold, HoldRefused
from .connection import Connection
from .faults import is_code
from .inventory import fastest_link_mbit_s, free_huge_pages
from .levers import cpu_shares
from .marks import HOLD, hold_of, is_placeholder, mark_of, placeholder_uuid, read_mark, write_mark
from .placeholder import BACKINGS, PART_OVERHEAD_MIB, huge_page_kib, part_sizes, placeholder
from .residents import Residents
from .samples import used_memory_mib
from .xml import parse, serialise

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: How far a hold gives way ahead of the arriving memory, as a share of a part: what may arrive between two looks.
AHEAD_SHARE = 0.25
#: A part whose process holds less than this share of its memory does not count as held.
HELD_SHARE = 0.9
KIB_PER_MIB = 1024
_ADVICE = {
    "allocated": "Check the host's free memory.",
    "locked": "Its libvirtd must be allowed to lock memory (CAP_SYS_RESOURCE or LimitMEMLOCK), or set hold_backing to "
    "allocated for this endpoint.",
    "hugepages": "Check the host's free huge pages and its hugetlbfs mount, or set hold_backing to allocated.",
}


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
    def page_kib(self) -> int:
        """The size of the huge pages that back it; 0 where none do."""
        return int(self.mark.get("page_kib", "0"))

    @property
    def held(self) -> bool:
        """Whether the host has really given it its memory. One on huge pages does not start without them."""
        return bool(self.page_kib) or self.held_mib >= HELD_SHARE * self.memory_mib


class Holds:
    """The holds on one host."""

    def __init__(self, connection: Connection, options: Mapping[str, Any], host_id: Callable[[], str]) -> None:
        """Take the endpoint's options; raises `InvalidOption` for an unknown ``hold_backing``."""
        self._connection = connection
        self._options = options
        self._arrived_mib: dict[str, float] = {}
        self._residents = Residents(host_id, options.get("limit_residents") or ())
        self._backing = options.get("hold_backing") or "allocated"
        if self._backing not in BACKINGS:
            raise InvalidOption("endpoints.hold_backing", f"unknown {self._backing!r}; known are {', '.join(BACKINGS)}")

    @property
    def resources(self) -> frozenset[str]:
        """The resources that can be held here by more than the ledger."""
        return frozenset({"memory", *self._residents.resources})

    def place(self, hold: Hold) -> Hold:
        """Hold what a hard hold asks for and return it with ``enforced_by`` and ``tokens`` filled.

        A soft hold is the ledger's alone. Memory that is held already in the same sizes stays, other sizes are
        replaced; what cannot be held of the other resources without harm is left to the ledger.
        Raises `HoldRefused`, and leaves nothing, when the host cannot give the memory.
        """
        present = self._parts(hold.reservation_id)
        if hold.tier != "hard" or hold.amount.memory_mib <= 0:  # without a placeholder nothing would tell of the rest
            self.release(hold.reservation_id)
            return replace(hold, enforced_by=dict.fromkeys(RESOURCES, "ledger"), tokens={"placeholders": []})
        page_kib = present[0].page_kib if present else self._page_kib()
        missing_mib = hold.amount.memory_mib - self._arrived_mib.get(hold.reservation_id, 0.0)
        sizes = part_sizes(missing_mib, *([page_kib // KIB_PER_MIB] if page_kib else []))
        if [part.memory_mib for part in present] != list(sizes) or not all(part.held for part in present):
            self._destroy(present)
            self._start(hold, sizes, page_kib)
        try:
            return self._restrained(hold, sizes)
        except ForesightError:
            self.release(hold.reservation_id)
            raise

    def _page_kib(self) -> int:
        """Return the size of the huge pages to use, 0 for none; raises `HoldRefused` where the host has none."""
        if self._backing != "hugepages":
            return 0

        size = self._connection.ask(lambda raw: huge_page_kib(free_huge_pages(raw)), "read the free huge pages")
        if size is None:
            raise HoldRefused(
                f"Endpoint {self._connection.endpoint!r} has a kernel without huge pages",
                advice="Set hold_backing to allocated for this endpoint.",
            )
        return size

    def _restrained(self, hold: Hold, sizes: tuple[int, ...]) -> Hold:
        """Hold the other resources beside the memory, and note on the first placeholder which of them are held."""
        uuids = [placeholder_uuid(hold.reservation_id, part) for part in range(len(sizes))]
        others = [found for found in self._by_placeholders() if found.reservation_id != hold.reservation_id]

        def restrain(raw: libvirt.virConnect) -> Hold:
            shares = cpu_shares(raw.lookupByUUIDString(uuids[0])) if uuids else hold.tokens.get("arriving_shares")
            asked = replace(
                hold,
                enforced_by={name: "hypervisor" if name == "memory" and uuids else "ledger" for name in RESOURCES},
                tokens={"placeholders": uuids, "arriving_shares": shares or 0},
            )
            held = self._residents.restrain(raw, self._capacity(raw), others, asked=asked)
            placed = replace(asked, enforced_by={**asked.enforced_by, **dict.fromkeys(held, "hypervisor")})
            if uuids:
                first = raw.lookupByUUIDString(uuids[0])
                write_mark(first, HOLD, {**(read_mark(first, HOLD) or {}), **mark_of(placed)}, live_only=True)
            return placed

        return self._connection.ask(restrain, "hold CPU, network and disk")

    def _capacity(self, raw: libvirt.virConnect) -> Resources:
        """Return what the host has of the resources that are held by restraining its VMs; 0 where that is unknown."""
        network = self._options.get("network_mbit_s")
        if network is None and "network" in self._residents.resources:
            network = fastest_link_mbit_s(raw, [])
        return Resources(
            cpu_cores=float(raw.getCPUMap()[0]),
            network_mbit_s=float(network or 0.0),
            disk_mib_s=float(self._options.get("disk_mib_s") or 0.0),
        )

    def _start(self, hold: Hold, sizes: tuple[int, ...], page_kib: int) -> None:
        if not sizes:
            return
        try:
            capabilities = self._connection.ask(lambda raw: self._check_free(raw, sizes, page_kib), "read free memory")
            for number, size in enumerate(sizes):
                document = serialise(placeholder(capabilities, hold, number, size, self._backing, page_kib))
                self._connection.ask(partial(_create_paused, document), "hold memory")
        except ForesightError as error:
            self.release(hold.reservation_id)
            if isinstance(error, HoldRefused):
                raise
            raise HoldRefused(
                f"{error.message}; nothing is held for {hold.reservation_id}",
                advice=_ADVICE[self._backing],
                details=error.details,
            ) from error

    def _check_free(self, raw: libvirt.virConnect, sizes: tuple[int, ...], page_kib: int) -> ET.Element:
        """Return the host's capabilities; raises `HoldRefused` when its free memory, or huge pages, do not suffice."""
        capabilities = parse(raw.getCapabilities())
        memory = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
        free = memory["total"] / KIB_PER_MIB - used_memory_mib(memory)
        needed, kind = sum(sizes) + PART_OVERHEAD_MIB * len(sizes), "memory"
        if page_kib:
            kind = f"huge pages of {page_kib // KIB_PER_MIB} MiB"
            free, needed = free_huge_pages(raw).get(page_kib, 0) * page_kib / KIB_PER_MIB, sum(sizes)
        if free < needed:  # to try it would set the kernel on the host's other VMs
            raise HoldRefused(
                f"Endpoint {self._connection.endpoint!r} has {free:.0f} MiB of {kind} free, the hold needs {needed}",
                advice="Choose another host, or free memory on this one.",
                details={"free_mib": round(free), "needed_mib": needed},
            )
        return capabilities

    def release(self, reservation_id: str) -> bool:
        """Give up all that is held for a reservation; returns whether there was anything."""
        parts = self._parts(reservation_id)
        others = [found for found in self._by_placeholders() if found.reservation_id != reservation_id]

        def lift(raw: libvirt.virConnect) -> bool:
            named = self._residents.names(raw, reservation_id)
            if named:
                self._residents.restrain(raw, self._capacity(raw), others, gone=reservation_id)
            return named

        named = self._connection.ask(lift, "give up held CPU, network and disk")
        self._destroy(parts)
        return bool(parts) or named

    def settle(self, hold: Hold) -> int:
        """Give up a hold whose VM has arrived; returns the CPU shares that the other VMs have of their own, together.

        The VM itself loses what it was restrained by on the host that it came from.
        """
        self.release(hold.reservation_id)
        others = self._by_placeholders()

        def lift(raw: libvirt.virConnect) -> int:
            self._residents.restrain(raw, self._capacity(raw), others)
            return self._residents.own_shares(raw, hold.vm_uuid)

        return self._connection.ask(lift, "settle the hold")

    def restrain_again(self) -> None:
        """Restrain the VMs for the holds that are left, after one of them was given more of its own."""
        others = self._by_placeholders()
        if others:
            self._connection.ask(
                lambda raw: self._residents.restrain(raw, self._capacity(raw), others), "keep what else is held"
            )

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
        """Return every hold of ours here, with no more of each resource than is really held."""
        holds = self._by_placeholders()
        return self._connection.ask(lambda raw: self._residents.found(raw, self._capacity(raw), holds), "list holds")

    def held_mib(self, vm_uuid: str) -> float:
        """Return how much of the host's free memory is held here for a VM, by whatever reservation."""
        return sum(part.held_mib for part in self._parts() if part.mark["vm"] == vm_uuid)

    def held_huge_mib(self, vm_uuid: str) -> float:
        """Return how much memory in huge pages is held here for a VM."""
        return sum(part.memory_mib for part in self._parts() if part.page_kib and part.mark["vm"] == vm_uuid)

    def _by_placeholders(self) -> list[Hold]:
        """Return every hold that has placeholders here, with the memory that is really held."""
        found: dict[str, list[Part]] = {}
        for part in self._parts():
            found.setdefault(part.mark["reservation"], []).append(part)
        return [_hold_of(parts) for parts in found.values()]

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
        if not is_placeholder(domain.name(), uuid):
            continue
        try:
            mark = read_mark(domain, HOLD)
            if mark is not None:
                # a daemon that has just started is busy with its domains, and tells only those who wait
                resident_kib = stats.get("balloon.rss") or domain.memoryStats().get("rss", 0)
                parts.append(Part(uuid, mark, resident_kib / KIB_PER_MIB))
        except libvirt.libvirtError as error:
            if not is_code(error, "NO_DOMAIN", "OPERATION_INVALID"):  # gone since it was listed
                raise
    return parts


def _hold_of(parts: list[Part]) -> Hold:
    """Return the hold that these placeholders make, its memory as much as they really hold."""
    noted = hold_of(parts[0].mark)
    held_mib = sum(part.memory_mib for part in parts if part.held)
    return replace(
        noted,
        amount=replace(noted.amount, memory_mib=min(noted.amount.memory_mib, held_mib)),
        enforced_by={**noted.enforced_by, "memory": "hypervisor" if held_mib > 0 else "ledger"},
        tokens={"placeholders": [part.uuid for part in parts], **noted.tokens},
    )

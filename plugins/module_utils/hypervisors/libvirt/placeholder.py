# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a placeholder looks like: a domain without devices that takes memory, of one kind or another, when it starts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from ..protocol import Hold
from .marks import HOLD, element, mark_of, placeholder_name, placeholder_uuid
from .xml import add, text

#: How a placeholder's memory is backed.
BACKINGS = ("allocated", "locked", "hugepages")
#: A hold has at most so many parts, and none smaller than this.
MAX_PARTS = 8
MIN_PART_MIB = 256
#: What a placeholder's process takes beside its memory; 20 MiB measured with QEMU 10.0.
PART_OVERHEAD_MIB = 24
#: Threads that fault a placeholder's memory in.
MAX_ALLOCATION_THREADS = 8
#: A part is made of whole pages; these are the huge ones of most hosts.
PAGE_MIB = 2


def part_sizes(memory_mib: float, page_mib: int = PAGE_MIB) -> tuple[int, ...]:
    """Return the sizes in MiB of the placeholders that together hold at least ``memory_mib``; none for nothing.

    Sizes are multiples of ``page_mib``.
    """
    if memory_mib <= 0:
        return ()
    count = max(1, min(MAX_PARTS, int(memory_mib // max(MIN_PART_MIB, page_mib))))
    size = -(-memory_mib // (page_mib * count)) * page_mib
    return (int(size),) * count


def huge_page_kib(free_pages: Mapping[int, int]) -> int | None:
    """Return the size (KiB) of the huge pages of which most memory is free, by number per size; None for none."""
    return max(free_pages, key=lambda size: (size * free_pages[size], -size), default=None)


def placeholder(
    capabilities: ET.Element, hold: Hold, number: int, memory_mib: int, backing: str, page_kib: int | None = None
) -> ET.Element:
    """Return the domain XML of one placeholder: memory, and no device that is not forced upon it.

    ``page_kib`` is the size of the huge pages that back it, where they do.
    """
    arch = text(capabilities, "host/cpu/arch")
    guests = [guest for guest in capabilities.iterfind("guest/arch") if guest.get("name") == arch]
    kinds = {domain.get("type") for guest in guests for domain in guest.iterfind("domain")}
    uuid = placeholder_uuid(hold.reservation_id, number)
    root = ET.Element("domain", {"type": "kvm" if "kvm" in kinds else "qemu"})
    add(root, "name", placeholder_name(uuid))
    add(root, "uuid", uuid)
    add(root, "description", "Holds memory for a VM that is to be migrated here (foresight.migration).")
    mark = {**mark_of(hold), "part": str(number), "part_mib": str(memory_mib), "page_kib": str(page_kib or 0)}
    add(root, "metadata").append(element(HOLD, mark))
    add(root, "memory", str(memory_mib), {"unit": "MiB"})
    add(root, "vcpu", "1")
    if backing == "locked":
        limit = memory_mib + 16 * PART_OVERHEAD_MIB  # libvirt wants a limit where memory is locked
        add(add(root, "memtune"), "hard_limit", str(limit), {"unit": "MiB"})
    memory = add(root, "memoryBacking")
    if backing == "hugepages":
        add(add(memory, "hugepages"), "page", attributes={"size": str(page_kib), "unit": "KiB"})
    elif backing == "locked":
        add(memory, "locked")
    cpus = sum(1 for _cpu in capabilities.iterfind("host/topology/cells/cell/cpus/cpu"))
    threads = str(max(1, min(MAX_ALLOCATION_THREADS, cpus)))
    add(memory, "allocation", attributes={"mode": "immediate", "threads": threads})
    add(add(root, "os"), "type", "hvm", {"arch": arch})
    devices = add(root, "devices")
    add(devices, "controller", attributes={"type": "usb", "model": "none"})
    add(devices, "memballoon", attributes={"model": "none"})
    return root

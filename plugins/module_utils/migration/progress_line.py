# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One line for people about a migration in flight, and the same as data."""

from __future__ import annotations

from typing import Any

from ..estate.nouns import Vm
from ..hypervisors.protocol import Progress

#: Characters of a VM's name that a line shows.
NAME_LENGTH = 40


def printable(text: str) -> str:
    """Return ``text`` fit for one line of a terminal, whatever a guest or a hypervisor put into it."""
    return "".join(char if char.isprintable() else "?" for char in text)


def shown_name(vm: Vm) -> str:
    """Return the VM's name fit for one line of a terminal, at most `NAME_LENGTH` characters."""
    name = printable(vm.name)
    return name if len(name) <= NAME_LENGTH else name[: NAME_LENGTH - 1] + "…"


def progress_line(vm: Vm, progress: Progress) -> tuple[str, dict[str, Any]]:
    """Return ``web01  43 %  1.2 of 2.8 GiB  310 MiB/s  dirty 90 MiB/s  eta 12 s`` and its figures.

    Unknown figures are left out of the line.
    """
    eta_s = _eta_s(progress)
    parts = [
        shown_name(vm),
        "" if progress.percent is None else f"{progress.percent:.0f} %",
        _sizes(progress),
        "" if not progress.throughput_mib_s else f"{progress.throughput_mib_s:.0f} MiB/s",
        "" if not progress.dirty_mib_s else f"dirty {progress.dirty_mib_s:.0f} MiB/s",
        "" if eta_s is None else f"eta {eta_s:.0f} s",
        "" if progress.phase == "precopy" else progress.phase,
    ]
    data = {
        "vm_uuid": vm.uuid,
        "phase": progress.phase,
        "percent": progress.percent,
        "transferred_mib": progress.transferred_mib,
        "remaining_mib": progress.remaining_mib,
        "throughput_mib_s": progress.throughput_mib_s,
        "dirty_mib_s": progress.dirty_mib_s,
        "eta_s": eta_s,
    }
    return "  ".join(filter(None, parts)), data


def _eta_s(progress: Progress) -> float | None:
    """Return the seconds until the current round ends, counting what is dirtied meanwhile; None: not to be told."""
    remaining, throughput = progress.remaining_mib, progress.throughput_mib_s
    if remaining is None or not throughput:
        return None
    shrinking = throughput - (progress.dirty_mib_s or 0.0)
    return remaining / shrinking if shrinking > 0 else None


def _sizes(progress: Progress) -> str:
    """Return how much of the memory is there; what was sent twice does not count."""
    if progress.remaining_mib is None or progress.total_mib is None:
        return ""
    there_mib = max(0.0, progress.total_mib - progress.remaining_mib)
    if progress.total_mib < 1024:
        return f"{there_mib:.0f} of {progress.total_mib:.0f} MiB"
    return f"{there_mib / 1024:.1f} of {progress.total_mib / 1024:.1f} GiB"

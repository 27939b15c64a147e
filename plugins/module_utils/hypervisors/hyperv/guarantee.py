# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Hyper-V can keep for one VM: which of its settings a reservation asks for, and what they then guarantee.

Pure: settings are numbers by key (`current`); `holds` reads and writes them. The VM's notes say, in a last line of
ours, what we gave it and what it had of its own, so that a later settlement can take back only what was ours.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from ...estate.resources import RESOURCES, Resources

Settings = dict[str, int]

CPU, MEMORY, DISK = "cpu_reserve_percent", "memory_minimum_bytes", "minimum_iops"
BITS, WEIGHT = "minimum_bits_s", "minimum_weight"
MIB = 2**20
BITS_PER_MBIT = 10**6
#: Set-VMHardDiskDrive counts operations of 8 KB (Microsoft, "Set-VMHardDiskDrive").
IOPS_PER_MIB_S = 128
MAX_WEIGHT = 100
#: Set-VMNetworkAdapter rounds a minimum to the nearest multiple of these bits/s (Microsoft, "Set-VMNetworkAdapter"),
#: and Hyper-V keeps memory in MiB: what is asked for is rounded up to what comes back, else it is not known as ours.
BANDWIDTH_STEP = 8
_NOTE = re.compile(r"\n?\[foresight\.migration (\{[^\n]*\})\]\s*\Z")


def current(tuning: Mapping[str, Any]) -> Settings:
    """Return the VM's settings that could be ours, from an answer of `TUNING`.

    Network and disk only where the VM has one connected adapter and one disk: how an amount should be shared out among
    several is not known.
    """
    settings = {CPU: tuning[CPU]}
    if tuning["dynamic_memory"]:
        settings[MEMORY] = tuning[MEMORY]
    adapter = only_adapter(tuning)
    if adapter is not None and adapter["bandwidth_mode"] in ("Absolute", "Weight"):
        key = BITS if adapter["bandwidth_mode"] == "Absolute" else WEIGHT
        settings[key] = adapter[key]
    if len(tuning["disks"]) == 1:
        settings[DISK] = tuning["disks"][0][DISK]
    return settings


def only_adapter(tuning: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the one adapter that is connected to a switch; None where there is none or several."""
    connected = [adapter for adapter in tuning["adapters"] if adapter["switch_name"]]
    return connected[0] if len(connected) == 1 else None


def asked(tuning: Mapping[str, Any], amount: Resources) -> Settings:
    """Return the settings that ``amount`` asks for, of the keys of `current`."""
    adapter = only_adapter(tuning)
    bits_s = amount.network_mbit_s * BITS_PER_MBIT
    link, others = (adapter["link_bits_s"], adapter["other_weights"]) if adapter is not None else (0, 0)
    wanted = {
        CPU: _reserve_percent(amount.cpu_cores, tuning["vcpus"], tuning["cpu_limit_percent"]),
        MEMORY: math.ceil(amount.memory_mib) * MIB,
        BITS: math.ceil(bits_s / BANDWIDTH_STEP) * BANDWIDTH_STEP,
        WEIGHT: needed_weight(bits_s, link, others),
        DISK: math.ceil(amount.disk_mib_s * IOPS_PER_MIB_S),
    }
    return {key: wanted[key] for key in current(tuning)}


def _reserve_percent(cores: float, vcpus: int, limit_percent: int) -> int:
    """Return the share of the VM's own processors that ``cores`` are, at most what it may use."""
    return min(limit_percent, math.ceil(100 * cores / max(1, vcpus)))


def needed_weight(bits_s: float, link_bits_s: float, others: int) -> int:
    """Return the weight with which a port gets ``bits_s`` of its link while all others want everything.

    Each gets weight / sum of weights, hence weight = others * x / (link - x). 0 where nothing is asked or the link's
    speed is not known, and never more than the largest that Hyper-V takes.
    """
    if bits_s <= 0 or link_bits_s <= 0:
        return 0
    if bits_s >= link_bits_s:
        return MAX_WEIGHT
    return min(MAX_WEIGHT, max(1, math.ceil(others * bits_s / (link_bits_s - bits_s))))


def settled(now: Settings, own: Settings, given: Settings | None) -> Settings:
    """Return what the settings shall be: the VM's own, raised to what is ``given``; None gives nothing."""
    if given is None:
        return {key: own.get(key, value) for key, value in now.items()}
    return {key: max(own.get(key, value), given.get(key, 0)) for key, value in now.items()}


def own_settings(now: Settings, notes: str) -> Settings:
    """Return what the VM had of its own: what we noted where it still has what we gave, else what it has now.

    So a setting that Hyper-V refused, or that somebody has changed since, counts as the VM's own.
    """
    note = read_note(notes)
    given, own = note.get("given", {}), note.get("own", {})
    return {key: own[key] if given.get(key) == value and key in own else value for key, value in now.items()}


def read_note(notes: str) -> dict[str, Settings]:
    """Return our note in a VM's notes, ``{"given": ..., "own": ...}``; empty where there is none we could have made."""
    found = _NOTE.search(notes)
    try:
        note = json.loads(found.group(1)) if found else {}
    except json.JSONDecodeError:
        return {}  # somebody has edited our line
    parts = [note.get("given"), note.get("own")] if isinstance(note, dict) else []
    if not all(isinstance(part, dict) and all(isinstance(v, int) for v in part.values()) for part in parts):
        return {}
    return note if parts else {}


def write_note(notes: str, given: Settings, own: Settings) -> str:
    """Return the notes with our line at their end; without it where nothing was given beyond the VM's own."""
    theirs = _NOTE.sub("", notes)
    if given == own:
        return theirs
    line = json.dumps({"given": given, "own": own}, separators=(",", ":"), sort_keys=True)
    return f"{theirs}\n[foresight.migration {line}]" if theirs else f"[foresight.migration {line}]"


def enforcement(tuning: Mapping[str, Any], amount: Resources) -> dict[str, str]:
    """Return per resource whether the VM's settings as they are guarantee ``amount``: ``hypervisor`` or ``ledger``.

    Memory that is not dynamic is all the VM's from its start. A minimum of disk operations only raises an event when
    it is missed, so disk stays with the ledger.
    """
    now, wanted = current(tuning), asked(tuning, amount)
    kept = {
        "cpu": amount.cpu_cores > 0 and now[CPU] >= wanted[CPU] > 0,
        "memory": amount.memory_mib > 0 and _keeps_memory(tuning, amount),
        "network": amount.network_mbit_s > 0 and _keeps_bandwidth(tuning, now, amount),
        "disk": False,
    }
    return {resource: "hypervisor" if kept[resource] else "ledger" for resource in RESOURCES}


def _keeps_memory(tuning: Mapping[str, Any], amount: Resources) -> bool:
    kept = tuning[MEMORY] if tuning["dynamic_memory"] else tuning["memory_assigned_bytes"]
    return bool(kept >= amount.memory_mib * MIB)


def _keeps_bandwidth(tuning: Mapping[str, Any], now: Settings, amount: Resources) -> bool:
    bits_s = amount.network_mbit_s * BITS_PER_MBIT
    if BITS in now:
        return now[BITS] >= bits_s
    adapter = only_adapter(tuning)
    if WEIGHT not in now or adapter is None or now[WEIGHT] <= 0:
        return False
    return bool(adapter["link_bits_s"] * now[WEIGHT] / (adapter["other_weights"] + now[WEIGHT]) >= bits_s)

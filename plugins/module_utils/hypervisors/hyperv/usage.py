# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Hyper-V hosts and their VMs use: raw performance counters read in bulk, and the rates between two readings.

Raw counters are read by CIM class and property, whose names are the same in every language of Windows, and turned into
rates here. Times of processors are in 100 ns (PERF_100NSEC_TIMER), bytes and requests are running totals
(PERF_COUNTER_BULK_COUNT), the time between readings is that of the counters themselves (Timestamp_PerfTime by
Frequency_PerfTime); Microsoft, "Performance Counter Types in WMI".
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...estate.rates import rate_between
from ...estate.resources import FIELD_OF, Resources
from ..protocol import HypervisorFault
from ..usage import Usage, Use

MIB = 2**20
KIB_PER_MIB = 1024
TICKS_PER_S = 1e7
BITS_PER_MBIT = 1e6
#: Two readings closer than this give rates that are mostly noise.
MIN_INTERVAL_S = 0.5
#: Counters older than this are not compared with: one rate over so long a time hides what happened in it.
MAX_INTERVAL_S = 3600.0

_GUID = "[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}"
_PROCESSOR = re.compile(r"(?s)(?P<vm>.*):Hv VP \d+")
_NIC = re.compile(rf"(?s).*_(?P<vm>{_GUID})--{_GUID}")
#: Characters that Windows replaces in the names of counters' instances, or that stand for a replaced one.
_REPLACED = str.maketrans(dict.fromkeys("\\/()[]#*?_:", "-"))


def instance_name(text: str) -> str:
    """Return ``text`` as it is compared with the name of a counter's instance.

    Windows does not allow some characters there and replaces them, and compares without regard to case (Microsoft,
    "PDH_COUNTER_PATH_ELEMENTS").
    """
    return text.translate(_REPLACED).casefold()


@dataclass(frozen=True, slots=True)
class VmCounters:
    """Running totals of one VM by the counters' instances; ``disk`` has bytes and requests.

    ``memory_mib`` is assigned to it now; ``host_share`` is its share of the host's processors as Hyper-V says, for
    when its processors' counters cannot be told from those of a namesake.
    """

    cpu_ticks: Mapping[str, float] = field(default_factory=dict)
    network_bytes: Mapping[str, float] = field(default_factory=dict)
    disk: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    memory_mib: float = 0.0
    host_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading of a host. ``ts`` is Unix seconds by our clock, ``seconds`` the counters' own time."""

    ts: float
    seconds: float
    processors: int
    cpu_ticks: float
    network_bytes: Mapping[str, float]
    memory_mib: float
    vms: Mapping[str, VmCounters] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return the running totals as JSON-able data for the next reading."""
        return {
            "ts": self.ts,
            "seconds": self.seconds,
            "processors": self.processors,
            "cpu": self.cpu_ticks,
            "network": dict(self.network_bytes),
            "vms": {
                uuid: [dict(vm.cpu_ticks), dict(vm.network_bytes), {name: list(pair) for name, pair in vm.disk.items()}]
                for uuid, vm in self.vms.items()
            },
        }

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Counters | None:
        """Rebuild what `to_data` gave; None when there is nothing or it has another shape."""
        try:
            vms = {
                str(uuid): VmCounters(
                    dict(cpu), dict(network), {name: (pair[0], pair[1]) for name, pair in disk.items()}
                )
                for uuid, (cpu, network, disk) in data["vms"].items()
            }
            return cls(
                ts=float(data["ts"]),
                seconds=float(data["seconds"]),
                processors=int(data["processors"]),
                cpu_ticks=float(data["cpu"]),
                network_bytes=dict(data["network"]),
                memory_mib=0.0,
                vms=vms,
            )
        except (KeyError, TypeError, ValueError, AttributeError, IndexError):
            return None


def counters_of(answer: Mapping[str, Any], now_ts: float) -> Counters:
    """Return the reading for an answer of the operation ``counters``, each instance given to the VM it belongs to.

    Raises `HypervisorFault` when the host has no counters of a hypervisor.
    """
    if not answer["perf_frequency"]:
        raise HypervisorFault(
            "The host has no counters of Hyper-V's hypervisor",
            advice="Check that the hypervisor runs there (bcdedit: hypervisorlaunchtype Auto) and its counters are "
            "registered (winmgmt /resyncperf).",
        )
    uuid_of_name = _unambiguous((instance_name(vm["name"]), vm["id"]) for vm in answer["vms"])
    uuid_of_disk = _unambiguous((_disk_name(disk["path"]), disk["vm_id"]) for disk in answer["disks"])
    cpu: dict[str, dict[str, float]] = defaultdict(dict)
    network: dict[str, dict[str, float]] = defaultdict(dict)
    disks: dict[str, dict[str, tuple[float, float]]] = defaultdict(dict)
    for row in answer["virtual_processors"]:
        found = _PROCESSOR.fullmatch(row["instance"])
        uuid = uuid_of_name.get(instance_name(found["vm"])) if found else None
        if uuid is not None:
            cpu[uuid][row["instance"]] = row["run_100ns"]
    for row in answer["virtual_nics"]:
        found = _NIC.fullmatch(row["instance"])
        if found:
            network[found["vm"].lower()][row["instance"]] = row["received_bytes"] + row["sent_bytes"]
    for row in answer["virtual_disks"]:
        uuid = uuid_of_disk.get(_disk_name(row["instance"]))
        if uuid is not None:
            disks[uuid][row["instance"]] = (row["read_bytes"] + row["written_bytes"], row["reads"] + row["writes"])
    return Counters(
        ts=now_ts,
        seconds=answer["perf_time"] / answer["perf_frequency"],
        processors=len(answer["logical_processors"]),
        cpu_ticks=sum(row["run_100ns"] for row in answer["logical_processors"]),
        network_bytes={row["name"]: row["received_bytes"] + row["sent_bytes"] for row in answer["adapters"]},
        memory_mib=max(0.0, (answer["memory_total_kib"] - answer["memory_free_kib"]) / KIB_PER_MIB),
        vms={
            vm["id"]: VmCounters(
                cpu_ticks=cpu.get(vm["id"], {}),
                network_bytes=network.get(vm["id"], {}),
                disk=disks.get(vm["id"], {}),
                memory_mib=vm["memory_assigned_mib"],
                host_share=vm["cpu_percent"] / 100,
            )
            for vm in answer["vms"]
            if vm["memory_assigned_mib"] > 0  # one without memory does not run
        },
    )


def _disk_name(path: str) -> str:
    """Return the instance name for a virtual disk's path, without the prefix ``\\\\?\\`` that some versions show."""
    return instance_name(path).removeprefix("----")


def _unambiguous(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return a mapping of the names that belong to one VM only."""
    owners: dict[str, set[str]] = defaultdict(set)
    for name, uuid in pairs:
        owners[name].add(uuid)
    return {name: next(iter(uuids)) for name, uuids in owners.items() if len(uuids) == 1}


def usage_between(before: Counters | None, after: Counters) -> Usage:
    """Return the rates between two readings, and the memory of the later one.

    An instance whose counter went back or that the earlier reading lacks is left out. The host's disk is the sum over
    its VMs' virtual disks, wherever their files are.
    """
    elapsed_s = after.seconds - before.seconds if before is not None else 0.0
    comparable = before is not None and MIN_INTERVAL_S <= elapsed_s <= MAX_INTERVAL_S
    vms = {
        uuid: _vm_use(before.vms.get(uuid) if before is not None and comparable else None, vm, elapsed_s, after)
        for uuid, vm in after.vms.items()
    }
    host: Use = {"memory": after.memory_mib}
    if before is not None and comparable:
        cpu = rate_between(before.cpu_ticks, 0.0, after.cpu_ticks, elapsed_s)
        if cpu is not None:
            host["cpu"] = cpu / TICKS_PER_S
        network = _sum_of_rates(before.network_bytes, after.network_bytes, elapsed_s)
        if network is not None:
            host["network"] = network * 8 / BITS_PER_MBIT
        for metric in ("disk", "disk_iops"):
            host[metric] = sum(use.get(metric, 0.0) for use in vms.values())
    return Usage(after.ts, host, vms)


def _vm_use(before: VmCounters | None, after: VmCounters, elapsed_s: float, host: Counters) -> Use:
    use: Use = {"memory": after.memory_mib}
    if not after.cpu_ticks:
        use["cpu"] = after.host_share * host.processors
    if before is None:
        return use
    cpu = _sum_of_rates(before.cpu_ticks, after.cpu_ticks, elapsed_s)
    if cpu is not None:
        use["cpu"] = cpu / TICKS_PER_S
    network = _sum_of_rates(before.network_bytes, after.network_bytes, elapsed_s)
    if network is not None:
        use["network"] = network * 8 / BITS_PER_MBIT
    for metric, place, unit in (("disk", 0, MIB), ("disk_iops", 1, 1)):
        rate = _sum_of_rates(_column(before.disk, place), _column(after.disk, place), elapsed_s)
        if rate is not None:
            use[metric] = rate / unit
    return use


def _column(pairs: Mapping[str, tuple[float, float]], place: int) -> dict[str, float]:
    return {name: pair[place] for name, pair in pairs.items()}


def _sum_of_rates(before: Mapping[str, float], after: Mapping[str, float], elapsed_s: float) -> float | None:
    """Return by how much per second all counters grew together; None when not one of them can be compared."""
    rates = [rate_between(before[name], 0.0, value, elapsed_s) for name, value in after.items() if name in before]
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def as_resources(use: Use) -> Resources:
    """Return a use as a resource vector, what could not be told as 0."""
    return Resources(**{field_name: use.get(metric, 0.0) for metric, field_name in FIELD_OF.items()})

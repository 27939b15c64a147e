# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host and its VMs use: libvirt's counters read in bulk, and the rates between two readings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...estate.resources import FIELD_OF, Resources
from ...estate.series import Samples
from ...libraries import library
from ..usage import Usage, Use
from .marks import is_placeholder

if TYPE_CHECKING:
    import libvirt
    import numpy as np
else:
    libvirt = library("libvirt", "libvirt-python")
    np = library("numpy")

MIB = 2**20
KIB_PER_MIB = 1024
NS_PER_S = 1e9
#: Two readings closer than this give rates that are mostly noise.
MIN_INTERVAL_S = 0.2
#: Counters older than this are not compared with: one rate over so long a time hides what happened in it.
MAX_INTERVAL_S = 3600.0


@dataclass(frozen=True, slots=True)
class VmCounters:
    """Running totals of one VM since it started on this host: CPU nanoseconds, bytes, and disk requests.

    ``resident_mib`` is the memory its QEMU process holds now, ``occupied_mib`` its memory less what the guest calls
    unused (None: not told). ``disks_mib`` is what each disk takes on its storage now, by target (``vda``).
    """

    cpu_ns: int | None
    network_bytes: int | None
    disk_bytes: int | None
    disk_requests: int | None
    resident_mib: float | None = None
    occupied_mib: float | None = None
    disks_mib: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Counters:
    """One reading of a host. ``host_memory_mib`` is in use without page cache and without our placeholders."""

    ts: float
    host_cpu_ns: int
    host_memory_mib: float
    vms: Mapping[str, VmCounters] = field(default_factory=dict)
    placeholders_mib: Mapping[str, float] = field(default_factory=dict)

    def to_data(self) -> dict[str, Any]:
        """Return the running totals as JSON-able data for the next reading."""
        totals = {uuid: [vm.cpu_ns, vm.network_bytes, vm.disk_bytes, vm.disk_requests] for uuid, vm in self.vms.items()}
        return {"ts": self.ts, "host_cpu_ns": self.host_cpu_ns, "vms": totals}

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Counters | None:
        """Rebuild what `to_data` gave; None when there is nothing or it has another shape."""
        try:
            vms = {str(uuid): VmCounters(*totals) for uuid, totals in data["vms"].items()}
            return cls(float(data["ts"]), int(data["host_cpu_ns"]), 0.0, vms)
        except (KeyError, TypeError, ValueError, AttributeError):
            return None


def read_counters(raw: libvirt.virConnect, now_ts: float) -> Counters:
    """Read the host and all its running VMs; one bulk call for the VMs and two short ones for the host."""
    groups = (
        libvirt.VIR_DOMAIN_STATS_STATE
        | libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
        | libvirt.VIR_DOMAIN_STATS_BALLOON
        | libvirt.VIR_DOMAIN_STATS_INTERFACE
        | libvirt.VIR_DOMAIN_STATS_BLOCK
    )
    flags = libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
    vms: dict[str, VmCounters] = {}
    placeholders: dict[str, float] = {}
    for domain, stats in raw.getAllDomainStats(groups, flags):
        counters = _vm_counters(stats)
        uuid = domain.UUIDString()
        if is_placeholder(domain.name(), uuid):
            placeholders[uuid] = counters.resident_mib or 0.0
        else:
            vms[uuid] = counters
    cpu = raw.getCPUStats(libvirt.VIR_NODE_CPU_STATS_ALL_CPUS)
    memory = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    return Counters(
        ts=now_ts,
        host_cpu_ns=sum(cpu.get(kind, 0) for kind in ("kernel", "user", "intr")),
        host_memory_mib=max(0.0, used_memory_mib(memory) - sum(placeholders.values())),
        vms=vms,
        placeholders_mib=placeholders,
    )


def used_memory_mib(memory: Mapping[str, int]) -> float:
    """Return the memory of a host that is in use and not page cache, in MiB, from `virNodeGetMemoryStats`."""
    free = memory["free"] + memory.get("buffers", 0) + memory.get("cached", 0)
    return max(0, memory["total"] - free) / KIB_PER_MIB


def _vm_counters(stats: Mapping[str, Any]) -> VmCounters:
    resident_kib, unused_kib = stats.get("balloon.rss"), stats.get("balloon.unused")
    return VmCounters(
        cpu_ns=stats.get("cpu.time"),
        network_bytes=_total(stats, "net", ("rx.bytes", "tx.bytes")),
        disk_bytes=_total(stats, "block", ("rd.bytes", "wr.bytes")),
        disk_requests=_total(stats, "block", ("rd.reqs", "wr.reqs")),
        resident_mib=None if resident_kib is None else resident_kib / KIB_PER_MIB,
        occupied_mib=None if unused_kib is None else (stats["balloon.current"] - unused_kib) / KIB_PER_MIB,
        disks_mib={
            str(stats[f"block.{index}.name"]): stats.get(f"block.{index}.physical", 0) / MIB
            for index in range(stats.get("block.count", 0))
        },
    )


def _total(stats: Mapping[str, Any], group: str, names: tuple[str, ...]) -> int | None:
    """Return the sum over all devices of a group; None when the group was left out."""
    count = stats.get(f"{group}.count")
    if count is None:
        return None
    return sum(int(stats.get(f"{group}.{index}.{name}", 0)) for index in range(count) for name in names)


def usage_between(before: Counters | None, after: Counters) -> Usage:
    """Return the rates between two readings, and the memory of the later one.

    A counter that went back (the VM restarted or came from elsewhere) or that the earlier reading lacks gives no rate.
    The host's network and disk are the sums over its VMs, for libvirt tells nothing of the host's own.
    """
    elapsed = after.ts - before.ts if before is not None else 0.0
    comparable = before is not None and MIN_INTERVAL_S <= elapsed <= MAX_INTERVAL_S
    earlier = before.vms if before is not None and comparable else {}
    vms = {uuid: _vm_use(earlier.get(uuid), vm, elapsed) for uuid, vm in after.vms.items()}
    host: Use = {"memory": after.host_memory_mib}
    if before is not None and comparable:
        cpu = _rate(before.host_cpu_ns, after.host_cpu_ns, elapsed, NS_PER_S)
        if cpu is not None:
            host["cpu"] = cpu
        for metric in ("network", "disk", "disk_iops"):
            host[metric] = sum(use.get(metric, 0.0) for use in vms.values())
    return Usage(after.ts, host, vms)


def _vm_use(before: VmCounters | None, after: VmCounters, elapsed: float) -> Use:
    use: Use = {} if after.resident_mib is None else {"memory": after.resident_mib}
    if before is None:
        return use
    for metric, earlier, later, unit in (
        ("cpu", before.cpu_ns, after.cpu_ns, NS_PER_S),
        ("network", before.network_bytes, after.network_bytes, 1e6 / 8),
        ("disk", before.disk_bytes, after.disk_bytes, MIB),
        ("disk_iops", before.disk_requests, after.disk_requests, 1.0),
    ):
        rate = _rate(earlier, later, elapsed, unit)
        if rate is not None:
            use[metric] = rate
    return use


def _rate(before: int | None, after: int | None, elapsed: float, unit: float) -> float | None:
    if before is None or after is None or after < before:
        return None
    return (after - before) / unit / elapsed


def as_resources(use: Use) -> Resources:
    """Return a use as a resource vector, what could not be told as 0."""
    return Resources(**{field_name: use.get(metric, 0.0) for metric, field_name in FIELD_OF.items()})


def as_samples(usage: Usage, host_key: str) -> Samples:
    """Return a usage as rows for the metrics dataset."""
    rows = list(_rows(usage, host_key))
    kinds, ids, metrics, values = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Samples(
        entity_kind=np.array(kinds, dtype=object),
        entity_id=np.array(ids, dtype=object),
        metric=np.array(metrics, dtype=object),
        ts=np.full(len(rows), usage.ts, dtype=np.float64),
        value=np.array(values, dtype=np.float64),
    )


def _rows(usage: Usage, host_key: str) -> Iterator[tuple[str, str, str, float]]:
    for metric, value in usage.host.items():
        yield "host", host_key, metric, value
    for uuid, use in usage.vms.items():
        for metric, value in use.items():
            yield "vm", uuid, metric, value

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers to the scripts that look at a host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.foresight.migration.tests.labs.hyperv.model import failures
from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import MIB, Host
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import Site
from ansible_collections.foresight.migration.tests.labs.hyperv.model.vms import RUNNING, Adapter, Vm

Answer = dict[str, Any]
_SECOND_100NS = 10_000_000
_PERF_FREQUENCY = 10_000_000.0
_KIB_PER_MIB = 1024
_REQUEST_BYTES = 65536
#: States of a cluster's resource.
_ONLINE, _OFFLINE = 2, 3
#: What Windows writes for characters that a counter's instance cannot have.
_INSTANCE = str.maketrans("()#/\\", "[]___")
#: How far a time frame of Get-ClusterPerformanceHistory reaches back and how far apart its values are, in seconds
#: (https://learn.microsoft.com/windows-server/storage/storage-spaces/performance-history).
_FRAMES = {
    "MostRecent": (300.0, 300.0),
    "LastHour": (3600.0, 10.0),
    "LastDay": (25 * 3600.0, 300.0),
    "LastWeek": (8 * 86400.0, 900.0),
    "LastMonth": (35 * 86400.0, 3600.0),
    "LastYear": (400 * 86400.0, 86400.0),
}


def identify(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Who the host is, and whose node."""
    return {
        "computer_name": host.name.upper(),
        "domain": host.domain,
        "fqdn": host.fqdn,
        "os_version": host.os_version,
        "hyperv_module": host.hyperv_module,
        "cluster": site.cluster,
        "performance_history": site.direct_storage,
        "node_names": [node.name for node in site.hosts.values()] if site.cluster else [],
        "ts": site.now(),
    }


def cluster(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """The cluster as any node sees it."""
    if site.cluster is None:
        raise failures.command_missing(host.language, "Get-Cluster")
    clustered = [(node, vm) for node in site.hosts.values() for vm in node.vms.values() if vm.clustered]
    return {
        "name": site.cluster,
        "auto_balancer_mode": site.auto_balancer_mode,
        "nodes": [
            {"name": node.name, "state": node.node_state, "drain_status": node.drain_status}
            for node in site.hosts.values()
        ],
        "roles": [
            {
                "vm_id": vm.vm_id,
                "group": f"{vm.name} role",
                "owner_node": node.name,
                "state": _ONLINE if vm.enabled_state == RUNNING else _OFFLINE,
                "anti_affinity": list(vm.anti_affinity),
            }
            for node, vm in clustered
        ],
        "rules": [],
        "volumes": [{"name": "Volume1", "path": "C:\\ClusterStorage\\Volume1"}],
    }


def host(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """The host itself."""
    require_role(host)
    return {
        "computer_name": host.name.upper(),
        "fqdn": host.fqdn,
        "os_version": host.os_version,
        "os_caption": "Microsoft Windows Server 2022 Datacenter",
        "logical_processors": host.processors,
        "cores": host.processors // 2,
        "sockets": 1,
        "cpu_model": "Lab CPU @ 2.60GHz",
        "cpu_vendor": "GenuineLab",
        "cpu_mhz": host.mhz,
        "memory_bytes": host.memory_mib * MIB,
        "memory_free_bytes": host.free_mib * MIB,
        "switches": [{"id": switch.switch_id, "name": switch.name} for switch in host.switches],
        "adapters": [{"name": host.link_name, "bits_per_s": host.link_bits_s, "up": True}],
        "numa_nodes": [{"node": 0, "memory_mib": host.memory_mib, "processors": host.processors}],
        "migration_enabled": host.migration_enabled,
        "migration_subnets": list(host.subnets),
        "any_migration_network": host.any_network,
        "vm_versions": list(host.vm_versions),
        "ts": site.now(),
    }


def vms(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """The VMs of a host, all or those asked for."""
    require_role(host)
    wanted = [str(vm_id).lower() for vm_id in parameters["vm_ids"]]
    return {"vms": [_vm(host, vm) for vm in host.vms.values() if not wanted or vm.vm_id in wanted]}


def _vm(host: Host, vm: Vm) -> Answer:
    return {
        "id": vm.vm_id,
        "name": vm.name,
        "enabled_state": vm.enabled_state,
        "generation": vm.generation,
        "version": vm.version,
        "notes": vm.notes,
        "vcpus": vm.vcpus,
        "cpu_reserve": vm.cpu_reserve,
        "cpu_limit": vm.cpu_limit,
        "cpu_weight": vm.cpu_weight,
        "cpu_compatibility": vm.cpu_compatibility,
        "memory_startup_mib": vm.memory_mib,
        "memory_minimum_mib": vm.memory_minimum_mib if vm.dynamic_memory else vm.memory_mib,
        "memory_maximum_mib": vm.memory_maximum_mib if vm.dynamic_memory else vm.memory_mib,
        "dynamic_memory": vm.dynamic_memory,
        "memory_weight": vm.memory_weight,
        "memory_assigned_mib": vm.assigned_mib if vm.enabled_state == RUNNING else None,
        "pinned": list(vm.pinned),
        "adapters": [_adapter(host, adapter) for adapter in vm.adapters],
        "disks": [
            {
                "path": disk.path,
                "iops_reserved": disk.iops_reserved,
                "iops_limit": disk.iops_limit,
                "passthrough": disk.passthrough,
            }
            for disk in vm.disks
        ],
    }


def _adapter(host: Host, adapter: Adapter) -> Answer:
    switch = next((one for one in host.switches if one.name == adapter.switch_name), None)
    return {
        "id": adapter.adapter_id,
        "switch_id": switch.switch_id if switch else None,
        "switch_name": switch.name if switch else "",
        "reserved_bits_s": adapter.reserved_bits_s,
        "limit_bits_s": adapter.limit_bits_s,
    }


def counters(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Raw totals, whose instances Windows names by VM."""
    require_role(host)
    now = site.now()
    running = [vm for vm in host.vms.values() if vm.enabled_state == RUNNING]
    cores = sum(vm.demand.used("cpu_cores", vm.arrived_ts, now) for vm in running)
    busy_s = host.own_cpu_cores * (now - site.booted_ts) + cores
    moved = int(sum(vm.demand.used("network_mib_s", vm.arrived_ts, now) for vm in running) * MIB)
    return {
        "ts": now,
        "perf_time": now * _PERF_FREQUENCY,
        "perf_frequency": _PERF_FREQUENCY,
        "memory_total_kib": host.memory_mib * _KIB_PER_MIB,
        "memory_free_kib": host.free_mib * _KIB_PER_MIB,
        "logical_processors": [
            {"instance": f"Hv LP {number}", "run_100ns": busy_s * _SECOND_100NS / host.processors}
            for number in range(host.processors)
        ],
        "virtual_processors": [row for vm in running for row in _processors(vm, now)],
        "virtual_nics": [row for vm in running for row in _nics(vm, now)],
        "virtual_disks": [row for vm in running for row in _disks(vm, now)],
        "adapters": [{"name": host.link_name, "received_bytes": moved // 2, "sent_bytes": moved // 2}],
        "vms": [
            {
                "id": vm.vm_id,
                "name": vm.name,
                "vcpus": vm.vcpus,
                "cpu_percent": int(100 * vm.demand.at("cpu_cores", now) / host.processors),
                "memory_assigned_mib": vm.assigned_mib,
            }
            for vm in host.vms.values()
        ],
        "disks": [{"path": disk.path, "vm_id": vm.vm_id} for vm in host.vms.values() for disk in vm.disks],
    }


def _processors(vm: Vm, now: float) -> Iterator[Answer]:
    used = vm.demand.used("cpu_cores", vm.arrived_ts, now) * _SECOND_100NS / vm.vcpus
    for number in range(vm.vcpus):
        yield {"instance": f"{vm.name.translate(_INSTANCE)}:Hv VP {number}", "run_100ns": used}


def _nics(vm: Vm, now: float) -> Iterator[Answer]:
    moved = int(vm.demand.used("network_mib_s", vm.arrived_ts, now) * MIB / max(1, len(vm.adapters)))
    for adapter in vm.adapters:
        name = f"{vm.name.translate(_INSTANCE)}_{adapter.name}_{vm.vm_id}--{adapter.adapter_id}"
        yield {"instance": name, "received_bytes": moved // 2, "sent_bytes": moved // 2}


def _disks(vm: Vm, now: float) -> Iterator[Answer]:
    moved = int(vm.demand.used("disk_mib_s", vm.arrived_ts, now) * MIB / max(1, len(vm.disks)))
    for disk in vm.disks:
        requests = moved // _REQUEST_BYTES // 2
        yield {
            "instance": disk.path.replace("\\", "-"),
            "read_bytes": moved // 2,
            "written_bytes": moved // 2,
            "reads": requests,
            "writes": requests,
        }


def history(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """What Storage Spaces Direct has recorded of the host and its VMs; nothing elsewhere."""
    if not site.direct_storage:
        raise failures.command_missing(host.language, "Get-ClusterPerformanceHistory")
    span_s, step_s = _FRAMES[parameters["time_frame"]]
    now = site.now()
    first = int((now - min(span_s, site.history_s)) // step_s) + 1
    rows = []
    for ts in (number * step_s for number in range(first, int(now // step_s) + 1)):
        for series in parameters["host_series"]:
            rows.append(_row("host", host.name.upper(), series, ts, _host_value(host, series, ts)))
        for vm in (host.vms[vm_id] for vm_id in parameters["vm_ids"] if vm_id in host.vms):
            for series in parameters["vm_series"]:
                rows.append(_row("vm", vm.vm_id, series, ts, _vm_value(host, vm, series, ts)))
    return {"rows": rows, "problems": []}


def _row(kind: str, owner: str, series: str, ts: float, value: float) -> Answer:
    return {"kind": kind, "id": owner, "series": series, "ts": ts, "value": value}


def _vm_value(host: Host, vm: Vm, series: str, ts: float) -> float:
    """Return a value in Microsoft's unit of the series; its CPU is a share of the host's processors."""
    disk = vm.demand.at("disk_mib_s", ts) * MIB
    return {
        "vm.cpu.usage": 100 * vm.demand.at("cpu_cores", ts) / host.processors,
        "vm.memory.assigned": float(vm.assigned_mib * MIB),
        "vmnetworkadapter.bandwidth.total": 8 * vm.demand.at("network_mib_s", ts) * MIB,
        "vhd.throughput.total": disk,
        "vhd.iops.total": disk / _REQUEST_BYTES,
    }[series.lower()]


def _host_value(host: Host, series: str, ts: float) -> float:
    cores = host.own_cpu_cores + sum(vm.demand.at("cpu_cores", ts) for vm in host.vms.values())
    network = sum(vm.demand.at("network_mib_s", ts) for vm in host.vms.values()) * MIB
    return {
        "clusternode.cpu.usage": 100 * cores / host.processors,
        "clusternode.memory.usage": float((host.memory_mib - host.free_mib) * MIB),
        "netadapter.bandwidth.total": 8 * network,
    }[series.lower()]


def locate(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Whether the VM is here."""
    require_role(host)
    vm = host.vms.get(parameters["vm_id"].lower())
    return {"found": vm is not None, "enabled_state": vm.enabled_state if vm else None}


def require_role(host: Host) -> None:
    """Raise what PowerShell says to a user without rights, or on a host without Hyper-V."""
    if not host.administrator:
        raise failures.access_denied(host.language)
    if not host.hyperv_role:
        raise failures.role_missing(host.language)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hyper-V hosts, VMs, clusters and rules as nouns of the estate, from what the hosts' scripts answer."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...estate.nouns import Cluster, Host, Rule, Vm
from ...estate.resources import Resources
from .states import power_state

FAMILY = "hyperv"
MIB = 2**20
BITS_PER_MBIT = 1e6
#: ``Reservation`` of Msvm_ProcessorSettingData is in 1/1000 % (Microsoft, "Msvm_ProcessorSettingData class").
FULL_RESERVE = 100_000
#: The first build that moves VMs with a part of a GPU live (Windows Server 2025).
GPU_PARTITION_MOVES_FROM_BUILD = 26100

#: Types of affinity rules (CLUS_AFFINITY_RULE_TYPE) that say something about hosts: by name, or by number where
#: PowerShell shows that.
_RULE_KINDS = {
    "SameNode": "vm_affinity",
    "2": "vm_affinity",
    "DifferentFaultDomain": "vm_anti_affinity",
    "3": "vm_anti_affinity",
    "DifferentNode": "vm_anti_affinity",
    "4": "vm_anti_affinity",
}
_NODE_UP, _NODE_PAUSED = 0, 2
_DRAINING = 1
_SHARE = re.compile(r"(?s)\\\\(?!\?|\.)[^\\]+\\[^\\]+")


def host_noun(
    answer: Mapping[str, Any], endpoint: str, host_id: str, cluster: str | None, state: str, options: Mapping[str, Any]
) -> Host:
    """Return the host for an answer of the operation ``host``, without its use."""
    speeds = [adapter["bits_per_s"] / BITS_PER_MBIT for adapter in answer["adapters"] if adapter["up"]]
    vendor = str(answer["cpu_vendor"])
    return Host(
        endpoint=endpoint,
        host_id=host_id,
        name=answer["fqdn"] or answer["computer_name"],
        family=FAMILY,
        state=state,
        capacity=Resources(
            cpu_cores=float(answer["logical_processors"]),
            memory_mib=answer["memory_bytes"] / MIB,
            network_mbit_s=float(options.get("network_mbit_s") or sum(speeds)),
            disk_mib_s=float(options.get("disk_mib_s") or 0.0),
        ),
        cluster=cluster,
        networks=tuple(sorted(switch["name"] for switch in answer["switches"])),
        cpu_model=str(answer["cpu_model"]),
        # between makers of processors nothing moves live; the rest Hyper-V itself compares in the preflight
        cpu_features=frozenset({f"vendor:{vendor}"} if vendor else ()),
        migration_link_mbit_s=options.get("migration_link_mbit_s") or max(speeds, default=None),
        facts={
            "computer_name": answer["computer_name"],
            "os_version": answer["os_version"],
            "os_caption": answer["os_caption"],
            "sockets": answer["sockets"],
            "cores": answer["cores"],
            "cpu_mhz": answer["cpu_mhz"],
            "numa_nodes": answer["numa_nodes"],
            "vm_versions": answer["vm_versions"],
            "migration_enabled": answer["migration_enabled"],
            "migration_subnets": answer["migration_subnets"],
            "any_migration_network": answer["any_migration_network"],
        },
    )


def unread_host(endpoint: str, host_id: str, name: str, cluster: str | None) -> Host:
    """Return a node of the cluster that did not answer; nothing is known of what it has."""
    return Host(
        endpoint=endpoint,
        host_id=host_id,
        name=name,
        family=FAMILY,
        state="disconnected",
        capacity=Resources(),
        cluster=cluster,
    )


def node_state(node: Mapping[str, Any]) -> str:
    """Return the state of a host from its row in an answer of the operation ``cluster``."""
    if node["state"] == _NODE_UP:
        return "up"
    if node["state"] == _NODE_PAUSED:
        return "entering_maintenance" if node["drain_status"] == _DRAINING else "maintenance"
    return "disconnected"


def vm_noun(
    row: Mapping[str, Any],
    host: Host,
    role: Mapping[str, Any] | None,
    volumes: Sequence[str],
    switches: Mapping[str, str],
) -> Vm:
    """Return the VM for its row in an answer of the operation ``vms``, without its use.

    ``role`` is its row in the cluster (None: not clustered), ``volumes`` are the paths of the cluster's shared volumes,
    ``switches`` the names of the host's switches by id: an adapter itself has only the last known name of its own.
    """
    vcpus = float(row.get("vcpus") or 0)
    assigned_mib = row.get("memory_assigned_mib")
    startup_mib = float(row.get("memory_startup_mib") or 0)
    dynamic = bool(row.get("dynamic_memory"))
    connected = [adapter for adapter in row["adapters"] if adapter["switch_id"]]
    paths = [disk["path"] for disk in row["disks"] if disk["path"]]
    facts: dict[str, Any] = {
        "generation": row.get("generation"),
        "version": row.get("version"),
        "dynamic_memory": dynamic,
        "memory_minimum_mib": row.get("memory_minimum_mib"),
        "memory_maximum_mib": row.get("memory_maximum_mib"),
        "cpu_compatibility": row.get("cpu_compatibility"),
        "clustered": role is not None,
        "cluster_group": role["group"] if role is not None else None,
    }
    if assigned_mib is not None:
        facts["resident_mib"] = assigned_mib
    return Vm(
        endpoint=host.endpoint,
        uuid=row["id"],
        name=row["name"],
        host_key=host.key,
        power_state=power_state(row["enabled_state"]),
        # the maximum of dynamic memory is no size: by default it is 1 TiB
        allocated=Resources(
            cpu_cores=vcpus,
            memory_mib=max(startup_mib, assigned_mib or 0.0) if dynamic else startup_mib,
            network_mbit_s=_sum_of(connected, "limit_bits_s") / BITS_PER_MBIT,
        ),
        guaranteed=Resources(
            cpu_cores=vcpus * float(row.get("cpu_reserve") or 0) / FULL_RESERVE,
            memory_mib=float(row.get("memory_minimum_mib") or 0) if dynamic else startup_mib,
            network_mbit_s=_sum_of(connected, "reserved_bits_s") / BITS_PER_MBIT,
        ),
        networks=tuple(sorted({switches.get(one["switch_id"], one["switch_name"]) for one in connected})),
        storages=tuple(sorted({storage_of(path, host.host_id, volumes) for path in paths})),
        required_cpu_features=host.cpu_features,
        pinned_by=_pinned_by(row, host, role is not None),
        notes=row.get("notes") or "",
        facts=facts,
    )


def _sum_of(adapters: Iterable[Mapping[str, Any]], name: str) -> float:
    """Return the sum over all adapters; 0 when one of them has none, as then nothing bounds the VM."""
    values = [float(adapter[name] or 0) for adapter in adapters]
    return sum(values) if all(values) else 0.0


def _pinned_by(row: Mapping[str, Any], host: Host, clustered: bool) -> tuple[str, ...]:
    build = str(host.facts.get("os_version") or "").rpartition(".")[2]
    moves_gpu = build.isdigit() and int(build) >= GPU_PARTITION_MOVES_FROM_BUILD
    pinned = [kind for kind in row["pinned"] if not (kind == "gpu_partition" and moves_gpu)]
    if not clustered and any(disk["passthrough"] for disk in row["disks"]):
        pinned.append("passthrough_disk")
    return tuple(dict.fromkeys(pinned))


def storage_of(path: str, host_id: str, volumes: Sequence[str]) -> str:
    """Return the storage that holds a file: a cluster's volume, an SMB share, or a drive of the host."""
    folded = path.casefold()
    for volume in volumes:
        if folded.startswith(volume.casefold() + "\\"):
            return volume
    share = _SHARE.match(path)
    return share.group(0) if share else f"{host_id}/{path.partition(':')[0].upper()}:"


def cluster_noun(answer: Mapping[str, Any], endpoint: str, host_keys: frozenset[str]) -> Cluster:
    """Return the cluster for an answer of the operation ``cluster``.

    Its own load balancing moves VMs when a node joins and, in mode 2, at any time.
    """
    return Cluster(
        endpoint=endpoint,
        name=answer["name"],
        host_keys=host_keys,
        rival_balancer="VM load balancing" if answer["auto_balancer_mode"] else None,
        facts={"auto_balancer_mode": answer["auto_balancer_mode"], "volumes": answer["volumes"]},
    )


def rules_of(answer: Mapping[str, Any], endpoint: str) -> tuple[Rule, ...]:
    """Return the cluster's affinity rules, and its anti-affinity class names, which it only prefers to keep.

    A rule to stay in the same fault domain says nothing about hosts and is left out.
    """
    uuid_of_group = {role["group"]: role["vm_id"] for role in answer["roles"]}
    rules = [
        Rule(
            endpoint=endpoint,
            name=rule["name"],
            kind=_RULE_KINDS[rule["kind"]],
            vm_uuids=frozenset(uuid_of_group[group] for group in rule["groups"] if group in uuid_of_group),
        )
        for rule in answer["rules"]
        if rule["enabled"] and rule["kind"] in _RULE_KINDS
    ]
    classes: dict[str, set[str]] = defaultdict(set)
    for role in answer["roles"]:
        for name in role["anti_affinity"]:
            classes[name].add(role["vm_id"])
    rules += [
        Rule(endpoint, name, "vm_anti_affinity", frozenset(uuids), mandatory=False) for name, uuids in classes.items()
    ]
    return tuple(rule for rule in rules if len(rule.vm_uuids) > 1)

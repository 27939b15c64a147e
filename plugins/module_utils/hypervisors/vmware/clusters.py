# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A `vim.ClusterComputeResource` as a `Cluster` with its rules, and who else moves its VMs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ...estate.nouns import Cluster, Rule
from .names import plain_name
from .properties import Record, moid_of
from .sdk import pyvmomi

#: A cluster's settings, read as a whole: the API declares this property with the type that lone hosts have too
#: (`vim.ComputeResource.ConfigInfo`), so that a vCenter refuses paths into what only the clusters' own type has.
CONFIGURATION = "configurationEx"
#: What is read of every cluster.
CLUSTER_PATHS = (
    "name",
    "host",
    "resourcePool",
    CONFIGURATION,
)
#: Modes in which DRS only recommends moves of running VMs.
ASKING_MODES = frozenset({"manual", "partiallyAutomated"})
#: What is read of every resource pool.
POOL_PATHS = ("name", "parent", "owner", "config.cpuAllocation.reservation", "config.memoryAllocation.reservation")


def cluster_from(
    record: Record, endpoint: str, name: str, pools: Sequence[Record], host_keys: Mapping[str, str]
) -> Cluster:
    """Return the cluster. ``pools`` are all resource pools, ``host_keys`` go from object id to `Host.key`."""
    hosts = (host_keys.get(moid_of(host) or "") for host in record.get("host") or ())
    drs, availability = _part(record, "drsConfig"), _part(record, "dasConfig")
    return Cluster(
        endpoint=endpoint,
        name=name,
        host_keys=frozenset(key for key in hosts if key),
        rival_balancer=rival_balancer(record),
        facts={
            "moid": record.moid,
            "drs_enabled": has_drs(record),
            "drs_mode": _text(getattr(drs, "defaultVmBehavior", None)),
            "drs_migration_threshold": getattr(drs, "vmotionRate", None),
            "ha_enabled": bool(getattr(availability, "enabled", False)),
            "ha_admission_control": bool(getattr(availability, "admissionControlEnabled", False)),
            "resource_pools": pool_facts(record.moid, pools),
        },
    )


def rival_balancer(record: Record) -> str | None:
    """Return ``DRS`` where it moves running VMs without asking (or does not say that it asks), else None."""
    mode = getattr(_part(record, "drsConfig"), "defaultVmBehavior", None)
    return "DRS" if has_drs(record) and mode not in ASKING_MODES else None


def has_drs(record: Record) -> bool:
    """Return whether DRS is switched on in a cluster read with `CONFIGURATION`."""
    return bool(getattr(_part(record, "drsConfig"), "enabled", False))


def _part(record: Record, name: str) -> Any:
    """Return a part of the cluster's settings; None where it has none or the user may not see them."""
    return getattr(record.get(CONFIGURATION), name, None)


def pool_facts(owner: str, pools: Sequence[Record]) -> list[dict[str, Any]]:
    """Return the resource pools of a cluster or a lone host, by the object id of their owner."""
    return [
        {
            "moid": pool.moid,
            "name": plain_name(pool.get("name")),
            "parent": moid_of(pool.get("parent")),
            "cpu_reservation_mhz": pool.get("config.cpuAllocation.reservation"),
            "memory_reservation_mib": pool.get("config.memoryAllocation.reservation"),
        }
        for pool in pools
        if moid_of(pool.get("owner")) == owner
    ]


def rules_from(
    record: Record, endpoint: str, vm_uuids: Mapping[str, str], host_keys: Mapping[str, str]
) -> tuple[Rule, ...]:
    """Return the cluster's enabled rules; ``vm_uuids`` and ``host_keys`` go from object id.

    Rules among VMs count as mandatory, since DRS would undo a move that breaks one; a rule between VMs and hosts is
    what vCenter says it is ("must" or "should").
    """
    groups = {group.name: group for group in _part(record, "group") or ()}
    built = (_rule(rule, endpoint, groups, vm_uuids, host_keys) for rule in _part(record, "rule") or () if rule.enabled)
    return tuple(rule for rule in built if rule is not None)


def _rule(
    rule: Any, endpoint: str, groups: Mapping[str, Any], vm_uuids: Mapping[str, str], host_keys: Mapping[str, str]
) -> Rule | None:
    """Return the rule, or None for a kind that has no say in where a VM may run (such as a dependency at start)."""
    types = pyvmomi.vim.cluster
    if isinstance(rule, types.AffinityRuleSpec):
        return Rule(endpoint, rule.name, "vm_affinity", _mapped(rule.vm, vm_uuids))
    if isinstance(rule, types.AntiAffinityRuleSpec):
        return Rule(endpoint, rule.name, "vm_anti_affinity", _mapped(rule.vm, vm_uuids))
    if not isinstance(rule, types.VmHostRuleInfo):
        return None
    wanted = rule.affineHostGroupName
    kind = "vm_host_affinity" if wanted else "vm_host_anti_affinity"
    host_group = groups.get(wanted or rule.antiAffineHostGroupName)
    vm_group = groups.get(rule.vmGroupName)
    return Rule(
        endpoint,
        rule.name,
        kind,
        _mapped(getattr(vm_group, "vm", ()), vm_uuids),
        _mapped(getattr(host_group, "host", ()), host_keys),
        mandatory=bool(rule.mandatory),
    )


def _mapped(references: Iterable[Any] | None, known: Mapping[str, str]) -> frozenset[str]:
    found = (known.get(moid_of(reference) or "") for reference in references or ())
    return frozenset(item for item in found if item)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)

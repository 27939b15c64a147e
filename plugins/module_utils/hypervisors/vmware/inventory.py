# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All of one endpoint, read in pages and put together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from ...estate.nouns import Host, Vm
from ..protocol import Inventory
from .clusters import CLUSTER_PATHS, POOL_PATHS, cluster_from, pool_facts, rules_from
from .cpu_modes import CpuModes
from .hosts import HOST_PATHS, host_from
from .machines import VM_PATHS, has_all_memory_reserved, pinning_devices, vm_from
from .names import Names
from .properties import Record, read_everywhere, read_objects, read_one
from .session import Session
from .tasks import EVACUATIONS, running_tasks

#: VMs whose device lists are asked for in one call; a list is some 6 kB.
DEVICE_BATCH = 250

_WANTED = {
    "HostSystem": HOST_PATHS,
    "VirtualMachine": VM_PATHS,
    "ClusterComputeResource": CLUSTER_PATHS,
    "ResourcePool": POOL_PATHS,
    "Network": ("name",),
    "Datastore": ("name",),
}
#: vSphere's special kinds and what they are here.
_BASE_KIND = {"DistributedVirtualPortgroup": "Network", "OpaqueNetwork": "Network", "VirtualApp": "ResourcePool"}


def read_inventory(session: Session) -> Inventory:
    """Return hosts, VMs, rules and clusters of the endpoint.

    Takes a fixed number of calls plus one per 500 objects, and one per 250 VMs that may have a passthrough device.
    """
    by_kind = _by_kind(read_everywhere(session, _WANTED))
    clusters = by_kind["ClusterComputeResource"]
    names = Names.build(by_kind["Network"] + by_kind["Datastore"], clusters, _custom_attributes(session))
    modes = CpuModes.build(_evc_modes(session))
    evacuated = {task.entity_moid for task in running_tasks(session) if task.description_id in EVACUATIONS}
    hosts = {
        record.moid: host_from(record, session.endpoint, names, modes, record.moid in evacuated)
        for record in by_kind["HostSystem"]
    }
    known, nameless = _with_uuid(by_kind["VirtualMachine"])
    vms = _vms(session, known, hosts, names, modes)
    host_keys = {moid: host.key for moid, host in hosts.items()}
    vm_uuids = {moid: vm.uuid for moid, vm in vms.items()}
    pools = by_kind["ResourcePool"]
    return Inventory(
        hosts=tuple(hosts.values()),
        vms=tuple(vms.values()),
        rules=tuple(rule for record in clusters for rule in rules_from(record, session.endpoint, vm_uuids, host_keys)),
        clusters=tuple(
            cluster_from(record, session.endpoint, names.cluster_of[record.moid], pools, host_keys)
            for record in clusters
        ),
        warnings=_warnings(nameless),
        server_ts=session.server_now_ts(),
        facts=_facts(session, hosts, pools),
    )


def _by_kind(records: Sequence[Record]) -> defaultdict[str, list[Record]]:
    by_kind: defaultdict[str, list[Record]] = defaultdict(list)
    for record in records:
        by_kind[_BASE_KIND.get(record.kind, record.kind)].append(record)
    return by_kind


def _vms(
    session: Session, records: Sequence[Record], hosts: Mapping[str, Host], names: Names, modes: CpuModes
) -> dict[str, Vm]:
    pinned = _pinned_by(session, [record for record in records if has_all_memory_reserved(record)])
    return {
        record.moid: vm_from(record, session.endpoint, hosts, names, modes, pinned.get(record.moid, ()))
        for record in records
    }


def _pinned_by(session: Session, candidates: Sequence[Record]) -> dict[str, tuple[str, ...]]:
    """Return what pins each candidate, by object id. Reading all VMs' devices would triple the inventory's cost."""
    found: dict[str, tuple[str, ...]] = {}
    for start in range(0, len(candidates), DEVICE_BATCH):
        batch = [record.reference for record in candidates[start : start + DEVICE_BATCH]]
        for record in read_objects(session, batch, ["config.hardware.device"]):
            found[record.moid] = pinning_devices(record.get("config.hardware.device") or ())
    return found


def _with_uuid(records: Sequence[Record]) -> tuple[list[Record], list[Record]]:
    """Split VMs into those that can be told apart for good and those (inaccessible, orphaned) that cannot."""
    known = [record for record in records if record.get("config.instanceUuid")]
    return known, [record for record in records if not record.get("config.instanceUuid")]


def _warnings(nameless: Sequence[Record]) -> tuple[str, ...]:
    if not nameless:
        return ()
    shown = ", ".join(record.moid for record in nameless[:10])
    return (f"{len(nameless)} VMs have no readable configuration (inaccessible or orphaned) and are left out: {shown}",)


def _custom_attributes(session: Session) -> Sequence[Any]:
    """Return the definitions of custom attributes, which only a vCenter has."""
    manager = session.content.customFieldsManager
    record = read_one(session, manager, ["field"]) if manager is not None else None
    return record.get("field", ()) if record else ()


def _evc_modes(session: Session) -> Sequence[Any]:
    if not session.is_vcenter:
        return ()
    record = read_one(session, session.instance, ["capability.supportedEVCMode"])
    return record.get("capability.supportedEVCMode", ()) if record else ()


def _facts(session: Session, hosts: Mapping[str, Host], pools: Sequence[Record]) -> dict[str, Any]:
    about = session.content.about
    lone = {str(host.facts["compute_resource"]): host.key for host in hosts.values() if host.cluster is None}
    return {
        "product": str(about.fullName),
        "api_version": str(about.apiVersion),
        "is_vcenter": session.is_vcenter,
        "resource_pools": {key: pool_facts(owner, pools) for owner, key in lone.items()},
    }

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sites that tests start from: lone hosts, and a failover cluster. VMs have the names that hostile users give."""

from __future__ import annotations

import uuid
from typing import Any

from ansible_collections.foresight.migration.tests.labs.hyperv.lab import SHARE
from ansible_collections.foresight.migration.tests.labs.hyperv.model.demand import Demand, steady
from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import Host, Switch
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import Site
from ansible_collections.foresight.migration.tests.labs.hyperv.model.vms import Adapter, Disk, Vm

WEB, DB, BATCH = "web", "db", "batch"
HOSTILE_NAMES = (
    "vм-日本-é",
    "{{ lookup('pipe', 'id') }}",
    "$(Get-Date); `whoami`",
    "a'b\"c<d>&e",
    "../../etc/passwd\nline two",
    "8f3:Hv VP 1_x--y",
    "x" * 100,
)
#: What Hyper-V calls a new adapter, which is part of the names of its counters.
ADAPTER_NAMES = {"en-US": "Network Adapter", "de-DE": "Netzwerkkarte"}
CSV = "C:\\ClusterStorage\\Volume1"


def vm_id(name: str) -> str:
    """Return the id that the lab gives to the VM of that name."""
    return str(uuid.uuid5(uuid.NAMESPACE_DNS, name))


def make_vm(name: str, *, folder: str = SHARE, demand: Demand | None = None, **options: Any) -> Vm:
    """Return a VM with one disk in ``folder`` and one adapter."""
    own_id = vm_id(name)
    return Vm(
        own_id,
        name,
        demand=demand or steady(0.5),
        adapters=[Adapter(vm_id(name + " adapter"))],
        disks=[Disk(f"{folder}\\{own_id}\\disk.vhdx")],
        **options,
    )


def make_host(name: str, *vms: Vm, **options: Any) -> Host:
    """Return a host with one switch and these VMs, whose adapters are called as in the host's language."""
    host = Host(name, switches=[Switch(vm_id(name + " switch"))], **options)
    host.vms = {vm.vm_id: vm for vm in vms}
    for adapter in (adapter for vm in vms for adapter in vm.adapters):
        adapter.name = ADAPTER_NAMES[host.language]
    return host


def lone_hosts(*, delegates: bool = True, language: str = "en-US") -> Site:
    """Three hosts without a cluster: one that is nearly full, two with room. Disks are on a file server."""
    busy = Demand((5.0, 5.5, 6.0, 5.5), (20.0, 30.0), (10.0, 20.0))
    options: dict[str, Any] = {"delegates": delegates, "language": language}
    return Site(
        [
            make_host(
                "HV1",
                make_vm(WEB, vcpus=4, memory_mib=8192, demand=steady(2.0)),
                make_vm(DB, vcpus=8, memory_mib=24576, demand=busy),
                make_vm(BATCH, vcpus=8, memory_mib=16384, demand=busy),
                **options,
            ),
            make_host("HV2", make_vm("idle", memory_mib=4096), **options),
            make_host("HV3", **options),
        ]
    )


def failover_cluster(*, language: str = "en-US", history_hours: float = 0.0) -> Site:
    """Three nodes, the first nearly full, disks on a cluster shared volume; VMs carry hostile names."""
    busy = Demand((5.0, 5.5, 6.0, 5.5), (20.0, 30.0), (10.0, 20.0))
    common: dict[str, Any] = {"folder": CSV, "clustered": True}
    site = Site(
        [
            make_host(
                "NODE1",
                make_vm(WEB, vcpus=4, memory_mib=8192, demand=steady(2.0), **common),
                make_vm(DB, vcpus=8, memory_mib=24576, demand=busy, anti_affinity=["databases"], **common),
                make_vm(BATCH, vcpus=8, memory_mib=16384, demand=busy, **common),
                language=language,
            ),
            make_host(
                "NODE2",
                *(make_vm(name, vcpus=1, memory_mib=512, **common) for name in HOSTILE_NAMES),
                language=language,
            ),
            make_host("NODE3", make_vm("other db", anti_affinity=["databases"], **common), language=language),
        ],
        cluster="LABCLUSTER",
    )
    site.direct_storage = history_hours > 0
    site.history_s = history_hours * 3600
    return site

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts, VMs, clusters and rules as nouns, from what scripts answer."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.clock import SystemClock
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.describe import (
    host_noun,
    node_state,
    rules_of,
    storage_of,
    vm_noun,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.inventory import read_inventory
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.meter import Meter
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.states import power_state
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    Inventory,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_counters import (
    VM,
    counters,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_hosts import (
    PlayedHosts,
)

OTHER = "7f9619ff-8b86-d011-b42d-00c04fc964ff"
VOLUME = "C:\\ClusterStorage\\Volume1"


#: The host's switches by id.
SWITCHES = {"s1": "LAN"}


def host_answer(name: str = "HV1", **changes: Any) -> dict[str, Any]:
    return {
        "computer_name": name,
        "fqdn": f"{name}.lab.test",
        "os_version": "10.0.20348",
        "os_caption": "Microsoft Windows Server 2022 Datacenter",
        "logical_processors": 32,
        "cores": 16,
        "sockets": 2,
        "cpu_model": "Intel(R) Xeon(R)",
        "cpu_vendor": "GenuineIntel",
        "cpu_mhz": 2400,
        "memory_bytes": 128 * 2**30,
        "memory_free_bytes": 64 * 2**30,
        "switches": [{"id": "s1", "name": "LAN"}],
        "adapters": [
            {"name": "A", "bits_per_s": 1e10, "up": True},
            {"name": "B", "bits_per_s": 2.5e10, "up": True},
            {"name": "C", "bits_per_s": 1e11, "up": False},
        ],
        "numa_nodes": [],
        "migration_enabled": True,
        "migration_subnets": [],
        "any_migration_network": True,
        "vm_versions": ["10.0"],
        "ts": 0.0,
        **changes,
    }


def vm_row(**changes: Any) -> dict[str, Any]:
    return {
        "id": VM,
        "name": "web 01",
        "enabled_state": 2,
        "generation": 2,
        "version": "10.0",
        "notes": "",
        "vcpus": 4,
        "cpu_reserve": 25000,
        "cpu_limit": 100000,
        "cpu_weight": 100,
        "cpu_compatibility": False,
        "memory_startup_mib": 2048,
        "memory_minimum_mib": 512,
        "memory_maximum_mib": 1048576,
        "dynamic_memory": True,
        "memory_weight": 5000,
        "memory_assigned_mib": 3000.0,
        "pinned": [],
        "adapters": [
            {"id": "n1", "switch_id": "s1", "switch_name": "LAN", "reserved_bits_s": 1e8, "limit_bits_s": 1e9},
            {"id": "n2", "switch_id": None, "switch_name": "OLD", "reserved_bits_s": None, "limit_bits_s": None},
        ],
        "disks": [
            {"path": f"{VOLUME}\\web 01.vhdx", "iops_reserved": 0.0, "iops_limit": 0.0, "passthrough": False},
            {"path": "\\\\files\\vms\\data.vhdx", "iops_reserved": 0.0, "iops_limit": 0.0, "passthrough": False},
        ],
        **changes,
    }


def cluster_answer(**changes: Any) -> dict[str, Any]:
    return {
        "name": "CL1",
        "auto_balancer_mode": 2,
        "nodes": [
            {"name": "HV1", "state": 0, "drain_status": 0},
            {"name": "HV2", "state": 0, "drain_status": 0},
            {"name": "HV3", "state": 1, "drain_status": 0},
        ],
        "roles": [{"vm_id": VM, "group": "web", "owner_node": "HV2", "state": 2, "anti_affinity": ["web"]}],
        "rules": [],
        "volumes": [{"name": "Cluster Disk 1", "path": VOLUME}],
        **changes,
    }


@pytest.fixture
def host() -> Host:
    return host_noun(host_answer(), "lab", "hv1", "CL1", "up", {})


def test_a_host_has_its_logical_processors_memory_and_working_adapters(host: Host) -> None:
    assert host.key == "lab/hv1"
    assert host.capacity.as_dict() == {
        "cpu_cores": 32.0,
        "memory_mib": 131072.0,
        "network_mbit_s": 35000.0,
        "disk_mib_s": 0.0,
    }
    assert host.migration_link_mbit_s == 25000.0


def test_speeds_that_the_user_gives_count_more_than_what_windows_says() -> None:
    options = {"network_mbit_s": 5000.0, "disk_mib_s": 800.0, "migration_link_mbit_s": 1000.0}
    host = host_noun(host_answer(), "lab", "hv1", None, "up", options)
    assert (host.capacity.network_mbit_s, host.capacity.disk_mib_s, host.migration_link_mbit_s) == (5000.0, 800.0, 1000)


def test_the_size_of_a_vm_with_dynamic_memory_is_what_it_has_and_not_its_maximum(host: Host) -> None:
    vm = vm_noun(vm_row(), host, None, (VOLUME,), SWITCHES)
    assert (vm.allocated.memory_mib, vm.guaranteed.memory_mib) == (3000.0, 512.0)
    assert vm.facts["resident_mib"] == 3000.0


def test_the_memory_of_a_vm_without_dynamic_memory_is_all_its_own(host: Host) -> None:
    vm = vm_noun(vm_row(dynamic_memory=False), host, None, (), SWITCHES)
    assert (vm.allocated.memory_mib, vm.guaranteed.memory_mib) == (2048.0, 2048.0)


def test_reserves_are_in_the_units_of_the_estate(host: Host) -> None:
    vm = vm_noun(vm_row(), host, None, (), SWITCHES)
    assert (vm.guaranteed.cpu_cores, vm.guaranteed.network_mbit_s) == (1.0, 100.0)
    assert vm.allocated.network_mbit_s == 1000.0
    assert vm.networks == ("LAN",)


def test_a_network_has_the_name_that_its_switch_has_now(host: Host) -> None:
    row = vm_row()
    row["adapters"][0]["switch_name"] = "the name before"
    assert vm_noun(row, host, None, (), SWITCHES).networks == ("LAN",)
    assert vm_noun(row, host, None, (), {}).networks == ("the name before",)


def test_a_vm_needs_a_processor_of_the_same_maker(host: Host) -> None:
    amd = host_noun(host_answer(cpu_vendor="AuthenticAMD"), "lab", "hv2", None, "up", {})
    assert not vm_noun(vm_row(), host, None, (), SWITCHES).required_cpu_features <= amd.cpu_features


@pytest.mark.parametrize(
    ("changes", "os_version", "clustered", "pinned"),
    [
        ({}, "10.0.20348", False, ()),
        ({"pinned": ["pci_device", "pci_device"]}, "10.0.26100", True, ("pci_device",)),
        ({"pinned": ["gpu_partition"]}, "10.0.20348", True, ("gpu_partition",)),
        ({"pinned": ["gpu_partition"]}, "10.0.26100", True, ()),
        ({"disks": [{"path": "", "passthrough": True}]}, "10.0.20348", False, ("passthrough_disk",)),
        ({"disks": [{"path": "", "passthrough": True}]}, "10.0.20348", True, ()),
    ],
)
def test_what_ties_a_vm_to_its_host_is_named(
    changes: dict[str, Any], os_version: str, clustered: bool, pinned: tuple[str, ...]
) -> None:
    host = host_noun(host_answer(os_version=os_version), "lab", "hv1", None, "up", {})
    role = cluster_answer()["roles"][0] if clustered else None
    assert vm_noun(vm_row(**changes), host, role, (), SWITCHES).pinned_by == pinned


@pytest.mark.parametrize(
    ("path", "storage"),
    [
        (f"{VOLUME}\\a.vhdx", VOLUME),
        (f"{VOLUME.lower()}\\a.vhdx", VOLUME),
        (f"{VOLUME}0\\a.vhdx", "hv1/C:"),
        ("\\\\files\\vms\\x\\a.vhdx", "\\\\files\\vms"),
        ("d:\\VMs\\a.vhdx", "hv1/D:"),
    ],
)
def test_a_disk_lies_on_a_volume_a_share_or_a_drive(path: str, storage: str) -> None:
    assert storage_of(path, "hv1", (VOLUME,)) == storage


@pytest.mark.parametrize(
    ("state", "drain", "expected"),
    [
        (0, 0, "up"),
        (1, 0, "disconnected"),
        (2, 1, "entering_maintenance"),
        (2, 2, "maintenance"),
        (3, 0, "disconnected"),
    ],
)
def test_a_paused_node_takes_no_vm(state: int, drain: int, expected: str) -> None:
    assert node_state({"state": state, "drain_status": drain}) == expected


@pytest.mark.parametrize(
    ("enabled_state", "expected"),
    [
        (2, "running"),
        (3, "off"),
        (6, "suspended"),
        (9, "paused"),
        (32768, "paused"),
        (32769, "suspended"),
        (None, "off"),
    ],
)
def test_states_are_told_by_number(enabled_state: int | None, expected: str) -> None:
    assert power_state(enabled_state) == expected


def test_rules_of_the_cluster_are_rules_of_the_estate() -> None:
    roles = [
        {"vm_id": VM, "group": "a", "owner_node": "HV1", "state": 2, "anti_affinity": ["web"]},
        {"vm_id": OTHER, "group": "b", "owner_node": "HV1", "state": 2, "anti_affinity": ["web", "lone"]},
    ]
    rules = [
        {"name": "together", "kind": "SameNode", "enabled": True, "groups": ["a", "b"]},
        {"name": "apart", "kind": "DifferentFaultDomain", "enabled": True, "groups": ["a", "b", "no VM"]},
        {"name": "site", "kind": "SameFaultDomain", "enabled": True, "groups": ["a", "b"]},
        {"name": "off", "kind": "DifferentNode", "enabled": False, "groups": ["a", "b"]},
    ]
    found = {
        rule.name: (rule.kind, rule.mandatory) for rule in rules_of(cluster_answer(roles=roles, rules=rules), "lab")
    }
    assert found == {
        "together": ("vm_affinity", True),
        "apart": ("vm_anti_affinity", True),
        "web": ("vm_anti_affinity", False),
    }


class PlayedCluster(PlayedHosts):
    entry = "hv1"
    has_history = False
    clock_ahead_s = 0.0

    def node(self, host_id: str) -> Any:
        class Node:
            name = host_id.upper()
            fqdn = f"{name}.lab.test"

        return Node


def inventory(hv2: Any = None, on_hv1: tuple[Any, ...] = (), **changes: Any) -> Inventory:
    readings = iter(range(100, 200, 5))
    common = {"counters": lambda _sent: counters(next(readings))}
    answers = {
        "hv1": {**common, "cluster": cluster_answer(**changes), "host": host_answer("HV1"), "vms": {"vms": on_hv1}},
        "hv2": {**common, "host": hv2 or host_answer("HV2"), "vms": {"vms": [vm_row()]}},
        "hv3": {},
    }
    nodes = PlayedCluster("lab", answers, cluster="CL1")
    return read_inventory(nodes, Meter(nodes, SystemClock()), SystemClock(), {})


def test_a_whole_cluster_is_read_each_node_by_itself() -> None:
    found = inventory()
    assert {host.host_id: host.state for host in found.hosts} == {"hv1": "up", "hv2": "up", "hv3": "disconnected"}
    (vm,) = found.vms
    assert (vm.host_key, vm.facts["cluster_group"]) == ("lab/hv2", "web")
    assert vm.storages == (VOLUME, "\\\\files\\vms")
    assert vm.used is not None
    assert vm.used.cpu_cores > 0
    (cluster,) = found.clusters
    assert (cluster.name, cluster.rival_balancer) == ("CL1", "VM load balancing")
    assert found.warnings == ()


def test_a_node_that_does_not_answer_is_disconnected_and_warned_of() -> None:
    found = inventory(hv2=EndpointUnreachable("no answer from HV2"))
    assert {host.host_id: host.state for host in found.hosts}["hv2"] == "disconnected"
    assert found.vms == ()
    (warning,) = found.warnings
    assert "no answer from HV2" in warning


@pytest.mark.parametrize("copy_state", [2, 3])
def test_a_copy_of_a_vm_on_another_node_does_not_count(copy_state: int) -> None:
    found = inventory(on_hv1=(vm_row(enabled_state=copy_state),))
    (vm,) = found.vms
    assert vm.host_key == "lab/hv2"
    (warning,) = found.warnings
    assert VM in warning

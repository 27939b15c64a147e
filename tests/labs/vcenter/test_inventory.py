# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the inventory says of hosts, VMs, clusters and rules, and what it costs to ask."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Inventory
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.properties import PAGE_OBJECTS
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, save_model, task_done
from pyVmomi import vim

Start = Callable[..., VCenter]
Connect = Callable[..., VmwareDriver]

HOSTILE_NAMES = [
    "{{ lookup('pipe', 'id') }}",
    "'; drop table vms; --",
    'a "quoted" $(reboot) `name`',
    "../../etc/passwd",
    "<![CDATA[ & ]]>",
    "línea\ttabulada 名前 🚀",
    "x" * 80,
]


def host(inventory: Inventory, name: str) -> Any:
    return next(found for found in inventory.hosts if found.name == name)


def vm(inventory: Inventory, name: str) -> Any:
    return next(found for found in inventory.vms if found.name == name)


def test_hosts_come_with_capacity_state_cluster_networks_and_storage(vcenter: VCenter, connect: Connect) -> None:
    inventory = connect(vcenter).inventory()
    found = host(inventory, "DC0_C0_H0")
    assert found.capacity.as_dict() == {
        "cpu_cores": 16.0,
        "memory_mib": 131072.0,
        "network_mbit_s": 20000.0,
        "disk_mib_s": 0.0,
    }
    assert (found.state, found.cluster, found.family) == ("up", "DC0_C0", "vmware")
    assert "DC0_DVPG0" in found.networks
    assert found.storages == ("LocalDS_0",)
    assert found.migration_link_mbit_s == 10000.0
    assert host(inventory, "DC0_H0").cluster is None


def test_use_is_in_cores_and_mebibytes(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    machine = named(content, vim.VirtualMachine, "DC0_H0_VM0")
    vcenter.set(machine, "summary.quickStats.overallCpuUsage", 1250)
    vcenter.set(machine, "summary.quickStats.hostMemoryUsage", 700)
    lone = named(content, vim.HostSystem, "DC0_H0")
    vcenter.set(lone, "summary.quickStats.overallCpuUsage", 5000)
    vcenter.set(lone, "summary.quickStats.overallMemoryUsage", 9000)
    inventory = connect(vcenter).inventory()
    assert vm(inventory, "DC0_H0_VM0").used.cpu_cores == 0.5
    assert vm(inventory, "DC0_H0_VM0").used.memory_mib == 700
    assert host(inventory, "DC0_H0").used.cpu_cores == 2.0
    assert host(inventory, "DC0_H0").used.memory_mib == 9000


def test_host_states_are_told_apart(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    task_done(named(content, vim.HostSystem, "DC0_C0_H0").EnterMaintenanceMode_Task(0))
    task_done(named(content, vim.HostSystem, "DC0_C0_H1").DisconnectHost_Task())
    vcenter.set(named(content, vim.HostSystem, "DC0_H0"), "runtime.powerState", "standBy")
    inventory = connect(vcenter).inventory()
    states = {found.name: found.state for found in inventory.hosts}
    assert states == {"DC0_C0_H0": "maintenance", "DC0_C0_H1": "disconnected", "DC0_C0_H2": "up", "DC0_H0": "off"}


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_pass_through_unharmed(vcenter: VCenter, connect: Connect, name: str) -> None:
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_H0_VM0")
    vcenter.set(machine, "name", name)
    vcenter.set(machine, "config.annotation", name)
    found = vm(connect(vcenter).inventory(), name)
    assert found.notes == name


def test_names_are_those_that_people_gave(vcenter: VCenter, connect: Connect) -> None:
    """A vCenter itself escapes three characters in names."""
    content = vcenter.administrator()
    for kind, name in ((vim.VirtualMachine, "DC0_H0_VM0"), (vim.HostSystem, "DC0_H0"), (vim.Datastore, "LocalDS_0")):
        vcenter.set(named(content, kind, name), "name", "50%25 of a%2fb")
    inventory = connect(vcenter).inventory()
    machine = vm(inventory, "50% of a/b")
    assert machine.storages == ("50% of a/b",)
    assert machine.host_key == host(inventory, "50% of a/b").key


def test_an_agent_of_vsphere_s_own_is_pinned(vcenter: VCenter, connect: Connect) -> None:
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_H0_VM0")
    agent = {"extensionKey": "com.vmware.vim.eam", "type": "cluster-agent"}
    vcenter.set(machine, "config.managedBy", agent)
    inventory = connect(vcenter).inventory()
    assert vm(inventory, "DC0_H0_VM0").pinned_by == ("agent: com.vmware.vim.eam",)
    assert vm(inventory, "DC0_H0_VM1").pinned_by == ()


def test_namesakes_are_two_vms_with_their_own_uuids(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    for name in ("DC0_H0_VM0", "DC0_C0_RP0_VM0"):
        vcenter.set(named(content, vim.VirtualMachine, name), "name", "twin")
    twins = [found for found in connect(vcenter).inventory().vms if found.name == "twin"]
    assert len({twin.uuid for twin in twins}) == 2


def test_template_suspended_and_powered_off_vms_are_what_they_are(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    off = named(content, vim.VirtualMachine, "DC0_H0_VM0")
    task_done(off.PowerOff())
    off.MarkAsTemplate()
    task_done(named(content, vim.VirtualMachine, "DC0_H0_VM1").Suspend())
    inventory = connect(vcenter).inventory()
    assert vm(inventory, "DC0_H0_VM0").is_template
    assert vm(inventory, "DC0_H0_VM0").power_state == "off"
    assert vm(inventory, "DC0_H0_VM1").power_state == "suspended"
    assert not vm(inventory, "DC0_C0_RP0_VM0").is_template


def test_a_passthrough_device_pins_its_vm(vcenter: VCenter, connect: Connect) -> None:
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_H0_VM0")
    give_passthrough(machine)
    inventory = connect(vcenter).inventory()
    assert vm(inventory, "DC0_H0_VM0").pinned_by[0].startswith("pci_passthrough: ")
    assert vm(inventory, "DC0_H0_VM1").pinned_by == ()


def give_passthrough(machine: Any) -> None:
    """Add a PCI device and reserve all memory, as vSphere demands with one."""
    types = vim.vm.device
    backing = types.VirtualPCIPassthrough.DeviceBackingInfo(
        deviceId="10fb", deviceName="nic", id="0000:03:00.0", systemId="host", vendorId=-32634
    )
    device = types.VirtualPCIPassthrough(key=-1, backing=backing)
    spec = vim.vm.ConfigSpec(
        deviceChange=[types.VirtualDeviceSpec(operation="add", device=device)],
        memoryAllocation=vim.ResourceAllocationInfo(reservation=machine.config.hardware.memoryMB),
    )
    task_done(machine.ReconfigVM_Task(spec))


def test_reservations_and_limits_are_read(vcenter: VCenter, connect: Connect) -> None:
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_H0_VM0")
    spec = vim.vm.ConfigSpec(cpuAllocation=vim.ResourceAllocationInfo(reservation=500, limit=1000))
    task_done(machine.ReconfigVM_Task(spec))
    found = vm(connect(vcenter).inventory(), "DC0_H0_VM0")
    assert found.guaranteed.cpu_cores == 0.2
    assert found.facts["cpu_limit_mhz"] == 1000
    assert found.facts["memory_limit_mib"] is None


def test_custom_attributes_are_labels(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    field = content.customFieldsManager.AddCustomFieldDef("tier {{ x }}", vim.VirtualMachine)
    content.customFieldsManager.SetField(named(content, vim.VirtualMachine, "DC0_H0_VM0"), field.key, "gold")
    inventory = connect(vcenter).inventory()
    assert vm(inventory, "DC0_H0_VM0").labels == {"tier {{ x }}": "gold"}
    assert vm(inventory, "DC0_H0_VM1").labels == {}


def test_rules_and_drs_are_found(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    cluster = named(content, vim.ClusterComputeResource, "DC0_C0")
    first, second = (named(content, vim.VirtualMachine, f"DC0_C0_RP0_VM{n}") for n in (0, 1))
    hosts = [named(content, vim.HostSystem, "DC0_C0_H0")]
    types = vim.cluster
    spec = types.ConfigSpecEx(
        drsConfig=types.DrsConfigInfo(enabled=True, defaultVmBehavior="fullyAutomated", vmotionRate=3),
        groupSpec=[
            types.GroupSpec(operation="add", info=types.VmGroup(name="licensed", vm=[first])),
            types.GroupSpec(operation="add", info=types.HostGroup(name="rack", host=hosts)),
        ],
        rulesSpec=[
            types.RuleSpec(
                operation="add",
                info=types.AntiAffinityRuleSpec(name="apart", enabled=True, vm=[first, second]),
            ),
            types.RuleSpec(operation="add", info=types.AffinityRuleSpec(name="off", enabled=False, vm=[first, second])),
            types.RuleSpec(
                operation="add",
                info=types.VmHostRuleInfo(
                    name="stay", enabled=True, mandatory=False, vmGroupName="licensed", affineHostGroupName="rack"
                ),
            ),
        ],
    )
    task_done(cluster.ReconfigureComputeResource_Task(spec, True))
    inventory = connect(vcenter).inventory()
    rules = {rule.name: rule for rule in inventory.rules}
    assert set(rules) == {"apart", "stay"}
    assert rules["apart"].kind == "vm_anti_affinity"
    assert rules["apart"].mandatory
    assert rules["apart"].vm_uuids == {first.config.instanceUuid, second.config.instanceUuid}
    assert rules["stay"].kind == "vm_host_affinity"
    assert not rules["stay"].mandatory
    assert rules["stay"].host_keys == {f"vc/{hosts[0]._moId}"}
    assert inventory.clusters[0].rival_balancer == "DRS"
    assert len(inventory.clusters[0].host_keys) == 3
    assert inventory.clusters[0].facts["drs_mode"] == "fullyAutomated"


def test_drs_that_only_recommends_is_no_rival(vcenter: VCenter, connect: Connect) -> None:
    assert connect(vcenter).inventory().clusters[0].rival_balancer is None


def test_equal_network_names_of_two_datacenters_stay_different(start: Start, connect: Connect) -> None:
    inventory = connect(start("-dc", "2")).inventory()
    shared = {name for found in inventory.hosts for name in found.networks if name.startswith("VM Network")}
    assert len(shared) == 2


def test_a_vm_without_configuration_is_left_out_and_told(vcenter: VCenter, connect: Connect) -> None:
    vcenter.set(named(vcenter.administrator(), vim.VirtualMachine, "DC0_H0_VM0"), "config", None)
    inventory = connect(vcenter).inventory()
    assert len(inventory.vms) == 3
    assert "inaccessible" in inventory.warnings[0]


def test_requests_are_bounded_by_pages_not_by_vms(start: Start, connect: Connect) -> None:
    vcenter = start("-copies", "5000", "-clusters", "2", "-hosts", "8")
    driver = connect(vcenter)
    vcenter.reset_requests()
    inventory = driver.inventory()
    objects = len(inventory.vms) + len(inventory.hosts) + 60
    assert len(inventory.vms) == 5006
    assert sum(vcenter.requests().values()) <= objects / PAGE_OBJECTS + 10


def test_a_saved_model_is_the_same_estate_when_loaded(
    program: Path, start: Start, connect: Connect, tmp_path: Path
) -> None:
    saved = tmp_path / "saved"
    save_model(program, tmp_path / "saving", saved, ["-copies", "40"])
    loaded = start("-load", str(saved))
    inventory = connect(loaded).inventory()
    created = connect(start("-copies", "40")).inventory()

    def seen(found: Inventory) -> set[tuple[str, tuple[str, ...], bool]]:
        hosts = {host.key for host in found.hosts}
        return {(vm.name, vm.networks, vm.host_key in hosts) for vm in found.vms}

    assert seen(inventory) == seen(created)
    assert {host.name: host.capacity for host in inventory.hosts} == {h.name: h.capacity for h in created.hosts}
    assert inventory.clusters[0].facts["resource_pools"] == created.clusters[0].facts["resource_pools"]
    copy = named(loaded.administrator(), vim.VirtualMachine, "copy-00007")
    task_done(copy.ReconfigVM_Task(vim.vm.ConfigSpec(cpuAllocation=vim.ResourceAllocationInfo(reservation=500))))
    assert vm(connect(loaded).inventory(), "copy-00007").guaranteed.cpu_cores == 0.2


def test_a_lone_esxi_host_is_an_estate_of_its_own(start: Start, connect: Connect) -> None:
    inventory = connect(start("-esx")).inventory()
    assert len(inventory.hosts) == 1
    assert len(inventory.vms) == 2
    assert inventory.facts["is_vcenter"] is False
    assert inventory.clusters == ()


def test_the_server_s_clock_is_told(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    server_ts = driver.inventory().server_ts
    assert server_ts is not None
    assert abs(server_ts - driver.clock.now()) < 60

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every reason against a move is found before anything is touched, under a code of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Finding, MoveOrder
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import (
    VCenter,
    local_datastore,
    named,
    task_done,
)
from pyVmomi import vim

Start = Callable[..., VCenter]
Connect = Callable[..., VmwareDriver]
Prepare = Callable[[VCenter, Any, Any], None]

VM, HOST = "DC0_H0_VM0", "DC0_C0_H1"
#: Calls that a preflight may make; none of them changes anything.
HARMLESS = {
    "RetrieveServiceContent",
    "Login",
    "CurrentTime",
    "FindByUuid",
    "RetrievePropertiesEx",
    "CreateContainerView",
    "DestroyView",
    "QueryVMotionCompatibilityEx_Task",
    "CheckRelocate_Task",
}


def ask(driver: VmwareDriver, vm: str = VM, host: str = HOST, **order: Any) -> dict[str, Finding]:
    inventory = driver.inventory()
    uuid = next(found.uuid for found in inventory.vms if found.name == vm)
    host_id = next((found.host_id for found in inventory.hosts if found.name == host), host)
    findings = driver.preflight(uuid, driver, host_id, MoveOrder(uuid, host_id, "", **order))
    return {finding.code: finding for finding in findings}


def test_a_move_with_nothing_against_it_has_no_finding_and_touches_nothing(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    assert ask(driver) == {}
    assert set(vcenter.requests()) <= HARMLESS


def maintenance(vcenter: VCenter, vm: Any, host: Any) -> None:
    task_done(host.EnterMaintenanceMode_Task(0))


def disconnection(vcenter: VCenter, vm: Any, host: Any) -> None:
    task_done(host.DisconnectHost_Task())


def standby(vcenter: VCenter, vm: Any, host: Any) -> None:
    vcenter.set(host, "runtime.powerState", "standBy")


def no_vmotion(vcenter: VCenter, vm: Any, host: Any) -> None:
    vcenter.set(host, "summary.config.vmotionEnabled", False)


def no_network(vcenter: VCenter, vm: Any, host: Any) -> None:
    vcenter.set(host, "network", [])


def no_datastore(vcenter: VCenter, vm: Any, host: Any) -> None:
    vcenter.set(host, "datastore", [])


def agent(vcenter: VCenter, vm: Any, host: Any) -> None:
    vcenter.set(vm, "config.managedBy", {"extensionKey": "com.vmware.vim.eam", "type": "cluster-agent"})


def suspension(vcenter: VCenter, vm: Any, host: Any) -> None:
    task_done(vm.Suspend())


def template(vcenter: VCenter, vm: Any, host: Any) -> None:
    task_done(vm.PowerOff())
    vm.MarkAsTemplate()


def orphan(vcenter: VCenter, vm: Any, host: Any) -> None:
    vcenter.set(vm, "runtime.connectionState", "orphaned")


def backup(vcenter: VCenter, vm: Any, host: Any) -> None:
    vcenter.set(vm, "disabledMethod", ["RelocateVM_Task"])


def host_drive(vcenter: VCenter, vm: Any, host: Any) -> None:
    devices = vm.config.hardware.device
    drive = next(device for device in devices if isinstance(device, vim.vm.device.VirtualCdrom))
    drive.backing = vim.vm.device.VirtualCdrom.AtapiBackingInfo(deviceName="/dev/sr0")
    drive.connectable.connected = True
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=drive)
    task_done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))


def passthrough(vcenter: VCenter, vm: Any, host: Any) -> None:
    types = vim.vm.device.VirtualPCIPassthrough
    backing = types.DeviceBackingInfo(deviceId="10fb", deviceName="n", id="0000:03:00.0", systemId="h", vendorId=1)
    change = vim.vm.device.VirtualDeviceSpec(operation="add", device=types(key=-1, backing=backing))
    task_done(vm.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (maintenance, "host_maintenance"),
        (disconnection, "host_disconnected"),
        (standby, "host_off"),
        (no_vmotion, "vmotion_disabled"),
        (no_network, "network_missing"),
        (no_datastore, "storage_missing"),
        (suspension, "vm_not_running"),
        (template, "vm_is_template"),
        (orphan, "vm_not_connected"),
        (backup, "relocation_disabled"),
        (host_drive, "vm_pinned"),
        (passthrough, "vm_pinned"),
        (agent, "vm_pinned"),
    ],
)
def test_each_obstacle_is_found(vcenter: VCenter, connect: Connect, prepare: Prepare, code: str) -> None:
    content = vcenter.administrator()
    prepare(vcenter, named(content, vim.VirtualMachine, VM), named(content, vim.HostSystem, HOST))
    assert ask(connect(vcenter))[code].blocking


def test_a_host_that_is_being_evacuated_takes_nothing(start: Start, connect: Connect) -> None:
    vcenter = start("-evacuate-ms", "5000")
    driver = connect(vcenter)
    named(vcenter.administrator(), vim.HostSystem, HOST).EnterMaintenanceMode_Task(0)
    states = {host.name: host.state for host in driver.inventory().hosts}
    assert states[HOST] == "entering_maintenance"
    assert ask(driver)["host_entering_maintenance"].blocking


def test_unknown_host_and_present_host(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    assert set(ask(driver, host="host-99999")) == {"host_unknown"}
    assert "already_there" in ask(driver, host="DC0_H0")


def test_an_unknown_vm_is_told(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    host_id = driver.inventory().hosts[0].host_id
    (finding,) = driver.preflight("no-such-uuid", driver, host_id, MoveOrder("no-such-uuid", host_id, ""))
    assert finding.code == "vm_unknown"


def test_a_move_in_flight_stands_in_the_way(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=5000)
    inventory = driver.inventory()
    uuid = next(vm.uuid for vm in inventory.vms if vm.name == VM)
    host_id = next(host.host_id for host in inventory.hosts if host.name == HOST)
    job = driver.start_migration(MoveOrder(uuid, host_id, ""), driver)
    assert ask(driver)["migration_running"].blocking
    driver.abort(job)


def test_automated_drs_is_told_but_does_not_block(vcenter: VCenter, connect: Connect) -> None:
    cluster = named(vcenter.administrator(), vim.ClusterComputeResource, "DC0_C0")
    drs = vim.cluster.DrsConfigInfo(enabled=True, defaultVmBehavior="fullyAutomated")
    task_done(cluster.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(drsConfig=drs), True))
    assert not ask(connect(vcenter))["rival_balancer"].blocking


def test_vcenter_s_own_objections_are_passed_on(start: Start, connect: Connect, tmp_path: Path) -> None:
    answers = tmp_path / "answers.json"
    answers.write_text(
        json.dumps(
            [
                {"vm": VM, "host": HOST, "errors": ["CpuIncompatible"], "warnings": ["SnapshotMoveNotSupported"]},
                {"vm": "*", "host": "DC0_C0_H2", "warnings": ["SnapshotMoveNotSupported"]},
            ]
        )
    )
    driver = connect(start("-compat", str(answers)))
    refused = ask(driver)
    assert refused["compatibility_error"].details["fault"] == "CpuIncompatible"
    assert refused["compatibility_error"].blocking
    assert refused["relocation_error"].blocking
    assert not refused["compatibility_warning"].blocking
    warned = ask(driver, host="DC0_C0_H2")
    assert {finding.blocking for finding in warned.values()} == {False}


def test_disks_that_may_be_copied_need_a_datastore_to_go_to(vcenter: VCenter, connect: Connect, tmp_path: Path) -> None:
    host = named(vcenter.administrator(), vim.HostSystem, HOST)
    no_datastore(vcenter, None, host)
    driver = connect(vcenter)
    assert ask(driver, storage_copy=True)["datastore_missing"].blocking
    local_datastore(vcenter, host, tmp_path)
    assert ask(driver, storage_copy=True) == {}
    assert ask(driver, storage_copy=True, options={"datastore": "elsewhere"})["datastore_missing"].blocking
    assert ask(driver)["storage_missing"].blocking


def test_a_lone_host_cannot_migrate(start: Start, connect: Connect) -> None:
    driver = connect(start("-esx"))
    inventory = driver.inventory()
    order = MoveOrder(inventory.vms[0].uuid, inventory.hosts[0].host_id, "")
    (finding,) = driver.preflight(order.vm_uuid, driver, order.destination_host_id, order)
    assert finding.code == "no_vcenter"


def test_a_vm_of_another_vcenter_is_refused(start: Start, connect: Connect) -> None:
    here = connect(start())
    with VmwareDriver("there", start().endpoint("there")) as there:
        uuid = there.inventory().vms[0].uuid
        (finding,) = here.preflight(uuid, there, "host-1", MoveOrder(uuid, "host-1", ""))
    assert finding.code == "other_vcenter"


def test_the_stock_simulator_cannot_check_and_that_is_said(stock: VCenter, connect: Connect) -> None:
    content = stock.administrator()
    machine = named(content, vim.VirtualMachine, VM)
    devices = machine.config.hardware.device
    drive = next(device for device in devices if isinstance(device, vim.vm.device.VirtualCdrom))
    remove = vim.vm.device.VirtualDeviceSpec(operation="remove", device=drive)
    task_done(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[remove])))
    found = ask(connect(stock))
    assert set(found) == {"vmotion_disabled", "rival_balancer"}

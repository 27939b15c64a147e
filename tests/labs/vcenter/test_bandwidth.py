# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Network and disk guarantees on the VM's own devices: given where vSphere controls the I/O, the ledger's elsewhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Hold,
    HypervisorFault,
    MoveOrder,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, task_done, wait_until
from pyVmomi import vim

Start = Callable[..., VCenter]
Connect = Callable[..., VmwareDriver]

VM, FIRST, SECOND = "DC0_C0_RP0_VM0", "DC0_C0_H1", "DC0_C0_H2"
AMOUNT = Resources(cpu_cores=1.0, memory_mib=16.0, network_mbit_s=49.5, disk_mib_s=2.0)
#: The simulator's key for the second card of its machines.
SECOND_CARD = 205
POOL = {"cpu": "hypervisor", "memory": "hypervisor"}
LEDGER_IO = {**POOL, "network": "ledger", "disk": "ledger"}
#: One disk that moves 1024 KiB/s in 128 operations of 8 KiB.
DISK_USE = {
    "virtualDisk.read.average@scsi0:0": [768],
    "virtualDisk.write.average@scsi0:0": [256],
    "virtualDisk.numberReadAveraged.average@scsi0:0": [100],
    "virtualDisk.numberWriteAveraged.average@scsi0:0": [28],
}


@pytest.fixture
def serve(start: Start, tmp_path: Path) -> Callable[..., VCenter]:
    """A function that starts a vCenter whose VMs' devices carry what is given, without anything `DISK_USE`."""

    def run(use: dict[str, list[int]] | None = None) -> VCenter:
        perf = tmp_path / "perf.json"
        perf.write_text(json.dumps({"interval_s": 20, "series": {"*": DISK_USE if use is None else use}}))
        return start("-admission", "-perf", str(perf))

    return run


def machine(vcenter: VCenter) -> Any:
    return named(vcenter.administrator(), vim.VirtualMachine, VM)


def device(vcenter: VCenter, key: int) -> Any:
    return next(found for found in machine(vcenter).config.hardware.device if found.key == key)


def control_network(vcenter: VCenter, version: str = "version3") -> None:
    switch = named(vcenter.administrator(), vim.DistributedVirtualSwitch, "DVS0")
    vcenter.set(switch, "config.networkResourceManagementEnabled", True)
    vcenter.set(switch, "config.networkResourceControlVersion", version)


def control_disks(vcenter: VCenter, *, reservations: bool = True) -> None:
    (datastore,) = machine(vcenter).datastore
    vcenter.set(datastore, "iormConfiguration.enabled", True)
    vcenter.set(datastore, "iormConfiguration.reservationEnabled", reservations)


def add_card(vcenter: VCenter, network: Any = None) -> int:
    """Add a card like the first, or on a network without a distributed switch, and return its key."""
    types = vim.vm.device
    card = device(vcenter, 4000)
    backing = card.backing
    if network is not None:
        backing = types.VirtualEthernetCard.NetworkBackingInfo(deviceName=network.name, network=network)
    connectable = types.VirtualDevice.ConnectInfo(connected=True, startConnected=True, allowGuestControl=True)
    added = types.VirtualVmxnet3(key=-1, backing=backing, connectable=connectable)
    change = types.VirtualDeviceSpec(operation="add", device=added)
    task_done(machine(vcenter).ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    cards = (found for found in machine(vcenter).config.hardware.device if isinstance(found, types.VirtualEthernetCard))
    return next(int(found.key) for found in cards if found.key != 4000)


def arrive(driver: VmwareDriver, host: str = FIRST, tier: str = "hard", amount: Resources = AMOUNT) -> Hold:
    """Hold the amount on a host, move the VM there, and return the hold as the ledger would give it back."""
    inventory = driver.inventory()
    uuid = next(vm.uuid for vm in inventory.vms if vm.name == VM)
    host_id = next(found.host_id for found in inventory.hosts if found.name == host)
    placed = driver.place_hold(Hold(f"r-{host}", host_id, uuid, amount, tier))
    job = driver.start_migration(MoveOrder(uuid, host_id, placed.reservation_id), driver)
    wait_until(lambda: driver.progress(job).finished, "the end of the migration")
    tokens = json.loads(json.dumps(placed.tokens))
    return Hold(placed.reservation_id, host_id, uuid, amount, tier, placed.enforced_by, tokens)


def test_a_card_on_a_switch_with_network_io_control_gets_the_bandwidth(
    serve: Callable[..., VCenter], connect: Connect
) -> None:
    vcenter = serve()
    control_network(vcenter)
    driver = connect(vcenter)
    hold = arrive(driver)
    assert hold.enforced_by["network"] == "ledger"  # until the VM is there, nothing but the ledger holds bandwidth
    assert driver.settle_hold(hold) == {**LEDGER_IO, "network": "hypervisor"}
    allocation = device(vcenter, 4000).resourceAllocation
    assert (allocation.reservation, allocation.limit, allocation.share.shares) == (50, -1, 50)
    vcenter.reset_requests()
    assert driver.settle_hold(hold) == {**LEDGER_IO, "network": "hypervisor"}
    assert "ReconfigVM_Task" not in vcenter.requests()


@pytest.mark.parametrize("version", [None, "version2"])
def test_without_network_io_control_version_3_the_ledger_has_the_bandwidth(
    serve: Callable[..., VCenter], connect: Connect, version: str | None
) -> None:
    vcenter = serve()
    if version is not None:
        control_network(vcenter, version)
    driver = connect(vcenter)
    assert driver.settle_hold(arrive(driver)) == LEDGER_IO
    assert device(vcenter, 4000).resourceAllocation.reservation == 0


def test_two_cards_share_the_bandwidth_as_they_shared_the_traffic(
    serve: Callable[..., VCenter], connect: Connect
) -> None:
    vcenter = serve({"net.usage.average@4000": [300], "net.usage.average@205": [100]})
    control_network(vcenter)
    assert add_card(vcenter) == SECOND_CARD
    driver = connect(vcenter)
    assert driver.settle_hold(arrive(driver))["network"] == "hypervisor"
    assert device(vcenter, 4000).resourceAllocation.reservation == 38
    assert device(vcenter, SECOND_CARD).resourceAllocation.reservation == 13


@pytest.mark.parametrize(("carried", "who"), [(100, "ledger"), (0, "hypervisor")])
def test_a_card_outside_of_control_matters_as_far_as_it_carries_traffic(
    serve: Callable[..., VCenter], connect: Connect, carried: int, who: str
) -> None:
    vcenter = serve({"net.usage.average@4000": [300], "net.usage.average@205": [carried]})
    control_network(vcenter)
    add_card(vcenter, named(vcenter.administrator(), vim.Network, "VM Network"))
    driver = connect(vcenter)
    assert driver.settle_hold(arrive(driver))["network"] == who


def test_two_cards_without_any_traffic_are_the_ledger_s(serve: Callable[..., VCenter], connect: Connect) -> None:
    vcenter = serve()
    control_network(vcenter)
    add_card(vcenter)
    driver = connect(vcenter)
    assert driver.settle_hold(arrive(driver)) == LEDGER_IO


def test_megabytes_become_operations_by_the_size_that_the_disk_s_have(
    serve: Callable[..., VCenter], connect: Connect
) -> None:
    vcenter = serve()
    control_disks(vcenter)
    driver = connect(vcenter)
    assert driver.settle_hold(arrive(driver)) == {**LEDGER_IO, "disk": "hypervisor"}
    assert device(vcenter, 204).storageIOAllocation.reservation == 2 * 1024 / 8


def test_large_operations_count_as_several_of_32_kib(serve: Callable[..., VCenter], connect: Connect) -> None:
    vcenter = serve({**DISK_USE, "virtualDisk.read.average@scsi0:0": [64000]})
    control_disks(vcenter)
    driver = connect(vcenter)
    driver.settle_hold(arrive(driver))
    assert device(vcenter, 204).storageIOAllocation.reservation == 2 * 1024 / 32


@pytest.mark.parametrize(("use", "reservations"), [({}, True), (DISK_USE, False)])
def test_an_idle_disk_and_a_datastore_without_io_reservations_are_the_ledger_s(
    serve: Callable[..., VCenter], connect: Connect, use: dict[str, list[int]], reservations: bool
) -> None:
    vcenter = serve(use)
    control_disks(vcenter, reservations=reservations)
    driver = connect(vcenter)
    assert driver.settle_hold(arrive(driver)) == LEDGER_IO
    assert not device(vcenter, 204).storageIOAllocation.reservation


@pytest.mark.parametrize("fault", ["InsufficientNetworkResourcePoolCapacity", "NoPermission"])
def test_bandwidth_that_vsphere_refuses_stays_the_ledger_s_and_the_rest_is_guaranteed(
    serve: Callable[..., VCenter], connect: Connect, fault: str
) -> None:
    vcenter = serve()
    control_network(vcenter)
    driver = connect(vcenter)
    hold = arrive(driver)
    vcenter.make_fail({"method": "ReconfigVM_Task", "fault": fault, "skip": 1})
    assert driver.settle_hold(hold) == LEDGER_IO
    assert machine(vcenter).config.cpuAllocation.reservation == 2500
    assert driver.list_holds() == ()


def test_what_is_not_there_when_read_back_is_not_called_guaranteed(
    serve: Callable[..., VCenter], connect: Connect
) -> None:
    vcenter = serve()
    control_network(vcenter)
    driver = connect(vcenter)
    hold = arrive(driver)
    vcenter.forget_changes()
    with pytest.raises(HypervisorFault, match="where it was told"):
        driver.settle_hold(hold)
    assert [found.reservation_id for found in driver.list_holds()] == [hold.reservation_id]
    vcenter.forget_changes(False)
    driver.settle_hold(hold)
    only_network = Hold(
        hold.reservation_id, hold.host_id, hold.vm_uuid, AMOUNT, "hard", {}, {"bandwidth": {"network": {"4000": 70}}}
    )
    vcenter.forget_changes()
    assert driver.settle_hold(only_network) == LEDGER_IO


def test_control_that_was_switched_off_meanwhile_is_noticed(serve: Callable[..., VCenter], connect: Connect) -> None:
    vcenter = serve()
    control_network(vcenter)
    driver = connect(vcenter)
    hold = arrive(driver)
    switch = named(vcenter.administrator(), vim.DistributedVirtualSwitch, "DVS0")
    vcenter.set(switch, "config.networkResourceManagementEnabled", False)
    assert driver.settle_hold(hold) == LEDGER_IO


def test_more_than_a_card_s_limit_is_not_reserved(serve: Callable[..., VCenter], connect: Connect) -> None:
    vcenter = serve()
    control_network(vcenter)
    card = device(vcenter, 4000)
    card.resourceAllocation.limit = 30
    change = vim.vm.device.VirtualDeviceSpec(operation="edit", device=card)
    task_done(machine(vcenter).ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[change])))
    driver = connect(vcenter)
    driver.settle_hold(arrive(driver))
    allocation = device(vcenter, 4000).resourceAllocation
    assert (allocation.reservation, allocation.limit) == (30, 30)


def test_a_later_soft_move_gives_bandwidth_back(serve: Callable[..., VCenter], connect: Connect) -> None:
    vcenter = serve()
    control_network(vcenter)
    control_disks(vcenter)
    driver = connect(vcenter)
    driver.settle_hold(arrive(driver))
    driver.settle_hold(arrive(driver, SECOND, "soft"))
    assert device(vcenter, 4000).resourceAllocation.reservation == 0
    assert device(vcenter, 204).storageIOAllocation.reservation == 0


def test_a_settlement_that_died_after_its_note_does_not_make_a_gift_the_vm_s_own(
    serve: Callable[..., VCenter], connect: Connect
) -> None:
    vcenter = serve()
    control_network(vcenter)
    driver = connect(vcenter)
    driver.settle_hold(arrive(driver))
    larger = Resources(cpu_cores=2.0, memory_mib=16.0, network_mbit_s=80.0)
    hold = arrive(driver, SECOND, amount=larger)
    vcenter.make_fail({"method": "ReconfigVM_Task", "fault": "InvalidState"})
    with pytest.raises(HypervisorFault):
        driver.settle_hold(hold)
    vcenter.make_fail()
    driver.settle_hold(hold)
    assert device(vcenter, 4000).resourceAllocation.reservation == 80
    driver.settle_hold(arrive(driver, FIRST, "soft"))
    config = machine(vcenter).config
    assert (config.cpuAllocation.reservation, config.memoryAllocation.reservation) == (0, 0)
    assert device(vcenter, 4000).resourceAllocation.reservation == 0

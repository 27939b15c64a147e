# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulator as govmomi ships it (`vcsim` without flags): login, inventory, holds, a move, its settlement."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Hold,
    HoldRefused,
    LoginRefused,
    MoveOrder,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, wait_until
from pyVmomi import vim

Connect = Callable[..., VmwareDriver]

VM = "DC0_C0_RP0_VM0"


class TestStock:
    """What stock lacks (history of its own, vMotion, compatibility checks) is in the tests of the lab's additions."""

    @pytest.fixture
    def driver(self, stock: VCenter, connect: Connect) -> VmwareDriver:
        return connect(stock)

    def hold(self, driver: VmwareDriver) -> Hold:
        """Return a hold of one core and 16 MiB for the VM on a host of the cluster that it is not on."""
        inventory = driver.inventory()
        vm = next(found for found in inventory.vms if found.name == VM)
        host = next(found for found in inventory.hosts if found.cluster and found.key != vm.host_key)
        return Hold("r-1", host.host_id, vm.uuid, Resources(cpu_cores=1.0, memory_mib=16.0), "hard")

    def test_it_lets_in_whom_it_knows_and_forgets_them_afterwards(self, stock: VCenter) -> None:
        with pytest.raises(LoginRefused):
            VmwareDriver("vc", stock.endpoint(password="another")).connect()
        with VmwareDriver("vc", stock.endpoint()):
            assert len(stock.administrator().sessionManager.sessionList) == 2
        manager = stock.administrator().sessionManager
        assert len(manager.sessionList) == 2  # this administrator's two

    def test_its_default_inventory_is_read_in_full(self, driver: VmwareDriver) -> None:
        inventory = driver.inventory()
        assert {host.name for host in inventory.hosts} == {"DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2", "DC0_H0"}
        assert {vm.name for vm in inventory.vms} == {VM, "DC0_C0_RP0_VM1", "DC0_H0_VM0", "DC0_H0_VM1"}
        assert [cluster.name for cluster in inventory.clusters] == ["DC0_C0"]
        assert all(vm.host_key in {host.key for host in inventory.hosts} for vm in inventory.vms)
        assert all(host.capacity.cpu_cores > 0 and host.capacity.memory_mib > 0 for host in inventory.hosts)
        assert all(vm.power_state == "running" and vm.networks and vm.storages for vm in inventory.vms)
        assert inventory.warnings == ()

    def test_a_session_that_it_ends_is_renewed(self, stock: VCenter, driver: VmwareDriver) -> None:
        manager = stock.administrator().sessionManager
        others = [session.key for session in manager.sessionList if session.key != manager.currentSession.key]
        manager.TerminateSession(others)
        assert len(driver.inventory().vms) == 4

    def test_a_hold_is_placed_found_grown_and_released(self, driver: VmwareDriver) -> None:
        hold = self.hold(driver)
        placed = driver.place_hold(hold)
        assert {who for name, who in placed.enforced_by.items() if name in ("cpu", "memory")} == {"hypervisor"}
        assert [found.reservation_id for found in driver.list_holds()] == ["r-1"]
        driver.place_hold(replace(hold, amount=Resources(cpu_cores=0.5, memory_mib=24.0)))
        assert [found.amount.memory_mib for found in driver.list_holds()] == [24.0]
        assert driver.release_hold("r-1", placed.tokens)
        assert not driver.release_hold("r-1", placed.tokens)
        assert driver.list_holds() == ()

    def test_a_vm_moves_into_its_hold_and_keeps_the_guarantee(self, stock: VCenter, driver: VmwareDriver) -> None:
        hold = driver.place_hold(self.hold(driver))
        job = driver.start_migration(MoveOrder(hold.vm_uuid, hold.host_id, "r-1"), driver)
        wait_until(lambda: driver.progress(job).finished, "the end of the migration")
        assert driver.progress(job).phase == "done"
        assert [seen.host_id for seen in driver.locate(hold.vm_uuid)] == [hold.host_id]
        assert driver.settle_hold(hold)["memory"] == "hypervisor"
        assert driver.list_holds() == ()
        assert named(stock.administrator(), vim.VirtualMachine, VM).config.memoryAllocation.reservation == 16

    def test_a_hold_that_it_refuses_leaves_nothing(self, driver: VmwareDriver) -> None:
        hold = self.hold(driver)
        negative = Hold("r-2", hold.host_id, hold.vm_uuid, Resources(cpu_cores=-4.0), "hard")
        with pytest.raises(HoldRefused):
            driver.place_hold(negative)
        assert driver.list_holds() == ()

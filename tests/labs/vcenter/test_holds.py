# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holding capacity in tagged pools: placed, verified, listed, changed, refused, released, settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Hold,
    HoldRefused,
    HypervisorFault,
    MoveOrder,
    PermissionDenied,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, task_done, wait_until
from pyVmomi import vim

Start = Callable[..., VCenter]
Connect = Callable[..., VmwareDriver]

BOTH = {"cpu": "hypervisor", "memory": "hypervisor", "network": "ledger", "disk": "ledger"}
NEITHER = dict.fromkeys(("cpu", "memory", "network", "disk"), "ledger")


def wanted(driver: VmwareDriver, host: str = "DC0_C0_H1", vm: str = "DC0_C0_RP0_VM0", **changes: Any) -> Hold:
    """Return a hard hold of 2 cores and 20 MiB on a host for a VM, by their names."""
    inventory = driver.inventory()
    return Hold(
        reservation_id=changes.pop("reservation_id", "r-1"),
        host_id=next(found.host_id for found in inventory.hosts if found.name == host),
        vm_uuid=next(found.uuid for found in inventory.vms if found.name == vm),
        amount=changes.pop("amount", Resources(cpu_cores=2.0, memory_mib=20.0, network_mbit_s=50.0)),
        tier=changes.pop("tier", "hard"),
    )


def pools(vcenter: VCenter) -> list[str]:
    content = vcenter.administrator()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.ResourcePool], True)
    return sorted(pool.name for pool in view.view)


def test_a_hard_hold_is_a_pool_with_a_reservation_that_another_process_finds(
    vcenter: VCenter, connect: Connect
) -> None:
    driver = connect(vcenter)
    hold = wanted(driver)
    placed = driver.place_hold(hold)
    assert placed.enforced_by == BOTH
    (found,) = connect(vcenter).list_holds()
    assert found == replace(placed, amount=Resources(cpu_cores=2.0, memory_mib=20.0))
    pool = named(vcenter.administrator(), vim.ResourcePool, "foresight-r-1")
    assert (pool.config.cpuAllocation.reservation, pool.config.memoryAllocation.reservation) == (5000, 20)


def test_a_soft_hold_is_the_ledger_s_alone(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    placed = driver.place_hold(wanted(driver, tier="soft"))
    assert placed.enforced_by == NEITHER
    assert driver.list_holds() == ()


def test_a_reservation_that_becomes_soft_gives_up_its_pool(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    driver.place_hold(wanted(driver))
    assert driver.place_hold(wanted(driver, tier="soft")).enforced_by == NEITHER
    assert driver.list_holds() == ()


def test_placing_again_changes_the_amount_and_makes_no_second_pool(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    hold = wanted(driver)
    first = driver.place_hold(hold)
    again = driver.place_hold(hold)
    assert again.tokens == first.tokens
    driver.place_hold(replace(hold, amount=Resources(cpu_cores=3.0, memory_mib=40.0)))
    (found,) = driver.list_holds()
    assert found.amount == Resources(cpu_cores=3.0, memory_mib=40.0)


def test_more_than_the_cluster_has_is_refused_and_nothing_is_left(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    before = pools(vcenter)
    with pytest.raises(HoldRefused) as refused:
        driver.place_hold(wanted(driver, amount=Resources(cpu_cores=1000.0)))
    assert refused.value.details["fault"] == "InsufficientCpuResourcesFault"
    assert pools(vcenter) == before


def test_growing_beyond_what_is_left_is_refused_and_the_old_hold_stays(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    hold = wanted(driver)
    driver.place_hold(hold)
    with pytest.raises(HoldRefused):
        driver.place_hold(replace(hold, amount=Resources(memory_mib=1e9)))
    (found,) = driver.list_holds()
    assert found.amount.memory_mib == 20.0


def test_a_hold_that_cannot_be_tagged_is_taken_back(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.make_fail({"method": "SetField", "fault": "NoPermission"})
    with pytest.raises(PermissionDenied):
        driver.place_hold(wanted(driver))
    assert "foresight-r-1" not in pools(vcenter)


def test_release_removes_the_pool_once(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    placed = driver.place_hold(wanted(driver))
    assert driver.release_hold("r-1", placed.tokens) is True
    assert driver.release_hold("r-1", placed.tokens) is False
    assert driver.list_holds() == ()


def test_a_cluster_without_drs_has_no_pools_so_the_ledger_holds(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    spec = vim.cluster.ConfigSpecEx(drsConfig=vim.cluster.DrsConfigInfo(enabled=False))
    task_done(named(content, vim.ClusterComputeResource, "DC0_C0").ReconfigureComputeResource_Task(spec, True))
    driver = connect(vcenter)
    assert driver.place_hold(wanted(driver)).enforced_by == NEITHER


def test_a_pool_that_a_dead_run_left_without_its_tag_is_taken_over_and_tagged(
    vcenter: VCenter, connect: Connect
) -> None:
    root = named(vcenter.administrator(), vim.ClusterComputeResource, "DC0_C0").resourcePool
    share = vim.SharesInfo(level="normal", shares=4000)
    amount = vim.ResourceAllocationInfo(reservation=1, limit=-1, expandableReservation=True, shares=share)
    root.CreateResourcePool("foresight-r-1", vim.ResourceConfigSpec(cpuAllocation=amount, memoryAllocation=amount))
    driver = connect(vcenter)
    hold = wanted(driver)
    placed = driver.place_hold(hold)
    (found,) = driver.list_holds()
    assert (found.host_id, found.vm_uuid, found.tokens) == (hold.host_id, hold.vm_uuid, placed.tokens)
    assert (found.amount.cpu_cores, found.amount.memory_mib) == (2.0, 20.0)


def test_a_foreign_pool_and_a_note_written_by_hand_are_left_alone(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    driver.place_hold(wanted(driver))
    content = vcenter.administrator()
    key = next(field.key for field in content.customFieldsManager.field if field.name == "foresight.hold")
    root = named(content, vim.ClusterComputeResource, "DC0_C0").resourcePool
    content.customFieldsManager.SetField(root, key, "written by a person {{ x }}")
    assert [hold.reservation_id for hold in driver.list_holds()] == ["r-1"]


def move(driver: VmwareDriver, hold: Hold) -> None:
    order = MoveOrder(hold.vm_uuid, hold.host_id, hold.reservation_id)
    job = driver.start_migration(order, driver)
    wait_until(lambda: driver.progress(job).finished, "the end of the migration")
    assert driver.progress(job).phase == "done"


def own_reservation(vcenter: VCenter, name: str = "DC0_C0_RP0_VM0") -> tuple[int, int]:
    config = named(vcenter.administrator(), vim.VirtualMachine, name).config
    return config.cpuAllocation.reservation, config.memoryAllocation.reservation


def test_after_the_move_the_hold_is_the_vm_s_own_guarantee_in_its_old_pool(vcenter: VCenter, connect: Connect) -> None:
    content = vcenter.administrator()
    home = named(content, vim.VirtualMachine, "DC0_C0_RP0_VM0").resourcePool
    driver = connect(vcenter)
    hold = driver.place_hold(wanted(driver))
    move(driver, hold)
    assert named(content, vim.VirtualMachine, "DC0_C0_RP0_VM0").resourcePool.name == "foresight-r-1"
    assert driver.settle_hold(hold) == BOTH
    assert own_reservation(vcenter) == (5000, 20)
    assert named(content, vim.VirtualMachine, "DC0_C0_RP0_VM0").resourcePool == home
    assert driver.list_holds() == ()
    assert driver.settle_hold(hold) == BOTH
    assert own_reservation(vcenter) == (5000, 20)


def test_what_the_server_alone_may_set_is_not_sent_back(vcenter: VCenter, connect: Connect) -> None:
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_C0_RP0_VM0")
    vcenter.set(machine, "config.memoryAllocation.overheadLimit", 41)
    driver = connect(vcenter)
    hold = driver.place_hold(wanted(driver))
    move(driver, hold)
    assert driver.settle_hold(hold) == BOTH
    assert own_reservation(vcenter) == (5000, 20)


def test_a_guarantee_given_before_does_not_pile_up(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    first = driver.place_hold(wanted(driver))
    move(driver, first)
    driver.settle_hold(first)
    smaller = wanted(driver, "DC0_C0_H2", reservation_id="r-2", amount=Resources(cpu_cores=1.0, memory_mib=10.0))
    driver.place_hold(smaller)
    move(driver, smaller)
    driver.settle_hold(smaller)
    assert own_reservation(vcenter) == (2500, 10)


def test_what_an_administrator_reserved_is_never_lowered(vcenter: VCenter, connect: Connect) -> None:
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_C0_RP0_VM0")
    spec = vim.vm.ConfigSpec(cpuAllocation=vim.ResourceAllocationInfo(reservation=7000))
    task_done(machine.ReconfigVM_Task(spec))
    driver = connect(vcenter)
    hold = driver.place_hold(wanted(driver, amount=Resources(cpu_cores=4.0, memory_mib=10.0)))
    move(driver, hold)
    driver.settle_hold(hold)
    assert own_reservation(vcenter) == (10000, 10)
    soft = wanted(driver, "DC0_C0_H2", reservation_id="r-2", tier="soft")
    move(driver, soft)
    assert driver.settle_hold(soft) == NEITHER
    assert own_reservation(vcenter) == (7000, 0)


def test_no_more_memory_is_guaranteed_than_the_vm_has(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    hold = driver.place_hold(wanted(driver, amount=Resources(cpu_cores=1.0, memory_mib=5000.0)))
    move(driver, hold)
    driver.settle_hold(hold)
    assert own_reservation(vcenter) == (2500, 32)


def test_a_guarantee_that_vsphere_refuses_leaves_the_hold_in_place(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    hold = driver.place_hold(wanted(driver))
    move(driver, hold)
    vcenter.make_fail({"method": "ReconfigVM_Task", "fault": "InsufficientMemoryResourcesFault"})
    with pytest.raises(HypervisorFault):
        driver.settle_hold(hold)
    assert [found.reservation_id for found in driver.list_holds()] == ["r-1"]
    vcenter.make_fail()
    assert driver.settle_hold(hold) == BOTH


def test_a_vm_with_a_guarantee_is_let_in_only_through_its_hold(vcenter: VCenter, connect: Connect) -> None:
    """With the rest of the cluster promised away, the room that was held is the only room there is."""
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_H0_VM0")
    task_done(machine.ReconfigVM_Task(vim.vm.ConfigSpec(cpuAllocation=vim.ResourceAllocationInfo(reservation=4000))))
    driver = connect(vcenter)
    hold = driver.place_hold(wanted(driver, vm="DC0_H0_VM0"))
    others = Resources(cpu_cores=3 * 16 - 2.0)
    driver.place_hold(wanted(driver, reservation_id="r-rest", amount=others))
    blind = driver.start_migration(MoveOrder(hold.vm_uuid, hold.host_id, ""), driver)
    wait_until(lambda: driver.progress(blind).finished, "the refusal")
    assert "InsufficientCpuResourcesFault" in driver.progress(blind).error
    move(driver, hold)


def test_stock_and_lone_hosts_take_holds_too(start: Start, connect: Connect) -> None:
    for flags in (("-stock",), ("-stock", "-esx")):
        driver = connect(start(*flags))
        inventory = driver.inventory()
        hold = Hold("r-9", inventory.hosts[0].host_id, inventory.vms[0].uuid, Resources(1.0, 64.0), "hard")
        placed = driver.place_hold(hold)
        assert placed.enforced_by == BOTH
        (found,) = driver.list_holds()
        assert (found.reservation_id, found.host_id, found.amount) == ("r-9", hold.host_id, hold.amount)
        assert driver.release_hold("r-9", placed.tokens)
        assert driver.list_holds() == ()

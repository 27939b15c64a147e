# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Migrations: followed, found by others, cancelled, failing half-way, and servers that die meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    Hold,
    HypervisorFault,
    Job,
    MoveOrder,
    Progress,
    Tuning,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import (
    VCenter,
    local_datastore,
    named,
    task_done,
    wait_until,
)
from pyVmomi import vim

Start = Callable[..., VCenter]
Connect = Callable[..., VmwareDriver]

VM = "DC0_C0_RP0_VM0"
#: For moves that are to be under way until the test ends or hurries them.
SLOW_MS = 30_000


def uuid_of(driver: VmwareDriver, name: str = VM) -> str:
    return next(vm.uuid for vm in driver.inventory().vms if vm.name == name)


def other_host(driver: VmwareDriver, vm_uuid: str) -> str:
    """Return the id of a host of the cluster that the VM is not on."""
    here = driver.locate(vm_uuid)[0].host_id
    return next(h.host_id for h in driver.inventory().hosts if h.cluster and h.host_id != here)


def begin(driver: VmwareDriver, **options: Any) -> Job:
    uuid = uuid_of(driver)
    return driver.start_migration(MoveOrder(uuid, other_host(driver, uuid), "", options=options), driver)


def follow(driver: VmwareDriver, job: Job) -> list[Progress]:
    """Return every progress until the job has ended."""
    seen: list[Progress] = []

    def ended() -> bool:
        seen.append(driver.progress(job))
        return seen[-1].finished

    wait_until(ended, "the end of the migration")
    return seen


def test_a_move_tells_its_progress_and_ends_on_the_destination(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=SLOW_MS)
    job = begin(driver)
    seen: list[Progress] = []

    def under_way() -> bool:
        seen.append(driver.progress(job))
        return len({progress.percent for progress in seen}) > 3

    wait_until(under_way, "progress")
    vcenter.relocations(ms=0)
    seen += follow(driver, job)
    percents = [progress.percent for progress in seen if progress.percent is not None]
    assert percents == sorted(percents)
    assert {progress.phase for progress in seen[:-1]} <= {"starting", "precopy"}
    assert seen[-1].phase == "done"
    assert [seen.host_id for seen in driver.locate(job.vm_uuid)] == [job.destination_host_id]


def test_the_hosts_own_lists_follow_the_vm(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    job = begin(driver)
    follow(driver, job)
    content = vcenter.administrator()
    machine = named(content, vim.VirtualMachine, VM)
    assert [host._moId for host in hosts_listing(content, machine)] == [job.destination_host_id]


def hosts_listing(content: Any, machine: Any) -> list[Any]:
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.HostSystem], True)
    return [host for host in view.view if machine in host.vm]


@pytest.mark.parametrize("storage_copy", [True, False])
def test_disks_go_along_only_when_they_may_to_a_datastore_that_the_destination_has(
    vcenter: VCenter, connect: Connect, tmp_path: Path, storage_copy: bool
) -> None:
    driver = connect(vcenter)
    uuid = uuid_of(driver)
    destination = other_host(driver, uuid)
    content = vcenter.administrator()
    host = named(content, vim.HostSystem, next(h.name for h in driver.inventory().hosts if h.host_id == destination))
    local = local_datastore(vcenter, host, tmp_path)
    follow(driver, driver.start_migration(MoveOrder(uuid, destination, "", storage_copy=storage_copy), driver))
    (datastore,) = named(content, vim.VirtualMachine, VM).datastore
    assert (datastore._moId == local._moId) == storage_copy


def test_another_process_finds_the_move_and_where_it_goes(vcenter: VCenter, connect: Connect) -> None:
    driver, another = connect(vcenter), connect(vcenter)
    vcenter.relocations(ms=SLOW_MS)
    job = begin(driver)
    found = another.find_migration(job.vm_uuid)
    assert found == job
    another.abort(found)
    assert driver.progress(job).phase == "aborted"
    assert another.find_migration(job.vm_uuid) is None


def test_a_move_into_a_hold_is_found_with_its_reservation(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    uuid = uuid_of(driver)
    host = other_host(driver, uuid)
    driver.place_hold(Hold("r-7", host, uuid, Resources(1.0, 16.0), "hard"))
    vcenter.relocations(ms=SLOW_MS)
    driver.start_migration(MoveOrder(uuid, host, "r-7"), driver)
    found = connect(vcenter).find_migration(uuid)
    assert found is not None
    assert (found.destination_host_id, found.reservation_id) == (host, "r-7")


def test_cancelling_leaves_the_vm_on_its_source(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=SLOW_MS)
    job = begin(driver)
    wait_until(lambda: (driver.progress(job).percent or 0) > 0, "some progress")
    driver.abort(job)
    progress = driver.progress(job)
    assert progress.phase == "aborted"
    assert (progress.percent or 0) < 100
    assert driver.locate(job.vm_uuid)[0].host_id == job.source_host_id


def test_cancelling_after_arrival_is_told_rather_than_taken_for_done(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    job = begin(driver)
    follow(driver, job)
    with pytest.raises(HypervisorFault) as refused:
        driver.abort(job)
    assert refused.value.details["fault"] == "AlreadyCompleted"


def test_a_failure_after_sixty_percent_says_why_and_leaves_the_vm_where_it_was(
    vcenter: VCenter, connect: Connect
) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=500, failure={"fault": "VMotionProtocolIncompatible", "percent": 60})
    job = begin(driver)
    last = follow(driver, job)[-1]
    assert last.phase == "failed"
    assert last.percent == 60
    assert "VMotionProtocolIncompatible" in last.error
    assert driver.locate(job.vm_uuid)[0].host_id == job.source_host_id


def test_maintenance_between_the_order_and_the_arrival_fails_the_move(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=SLOW_MS)
    job = begin(driver)
    destination = vim.HostSystem(job.destination_host_id, vcenter.administrator().rootFolder._stub)
    task_done(destination.EnterMaintenanceMode_Task(0))
    vcenter.relocations(ms=0)
    last = follow(driver, job)[-1]
    assert last.phase == "failed"
    assert "InvalidHostState" in last.error


def test_a_session_that_ends_during_the_move_does_not_lose_sight_of_it(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=SLOW_MS)
    job = begin(driver)
    manager = vcenter.administrator().sessionManager
    manager.TerminateSession([s.key for s in manager.sessionList if s.key != manager.currentSession.key])
    vcenter.relocations(ms=0)
    assert follow(driver, job)[-1].phase == "done"


def test_a_server_killed_during_the_move_is_unreachable_not_a_failed_move(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=SLOW_MS)
    job = begin(driver)
    vcenter.kill()
    with pytest.raises(EndpointUnreachable):
        driver.progress(job)


def test_starting_is_not_repeated_when_the_connection_breaks(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    uuid = uuid_of(driver)
    order = MoveOrder(uuid, other_host(driver, uuid), "")
    vcenter.make_fail({"method": "RelocateVM_Task", "fault": "InvalidState", "count": 1})
    vcenter.reset_requests()
    with pytest.raises(HypervisorFault):
        driver.start_migration(order, driver)
    assert vcenter.requests()["RelocateVM_Task"] == 1


def test_a_vm_that_drs_has_moved_is_seen_where_it_is_now(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    uuid = uuid_of(driver)
    target = other_host(driver, uuid)
    content = vcenter.administrator()
    vcenter.move(named(content, vim.VirtualMachine, VM), vim.HostSystem(target, content.rootFolder._stub))
    assert driver.locate(uuid)[0].host_id == target


def test_a_vm_that_was_deleted_is_nowhere(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    uuid = uuid_of(driver)
    machine = named(vcenter.administrator(), vim.VirtualMachine, VM)
    task_done(machine.PowerOff())
    task_done(machine.Destroy_Task())
    assert driver.locate(uuid) == ()
    assert driver.find_migration(uuid) is None


def test_a_task_that_the_server_has_dropped_is_gone(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    job = Job("no-such-vm", "host-1", "host-2", {"task": "task-99999", "vm": "vm-1"})
    assert driver.progress(job).phase == "gone"


def test_between_clusters_the_vm_enters_the_destination_s_root_pool(start: Start, connect: Connect) -> None:
    vcenter = start("-clusters", "2", "-admission")
    driver = connect(vcenter)
    uuid = uuid_of(driver)
    host = next(h for h in driver.inventory().hosts if h.cluster == "DC0_C1")
    follow(driver, driver.start_migration(MoveOrder(uuid, host.host_id, ""), driver))
    content = vcenter.administrator()
    root = named(content, vim.ClusterComputeResource, "DC0_C1").resourcePool
    assert named(content, vim.VirtualMachine, VM).resourcePool == root


def test_a_running_vmotion_is_not_tuned(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.relocations(ms=SLOW_MS)
    job = begin(driver)
    driver.tune(job, Tuning())
    with pytest.raises(HypervisorFault):
        driver.tune(job, Tuning(bandwidth_mib_s=10.0))


def test_moves_between_vcenters_are_refused(start: Start, connect: Connect) -> None:
    here, there = connect(start()), VmwareDriver("there", start().endpoint("there"))
    with there, pytest.raises(HypervisorFault) as refused:
        here.start_migration(MoveOrder(uuid_of(here), "host-1", ""), there)
    assert refused.value.details["fault"] == "other_vcenter"


def test_the_stock_simulator_moves_a_vm(stock: VCenter, connect: Connect) -> None:
    driver = connect(stock)
    job = begin(driver)
    assert follow(driver, job)[-1].phase == "done"
    assert driver.locate(job.vm_uuid)[0].host_id == job.destination_host_id

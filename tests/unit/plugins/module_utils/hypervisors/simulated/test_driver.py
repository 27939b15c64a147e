# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The simulated driver as every other room uses it: through the protocol."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.fleet import Fleet
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    Hold,
    HoldRefused,
    HypervisorFault,
    Job,
    MoveOrder,
    Progress,
    Tuning,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.state import StateUnusable

if TYPE_CHECKING:
    from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate


def order(vm_uuid: str, destination: str = "host-c", **options: object) -> MoveOrder:
    return MoveOrder(vm_uuid=vm_uuid, destination_host_id=destination, reservation_id="r1", **options)  # type: ignore[arg-type]


def finish(driver: SimulatedDriver, job: Job, limit_s: float = 600.0) -> Progress:
    deadline_ts = driver.clock.now() + limit_s
    while not (progress := driver.progress(job)).finished and driver.clock.now() < deadline_ts:
        driver.clock.sleep(0.5)
    return progress


def hold(vm_uuid: str, host: str = "host-c", tier: str = "hard", **amount: float) -> Hold:
    return Hold("r1", host, vm_uuid, Resources(**(amount or {"cpu_cores": 2.0, "memory_mib": 8192.0})), tier)


def test_the_inventory_shows_every_host_and_vm_with_its_use(simulated_estate: SimulatedEstate) -> None:
    inventory = simulated_estate.driver().inventory()
    assert {host.name: host.used.cpu_cores for host in inventory.hosts if host.used} == {
        "host-a": 3.0,
        "host-b": 3.0,
        "host-c": 0.0,
    }
    assert {vm.name: vm.host_key for vm in inventory.vms} == {
        "web01": "sim/host-a",
        "db01": "sim/host-a",
        "batch01": "sim/host-b",
    }


def test_a_migration_ends_with_the_vm_on_the_destination_and_a_measured_downtime(
    simulated_estate: SimulatedEstate,
) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    job = driver.start_migration(order(uuid, tuning=Tuning(max_downtime_ms=200)), driver)
    assert driver.find_migration(uuid) == job
    progress = finish(driver, job)
    assert progress.phase == "done"
    assert progress.downtime_ms is not None
    assert 0 < progress.downtime_ms <= 200 + 60
    assert progress.transferred_mib is not None
    assert progress.transferred_mib >= 4096
    assert [(seen.host_id, seen.active) for seen in driver.locate(uuid)] == [("host-c", True)]
    assert driver.find_migration(uuid) is None


def test_another_process_adopts_a_move_that_went_on_without_its_controller(simulated_estate: SimulatedEstate) -> None:
    first, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    first.start_migration(order(uuid), first)
    first.close()
    second = simulated_estate.driver()
    second.clock.sleep(1.0)
    found = second.find_migration(uuid)
    assert found is not None
    assert second.progress(found).phase == "precopy"
    second.clock.sleep(60.0)
    assert simulated_estate.driver().progress(found).phase == "done"


def test_an_aborted_move_leaves_the_vm_on_its_source(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    job = driver.start_migration(order(uuid), driver)
    driver.clock.sleep(2.0)
    driver.abort(job)
    driver.abort(job)
    driver.clock.sleep(600.0)
    assert driver.progress(job).phase == "aborted"
    assert [seen.host_id for seen in driver.locate(uuid)] == ["host-a"]


@pytest.mark.parametrize("polls", [1, 7, 50])
def test_how_often_one_looks_does_not_change_how_a_move_goes(simulated_estate: SimulatedEstate, polls: int) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("db01")
    job = driver.start_migration(order(uuid, tuning=Tuning(bandwidth_mib_s=300, max_downtime_ms=100)), driver)
    for _unused in range(polls):
        driver.clock.sleep(100.0 / polls)
        driver.progress(job)
    progress = driver.progress(job)
    assert progress.phase == "done"
    # by hand: 6144 MiB at 300 MiB/s while 80 MiB/s are dirtied within 1536 MiB: rounds of 20.48, 3.36, 0.82 and 0.21 s
    assert progress.elapsed_s == pytest.approx(0.5 + 20.48 + 3.358 + 0.822 + 0.214 + 0.117, abs=0.01)
    assert progress.transferred_mib == pytest.approx(6144 + 1007.4 + 246.5 + 64.3 + 17.1, abs=1.0)


def test_two_moves_over_one_link_share_it(simulated_estate: SimulatedEstate) -> None:
    driver = simulated_estate.driver()
    jobs = [
        driver.start_migration(order(simulated_estate.vm_uuid(name), destination), driver)
        for name, destination in (("web01", "host-b"), ("db01", "host-c"))
    ]
    driver.clock.sleep(2.0)
    rates = [driver.progress(job).throughput_mib_s or 0.0 for job in jobs]
    assert rates[0] == pytest.approx(rates[1])
    # host-a's VMs take 200 of its 10,000 Mbit/s
    assert sum(rates) == pytest.approx(9800e6 / 8 / 2**20 * 1448 / 1538, rel=1e-6)


def test_a_vm_that_dirties_faster_than_the_link_never_converges_unless_throttled(
    simulated_estate: SimulatedEstate,
) -> None:
    simulated_estate.scenario["vms"][1]["dirty_mib_s_per_core"] = 200
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("db01")
    job = driver.start_migration(order(uuid, tuning=Tuning(bandwidth_mib_s=50)), driver)
    driver.clock.sleep(3600.0)
    assert driver.progress(job).phase == "precopy"
    driver.tune(job, Tuning(throttle=True))
    assert finish(driver, job, limit_s=3600.0).phase == "done"


def test_a_throttled_vm_gets_less_processor_time_until_it_has_arrived(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.scenario["vms"][1]["dirty_mib_s_per_core"] = 200
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("db01")
    order_ = order(uuid, auto_converge=True, tuning=Tuning(bandwidth_mib_s=50, max_downtime_ms=2000))
    job = driver.start_migration(order_, driver)
    driver.clock.sleep(200.0)  # two bad rounds of 30.7 s end at 184 s, so the first throttling is on
    during = driver.observe_vm(uuid)
    assert during is not None
    assert during.cpu_cores == pytest.approx(2.0 * 0.8)
    assert finish(driver, job, limit_s=3600.0).phase == "done"
    after = driver.observe_vm(uuid)
    assert after is not None
    assert after.cpu_cores == 2.0


def test_a_stalled_post_copy_can_be_resumed(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("db01")
    job = driver.start_migration(order(uuid, post_copy=True, tuning=Tuning(bandwidth_mib_s=100)), driver)
    driver.clock.sleep(5.0)
    driver.switch_to_post_copy(job)
    driver.inject({"kind": "migration_stall", "times": 1})
    driver.clock.sleep(600.0)
    assert driver.progress(job).phase == "stalled"
    driver.recover_post_copy(job, driver)
    assert finish(driver, job).phase == "done"


def test_a_soft_hold_leaves_the_vms_own_guarantee_alone(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.scenario["vms"][0]["guaranteed"] = {"cpu_cores": 1.0}
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    placed = driver.place_hold(hold(uuid, host="host-a", tier="soft"))
    assert set(driver.settle_hold(placed).values()) == {"ledger"}
    assert next(vm.guaranteed.cpu_cores for vm in driver.inventory().vms if vm.uuid == uuid) == 1.0


def test_post_copy_runs_the_vm_at_the_destination_at_once_and_cannot_be_aborted(
    simulated_estate: SimulatedEstate,
) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("db01")
    job = driver.start_migration(order(uuid, post_copy=True, tuning=Tuning(bandwidth_mib_s=100)), driver)
    driver.clock.sleep(5.0)
    driver.switch_to_post_copy(job)
    assert {(seen.host_id, seen.active) for seen in driver.locate(uuid)} == {("host-c", True), ("host-a", False)}
    with pytest.raises(HypervisorFault, match="cannot be stopped"):
        driver.abort(job)
    assert finish(driver, job).phase == "done"
    assert [seen.host_id for seen in driver.locate(uuid)] == ["host-c"]


def test_post_copy_is_refused_when_the_order_did_not_allow_it(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("db01")
    job = driver.start_migration(order(uuid), driver)
    driver.clock.sleep(1.0)
    with pytest.raises(HypervisorFault) as caught:
        driver.switch_to_post_copy(job)
    assert caught.value.details["fault"] == "post_copy_refused"


def test_compression_sends_fewer_bytes_for_the_same_memory(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    progress = finish(driver, driver.start_migration(order(uuid, compression=True), driver))
    assert progress.transferred_mib is not None
    assert progress.transferred_mib < 0.6 * 4096


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"family": "vmware"}, "family_mismatch"),
        ({"state": "maintenance"}, "host_not_up"),
        ({"networks": []}, "network_missing"),
        ({"storages": []}, "storage_missing"),
        ({"capacity": {"cpu_cores": 8, "memory_mib": 1024}}, "memory_insufficient"),
    ],
)
def test_preflight_names_what_the_destination_lacks(
    simulated_estate: SimulatedEstate, change: dict[str, object], code: str
) -> None:
    simulated_estate.scenario["hosts"][2].update(change)
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    assert [finding.code for finding in driver.preflight(uuid, driver, "host-c", order(uuid))] == [code]
    with pytest.raises(HypervisorFault) as caught:
        driver.start_migration(order(uuid), driver)
    assert caught.value.details["fault"] == code


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"pinned_by": ["pci 0000:3b:00.0"]}, "device_pinned"),
        ({"power_state": "suspended"}, "vm_not_running"),
        ({"required_cpu_features": ["avx512f"]}, "cpu_incompatible"),
    ],
)
def test_preflight_names_what_keeps_the_vm(
    simulated_estate: SimulatedEstate, change: dict[str, object], code: str
) -> None:
    simulated_estate.scenario["vms"][0].update(change)
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    assert [finding.code for finding in driver.preflight(uuid, driver, "host-c", order(uuid))] == [code]


def test_preflight_lets_a_possible_move_pass_and_refuses_a_second_one(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    assert driver.preflight(uuid, driver, "host-c", order(uuid)) == ()
    driver.start_migration(order(uuid), driver)
    assert [f.code for f in driver.preflight(uuid, driver, "host-c", order(uuid))] == ["migration_in_progress"]


def test_a_storage_copy_moves_what_the_destination_cannot_reach(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.scenario["hosts"][2]["storages"] = []
    simulated_estate.scenario["vms"][0]["disk_mib"] = 10_000
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    copying = order(uuid, storage_copy=True)
    assert [finding.blocking for finding in driver.preflight(uuid, driver, "host-c", copying)] == [False]
    progress = finish(driver, driver.start_migration(copying, driver))
    assert progress.total_mib == 4096 + 10_000


def test_a_hard_hold_is_kept_found_and_becomes_the_vms_guarantee(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    placed = driver.place_hold(hold(uuid))
    assert set(placed.enforced_by.values()) == {"hypervisor"}
    assert simulated_estate.driver().list_holds() == (placed,)
    with pytest.raises(HypervisorFault, match="not on the host"):
        driver.settle_hold(placed)
    finish(driver, driver.start_migration(order(uuid), driver))
    assert set(driver.settle_hold(placed).values()) == {"hypervisor"}
    assert set(driver.settle_hold(placed).values()) == {"hypervisor"}
    assert driver.list_holds() == ()
    guaranteed = next(vm.guaranteed for vm in driver.inventory().vms if vm.uuid == uuid)
    assert guaranteed == placed.amount


def test_a_hold_beyond_what_the_host_can_promise_is_refused_and_leaves_nothing(
    simulated_estate: SimulatedEstate,
) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    driver.place_hold(hold(uuid, cpu_cores=6.0))
    other = Hold("r2", "host-c", simulated_estate.vm_uuid("db01"), Resources(cpu_cores=3.0), "hard")
    with pytest.raises(HoldRefused) as caught:
        driver.place_hold(other)
    assert caught.value.details["shortfall"] == {"cpu_cores": pytest.approx(1.0)}
    assert [found.reservation_id for found in driver.list_holds()] == ["r1"]
    assert driver.place_hold(hold(uuid, cpu_cores=8.0)).amount.cpu_cores == 8.0


def test_a_soft_hold_promises_nothing_of_the_platform(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    assert set(driver.place_hold(hold(uuid, tier="soft", cpu_cores=100.0)).enforced_by.values()) == {"ledger"}
    assert driver.release_hold("r1", {}) is True
    assert driver.release_hold("r1", {}) is False


def test_vms_on_an_overloaded_host_get_their_share_and_guarantees_come_first(
    simulated_estate: SimulatedEstate,
) -> None:
    for vm in simulated_estate.scenario["vms"]:
        vm.update(host="host-a", demand={"cpu_cores": 4})
    simulated_estate.scenario["vms"][0]["guaranteed"] = {"cpu_cores": 4}
    inventory = simulated_estate.driver().inventory()
    used = {vm.name: vm.used.cpu_cores for vm in inventory.vms if vm.used}
    assert used == {"web01": pytest.approx(4.0), "db01": pytest.approx(2.0), "batch01": pytest.approx(2.0)}
    host = next(host for host in inventory.hosts if host.name == "host-a")
    assert host.used is not None
    assert host.used.cpu_cores == pytest.approx(8.0)
    assert host.facts["demand"]["cpu_cores"] == pytest.approx(12.0)


def test_a_migration_shows_in_what_both_hosts_use(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    job = driver.start_migration(order(uuid, tuning=Tuning(bandwidth_mib_s=100)), driver)
    driver.clock.sleep(2.0)
    driver.progress(job)
    assert driver.observe_host("host-c").network_mbit_s == pytest.approx(100 * 8 * 2**20 / 1e6 * 1538 / 1448)


def test_a_stall_ends_when_it_is_told_to(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.scenario["faults"] = [
        {"kind": "migration_stall", "vm": "web01", "at_percent": 50, "for_s": 30, "times": 1}
    ]
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    job = driver.start_migration(order(uuid), driver)
    driver.clock.sleep(10.0)
    progress = driver.progress(job)
    assert progress.phase == "stalled"
    assert progress.transferred_mib == pytest.approx(2048, rel=0.001)
    assert finish(driver, job).phase == "done"


def test_a_failing_move_leaves_the_vm_running_on_its_source(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    driver.inject({"kind": "migration_failure", "at_percent": 60, "message": "lost the network", "times": 1})
    job = driver.start_migration(order(uuid), driver)
    progress = finish(driver, job)
    assert (progress.phase, progress.error) == ("failed", "lost the network")
    assert [(seen.host_id, seen.power_state) for seen in driver.locate(uuid)] == [("host-a", "running")]
    assert finish(driver, driver.start_migration(order(uuid), driver)).phase == "done"


def test_a_destination_that_dies_mid_move_fails_the_move_and_stays_down(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    driver.inject({"kind": "host_state", "host": "host-c", "state": "off", "at_percent": 30})
    assert next(host.state for host in driver.inventory().hosts if host.name == "host-c") == "up"
    progress = finish(driver, driver.start_migration(order(uuid), driver))
    assert progress.phase == "failed"
    assert next(host.state for host in driver.inventory().hosts if host.name == "host-c") == "off"
    assert [seen.host_id for seen in driver.locate(uuid)] == ["host-a"]


def test_a_host_that_dies_in_post_copy_takes_the_vm_with_it(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    job = driver.start_migration(order(uuid, post_copy=True, tuning=Tuning(bandwidth_mib_s=50)), driver)
    driver.clock.sleep(3.0)
    driver.switch_to_post_copy(job)
    driver.inject({"kind": "migration_failure"})
    assert finish(driver, job).phase == "failed"
    assert [(seen.host_id, seen.power_state) for seen in driver.locate(uuid)] == [("host-c", "paused")]


def test_a_refused_hold_and_an_unreachable_endpoint_come_on_request(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    driver.inject({"kind": "hold_refused", "host": "host-c", "times": 1})
    with pytest.raises(HoldRefused):
        driver.place_hold(hold(uuid))
    driver.place_hold(hold(uuid))
    fault_id = driver.inject({"kind": "endpoint_unreachable", "calls": ["inventory"]})
    with pytest.raises(EndpointUnreachable):
        driver.inventory()
    assert driver.locate(uuid)
    assert driver.clear_fault(fault_id)
    assert driver.inventory().vms


def test_slow_answers_pass_the_estates_time_and_end_at_the_endpoints_deadline(
    simulated_estate: SimulatedEstate,
) -> None:
    driver = simulated_estate.driver(timeout_s=20.0)
    driver.inject({"kind": "slow_answers", "delay_s": 5, "times": 1})
    before_ts = driver.clock.now()
    driver.inventory()
    assert driver.clock.now() - before_ts == 5.0
    driver.inject({"kind": "slow_answers", "delay_s": 50, "times": 1})
    with pytest.raises(EndpointUnreachable, match="within 20 s"):
        driver.inventory()


def test_a_vm_whose_demand_jumps_uses_more(simulated_estate: SimulatedEstate) -> None:
    driver = simulated_estate.driver()
    driver.inject({"kind": "demand_jump", "vm": "web01", "resource": "cpu", "factor": 3})
    used = next(vm.used for vm in driver.inventory().vms if vm.name == "web01")
    assert used is not None
    assert (used.cpu_cores, used.memory_mib) == (3.0, 4096.0)


def test_hostile_names_pass_through_unharmed(simulated_estate: SimulatedEstate) -> None:
    names = [
        "{{ lookup('pipe', 'id') }}",
        "a'; DROP TABLE jobs; --",
        "../../etc/passwd",
        "x\ny\t\u202e$(id)" + "é" * 200,
    ]
    entry = simulated_estate.scenario["vms"][0]
    simulated_estate.scenario["vms"] += [{**entry, "name": name} for name in names]
    driver = simulated_estate.driver()
    found = {vm.name: vm.uuid for vm in driver.inventory().vms}
    assert set(names) <= set(found)
    driver.inject({"kind": "demand_jump", "vm": names[1], "factor": 2})
    job = driver.start_migration(order(found[names[1]]), driver)
    assert finish(driver, job).phase == "done"


def test_endpoints_that_share_a_state_see_their_own_hosts_and_migrate_to_each_other(
    simulated_estate: SimulatedEstate,
) -> None:
    for host, endpoint in zip(simulated_estate.scenario["hosts"], ("left", "left", "right"), strict=True):
        host["endpoint"] = endpoint
    left, right = simulated_estate.driver("left"), simulated_estate.driver("right")
    uuid = next(vm.uuid for vm in left.inventory().vms if vm.name == "web01")
    assert [host.key for host in right.inventory().hosts] == ["right/host-c"]
    assert right.inventory().vms == ()
    job = left.start_migration(order(uuid), right)
    assert finish(left, job).phase == "done"
    assert left.locate(uuid) == ()
    assert [vm.host_key for vm in right.inventory().vms] == ["right/host-c"]


def test_a_fleet_lives_by_the_simulated_clock(simulated_estate: SimulatedEstate) -> None:
    with Fleet([simulated_estate.endpoint()]) as fleet:
        assert fleet.clock.now() == 1767603600.0
        fleet.clock.sleep(90.0)
        assert fleet.driver("sim").inventory().server_ts == 1767603690.0


def test_the_state_is_private_and_refuses_another_scenario(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.driver().close()
    assert stat.S_IMODE(os.stat(simulated_estate.state_path).st_mode) == 0o600
    simulated_estate.scenario["hosts"].pop()
    with pytest.raises(StateUnusable, match="another scenario"):
        simulated_estate.driver()


def test_an_endpoint_without_a_scenario_says_which_option_is_missing() -> None:
    with pytest.raises(InvalidOption) as caught:
        SimulatedDriver("sim", {"name": "sim", "type": "simulated"})
    assert caught.value.details["option"] == "endpoints.scenario"


def test_read_and_history_measure_vms_and_hosts_in_the_metrics_units(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("web01")
    now_ts = driver.clock.now()
    reading = driver.read({})
    assert len(reading.samples) == (3 + 3) * 4
    batches = list(driver.history(now_ts - 3600, now_ts))
    ours = [
        (ts, value)
        for batch in batches
        for kind, entity, metric, ts, value in zip(
            batch.entity_kind, batch.entity_id, batch.metric, batch.ts, batch.value, strict=True
        )
        if (kind, entity, metric) == ("vm", uuid, "memory")
    ]
    assert ours == [(now_ts - 3600 + 300 * step, 4096.0) for step in range(12)]


def test_the_dirty_rate_is_what_the_busy_cores_write(simulated_estate: SimulatedEstate) -> None:
    driver, uuid = simulated_estate.driver(), simulated_estate.vm_uuid("db01")
    rate = driver.measure_dirty_rate(uuid, 5.0)
    assert rate is not None
    assert (rate.dirty_mib_s, rate.working_set_mib) == (80.0, 1536.0)

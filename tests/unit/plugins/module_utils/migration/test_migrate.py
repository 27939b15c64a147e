# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole migrations on a simulated estate: what is true afterwards, at the hypervisor and in the ledger."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder
from ansible_collections.foresight.migration.plugins.module_utils.migration.errors import (
    DifferentFamily,
    MigrationFailed,
    PrecheckFailed,
    StrategyRefused,
    VmBusy,
)
from ansible_collections.foresight.migration.plugins.module_utils.workspace.errors import StoreNotWritable
from ansible_collections.foresight.migration.plugins.module_utils.workspace.records import MigrationLog
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

from .conftest import NEIGHBOUR, VM, Estate


def test_a_reserved_vm_is_moved_verified_and_its_reservation_consumed(estate: Estate) -> None:
    reservation = estate.reserve()
    outcome = estate.migrate(reservation_id=reservation.reservation_id)
    assert outcome.changed
    assert estate.host_of() == "b"
    assert estate.reservations() == {reservation.reservation_id: "consumed"}
    assert estate.holds() == []
    assert outcome.result["verification"]["verdict"] == "arrived"
    assert outcome.diff == {"before": {"host": "sim/a"}, "after": {"host": "sim/b"}}
    assert outcome.result["actual"]["downtime_measured_by"] == "platform"
    assert estate.steps[:3] == ["planned", "starting", "started"]


def test_the_prediction_is_close_to_what_is_measured_and_both_are_kept(estate: Estate) -> None:
    estate.reserve()
    result = estate.migrate().result
    predicted, actual = result["predicted"], result["actual"]
    assert actual["duration_s"] == pytest.approx(predicted["duration_s"], rel=0.15)
    assert actual["transferred_mib"] == pytest.approx(predicted["transferred_mib"], rel=0.15)
    (record,) = Workspace.open(estate.store).migrations.read()
    assert (record["vm_uuid"], record["outcome"], record["cause"]) == (VM, "moved", None)
    assert record["predicted"] == predicted
    assert record["actual"] == actual


def test_the_prediction_counts_disks_only_where_they_are_copied_along(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(disk_mib=2048)
    estate.reserve()
    without = estate.migrate(check_mode=True).result
    result = estate.migrate(storage_copy=True).result
    predicted, actual = result["predicted"], result["actual"]
    assert predicted["transferred_mib"] == pytest.approx(without["predicted"]["transferred_mib"] + 2048)
    assert actual["transferred_mib"] == pytest.approx(predicted["transferred_mib"], rel=0.15)
    assert actual["duration_s"] == pytest.approx(predicted["duration_s"], rel=0.15)
    assert (without["basis"]["disk_mib"], without["basis"]["disks_by"]) == (0.0, "none")
    assert (result["basis"]["disk_mib"], result["basis"]["disks_by"]) == (2048.0, "platform")


def test_a_second_run_finds_it_there_and_changes_nothing(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.migrate(reservation_id=reservation.reservation_id)
    again = estate.migrate(reservation_id=reservation.reservation_id)
    assert not again.changed
    assert again.result["state"] == "already_there"
    assert again.diff == {"before": {"host": "sim/b"}, "after": {"host": "sim/b"}}


def _failure(estate: Estate, **options: Any) -> MigrationFailed:
    with pytest.raises(MigrationFailed) as caught:
        estate.migrate(**options)
    return caught.value


def _untouched_at_source(estate: Estate, reservation_id: str) -> None:
    assert estate.host_of() == "a"
    assert estate.holds() == []
    assert estate.reservations() == {reservation_id: "released"}


def test_a_move_that_fails_leaves_the_vm_at_its_source_and_nothing_held(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.inject(kind="migration_failure", at_percent=50, message="boom {{ 7 * 7 }}\n\x1b[31m")
    error = _failure(estate)
    assert error.details["cause"]["message"] == "boom {{ 7 * 7 }}\n\x1b[31m"
    assert all(line.isprintable() for line in estate.lines)
    assert len(error.details["undone"]) == 2
    assert error.details["left"] == []
    _untouched_at_source(estate, reservation.reservation_id)


def test_a_move_that_fails_is_on_record_with_what_it_sent_in_vain(estate: Estate) -> None:
    estate.reserve()
    estate.inject(kind="migration_failure", at_percent=50)
    _failure(estate)
    (record,) = Workspace.open(estate.store).migrations.read()
    assert (record["vm_uuid"], record["outcome"], record["cause"]) == (VM, "migration_failed", "hypervisor_fault")
    assert 0 < record["actual"]["transferred_mib"] < record["predicted"]["transferred_mib"]
    assert 0 < record["actual"]["duration_s"] < record["predicted"]["duration_s"]
    assert record["actual"]["downtime_ms"] is None
    assert record["basis"]["memory_mib"] > 0


def test_a_store_that_takes_no_record_does_not_hide_why_the_move_failed(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise StoreNotWritable("the disk is full")

    estate.reserve()
    estate.inject(kind="migration_failure", at_percent=50)
    monkeypatch.setattr(MigrationLog, "append", refuse)
    error = _failure(estate)
    assert error.details["cause"]["code"] == "hypervisor_fault"
    assert error.details["not_recorded"] == "the disk is full"


def test_a_refused_move_leaves_no_record(estate: Estate) -> None:
    with pytest.raises(PrecheckFailed):
        estate.migrate()
    assert Workspace.open(estate.store).migrations.read() == []


def test_a_destination_that_dies_mid_move_leaves_the_vm_at_its_source(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.inject(kind="host_state", host="b", at_percent=40, state="off")
    error = _failure(estate)
    assert "went away" in error.details["cause"]["message"] or "died" in error.details["cause"]["message"]
    _untouched_at_source(estate, reservation.reservation_id)


def test_a_stalled_move_is_aborted(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.inject(kind="migration_stall", at_percent=30)
    assert _failure(estate).details["cause"]["code"] == "stalled"
    _untouched_at_source(estate, reservation.reservation_id)


def test_a_short_stall_is_sat_out(estate: Estate) -> None:
    estate.reserve()
    estate.inject(kind="migration_stall", at_percent=30, for_s=30)
    assert estate.migrate().result["state"] == "moved"


def test_a_move_that_takes_longer_than_the_sla_is_aborted(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.inject(kind="migration_stall", at_percent=30, for_s=50)
    assert _failure(estate, sla={"max_duration_s": 60}).details["cause"]["code"] == "sla_duration"
    _untouched_at_source(estate, reservation.reservation_id)


def test_a_soft_duration_limit_does_not_abort(estate: Estate) -> None:
    estate.reserve()
    estate.inject(kind="migration_stall", at_percent=30, for_s=50)
    assert estate.migrate(sla={"max_duration_s": 60, "soft": ["max_duration_s"]}).result["state"] == "moved"


def test_a_blackout_that_begins_mid_move_aborts_it(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.inject(kind="migration_stall", at_percent=30, for_s=50)
    blackout = [{"start": "2026-03-02T09:01:05Z", "end": "2026-03-02T10:00:00Z"}]
    assert _failure(estate, sla={"blackout": blackout}).details["cause"]["code"] == "sla_blackout"
    _untouched_at_source(estate, reservation.reservation_id)


def test_the_lease_is_renewed_while_the_move_runs(estate: Estate) -> None:
    reservation = estate.reserve(ttl_s=70)
    outcome = estate.migrate(lease_minutes=1.0)
    assert "renew" in [entry["step"] for entry in outcome.result["timeline"]]
    assert estate.reservations() == {reservation.reservation_id: "consumed"}


def test_a_vm_that_outgrows_its_reservation_gets_a_larger_one(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(allocated={"cpu_cores": 8, "memory_mib": 8192})
    estate.reserve()
    estate.inject(kind="demand_jump", vm="web01", factor=5, resource="cpu", start="2026-03-02T09:00:20Z")
    result = estate.migrate().result
    grown = [entry for entry in result["timeline"] if entry["step"] == "grow"]
    assert [entry["code"] for entry in grown] == ["demand_outgrew_reservation"]
    assert estate.reservation(result["reservation_id"]).amount.cpu_cores >= 5
    assert estate.guarantee().cpu_cores >= 5


def test_a_hard_reservation_that_cannot_grow_aborts_the_move(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(allocated={"cpu_cores": 16, "memory_mib": 8192})
    held = estate.reserve()
    estate.reserve(vm=NEIGHBOUR, amount=Resources(10, 8192, 500, 50))
    estate.inject(kind="demand_jump", vm="web01", factor=8, resource="cpu", start="2026-03-02T09:00:20Z")
    assert _failure(estate).details["cause"]["code"] == "growth_refused"
    assert estate.host_of() == "a"
    assert estate.reservations()[held.reservation_id] == "released"


def test_a_vm_that_writes_faster_than_the_link_is_slowed_until_the_move_ends(
    make_estate: Callable[..., Estate],
) -> None:
    estate = make_estate(dirty_mib_s_per_core=300.0, working_set_fraction=0.6)
    estate.reserve()
    result = estate.migrate(sla={"max_downtime_ms": 400}, means=["auto_converge"]).result
    assert result["strategy"]["name"] == "plain+auto_converge"
    assert result["actual"]["downtime_ms"] <= 400
    assert result["predicted"]["throttle_percent"] > 0


def test_such_a_vm_is_refused_beforehand_when_no_means_is_allowed(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(dirty_mib_s_per_core=300.0, working_set_fraction=0.6)
    reservation = estate.reserve()
    with pytest.raises(StrategyRefused) as caught:
        estate.migrate(means=[])
    assert "convergence" in caught.value.message
    assert estate.holds() == [reservation.reservation_id]
    assert estate.reservations() == {reservation.reservation_id: "active"}


def test_post_copy_is_used_only_when_allowed_and_nothing_gentler_fits(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(dirty_mib_s_per_core=300.0, working_set_fraction=0.6)
    estate.reserve()
    result = estate.migrate(means=["post_copy"], sla={"max_downtime_ms": 400}).result
    assert result["strategy"]["name"] == "plain+post_copy"
    assert "post_copy" in [entry["step"] for entry in result["timeline"]]
    assert result["actual"]["downtime_ms"] <= 400


def test_a_vm_that_turns_busy_mid_move_is_caught_by_the_ladder(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(allocated={"cpu_cores": 8, "memory_mib": 8192}, working_set_fraction=0.6)
    estate.reserve(amount=Resources(8, 8192, 500, 50))
    estate.inject(kind="demand_jump", vm="web01", factor=8, resource="cpu", start="2026-03-02T09:00:20Z")
    result = estate.migrate(sla={"max_downtime_ms": 400}).result
    codes = [entry.get("code") for entry in result["timeline"]]
    assert result["strategy"]["name"] == "plain"
    assert "throttle" in codes
    assert result["actual"]["downtime_ms"] <= 400


def test_an_idle_move_is_left_alone(make_estate: Callable[..., Estate]) -> None:
    estate = make_estate(dirty_mib_s_per_core=1.0)
    estate.reserve()
    steps = [entry["step"] for entry in estate.migrate().result["timeline"]]
    assert not {"tune", "abort", "post_copy", "grow"} & set(steps)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"windows": [{"start": "2026-03-02T22:00:00Z", "end": "2026-03-02T23:00:00Z"}]}, "window_open"),
        ({"sla": {"blackout": [{"start": "2026-03-02T08:00:00Z", "end": "2026-03-02T09:30:00Z"}]}}, "no_blackout"),
        ({"sla": {"blackout": [{"start": "2026-03-02T09:00:20Z", "end": "2026-03-02T09:30:00Z"}]}}, "ends_in_time"),
        ({"destination": "c"}, "reservation_exists"),
    ],
)
def test_a_failed_check_is_named_and_nothing_is_touched(estate: Estate, options: dict[str, Any], code: str) -> None:
    reservation = estate.reserve()
    with pytest.raises(PrecheckFailed) as caught:
        estate.migrate(**options)
    assert code in [failed["code"] for failed in caught.value.details["failed"]]
    assert estate.host_of() == "a"
    assert estate.holds() == [reservation.reservation_id]
    assert estate.reservations() == {reservation.reservation_id: "active"}
    assert estate.steps == []


def test_a_reservation_that_the_hypervisor_no_longer_holds_is_not_trusted(estate: Estate) -> None:
    reservation = estate.reserve()
    with estate.driver() as driver:
        driver.release_hold(reservation.reservation_id, reservation.tokens)
    with pytest.raises(PrecheckFailed) as caught:
        estate.migrate()
    assert [failed["code"] for failed in caught.value.details["failed"]] == ["reservation_enforced"]


def test_a_lapsed_reservation_is_not_trusted(estate: Estate) -> None:
    reservation = estate.reserve(ttl_s=10)
    with estate.driver() as driver:
        driver.clock.sleep(20)
    with pytest.raises(PrecheckFailed) as caught:
        estate.migrate(reservation_id=reservation.reservation_id)
    assert "reservation_active" in [failed["code"] for failed in caught.value.details["failed"]]


def test_a_vm_never_leaves_its_family(estate: Estate) -> None:
    estate.reserve(host="esx")
    with pytest.raises(DifferentFamily):
        estate.migrate(destination="esx")
    assert estate.host_of() == "a"


def test_without_destination_the_vms_one_reservation_says_where_to(estate: Estate) -> None:
    estate.reserve(host="c")
    assert estate.migrate(destination=None).result["destination"] == "sim/c"


def test_check_mode_answers_in_full_and_changes_nothing(estate: Estate) -> None:
    reservation = estate.reserve()
    outcome = estate.migrate(check_mode=True)
    assert outcome.changed
    assert outcome.result["state"] == "would_move"
    assert outcome.diff == {"before": {"host": "sim/a"}, "after": {"host": "sim/b"}}
    assert all(check["passed"] for check in outcome.result["checks"])
    assert estate.host_of() == "a"
    assert estate.holds() == [reservation.reservation_id]
    assert estate.reservations() == {reservation.reservation_id: "active"}
    assert Workspace.open(estate.store, writable=False).migrations.read() == []


def test_check_mode_before_anything_is_reserved_says_so_without_failing(estate: Estate) -> None:
    outcome = estate.migrate(check_mode=True, destination="b")
    assert outcome.changed
    assert any("reserved" in warning for warning in outcome.warnings)


def test_check_mode_fails_where_a_run_would(estate: Estate) -> None:
    estate.reserve()
    with pytest.raises(PrecheckFailed):
        estate.migrate(check_mode=True, windows=[{"start": "2026-03-02T22:00:00Z", "end": "2026-03-02T23:00:00Z"}])


def test_concurrency_limits_count_moves_in_flight(estate: Estate) -> None:
    estate.reserve(vm=NEIGHBOUR)
    estate.reserve()
    with estate.driver() as driver:
        driver.start_migration(MoveOrder(NEIGHBOUR, "b", ""), driver)
    with pytest.raises(PrecheckFailed) as caught:
        estate.migrate(limits={"incoming_per_host": 1, "outgoing_per_host": 1, "total": 1})
    codes = {failed["code"] for failed in caught.value.details["failed"]}
    assert codes == {"concurrency_incoming", "concurrency_outgoing", "concurrency_total"}
    assert estate.migrate(limits={"incoming_per_host": 2, "outgoing_per_host": 2, "total": 2}).changed


def test_a_move_beside_another_plans_with_its_part_of_the_link_and_keeps_to_it(estate: Estate) -> None:
    estate.reserve(vm=NEIGHBOUR)
    estate.reserve()
    alone = estate.migrate(check_mode=True).result
    with estate.driver() as driver:
        driver.start_migration(MoveOrder(NEIGHBOUR, "b", ""), driver)
    beside = estate.migrate(check_mode=True).result
    assert beside["basis"]["bandwidth_mib_s"] == pytest.approx(alone["basis"]["bandwidth_mib_s"] / 2)
    assert alone["strategy"]["order"]["bandwidth_mib_s"] is None
    assert beside["strategy"]["order"]["bandwidth_mib_s"] == pytest.approx(beside["basis"]["bandwidth_mib_s"])
    assert beside["predicted"]["duration_s"] > 1.5 * alone["predicted"]["duration_s"]


def test_a_move_to_another_host_is_not_taken_over(estate: Estate) -> None:
    estate.reserve()
    with estate.driver() as driver:
        driver.start_migration(MoveOrder(VM, "c", ""), driver)
    with pytest.raises(VmBusy):
        estate.migrate()


def test_hostile_names_pass_through_unharmed(make_estate: Callable[..., Estate]) -> None:
    name = "{{ lookup('pipe', 'id') }}\n$(reboot)'\"../../etc\x1b[31m" + "ü" * 150
    estate = make_estate(name=name)
    estate.reserve()
    outcome = estate.migrate(vm=name)
    assert outcome.result["vm"]["name"] == name
    assert all(line.isprintable() for line in estate.lines)

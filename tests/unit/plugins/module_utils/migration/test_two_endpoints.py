# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A move from one endpoint to another, and endpoints that do not answer at the wrong moment."""

from __future__ import annotations

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import UnknownVm
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    HypervisorFault,
    MoveOrder,
    Whereabouts,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.migration.errors import (
    MigrationFailed,
    MigrationUnsettled,
    PrecheckFailed,
)

from .conftest import VM, Estate


def test_a_vm_that_leaves_one_endpoint_is_found_at_the_other(two_endpoints: Estate) -> None:
    reservation = two_endpoints.reserve()
    outcome = two_endpoints.migrate()
    assert outcome.diff == {"before": {"host": "left/a"}, "after": {"host": "right/b"}}
    assert two_endpoints.host_of() == "b"
    assert two_endpoints.holds() == []
    assert two_endpoints.reservations() == {reservation.reservation_id: "consumed"}


def test_the_second_run_finds_it_although_its_endpoint_is_another_now(two_endpoints: Estate) -> None:
    reservation = two_endpoints.reserve()
    two_endpoints.migrate(vm_endpoint="left", reservation_id=reservation.reservation_id)
    again = two_endpoints.migrate(vm_endpoint="left", reservation_id=reservation.reservation_id)
    assert again.result["state"] == "already_there"


def test_a_move_left_in_flight_is_found_from_its_source_and_taken_over(two_endpoints: Estate) -> None:
    two_endpoints.reserve()
    with two_endpoints.driver("left") as left, two_endpoints.driver("right") as right:
        left.start_migration(MoveOrder(VM, "b", ""), right)
    result = two_endpoints.migrate().result
    assert result["adopted"]
    assert two_endpoints.host_of() == "b"


def test_a_move_in_post_copy_is_taken_over_and_never_aborted(two_endpoints: Estate) -> None:
    two_endpoints.reserve()
    with two_endpoints.driver("left") as left, two_endpoints.driver("right") as right:
        job = left.start_migration(MoveOrder(VM, "b", "", post_copy=True), right)
        left.clock.sleep(5)
        left.switch_to_post_copy(job)
    assert two_endpoints.host_of() == "b", "the VM runs there already, its memory still follows"
    result = two_endpoints.migrate(sla={"max_duration_s": 1}).result
    assert result["adopted"]
    assert "abort" not in [entry["step"] for entry in result["timeline"]]
    assert list(two_endpoints.reservations().values()) == ["consumed"]


@pytest.mark.parametrize("endpoint", ["left", "right"])
def test_an_endpoint_that_is_away_for_a_while_mid_move_does_no_harm(two_endpoints: Estate, endpoint: str) -> None:
    two_endpoints.reserve()
    away = {"start": "2026-03-02T09:00:10Z", "end": "2026-03-02T09:00:40Z"}
    two_endpoints.inject(kind="endpoint_unreachable", endpoint=endpoint, **away)
    result = two_endpoints.migrate().result
    assert result["state"] == "moved"
    assert ("unseen" in [entry["step"] for entry in result["timeline"]]) == (endpoint == "left")
    assert list(two_endpoints.reservations().values()) == ["consumed"]


def test_a_source_that_never_answers_again_does_not_hide_that_the_vm_arrived(two_endpoints: Estate) -> None:
    two_endpoints.reserve()
    two_endpoints.inject(kind="endpoint_unreachable", endpoint="left", start="2026-03-02T09:00:10Z")
    result = two_endpoints.migrate().result
    assert result["verification"]["verdict"] == "arrived"
    assert result["actual"]["downtime_ms"] is None, "nobody measured it"
    assert list(two_endpoints.reservations().values()) == ["consumed"]


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_vm_whose_source_is_lost_in_post_copy_is_not_there_yet(
    two_endpoints: Estate, monkeypatch: pytest.MonkeyPatch, check_mode: bool
) -> None:
    reservation = two_endpoints.reserve()
    two_endpoints.migrate()
    second = two_endpoints.reserve()
    two_endpoints.inject(kind="endpoint_unreachable", endpoint="left")
    part = (Whereabouts(VM, "b", "running", complete=False),)
    monkeypatch.setattr(SimulatedDriver, "locate", lambda *_arguments: part)
    with pytest.raises(MigrationUnsettled, match="part of its memory"):
        two_endpoints.migrate(check_mode=check_mode)
    assert two_endpoints.reservations() == {
        reservation.reservation_id: "consumed",
        second.reservation_id: "active",
    }


def test_what_a_move_has_left_of_the_vm_elsewhere_is_removed_once_it_is_there(
    two_endpoints: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str]] = []

    def drop(self: SimulatedDriver, vm_uuid: str) -> bool:
        asked.append((self.name, vm_uuid))
        if len(asked) > 1:
            return True
        raise HypervisorFault("the source is busy")

    monkeypatch.setattr(SimulatedDriver, "drop_definition", drop)
    two_endpoints.reserve()
    steps = {entry["step"]: entry["message"] for entry in two_endpoints.migrate().result["timeline"]}
    assert steps["left"] == "whether left still has the VM defined: the source is busy"
    assert two_endpoints.migrate(check_mode=True).result["state"] == "already_there"
    assert asked == [("left", VM)], "a check changes nothing"
    assert two_endpoints.migrate().result["state"] == "already_there"
    assert asked == [("left", VM), ("left", VM)]
    assert "cleared: left still had the VM defined; that is removed" in two_endpoints.lines


def test_a_destination_that_does_not_answer_at_the_end_leaves_it_to_the_next_run(two_endpoints: Estate) -> None:
    reservation = two_endpoints.reserve()
    away = {"start": "2026-03-02T09:00:10Z", "end": "2026-03-02T09:10:00Z"}
    two_endpoints.inject(kind="endpoint_unreachable", endpoint="right", **away)
    with pytest.raises(MigrationUnsettled):
        two_endpoints.migrate()
    assert two_endpoints.reservations() == {reservation.reservation_id: "active"}
    with two_endpoints.driver("left") as left:
        left.clock.sleep(600)
    assert two_endpoints.migrate().result["state"] == "already_there"
    assert two_endpoints.reservations() == {reservation.reservation_id: "consumed"}
    assert two_endpoints.holds() == []


def test_a_dead_destination_is_reported_with_what_could_not_be_undone(two_endpoints: Estate) -> None:
    reservation = two_endpoints.reserve()
    two_endpoints.inject(kind="migration_failure", at_percent=50)
    two_endpoints.inject(kind="endpoint_unreachable", endpoint="right", start="2026-03-02T09:00:10Z")
    with pytest.raises(MigrationFailed) as caught:
        two_endpoints.migrate()
    assert [left.split(":")[0] for left in caught.value.details["left"]] == ["hold on right/b"]
    assert two_endpoints.reservations() == {reservation.reservation_id: "released"}


def test_a_destination_that_does_not_answer_beforehand_means_nothing_is_touched(two_endpoints: Estate) -> None:
    reservation = two_endpoints.reserve()
    two_endpoints.inject(kind="endpoint_unreachable", endpoint="right", calls=["list_holds", "preflight"])
    with pytest.raises(PrecheckFailed) as caught:
        two_endpoints.migrate()
    assert [failed["code"] for failed in caught.value.details["failed"]] == ["reservation_enforced", "preflight"]
    assert two_endpoints.reservations() == {reservation.reservation_id: "active"}


def test_a_source_that_does_not_answer_at_all_is_named(two_endpoints: Estate) -> None:
    two_endpoints.reserve()
    two_endpoints.inject(kind="endpoint_unreachable", endpoint="left")
    with pytest.raises(UnknownVm) as caught:
        two_endpoints.migrate()
    assert caught.value.details["unreachable"] == ["left"]


def test_an_order_whose_answer_was_lost_is_found_in_flight(
    two_endpoints: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_endpoints.reserve()
    with two_endpoints.driver("left") as left:
        kind = type(left)
    start = kind.start_migration

    def lose_the_answer(self: object, *arguments: object) -> None:
        start(self, *arguments)  # type: ignore[arg-type]  # passed through
        raise EndpointUnreachable("the connection was lost after the order was sent")

    monkeypatch.setattr(kind, "start_migration", lose_the_answer)
    result = two_endpoints.migrate().result
    assert result["adopted"]
    assert two_endpoints.host_of() == "b"


def test_an_order_that_is_refused_is_undone(two_endpoints: Estate) -> None:
    reservation = two_endpoints.reserve()
    two_endpoints.inject(kind="endpoint_unreachable", endpoint="left", calls=["start_migration"])
    with pytest.raises(MigrationFailed) as caught:
        two_endpoints.migrate()
    assert caught.value.details["step"] == "start"
    assert two_endpoints.host_of() == "a"
    assert two_endpoints.holds() == []
    assert two_endpoints.reservations() == {reservation.reservation_id: "released"}

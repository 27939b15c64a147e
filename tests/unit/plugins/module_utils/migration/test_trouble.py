# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trouble that a scenario cannot make: parallel runs at the worst moment, ledgers and drivers that fail in between."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    HypervisorFault,
    MoveOrder,
    Progress,
    Whereabouts,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.migration.errors import (
    MigrationFailed,
    MigrationUnsettled,
    PrecheckFailed,
    VmLost,
    VmOnTwoHosts,
)
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger, open_ledger
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import LedgerBusy
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

from .conftest import VM, Estate

Patch = pytest.MonkeyPatch


def _while_measuring(monkeypatch: Patch, event: Callable[[], None]) -> None:
    """Let ``event`` happen once while the dirty rate is measured, between finding the VM and checking."""
    measure = SimulatedDriver.measure_dirty_rate
    happened: list[bool] = []

    def measured(self: SimulatedDriver, *arguments: Any) -> Any:
        if not happened:
            happened.append(True)
            event()
        return measure(self, *arguments)

    monkeypatch.setattr(SimulatedDriver, "measure_dirty_rate", measured)


def test_a_run_that_another_overtakes_while_checking_takes_over(estate: Estate, monkeypatch: Patch) -> None:
    reservation = estate.reserve()

    def start() -> None:
        with estate.driver() as driver:
            driver.start_migration(MoveOrder(VM, "b", reservation.reservation_id), driver)

    _while_measuring(monkeypatch, start)
    assert estate.migrate().result["adopted"]
    assert estate.reservations() == {reservation.reservation_id: "consumed"}


def test_a_run_that_another_has_finished_while_checking_only_settles(estate: Estate, monkeypatch: Patch) -> None:
    reservation = estate.reserve()

    def move() -> None:
        with estate.driver() as driver:
            driver.start_migration(MoveOrder(VM, "b", reservation.reservation_id), driver)
            driver.clock.sleep(600)

    _while_measuring(monkeypatch, move)
    result = estate.migrate().result
    assert result["verification"]["verdict"] == "arrived"
    assert result["actual"]["downtime_ms"] is None
    assert estate.reservations() == {reservation.reservation_id: "consumed"}


def test_nothing_moves_when_the_reservation_is_given_back_while_checking(estate: Estate, monkeypatch: Patch) -> None:
    reservation = estate.reserve()

    def release() -> None:
        with open_ledger(estate.ledger_url, actor="someone else") as ledger:
            ledger.release(reservation.reservation_id, estate.now_ts())

    _while_measuring(monkeypatch, release)
    with pytest.raises(PrecheckFailed) as caught:
        estate.migrate()
    assert [check["code"] for check in caught.value.details["failed"]] == ["reservation_active"]
    with estate.driver() as driver:
        assert driver.find_migration(VM) is None
    assert estate.host_of() == "a"


def test_a_dirty_rate_that_cannot_be_measured_is_a_warning(estate: Estate, monkeypatch: Patch) -> None:
    estate.reserve()

    def refuse(*_arguments: object) -> None:
        raise HypervisorFault("no permission to measure")

    monkeypatch.setattr(SimulatedDriver, "measure_dirty_rate", refuse)
    outcome = estate.migrate()
    assert outcome.result["basis"]["dirty_rate_by"] == "assumed"
    assert "no permission to measure" in outcome.warnings


def test_a_ledger_that_fails_for_a_while_neither_stops_nor_floods_the_move(estate: Estate, monkeypatch: Patch) -> None:
    reservation = estate.reserve(ttl_s=65)
    renew, refusals = Ledger.renew, list(range(3))

    def busy(self: Ledger, *arguments: Any) -> Any:
        if refusals:
            refusals.pop()
            raise LedgerBusy("somebody holds the lock")
        return renew(self, *arguments)

    monkeypatch.setattr(Ledger, "renew", busy)
    result = estate.migrate(lease_minutes=1.5).result
    steps = [entry["step"] for entry in result["timeline"]]
    assert steps.count("refused") == 3
    assert "renew" in steps
    assert estate.reservations() == {reservation.reservation_id: "consumed"}


def _blind_after_hand_over(monkeypatch: Patch) -> None:
    progress = SimulatedDriver.progress

    def seen(self: SimulatedDriver, job: Any) -> Progress:
        found = progress(self, job)
        if found.phase in ("postcopy", "done"):
            if getattr(self, "_seen_post_copy", False):
                raise HypervisorFault("the source does not answer")
            self._seen_post_copy = True  # type: ignore[attr-defined]  # a note of this test
            return Progress("postcopy", 1.0)
        return found

    monkeypatch.setattr(SimulatedDriver, "progress", seen)


def test_a_source_lost_in_post_copy_is_not_taken_for_arrived(estate: Estate, monkeypatch: Patch) -> None:
    reservation = estate.reserve()
    _blind_after_hand_over(monkeypatch)
    with pytest.raises(MigrationUnsettled):
        estate.migrate()
    assert estate.reservations() == {reservation.reservation_id: "active"}


def test_a_move_that_goes_on_unseen_keeps_its_reservation(estate: Estate, monkeypatch: Patch) -> None:
    reservation = estate.reserve()

    def silent(*_arguments: object) -> None:
        raise HypervisorFault("the source does not answer")

    with monkeypatch.context() as away:
        away.setattr(SimulatedDriver, "progress", silent)
        with pytest.raises(MigrationUnsettled):
            estate.migrate(bandwidth_mib_s=5.0)
    assert estate.host_of() == "a", "the source answers again and still runs it, while the move goes on"
    assert estate.reservations() == {reservation.reservation_id: "active"}
    assert estate.migrate().result["adopted"]
    assert estate.reservations() == {reservation.reservation_id: "consumed"}


def test_hosts_that_differ_for_a_moment_at_the_end_of_a_move_are_asked_again(
    estate: Estate, monkeypatch: Patch
) -> None:
    estate.reserve()
    locate, looks = SimulatedDriver.locate, []

    def late(self: SimulatedDriver, vm_uuid: str) -> tuple[Whereabouts, ...]:
        looks.append(vm_uuid)
        if len(looks) <= 3:
            return tuple(Whereabouts(vm_uuid, host, "running") for host in "ab")
        return locate(self, vm_uuid)

    monkeypatch.setattr(SimulatedDriver, "locate", late)
    assert estate.migrate().result["state"] == "moved"


def test_hosts_that_go_on_differing_are_for_a_person_to_look_at(estate: Estate, monkeypatch: Patch) -> None:
    reservation = estate.reserve()
    both = tuple(Whereabouts(VM, host, "running") for host in "ab")
    monkeypatch.setattr(SimulatedDriver, "locate", lambda *_arguments: both)
    with pytest.raises(VmOnTwoHosts):
        estate.migrate()
    assert estate.reservations() == {reservation.reservation_id: "active"}


def test_a_reservation_that_cannot_be_settled_does_not_hide_that_the_vm_arrived(
    estate: Estate, monkeypatch: Patch
) -> None:
    reservation = estate.reserve()

    def refuse(*_arguments: object) -> None:
        raise HypervisorFault("no permission to give shares")

    with monkeypatch.context() as unable:
        unable.setattr(SimulatedDriver, "settle_hold", refuse)
        with pytest.raises(MigrationUnsettled, match=r"The VM runs on sim/b.*no permission to give shares") as caught:
            estate.migrate()
    assert caught.value.details["cause"]["code"] == "hypervisor_fault"
    (record,) = Workspace.open(estate.store).migrations.read()
    assert (record["outcome"], record["cause"]) == ("migration_unsettled", "hypervisor_fault")
    assert estate.reservations() == {reservation.reservation_id: "active"}
    assert estate.migrate().result["state"] == "already_there"
    assert estate.reservations() == {reservation.reservation_id: "consumed"}


def test_a_host_that_keeps_the_guard_waiting_is_left_alone_for_longer(estate: Estate, monkeypatch: Patch) -> None:
    estate.reserve()
    observe, asked_ts = SimulatedDriver.observe_host, []

    def slow(self: SimulatedDriver, host_id: str) -> Resources:
        if host_id != "b":
            return observe(self, host_id)
        asked_ts.append(self.clock.now())
        self.clock.sleep(5)
        raise HypervisorFault("no answer")

    monkeypatch.setattr(SimulatedDriver, "observe_host", slow)
    result = estate.migrate(bandwidth_mib_s=20.0).result
    assert result["actual"]["duration_s"] > 120
    assert len(asked_ts) >= 2
    assert all(later - earlier >= 55 for earlier, later in pairwise(asked_ts))


@pytest.mark.parametrize(
    ("seen", "error"),
    [
        ([("a", True), ("b", True)], VmOnTwoHosts),
        ([], VmLost),
        ([("c", True)], MigrationFailed),
    ],
)
def test_what_both_sides_say_afterwards_decides(
    estate: Estate, monkeypatch: Patch, seen: list[tuple[str, bool]], error: type[Exception]
) -> None:
    reservation = estate.reserve()
    locate, progress = SimulatedDriver.locate, SimulatedDriver.progress
    ended: list[bool] = []

    def last_word(self: SimulatedDriver, job: Any) -> Progress:
        found = progress(self, job)
        ended.extend([True] * found.finished)
        return found

    def found(self: SimulatedDriver, vm_uuid: str) -> tuple[Whereabouts, ...]:
        if not ended:
            return locate(self, vm_uuid)
        return tuple(Whereabouts(vm_uuid, host, "running", active) for host, active in seen)

    monkeypatch.setattr(SimulatedDriver, "progress", last_word)
    monkeypatch.setattr(SimulatedDriver, "locate", found)
    with pytest.raises(error):
        estate.migrate()
    settled = "released" if error is MigrationFailed else "active"
    assert estate.reservations() == {reservation.reservation_id: settled}

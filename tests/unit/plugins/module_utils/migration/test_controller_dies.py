# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Controllers killed with SIGKILL at every boundary, and controllers beside each other: real processes, one estate."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.migration.errors import (
    MigrationFailed,
    PrecheckFailed,
)

from .conftest import Estate

CONTROLLER = str(Path(__file__).with_name("controller.py"))
#: Limit for one controller process, seconds: far more than it needs.
PROCESS_LIMIT_S = 120


def _start(estate: Estate, boundary: str, **options: object) -> subprocess.Popen[str]:
    request = json.dumps(asdict(estate.request(**options)))
    command = [sys.executable, CONTROLLER, request, boundary]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _kill_at(estate: Estate, boundary: str, **options: object) -> None:
    process = _start(estate, boundary, **options)
    _out, errors = process.communicate(timeout=PROCESS_LIMIT_S)
    assert process.returncode == -signal.SIGKILL, f"the controller did not come to {boundary!r}: {errors}"


def _moves(estate: Estate) -> int:
    """Return how many migrations the hypervisor ever carried out to the end."""
    with sqlite3.connect(estate.folder / "state.sqlite") as connection:
        bodies = [json.loads(body) for (body,) in connection.execute("SELECT body FROM jobs")]
    return sum(body["phase"] == "done" for body in bodies)


@pytest.mark.parametrize(
    "boundary",
    [
        "step planned",
        "before renew",
        "after renew",
        "step starting",
        "before start_migration",
        "after start_migration",
        "step started",
        "step progress",
        "step ended",
        "step verified",
        "before settle_hold",
        "after settle_hold",
        "before consume",
        "after consume",
        "step settled",
        "before append",
        "after append",
    ],
)
def test_after_a_kill_the_next_run_settles_everything(estate: Estate, boundary: str) -> None:
    reservation = estate.reserve()
    _kill_at(estate, boundary)
    outcome = estate.migrate(reservation_id=reservation.reservation_id)
    assert outcome.result["state"] in ("moved", "already_there")
    assert estate.host_of() == "b"
    assert estate.holds() == []
    assert estate.reservations() == {reservation.reservation_id: "consumed"}
    assert estate.guarantee() == reservation.amount
    assert _moves(estate) == 1
    assert not estate.migrate(reservation_id=reservation.reservation_id).changed


@pytest.mark.parametrize("boundary", ["step ended", "step verified", "before release_hold"])
def test_after_a_kill_in_a_failed_move_the_next_run_tries_again(estate: Estate, boundary: str) -> None:
    reservation = estate.reserve()
    estate.inject(kind="migration_failure", at_percent=50, times=1)
    _kill_at(estate, boundary)
    assert estate.host_of() == "a"
    assert estate.migrate(reservation_id=reservation.reservation_id).result["state"] == "moved"
    assert estate.reservations() == {reservation.reservation_id: "consumed"}
    assert _moves(estate) == 1


@pytest.mark.parametrize("boundary", ["after release_hold", "before release", "after release", "step undone"])
def test_after_a_kill_while_undoing_nothing_unreserved_is_moved(estate: Estate, boundary: str) -> None:
    reservation = estate.reserve()
    estate.inject(kind="migration_failure", at_percent=50, times=1)
    _kill_at(estate, boundary)
    with pytest.raises(PrecheckFailed):
        estate.migrate(reservation_id=reservation.reservation_id)
    assert estate.host_of() == "a"
    assert estate.holds() == []
    assert _moves(estate) == 0


@pytest.mark.parametrize("boundary", ["before abort", "after abort"])
def test_after_a_kill_around_an_abort_the_vm_is_in_one_place(estate: Estate, boundary: str) -> None:
    reservation = estate.reserve()
    estate.inject(kind="migration_stall", at_percent=30, times=1)
    _kill_at(estate, boundary)
    assert estate.host_of() == "a"
    try:
        estate.migrate(reservation_id=reservation.reservation_id)
    except MigrationFailed:
        assert (estate.host_of(), estate.reservations()) == ("a", {reservation.reservation_id: "released"})
    else:
        assert (estate.host_of(), estate.reservations()) == ("b", {reservation.reservation_id: "consumed"})
    assert estate.holds() == []


def test_two_runs_at_once_move_the_vm_once_and_both_succeed(estate: Estate) -> None:
    reservation = estate.reserve()
    runs = [_start(estate, "to end", reservation_id=reservation.reservation_id) for _unused in range(2)]
    for run in runs:
        out, errors = run.communicate(timeout=PROCESS_LIMIT_S)
        assert run.returncode == 0, errors
        assert json.loads(out)["state"] in ("moved", "already_there")
    assert estate.host_of() == "b"
    assert estate.holds() == []
    assert estate.reservations() == {reservation.reservation_id: "consumed"}
    assert _moves(estate) == 1

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whole migrations on a simulated estate: what is true afterwards, at the hypervisor and in the ledger."""

from __future__ import annotations

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

from .conftest import VM, Estate


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
    assert record["vm_uuid"] == VM
    assert record["predicted"] == predicted
    assert record["actual"] == actual


def test_a_second_run_finds_it_there_and_changes_nothing(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.migrate(reservation_id=reservation.reservation_id)
    again = estate.migrate(reservation_id=reservation.reservation_id)
    assert not again.changed
    assert again.result["state"] == "already_there"
    assert again.diff == {"before": {"host": "sim/b"}, "after": {"host": "sim/b"}}

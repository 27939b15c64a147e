# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Claims of many processes at once on a PostgreSQL ledger, some of them killed at any point."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.reservations.race import (
    check_outcome,
    run_race,
)

if TYPE_CHECKING:
    from .server import PostgresServer


def test_no_interleaving_and_no_kill_over_commits_a_host_or_loses_a_granted_claim_on_postgresql(
    postgresql: PostgresServer, database: str, rows: Callable[[str], list[dict[str, Any]]], tmp_path: Path
) -> None:
    outcome = run_race(
        postgresql.url(database),
        tmp_path,
        lambda: rows("SELECT * FROM ledger_reservations WHERE state IN ('active', 'consumed')"),
    )
    check_outcome(outcome, rows("SELECT * FROM ledger_reservations"), rows("SELECT * FROM ledger_transitions"))

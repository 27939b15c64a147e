# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Claims of many processes at once on a SQLite ledger, some of them killed at any point."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.reservations.race import (
    check_outcome,
    run_race,
)


def reader(path: Path) -> Callable[[str], list[dict[str, Any]]]:
    """Return a function that reads rows with plain SQL; a file without the tables yet has none."""

    def read(query: str) -> list[dict[str, Any]]:
        if not path.exists():
            return []
        connection = sqlite3.connect(path, timeout=30)
        connection.row_factory = sqlite3.Row
        try:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ledger_transitions'").fetchall():
                return []
            return [dict(row) for row in connection.execute(query)]
        finally:
            connection.close()

    return read


def test_no_interleaving_and_no_kill_over_commits_a_host_or_loses_a_granted_claim_on_sqlite(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    read = reader(path)
    outcome = run_race(
        f"sqlite:///{path}",
        tmp_path,
        lambda: read("SELECT * FROM ledger_reservations WHERE state IN ('active', 'consumed')"),
    )
    check_outcome(outcome, read("SELECT * FROM ledger_reservations"), read("SELECT * FROM ledger_transitions"))
    assert read("PRAGMA integrity_check") == [{"integrity_check": "ok"}]

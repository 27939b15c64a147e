# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The state of a simulated estate: one SQLite file that holds what has changed since the scenario began."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from ...errors import ForesightError
from .clock import ClockReading
from .faults import Fault, LiveFault, read_fault
from .fields import Fields

#: Version of the tables below, kept as SQLite's ``user_version``.
SCHEMA_VERSION = 1
#: Seconds to wait for another process that is writing.
BUSY_S = 30.0

_SCHEMA = (
    "CREATE TABLE scenario (digest TEXT NOT NULL)",
    "CREATE TABLE clock (mode TEXT NOT NULL, speed REAL NOT NULL, estate_ts REAL NOT NULL, wall_ts REAL NOT NULL)",
    "CREATE TABLE placements (seq INTEGER PRIMARY KEY, vm_uuid TEXT NOT NULL, host_id TEXT, since_ts REAL NOT NULL)",
    "CREATE TABLE vm_changes (vm_uuid TEXT PRIMARY KEY, power_state TEXT, guaranteed TEXT)",
    "CREATE TABLE host_changes (host_id TEXT PRIMARY KEY, state TEXT NOT NULL)",
    "CREATE TABLE jobs"
    " (job_id INTEGER PRIMARY KEY, vm_uuid TEXT NOT NULL, active INTEGER NOT NULL, body TEXT NOT NULL)",
    "CREATE UNIQUE INDEX one_move_per_vm ON jobs (vm_uuid) WHERE active",
    "CREATE TABLE holds"
    " (reservation_id TEXT PRIMARY KEY, host_id TEXT NOT NULL, vm_uuid TEXT NOT NULL, body TEXT NOT NULL)",
    "CREATE TABLE faults (fault_id INTEGER PRIMARY KEY, body TEXT NOT NULL, used INTEGER NOT NULL)",
)


class StateUnusable(ForesightError):
    """The state file cannot be written, is damaged, or belongs to another scenario or version."""

    code = "simulated_state_unusable"


class State:
    """One connection to the state file. Every method but `transaction` and the clock's runs inside a transaction."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    def open(self, digest: str, clock: ClockReading, faults: Iterable[Fault]) -> None:
        """Connect, and begin the estate's life when the file is new.

        Raises `StateUnusable` when the file cannot be used or holds the state of another scenario.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
            self._connection = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self.transaction():
                self._begin_or_check(digest, clock, faults)
        except (OSError, sqlite3.Error) as exc:
            self.close()
            raise StateUnusable(
                f"The simulated estate's state file {self.path} cannot be used: {exc}",
                advice="Set the endpoint's state_path to a file in a writable folder; remove the file to begin anew.",
                details={"state_path": str(self.path)},
            ) from exc
        except ForesightError:
            self.close()
            raise

    def _begin_or_check(self, digest: str, clock: ClockReading, faults: Iterable[Fault]) -> None:
        version = self._one("PRAGMA user_version")[0]
        if version == 0:
            for statement in _SCHEMA:
                self._run(statement)
            self._run(f"PRAGMA user_version = {SCHEMA_VERSION}")
            self._run("INSERT INTO scenario VALUES (?)", digest)
            self._run("INSERT INTO clock VALUES (?, ?, ?, ?)", clock.mode, clock.speed, clock.estate_ts, clock.wall_ts)
            for fault in faults:
                self.add_fault(fault)
        elif version != SCHEMA_VERSION:
            raise self._foreign(f"has version {version}, this code reads {SCHEMA_VERSION}")
        elif self._one("SELECT digest FROM scenario")[0] != digest:
            raise self._foreign("belongs to another scenario, or the scenario was changed since")

    def _foreign(self, problem: str) -> StateUnusable:
        return StateUnusable(
            f"The simulated estate's state file {self.path} {problem}",
            advice="Remove the file to begin anew, or set the endpoint's state_path to another one.",
            details={"state_path": str(self.path)},
        )

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the state for writing: all that happens inside is seen whole or not at all."""
        with self._lock:
            connection = self._connected()
            if connection.in_transaction:
                yield
                return
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    # the clock

    def read_clock(self) -> ClockReading:
        """Return the clock as it stands."""
        with self._lock:
            return ClockReading(*self._one("SELECT mode, speed, estate_ts, wall_ts FROM clock"))

    def advance_clock(self, ts: float) -> None:
        """Set a stepped clock forward to ``ts``; never back."""
        with self.transaction():
            self._run("UPDATE clock SET estate_ts = max(estate_ts, ?), wall_ts = ?", ts, time.time())

    # where VMs are and were

    def placements(self) -> list[tuple[str, str | None, float]]:
        """Return every change of place: (vm uuid, host id or None, since when), oldest first."""
        return self._all("SELECT vm_uuid, host_id, since_ts FROM placements ORDER BY seq")

    def place(self, vm_uuid: str, host_id: str | None, since_ts: float) -> None:
        """Record that the VM runs on that host from now on."""
        self._run("INSERT INTO placements (vm_uuid, host_id, since_ts) VALUES (?, ?, ?)", vm_uuid, host_id, since_ts)

    def power_states(self) -> dict[str, str]:
        """Return the power states that differ from the scenario, by VM uuid."""
        return dict(self._all("SELECT vm_uuid, power_state FROM vm_changes WHERE power_state IS NOT NULL"))

    def set_power_state(self, vm_uuid: str, power_state: str) -> None:
        """Record a VM's power state."""
        self._run(
            "INSERT INTO vm_changes (vm_uuid, power_state) VALUES (?, ?)"
            " ON CONFLICT (vm_uuid) DO UPDATE SET power_state = excluded.power_state",
            vm_uuid,
            power_state,
        )

    def guarantees(self) -> dict[str, dict[str, float]]:
        """Return the guarantees that differ from the scenario, by VM uuid, as `Resources.as_dict`."""
        rows = self._all("SELECT vm_uuid, guaranteed FROM vm_changes WHERE guaranteed IS NOT NULL")
        return {vm_uuid: json.loads(body) for vm_uuid, body in rows}

    def set_guarantee(self, vm_uuid: str, guaranteed: Mapping[str, float]) -> None:
        """Record what is guaranteed to a VM."""
        self._run(
            "INSERT INTO vm_changes (vm_uuid, guaranteed) VALUES (?, ?)"
            " ON CONFLICT (vm_uuid) DO UPDATE SET guaranteed = excluded.guaranteed",
            vm_uuid,
            json.dumps(dict(guaranteed)),
        )

    def host_states(self) -> dict[str, str]:
        """Return the host states that differ from the scenario, by host id."""
        return dict(self._all("SELECT host_id, state FROM host_changes"))

    def set_host_state(self, host_id: str, state: str) -> None:
        """Record a host's state."""
        self._run("INSERT OR REPLACE INTO host_changes VALUES (?, ?)", host_id, state)

    # migrations

    def add_job(self, vm_uuid: str, body: Mapping[str, Any]) -> int:
        """Record a migration that begins and return its number."""
        cursor = self._connected().execute(
            "INSERT INTO jobs (vm_uuid, active, body) VALUES (?, 1, ?)", (vm_uuid, json.dumps(body))
        )
        return int(cursor.lastrowid or 0)

    def save_job(self, job_id: int, body: Mapping[str, Any], *, active: bool) -> None:
        """Record how a migration stands."""
        self._run("UPDATE jobs SET body = ?, active = ? WHERE job_id = ?", json.dumps(body), int(active), job_id)

    def active_jobs(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the migrations in flight as (number, body)."""
        rows = self._all("SELECT job_id, body FROM jobs WHERE active ORDER BY job_id")
        return [(job_id, json.loads(body)) for job_id, body in rows]

    def job(self, job_id: int) -> dict[str, Any] | None:
        """Return one migration's body, None when there is none of that number."""
        rows = self._all("SELECT body FROM jobs WHERE job_id = ?", job_id)
        return json.loads(rows[0][0]) if rows else None

    # holds

    def holds(self) -> list[dict[str, Any]]:
        """Return every hold's body."""
        return [json.loads(body) for (body,) in self._all("SELECT body FROM holds ORDER BY reservation_id")]

    def put_hold(self, reservation_id: str, host_id: str, vm_uuid: str, body: Mapping[str, Any]) -> None:
        """Record a hold, in place of one of the same reservation."""
        self._run(
            "INSERT OR REPLACE INTO holds VALUES (?, ?, ?, ?)", reservation_id, host_id, vm_uuid, json.dumps(body)
        )

    def drop_hold(self, reservation_id: str) -> bool:
        """Remove a hold and return whether there was one."""
        cursor = self._connected().execute("DELETE FROM holds WHERE reservation_id = ?", (reservation_id,))
        return cursor.rowcount > 0

    # faults

    def add_fault(self, fault: Fault) -> str:
        """Record a fault and return its id."""
        cursor = self._connected().execute(
            "INSERT INTO faults (body, used) VALUES (?, 0)", (json.dumps(fault.as_dict()),)
        )
        return str(cursor.lastrowid)

    def remove_fault(self, fault_id: str) -> bool:
        """Remove a fault and return whether there was one."""
        cursor = self._connected().execute("DELETE FROM faults WHERE fault_id = ?", (fault_id,))
        return cursor.rowcount > 0

    def faults(self) -> list[LiveFault]:
        """Return every fault, oldest first."""
        rows = self._all("SELECT fault_id, body, used FROM faults ORDER BY fault_id")
        return [
            LiveFault(str(number), read_fault(Fields(json.loads(body), "fault")), used) for number, body, used in rows
        ]

    def count_fault(self, fault_id: str) -> None:
        """Record that a fault has struck once more."""
        self._run("UPDATE faults SET used = used + 1 WHERE fault_id = ?", fault_id)

    # SQLite

    def _connected(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StateUnusable("The simulated estate is not connected", advice="Call connect() first.")
        return self._connection

    def _run(self, statement: str, *values: Any) -> None:
        with closing(self._connected().execute(statement, values)):
            pass

    def _one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        row: tuple[Any, ...] = self._connected().execute(statement, values).fetchone()
        return row

    def _all(self, statement: str, *values: Any) -> list[Any]:
        return self._connected().execute(statement, values).fetchall()

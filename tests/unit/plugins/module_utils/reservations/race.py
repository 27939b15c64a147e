# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many processes against one ledger, some of them killed, watched by code that shares nothing with the ledger.

Run as a script it is one of those processes: ``race.py URL SEED CLAIMS LOG``.
"""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROCESSES = 24
CLAIMS = 50
KILLS = 16
#: The whole race must end within so many seconds.
DEADLINE_S = 480.0

HOSTS = ("e/h0", "e/h1", "e/h2", "e/h3")
VMS = tuple(f"00000000-0000-4000-8000-{number:012d}" for number in range(90))
FIELDS = ("cpu_cores", "memory_mib", "network_mbit_s", "disk_mib_s")
CAPACITY = (32.0, 131072.0, 10000.0, 1000.0)
LIMIT = {"cpu": 0.9, "memory": 0.95, "network": 0.9, "disk": 0.9}
STEP_S = 300
STEPS = 48
#: Windows lie ahead of every process's clock, so that no step ever falls out of the check.
START_TS = 4_000_000_000.0

Row = Mapping[str, Any]


def load_at(step: int) -> tuple[float, ...]:
    """Return what already runs on every host in a step: a day's curve, different per resource."""
    wave = abs((step % 24) - 12) / 12
    return (4 + 8 * wave, 30000 + 20000 * wave, 500 + 2000 * wave, 50 + 200 * wave)


def ceilings() -> tuple[float, ...]:
    """Return capacity times limit per resource."""
    return tuple(amount * share for amount, share in zip(CAPACITY, LIMIT.values(), strict=True))


# ---- one process -----------------------------------------------------------------------------------------------------


class _Process:
    """Claims, changes, renews, consumes and releases at random, and logs what the ledger acknowledged."""

    def __init__(self, url: str, seed: int, log: Path) -> None:
        import numpy as np
        from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
        from ansible_collections.foresight.migration.plugins.module_utils.reservations.host_calendar import HostRoom
        from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger

        self._random = random.Random(seed)
        self._log = log.open("a", encoding="utf-8")
        self._ledger = open_ledger(url, actor=f"process-{seed}")
        self._held: list[str] = []
        load = np.array([load_at(step) for step in range(STEPS)]).T
        self._room = HostRoom(Resources(*CAPACITY), LIMIT, load, START_TS, STEP_S)

    def run(self, claims: int) -> None:
        for _unused in range(claims):
            self._claim()
            self._end_some()

    def _claim(self) -> None:
        from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
        from ansible_collections.foresight.migration.plugins.module_utils.reservations.claims import ClaimRequest
        from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import (
            ClaimRefused,
            VmReservedElsewhere,
        )

        draw = self._random
        start_ts = START_TS + draw.uniform(0, STEPS - 12) * STEP_S
        request = ClaimRequest(
            vm_uuid=draw.choice(VMS),
            host_key=draw.choice(HOSTS),
            amount=Resources(
                draw.uniform(0.5, 8), draw.uniform(512, 30000), draw.uniform(0, 2000), draw.uniform(0, 200)
            ),
            tier=draw.choice(("hard", "hard", "soft")),
            start_ts=start_ts,
            end_ts=start_ts + draw.uniform(1, 11.9) * STEP_S,
            owner="race",
            ttl_s=draw.choice((0.5, 2.0, 3600.0)),
        )
        try:
            result = self._ledger.claim(request, self._room, time.time())
        except (ClaimRefused, VmReservedElsewhere) as refusal:
            self._note(refusal.code, "")
            return
        self._note(result.action, result.reservation.reservation_id)
        if request.ttl_s > 1000:
            self._held.append(result.reservation.reservation_id)

    def _end_some(self) -> None:
        from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import (
            ReservationNotActive,
        )

        if not self._held or self._random.random() < 0.5:
            return
        chosen = self._held.pop(self._random.randrange(len(self._held)))
        action = self._random.choice(("release", "release", "renew", "consume"))
        try:
            if action == "renew":
                self._ledger.renew(chosen, 3600.0, time.time())
            else:
                getattr(self._ledger, action)(chosen, time.time())
        except ReservationNotActive:
            action = "ended"  # another process had the same claim and gave it back
        self._note(action, chosen)

    def _note(self, action: str, reservation_id: str) -> None:
        self._log.write(f"{action} {reservation_id}\n")
        self._log.flush()


# ---- the race --------------------------------------------------------------------------------------------------------


@dataclass
class Outcome:
    """What happened: how many processes were killed, what was acknowledged, how often the invariant was looked at."""

    killed: int = 0
    snapshots: int = 0
    acknowledged: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    counts: dict[str, int] = field(default_factory=lambda: defaultdict(int))


def run_race(url: str, folder: Path, read_active: Callable[[], Iterable[Row]], seed: int = 1) -> Outcome:
    """Race `PROCESSES` processes with `CLAIMS` claims each, kill `KILLS`, and check the invariant all the while.

    Each killed process is replaced by a new one. ``read_active`` returns the rows that hold capacity, read with
    plain SQL in one statement.
    """
    draw = random.Random(seed)
    outcome = Outcome()
    running: list[subprocess.Popen[bytes]] = []
    logs: list[Path] = []

    def start() -> None:
        logs.append(folder / f"process-{len(logs)}.log")
        command = [sys.executable, __file__, url, str(seed * 1000 + len(logs)), str(CLAIMS), str(logs[-1])]
        with (folder / "errors.log").open("ab") as errors:
            running.append(subprocess.Popen(command, stderr=errors))

    deadline = time.monotonic() + DEADLINE_S
    try:
        for _unused in range(PROCESSES):
            start()
        while any(process.poll() is None for process in running):
            assert time.monotonic() < deadline, "the race did not end in time"
            check_invariant(read_active())
            outcome.snapshots += 1
            busy = [at for at, log in enumerate(logs) if running[at].poll() is None and _lines(log) > 3]
            if outcome.killed < KILLS and busy and draw.random() < 0.3:
                running[draw.choice(busy)].kill()
                outcome.killed += 1
                start()
            time.sleep(0.02)
    finally:
        for process in running:
            process.kill()
            process.wait()
    failed = [process.returncode for process in running if process.returncode not in (0, -9)]
    assert not failed, (folder / "errors.log").read_text()
    check_invariant(read_active())
    for log in logs:
        for line in log.read_text().splitlines() if log.exists() else ():
            action, _unused, reservation_id = line.partition(" ")
            outcome.counts[action] += 1
            outcome.acknowledged[action].add(reservation_id)
    return outcome


def _lines(log: Path) -> int:
    return log.read_bytes().count(b"\n") if log.exists() else 0


def check_invariant(active: Iterable[Row]) -> None:
    """Assert that hard reservations and the load stay within the limit at every step of every host."""
    by_host: dict[str, list[Row]] = defaultdict(list)
    for row in active:
        if row["tier"] == "hard":
            by_host[row["host_key"]].append(row)
    for host, rows in by_host.items():
        for step in range(STEPS):
            begin, end = START_TS + step * STEP_S, START_TS + (step + 1) * STEP_S
            moments = {begin, *(row["start_ts"] for row in rows if begin <= row["start_ts"] < end)}
            for moment in moments:
                held = [row for row in rows if row["start_ts"] <= moment < row["end_ts"]]
                for name, load, ceiling in zip(FIELDS, load_at(step), ceilings(), strict=True):
                    total = load + sum(row[name] for row in held)
                    assert total <= ceiling * (1 + 1e-6), f"{host} step {step}: {name} {total} over {ceiling}"


def check_outcome(outcome: Outcome, reservations: Sequence[Row], transitions: Sequence[Row]) -> None:
    """Assert that everything acknowledged is there, that the audit trail is complete, and that the race was one."""
    states = {row["reservation_id"]: row["state"] for row in reservations}
    assert outcome.acknowledged["created"] <= set(states), "a reservation that was granted is gone"
    assert not [each for each in outcome.acknowledged["release"] if states[each] == "active"]
    assert not [each for each in outcome.acknowledged["consume"] if states[each] != "consumed"]
    trails: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(transitions, key=lambda row: int(row["generation"])):
        trails[row["reservation_id"]].append(row)
    for row in reservations:
        trail = trails.pop(row["reservation_id"])
        assert [step["generation"] for step in trail] == list(range(1, row["generation"] + 1))
        assert trail[-1]["to_state"] == row["state"]
        assert all(later["from_state"] == earlier["to_state"] for earlier, later in itertools.pairwise(trail))
        assert json.loads(trail[0]["change"])["amount"][0] is None
    assert not trails, "the audit trail tells of reservations that do not exist"
    assert outcome.killed == KILLS
    assert outcome.snapshots > 20
    for action in ("created", "capacity_short", "vm_reserved_elsewhere", "release", "consume"):
        assert outcome.counts[action] > 5, f"the race never came to {action}: {dict(outcome.counts)}"


if __name__ == "__main__":
    _Process(sys.argv[1], int(sys.argv[2]), Path(sys.argv[4])).run(int(sys.argv[3]))

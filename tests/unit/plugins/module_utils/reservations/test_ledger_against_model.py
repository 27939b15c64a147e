# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger does what a few lines over plain lists do, whatever the order of calls."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.reservations.claims import ClaimRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations.host_calendar import HostRoom
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import ReservationNotActive
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

START = 1_800_000_000
STEP = 600
CPU, MEMORY = 10, 20
OVERCOMMIT = 1.5
HOSTS = ("e/a", "e/b")
VMS = ("vm-1", "vm-2", "vm-3")


@dataclass
class Entry:
    """One reservation as the model keeps it."""

    ledger_id: str
    vm: str
    host: str
    amount: tuple[int, int]
    tier: str
    start: float
    end: float
    lease: float
    state: str = "active"


class Model:
    """Reservations in a list, steps counted one by one."""

    def __init__(self, load: list[tuple[int, int]]) -> None:
        self.load = load
        self.entries: list[Entry] = []

    def sweep(self, host: str, now: float) -> None:
        for entry in self.entries:
            if entry.host == host and self.lapsed(entry, now):
                entry.state = "expired"

    @staticmethod
    def lapsed(entry: Entry, now: float) -> bool:
        return entry.state == "active" and (entry.lease <= now or entry.end <= now)

    def load_at(self, step: int) -> tuple[int, int]:
        if 0 <= step < len(self.load):
            return self.load[step]
        return max(cpu for cpu, _unused in self.load), max(memory for _unused, memory in self.load)

    def fits(self, asked: Entry, others: list[Entry], now: float) -> bool:
        factor = 1.0 if asked.tier == "hard" else OVERCOMMIT
        first = int((max(asked.start, now) - START) // STEP)
        last = int(-((START - asked.end) // STEP))
        for step in range(first, last):
            begin = START + step * STEP
            for index, capacity in enumerate((CPU, MEMORY)):
                used = self.load_at(step)[index] + asked.amount[index]
                used += sum(
                    other.amount[index]
                    for other in others
                    if other.start < begin + STEP
                    and other.end > begin
                    and (asked.tier == "soft" or other.tier == "hard")
                )
                if asked.amount[index] and used > capacity * factor:
                    return False
        return True

    def claim(self, asked: Entry, now: float, ttl: float, second: bool) -> str:
        """Return what the ledger must answer, and keep the outcome."""
        holding = [
            entry
            for entry in self.entries
            if entry.host == asked.host
            and (
                (entry.state == "active" and not self.lapsed(entry, now))
                or (entry.state == "consumed" and entry.end > now)
            )
        ]
        current = next((entry for entry in holding if entry.state == "active" and entry.vm == asked.vm), None)
        rivals = [
            entry
            for entry in self.entries
            if entry.vm == asked.vm
            and entry.host != asked.host
            and entry.state == "active"
            and not self.lapsed(entry, now)
        ]
        if current is None and rivals and not second:
            return "vm_reserved_elsewhere"
        within = current is not None and (
            (current.tier in (asked.tier, "hard"))
            and all(new <= old for new, old in zip(asked.amount, current.amount, strict=True))
            and current.start <= max(asked.start, now)
            and asked.end <= current.end
        )
        if not within and not self.fits(asked, [entry for entry in holding if entry is not current], now):
            return "capacity_short"
        self.sweep(asked.host, now)
        if current is None:
            self.entries.append(asked)
            return "created"
        lease = max(current.lease, asked.lease)
        same = (current.amount, current.tier, current.start, current.end)
        if same != (asked.amount, asked.tier, asked.start, asked.end):
            current.amount, current.tier, current.start, current.end = asked.amount, asked.tier, asked.start, asked.end
            current.lease = lease
            return "updated"
        if current.lease - now < ttl / 2:
            current.lease = lease
            return "renewed"
        return "unchanged"


class LedgerMachine(RuleBasedStateMachine):
    """Calls of the ledger, each compared with the model's answer."""

    @initialize(load=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 12)), min_size=8, max_size=8))
    def begin(self, load: list[tuple[int, int]]) -> None:
        self.folder = Path(tempfile.mkdtemp())
        self.now = float(START)
        self.model = Model(load)
        paths = np.zeros((1, 4, 8))
        paths[0, :2] = np.array(load).T
        self.room = HostRoom(Resources(CPU, MEMORY), {}, paths[0], START, STEP, paths=paths, soft_overcommit=OVERCOMMIT)
        self.ledger = open_ledger(f"sqlite:///{self.folder}/ledger.db", actor="machine")

    def teardown(self) -> None:
        if hasattr(self, "ledger"):
            self.ledger.__exit__()
            shutil.rmtree(self.folder)

    @rule(
        vm=st.sampled_from(VMS),
        host=st.sampled_from(HOSTS),
        amount=st.tuples(st.integers(0, 6), st.integers(0, 12)).filter(any),
        tier=st.sampled_from(("hard", "soft")),
        offset=st.integers(-600, 3000),
        length=st.integers(1, 3600),
        ttl=st.sampled_from((300.0, 1200.0, 7200.0)),
        second=st.booleans(),
    )
    def claim(self, vm: str, host: str, amount: tuple[int, int], tier: str, offset: int, length: int,
              ttl: float, second: bool) -> None:  # fmt: skip
        start = self.now + offset
        end = max(start, self.now) + length
        self._claim(Entry("", vm, host, amount, tier, start, end, self.now + ttl), ttl, second)

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), ttl=st.sampled_from((300.0, 7200.0)))
    def claim_again(self, data: st.DataObject, ttl: float) -> None:
        old = data.draw(st.sampled_from(self.model.entries))
        if old.end > self.now:
            again = Entry("", old.vm, old.host, old.amount, old.tier, old.start, old.end, self.now + ttl)
            self._claim(again, ttl, True)

    def _claim(self, asked: Entry, ttl: float, second: bool) -> None:
        request = ClaimRequest(
            vm_uuid=asked.vm, host_key=asked.host, amount=Resources(*asked.amount), tier=asked.tier,
            start_ts=asked.start, end_ts=asked.end, owner="machine", ttl_s=ttl, allow_second_host=second,
        )  # fmt: skip
        foreseen, _unused = self._answer(request, dry_run=True)
        answer, reservation_id = self._answer(request)
        asked.ledger_id = reservation_id
        assert answer == self.model.claim(asked, self.now, ttl, second)
        assert foreseen == answer

    def _answer(self, request: ClaimRequest, dry_run: bool = False) -> tuple[str, str]:
        try:
            result = self.ledger.claim(request, self.room, self.now, dry_run=dry_run)
        except ForesightError as refusal:
            return refusal.code, ""
        return result.action, result.reservation.reservation_id

    @rule(seconds=st.integers(1, 1500))
    def pass_time(self, seconds: int) -> None:
        self.now += seconds

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), ttl=st.sampled_from((300.0, 7200.0)))
    def renew(self, data: st.DataObject, ttl: float) -> None:
        entry = data.draw(st.sampled_from(self.model.entries))
        alive = entry.state == "active" and not self.model.lapsed(entry, self.now)
        if self._allowed(alive, lambda: self.ledger.renew(entry.ledger_id, ttl, self.now)):
            entry.lease = max(entry.lease, self.now + ttl)

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model.entries))
        self._allowed(True, lambda: self.ledger.release(entry.ledger_id, self.now))
        if entry.state == "active":
            entry.state = "released"

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data())
    def consume(self, data: st.DataObject) -> None:
        entry = data.draw(st.sampled_from(self.model.entries))
        if self._allowed(entry.state != "released", lambda: self.ledger.consume(entry.ledger_id, self.now)):
            entry.state = "consumed"

    @rule()
    def expire(self) -> None:
        lapsed = {entry.ledger_id for entry in self.model.entries if self.model.lapsed(entry, self.now)}
        assert {found.reservation_id for found in self.ledger.expire(self.now, dry_run=True)} == lapsed
        assert {found.reservation_id for found in self.ledger.expire(self.now)} == lapsed
        for host in HOSTS:
            self.model.sweep(host, self.now)

    @staticmethod
    def _allowed(expected: bool, call: Callable[[], object]) -> bool:
        """Make the call, which the ledger must allow exactly when the model does; returns whether it did."""
        if not expected:
            with pytest.raises(ReservationNotActive):
                call()
            return False
        call()
        return True

    @invariant()
    def the_ledger_says_what_the_model_says(self) -> None:
        if not hasattr(self, "ledger"):
            return
        stored = {
            found.reservation_id: (
                found.vm_uuid, found.host_key, tuple(found.amount)[:2], found.tier, found.start_ts, found.end_ts,
                found.lease_expires_ts, found.state,
            )
            for found in self.ledger.find()
        }  # fmt: skip
        assert stored == {
            entry.ledger_id: (
                entry.vm, entry.host, entry.amount, entry.tier, entry.start, entry.end, entry.lease, entry.state
            )
            for entry in self.model.entries
        }  # fmt: skip


LedgerMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLedgerAgainstModel = LedgerMachine.TestCase

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clock of a simulated estate, kept in its state file so that every process lives in the same time."""

from __future__ import annotations

import time
from typing import Protocol


class ClockStore(Protocol):
    """Where the clock is kept."""

    def read_clock(self) -> ClockReading:
        """Return the clock as it stands."""

    def advance_clock(self, ts: float) -> None:
        """Set a stepped clock forward to ``ts``; never back."""


class ClockReading:
    """A clock as it is kept: at wall time ``wall_ts`` it was ``estate_ts``."""

    __slots__ = ("estate_ts", "mode", "speed", "wall_ts")

    def __init__(self, mode: str, speed: float, estate_ts: float, wall_ts: float) -> None:
        self.mode = mode
        self.speed = speed
        self.estate_ts = estate_ts
        self.wall_ts = wall_ts

    def now(self, wall_ts: float) -> float:
        """Return estate time at wall time ``wall_ts``."""
        if self.mode == "stepped":
            return self.estate_ts
        return self.estate_ts + max(0.0, wall_ts - self.wall_ts) * self.speed


class EstateClock:
    """Estate time.

    ``running``: it passes ``speed`` times as fast as wall time. ``stepped``: it stands still except while something
    waits on it; a wait of s seconds sets it forward by s and lasts s / ``speed`` seconds of wall time (none at speed
    0). Processes that wait at the same time wait together: the clock ends at the latest of their times, not the sum.
    """

    def __init__(self, store: ClockStore) -> None:
        self._store = store

    def now(self) -> float:
        """Return the estate's time in Unix seconds."""
        return self._store.read_clock().now(time.time())

    def sleep(self, seconds: float) -> None:
        """Return when ``seconds`` of the estate's time have passed."""
        if seconds <= 0:
            return
        reading = self._store.read_clock()
        target_ts = reading.now(time.time()) + seconds
        if reading.speed > 0:
            time.sleep(seconds / reading.speed)
        if reading.mode == "stepped":
            self._store.advance_clock(target_ts)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A clock for tests that must not hang on how fast the machine is."""

from __future__ import annotations


class SteppedClock:
    """A clock that only sleeping moves. Times are Unix seconds, UTC."""

    def __init__(self, start_ts: float = 0.0) -> None:
        self.ts = start_ts

    def now(self) -> float:
        """Return the current time."""
        return self.ts

    def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.ts += seconds

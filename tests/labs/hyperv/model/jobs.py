# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Migrations under way: CIM jobs that take time, can be cancelled, fail and are forgotten."""

from __future__ import annotations

from dataclasses import dataclass

#: ``JobState`` of CIM_ConcreteJob.
ACTIVE, COMPLETED, TERMINATED, EXCEPTION = 4, 7, 8, 10
#: ``MigrationType`` and ``JobType`` of a running VM's move without its storage.
VIRTUAL_SYSTEM, MOVE = 32768, 305


@dataclass
class MoveJob:
    """One live migration. ``ends_ts`` is when it will have copied everything; ``fails_ts`` when it will break."""

    job_id: str
    vm_id: str
    source: str
    destination: str
    started_ts: float
    ends_ts: float
    fails_ts: float | None = None
    error_code: int = 0
    error: str = ""
    state: int = ACTIVE
    percent: int = 0
    ended_ts: float | None = None
    uncancellable: bool = False
    message_id: int = 0
    migration_type: int = VIRTUAL_SYSTEM
    job_type: int = MOVE

    def advance(self, now_ts: float) -> bool:
        """Bring the job to ``now_ts``; return whether it has just completed."""
        if self.state != ACTIVE:
            return False
        span_s = max(self.ends_ts - self.started_ts, 1e-6)
        self.percent = min(99, int(100 * (now_ts - self.started_ts) / span_s))
        if self.fails_ts is not None and now_ts >= self.fails_ts:
            self.fail(self.fails_ts, self.message_id, self.error)
        elif now_ts >= self.ends_ts:
            self.percent = 100
            self._end(COMPLETED, self.ends_ts)
            return True
        return False

    def cancel(self, now_ts: float) -> bool:
        """Stop the job; return whether it was running and let itself be stopped."""
        if self.state != ACTIVE or self.uncancellable:
            return False
        self.error_code, self.error = 32784, "The operation was canceled. (0x800704C7)"
        self._end(TERMINATED, now_ts)
        return True

    def fail(self, now_ts: float, message_id: int, error: str) -> None:
        """End the job with an error."""
        self.message_id, self.error, self.error_code = message_id, error, 32768
        self._end(EXCEPTION, now_ts)

    def _end(self, state: int, now_ts: float) -> None:
        self.state, self.ended_ts = state, now_ts

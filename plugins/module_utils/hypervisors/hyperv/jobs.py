# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Migration jobs as a host lists them: which are moves, which one is meant, and what its state says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..protocol import Progress
from .service_errors import read_errors, said

#: ``MigrationType`` (Microsoft, "Msvm_VirtualSystemMigrationSettingData class") of a VM, and of a VM with its storage.
MOVES = frozenset({32768, 32771})
#: ``JobType`` (Microsoft, "Msvm_MigrationJob class") of jobs that prepare or check, or move storage only.
NOT_MOVES = frozenset({300, 301, 302, 303, 304, 307})
#: ``JobState`` of a job that is not over, and of those that ended well.
STARTING, RUNNING = frozenset({2, 3}), frozenset({4, 5, 6, 11})
COMPLETED, COMPLETED_WITH_WARNINGS = 7, 32768
TERMINATED, KILLED = 8, 9
#: HRESULT_FROM_WIN32(ERROR_CANCELLED) and HRESULT_FROM_WIN32(ERROR_OPERATION_ABORTED), [MS-ERREF].
CANCELLED = frozenset({"0x800704C7", "0x800703E3"})
#: Clocks of the two readings that a job's age is judged by are the host's own, so this only covers rounding.
START_SLACK_S = 2.0


def is_move(job: Mapping[str, Any]) -> bool:
    """Return whether the job moves a VM, rather than checking or preparing that or moving disks."""
    return job["migration_type"] in MOVES and job["job_type"] not in NOT_MOVES


def is_in_flight(job: Mapping[str, Any]) -> bool:
    """Return whether the job moves a VM and is not over."""
    return is_move(job) and job["state"] in STARTING | RUNNING


def pick(jobs: Sequence[Mapping[str, Any]], handle: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the job that ``handle`` (of `migration.Migrations`) means.

    That is the one with its ``job_id``. While that is not known, it is the latest move that was not there before
    (``stale`` ids) and began no earlier than ``since_ts``.
    """
    if handle["job_id"]:
        return next((job for job in jobs if job["id"] == handle["job_id"]), None)
    fresh = [
        job
        for job in jobs
        if is_move(job)
        and job["id"] not in handle["stale"]
        and (job["started_ts"] is None or job["started_ts"] >= handle["since_ts"] - START_SLACK_S)
    ]
    return max(fresh, key=lambda job: job["started_ts"] or float("inf"), default=None)


def as_progress(job: Mapping[str, Any], now_ts: float) -> Progress:
    """Return how far the job is. Hyper-V tells the percentage only, so the figures in MiB stay unknown."""
    started_ts, elapsed_s = job["started_ts"], job["elapsed_s"]
    if elapsed_s is None:
        elapsed_s = max(0.0, now_ts - started_ts) if started_ts is not None else 0.0
    phase = _phase(job)
    error = said(read_errors(job["errors"]), job["error"]) if phase in ("failed", "aborted") else ""
    return Progress(phase, float(elapsed_s), percent=float(job["percent"]), error=error)


def _phase(job: Mapping[str, Any]) -> str:
    state = job["state"]
    if state in STARTING:
        return "starting"
    if state in RUNNING:
        return "precopy"
    if state in (COMPLETED, COMPLETED_WITH_WARNINGS):
        return "done"
    cancelled = any(error.codes & CANCELLED for error in read_errors(job["errors"]))
    return "aborted" if cancelled or state in (TERMINATED, KILLED) else "failed"

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a workspace forgets, so that it does not grow for ever."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from .compaction import compact, forget
from .workspace import Workspace

DAY_S = 86_400.0
#: Every snapshot is kept so long, and after that the last of each hour for two days.
_SNAPSHOTS_ALL_S = 2 * 3600.0
_SNAPSHOTS_HOURLY_S = 2 * DAY_S
#: So many of the newest forecasts are kept: an hourly one must last until its 24 hours are over and can be scored.
_FORECASTS = 30
#: What an unfinished write left is removed after this time.
_UNFINISHED_S = DAY_S


def tidy(workspace: Workspace, now_ts: float, retention_days: float) -> None:
    """Compact metrics, and forget metrics older than ``retention_days``, old snapshots and old forecasts.

    It does a bounded amount of work and may be interrupted at any moment; calling it after each collection keeps a
    store in order.
    """
    compact(workspace.metrics, workspace.files, now_ts)
    forget(workspace.metrics, workspace.files, now_ts - retention_days * DAY_S)
    for snapshot_id in expired_snapshots(workspace.snapshots.ids(), now_ts):
        workspace.snapshots.delete(snapshot_id)
    for forecast_id in workspace.forecasts.by_age()[_FORECASTS:]:
        workspace.forecasts.delete(forecast_id)
    workspace.files.clean(time.time() - _UNFINISHED_S)


def expired_snapshots(ids: list[str], now_ts: float) -> list[str]:
    """Return which of the snapshot ids (oldest first) are no longer kept at ``now_ts``; never the newest."""
    expired, hours = [], set()
    for snapshot_id in reversed(ids[:-1]):
        age_s = now_ts - taken_ts(snapshot_id)
        hour = snapshot_id[:11]
        if age_s > _SNAPSHOTS_HOURLY_S or (age_s > _SNAPSHOTS_ALL_S and hour in hours):
            expired.append(snapshot_id)
        hours.add(hour)
    return expired


def taken_ts(snapshot_id: str) -> float:
    """Return the Unix seconds at which the snapshot of that id was taken."""
    return datetime.strptime(snapshot_id[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()

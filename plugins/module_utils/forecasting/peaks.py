# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maximum over the horizon, modelled directly: read off per-step bands it is exceeded far more than they claim."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..estate.scenarios import window_index
from ..libraries import library
from .backtest import Origin
from .levels import sample_quantiles
from .model import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Maxima are taken within blocks of this length first; windows begin at each.
BLOCK_S = 3_600
#: The last days whose windows count for half.
RECENT_DAYS = 7
#: How much of the probability beyond a peak's level lies beyond the windows' level that stands for it.
OUTWARD = 0.4
#: A floor that keeps logarithms finite, in units of the series' mean.
FLOOR = 1e-6


def peak_log_quantiles(task: Task, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles of the log of the maximum over the horizon, shape (series, levels).

    They lie half way (in logs) between those of the maxima of all past windows that cover the same times of day, and
    those of the last week's: bursts of two weeks ago come back less often than last week's. A window's level is
    further out than the peak's, because windows overlap and the next one is not among them.
    """
    outer = [1 - OUTWARD * (1 - level) if level > 0.5 else level for level in levels]
    recent = task if task.values.shape[1] <= RECENT_DAYS * task.day else _last_days(task, RECENT_DAYS)
    return 0.5 * (_window_quantiles(task, outer) + _window_quantiles(recent, outer))


def _last_days(task: Task, days: int) -> Task:
    steps = days * task.day
    return replace(task, values=task.values[:, -steps:], observed=task.observed[:, -steps:])


def _window_quantiles(task: Task, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles of the log maxima of the windows in ``task``'s history, shape (series, levels)."""
    width = max(1, min(BLOCK_S // task.step_s, task.horizon))
    whole = task.values.shape[1] // width * width
    blocks = task.values[:, -whole:].reshape(len(task.values), -1, width).max(axis=2)
    ahead = -(-task.horizon // width)
    per_day = max(1, task.day // width)
    span = -(-ahead // per_day) * per_day
    starts = np.arange(max(0, blocks.shape[1] - span), -1, -1, dtype=np.int32)
    index = window_index(starts, blocks.shape[1], ahead, width * task.step_s)
    index = np.minimum(index, blocks.shape[1] - 1)
    maxima = np.stack(
        [(series[index] + more).max(axis=1) for series, more in zip(blocks, _added(task, width), strict=True)]
    )
    return sample_quantiles(np.log(np.maximum(maxima, FLOOR)), levels).astype(np.float64)


def _added(task: Task, width: int) -> NDArray[np.float32]:
    """Return the most that events add in each block ahead, shape (series, blocks)."""
    ahead = -(-task.horizon // width)
    if task.added_ahead is None:
        return np.zeros((len(task.values), ahead), np.float32)
    padded = np.pad(task.added_ahead, ((0, 0), (0, ahead * width - task.horizon)))
    return np.asarray(padded.reshape(len(padded), ahead, width).max(axis=2), np.float32)


def peak_errors(past: Sequence[Origin], levels: Sequence[float]) -> NDArray[np.float64]:
    """Return by how much past peaks passed what was said of them (logs), shape (series, origins, levels).

    NaN where less than half of what came after an origin was measured.
    """
    columns = []
    for origin in past:
        known = np.isfinite(origin.actual)
        measured = origin.actual if origin.task.added_ahead is None else origin.actual + origin.task.added_ahead
        peak = np.where(known, measured, -np.inf).max(axis=1)
        complete = origin.counted & (known.mean(axis=1) > 0.5)
        came = np.where(complete, np.log(np.maximum(peak, FLOOR)), np.nan)
        columns.append(came[:, None] - peak_log_quantiles(origin.task, levels))
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0, len(levels)))

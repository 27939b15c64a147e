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
#: Days that say what a series does lately, and how much the whole history counts beside them. This, `OUTWARD` and
#: `calibration.PEAK_TRUST` were chosen by the pinball loss on VMs that no published score is of (docs/model-card.md).
RECENT_DAYS = 7
WHOLE_SHARE = 0.7
#: How much of the probability beyond a peak's level lies beyond the windows' level that stands for it.
OUTWARD = 0.1
#: A history of fewer horizons than this does not hold the peaks of rare levels, and is extrapolated.
ENOUGH_HORIZONS = 3.0
#: How far, in logs of the peak for each log of how much rarer the level is than what the history can hold: always, and
#: for each log between the usual and the highest hour. Chosen on histories of hours of VMs that no published score is
#: of; rarer peaks would ask for more still, at a price that few would pay for a day.
REACH, REACH_BURST = 0.3, 0.2
#: Keeps the logarithm of a burst's height finite, in units of the series' mean.
EPSILON = 0.03
#: A floor that keeps logarithms finite, in units of the series' mean.
FLOOR = 1e-6


def peak_log_quantiles(task: Task, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles of the log of the maximum over the horizon, shape (series, levels).

    They lie (in logs) between those of the maxima of all past windows that cover the same times of day, and those of
    the last week's: bursts of two weeks ago come back less often than last week's. A window's level is further out
    than the peak's, because windows overlap and the next one is not among them.
    """
    outer = [1 - OUTWARD * (1 - level) if level > 0.5 else level for level in levels]
    recent = task if task.values.shape[1] <= RECENT_DAYS * task.day else _last_days(task, RECENT_DAYS)
    known = WHOLE_SHARE * _window_quantiles(task, outer) + (1 - WHOLE_SHARE) * _window_quantiles(recent, outer)
    return known + _beyond_the_known(task, levels)


def is_nothing(logs: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which quantiles of a log maximum stand for no demand at all."""
    return np.asarray(logs <= np.log(2 * FLOOR))


def _beyond_the_known(task: Task, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return by how much the log of each peak quantile lies beyond a history too short to hold it, (series, levels).

    The next of n + 1 exchangeable horizons is the highest with probability 1 / (n + 1): a level p above n / (n + 1)
    was not seen yet. What it lies beyond is 1 / ((1 - p)(n + 1)) times rarer than the highest.
    """
    horizons = task.observed.sum(axis=1) / task.horizon
    lacking = np.clip((ENOUGH_HORIZONS - horizons) / (ENOUGH_HORIZONS - 1), 0.0, 1.0)
    if not lacking.any():
        return np.zeros((len(horizons), len(levels)))
    rarity = 1 / ((1 - np.asarray(levels)) * (horizons[:, None] + 1))
    rarer = np.where(np.asarray(levels) > 0.5, np.log(np.maximum(rarity, 1.0)), 0.0)
    blocks = _blocks(task)
    burst = np.log((blocks.max(axis=1) + EPSILON) / (np.median(blocks, axis=1) + EPSILON))
    moves = np.ptp(task.values, axis=1) > FLOOR  # what has always been the same is not thought to jump
    return np.asarray(rarer * (moves * lacking * (REACH + REACH_BURST * burst))[:, None], np.float64)


def _last_days(task: Task, days: int) -> Task:
    steps = days * task.day
    return replace(task, values=task.values[:, -steps:], observed=task.observed[:, -steps:])


def _window_quantiles(task: Task, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles of the log maxima of the windows in ``task``'s history, shape (series, levels)."""
    width = _block_steps(task)
    blocks = _blocks(task)
    ahead = -(-task.horizon // width)
    per_day = max(1, task.day // width)
    span = -(-ahead // per_day) * per_day
    starts = np.arange(max(0, blocks.shape[1] - span), -1, -1, dtype=np.int32)
    index = window_index(starts, blocks.shape[1], ahead, width * task.step_s)
    maxima = np.stack(
        [(series[index] + more).max(axis=1) for series, more in zip(blocks, _added(task, width), strict=True)]
    )
    return sample_quantiles(np.log(np.maximum(maxima, FLOOR)), levels).astype(np.float64)


def _block_steps(task: Task) -> int:
    return max(1, min(BLOCK_S // task.step_s, task.horizon))


def _blocks(task: Task) -> NDArray[np.float32]:
    """Return the maxima of the history's blocks, (series, blocks)."""
    width = _block_steps(task)
    whole = task.values.shape[1] // width * width
    return np.asarray(task.values[:, -whole:].reshape(len(task.values), -1, width).max(axis=2), np.float32)


def _added(task: Task, width: int) -> NDArray[np.float32]:
    """Return the most that events add in each block ahead, shape (series, blocks)."""
    ahead = -(-task.horizon // width)
    if task.added_ahead is None:
        return np.zeros((len(task.values), ahead), np.float32)
    padded = np.pad(task.added_ahead, ((0, 0), (0, ahead * width - task.horizon)))
    return np.asarray(padded.reshape(len(padded), ahead, width).max(axis=2), np.float32)


def peak_errors(past: Sequence[Origin], levels: Sequence[float]) -> NDArray[np.float64]:
    """Return by how much past peaks passed what was said of them (logs), shape (series, origins, levels).

    NaN where less than half of what came after an origin was measured, and where nothing at all was said to come: how
    many times nothing a first burst is tells nothing about the peaks of others.
    """
    columns = []
    for origin in past:
        known = np.isfinite(origin.actual)
        measured = origin.actual if origin.task.added_ahead is None else origin.actual + origin.task.added_ahead
        peak = np.where(known, measured, -np.inf).max(axis=1)
        complete = origin.counted & (known.mean(axis=1) > 0.5)
        came = np.where(complete, np.log(np.maximum(peak, FLOOR)), np.nan)
        said = peak_log_quantiles(origin.task, levels)
        columns.append(np.where(is_nothing(said), np.nan, came[:, None] - said))
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0, len(levels)))

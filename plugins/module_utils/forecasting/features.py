# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the global network is told about a series: free of its unit, its scale and its name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library
from .model import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Keeps logarithms of small amounts apart from those of nothing, in units of the series' mean.
EPSILON = 0.03
#: Windows, in days, whose level and spread are compared.
LEVEL_DAYS = (1 / 24, 0.25, 1.0, 3.0, 7.0)
SPREAD_DAYS = (0.25, 1.0, 7.0)


def features(task: Task, losses: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return features of each series, shape (series, features), all within about [-3, 3].

    ``losses`` (series, members, past origins, latest first) are backtest losses, NaN where not counted: the first
    features say how much worse than the best each member has been, over all origins and on the latest.
    """
    return np.concatenate([_skill(losses), _skill(losses[:, :, :1]), _shape(task), _extent(task, losses)], axis=1)


def _skill(losses: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return log loss relative to the best member, in [0, 3]; 0 for all members without a counted origin."""
    known = np.isfinite(losses)
    count = np.maximum(known.sum(axis=2), 1)
    mean = np.where(known, losses, 0.0).sum(axis=2) / count + 1e-5
    relative = np.log(mean / mean.min(axis=1, keepdims=True))
    return np.asarray(np.clip(relative, 0.0, 3.0), np.float32)


def _shape(task: Task) -> NDArray[np.float32]:
    values = task.values
    columns = []
    for days in LEVEL_DAYS:
        columns.append(np.log(EPSILON + _last(task, days).mean(axis=1)))
    for days in SPREAD_DAYS:
        columns.append(np.log(EPSILON + _last(task, days).std(axis=1)))
    day = _last(task, 1.0)
    columns.append(np.log(EPSILON + day.max(axis=1)))
    columns.append(np.log(EPSILON + values.max(axis=1)))
    columns.append(6 * (day <= 0).mean(axis=1) - 3)
    columns.append(6 * (np.abs(day - np.median(day, axis=1, keepdims=True)) < 0.02).mean(axis=1) - 3)
    columns.append(3 * _correlation(day[:, 1:], day[:, :-1]))
    hourly = _hourly(task)
    lag = max(1, round(task.day / max(1, task.day // 24)))
    columns.append(3 * _correlation(hourly[:, lag:], hourly[:, :-lag]))
    return np.asarray(np.clip(np.stack(columns, axis=1), -3.5, 4.5), np.float32)


def _extent(task: Task, losses: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return how much was measured (log days) and how many origins were counted."""
    days = task.observed.sum(axis=1) / task.day
    counted = np.isfinite(losses[:, 0]).sum(axis=1)
    return np.stack([np.log(EPSILON + days), counted - 2.0], axis=1).astype(np.float32)


def _last(task: Task, days: float) -> NDArray[np.float32]:
    return task.values[:, -max(2, round(days * task.day)) :]


def _hourly(task: Task) -> NDArray[np.float32]:
    width = max(1, task.day // 24)
    values = task.values[:, -7 * task.day :]
    whole = values.shape[1] // width * width
    return np.asarray(values[:, -whole:].reshape(len(values), -1, width).mean(axis=2), np.float32)


def _correlation(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the correlation of each row of ``left`` with that of ``right``; 0 where either is constant."""
    if left.shape[1] < 2:
        return np.zeros(len(left), np.float32)
    one, other = left - left.mean(axis=1, keepdims=True), right - right.mean(axis=1, keepdims=True)
    scale = np.sqrt((one * one).sum(axis=1) * (other * other).sum(axis=1))
    return np.asarray(np.where(scale > 1e-6, (one * other).sum(axis=1) / np.maximum(scale, 1e-6), 0.0), np.float32)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The maximum over the horizon, modelled directly: read off per-step bands it is exceeded far more than they claim."""

from __future__ import annotations

from collections.abc import Sequence
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
#: Past days on which the rule is checked.
BACKTEST_DAYS = 4
#: A floor that keeps logarithms finite, in units of the series' mean.
FLOOR = 1e-6


def peak_log_quantiles(task: Task, levels: Sequence[float]) -> NDArray[np.float64]:
    """Return quantiles of the log of the maximum over the horizon, shape (series, levels).

    They are those of the maxima of all past windows that cover the same times of day.
    """
    width = max(1, min(BLOCK_S // task.step_s, task.horizon))
    whole = task.values.shape[1] // width * width
    blocks = task.values[:, -whole:].reshape(len(task.values), -1, width).max(axis=2)
    ahead = -(-task.horizon // width)
    per_day = max(1, task.day // width)
    span = -(-ahead // per_day) * per_day
    starts = np.arange(max(0, blocks.shape[1] - span), -1, -1, dtype=np.int32)
    index = window_index(starts, blocks.shape[1], ahead, width * task.step_s)
    maxima = np.stack([series[np.minimum(index, len(series) - 1)].max(axis=1) for series in blocks])
    return sample_quantiles(np.log(np.maximum(maxima, FLOOR)), levels).astype(np.float64)


def peak_errors(past: Sequence[Origin], levels: Sequence[float]) -> NDArray[np.float64]:
    """Return by how much past peaks passed what was said of them (logs), shape (series, origins, levels).

    NaN where less than half of what came after an origin was measured.
    """
    columns = []
    for origin in past:
        known = np.isfinite(origin.actual)
        peak = np.where(known, origin.actual, -np.inf).max(axis=1)
        complete = origin.counted & (known.mean(axis=1) > 0.5)
        came = np.where(complete, np.log(np.maximum(peak, FLOOR)), np.nan)
        columns.append(came[:, None] - peak_log_quantiles(origin.task, levels))
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0, len(levels)))

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The same time a week ago: what an estate needs whose weekends are unlike its working days."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library
from .levels import sample_quantiles
from .model import Model, ModelFailed, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

WEEK_DAYS = 7
#: Errors grow with the level, as demand's do, and not below this share of the series' mean.
FLOOR = 0.25


class WeekNaive(Model):
    """The hour's mean around the same time a week ago, with that rule's relative errors over the last week.

    The network does not weigh it: it was trained on members for which all days are alike.
    """

    NAME = "week_naive"
    BACKTEST_DAYS = 2

    def knows_enough(self, task: Task) -> bool:
        """Return whether a week and a day are known, so that there are errors of every time of day."""
        return bool(task.values.shape[1] >= (WEEK_DAYS + 1) * task.day)

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        if not self.knows_enough(task):
            days = WEEK_DAYS + 1 + self.BACKTEST_DAYS
            raise ModelFailed(f"{self.NAME} needs {days} days of history, {self.BACKTEST_DAYS} of them to be tested on")
        week = WEEK_DAYS * task.day
        level = _hourly_mean(task.values, max(1, round(task.day / 24)))
        errors = ((task.values[:, week:] + FLOOR) / (level[:, :-week] + FLOOR))[:, -week:]
        ahead = level[:, -week:][:, : task.horizon] + FLOOR
        return np.asarray(ahead[:, :, None] * sample_quantiles(errors, task.levels)[:, None, :] - FLOOR, np.float32)


def _hourly_mean(values: NDArray[np.float32], hour: int) -> NDArray[np.float32]:
    """Return the mean of the ``hour`` steps around each, of fewer at the ends; same shape as ``values``."""
    steps = values.shape[1]
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(values, axis=1, dtype=np.float64)], axis=1)
    first = np.clip(np.arange(steps) - hour // 2, 0, steps - 1)
    end = np.clip(np.arange(steps) - hour // 2 + hour, 1, steps)
    return np.asarray((sums[:, end] - sums[:, first]) / (end - first), np.float32)

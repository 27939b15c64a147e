# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prophet, an optional extra: `prophet` must be installed for the interpreter that runs the module."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ..libraries import library, require
from .blocks import Blocks, block_means, spread_over_steps
from .model import Model, Task
from .normal import normal_quantiles

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray
else:
    np = library("numpy")
    pd = library("pandas")

BLOCK_S = 3_600
#: Days of history before a weekly profile is fitted.
WEEKLY_DAYS = 14


class Prophet(Model):
    """Taylor and Letham's additive model (The American Statistician 2018) on hourly means, one fit per series.

    Events become regressors. Its own sampled intervals are not used: they take numpy's global random state, and
    are too narrow on demand; the spread is that of its residuals, which conformal calibration then corrects.
    """

    NAME = "prophet"
    PER_SERIES = True
    USES_EVENTS = True

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        require("prophet")
        return np.concatenate([self._one(task.rows([row])) for row in range(len(task.values))])

    def _one(self, task: Task) -> NDArray[np.float32]:
        prophet = require("prophet")
        logging.getLogger("cmdstanpy").setLevel(logging.ERROR)
        blocks = block_means(task, BLOCK_S)
        count = len(blocks.values)
        frame = _frame(task, blocks)
        model = prophet.Prophet(
            daily_seasonality=blocks.per_day > 1,
            weekly_seasonality=count >= WEEKLY_DAYS * blocks.per_day,
            yearly_seasonality=False,
            uncertainty_samples=0,
        )
        for name in frame.columns[2:]:
            model.add_regressor(name)
        model.fit(frame.iloc[:count], seed=0)
        fitted = model.predict(frame.drop(columns="y"))["yhat"].to_numpy()
        sd = float(np.hypot(np.std(blocks.values - fitted[:count]), blocks.within_sd))
        mean = spread_over_steps(fitted[count:], blocks)
        return normal_quantiles(mean, np.full(len(mean), sd), task.levels)[None]


def _frame(task: Task, blocks: Blocks) -> pd.DataFrame:
    """Return Prophet's table: ``ds``, ``y`` (NaN ahead) and one column per event that varied in the past."""
    count = len(blocks.values)
    width_s = blocks.width * task.step_s
    starts = task.origin_ts + (np.arange(count + blocks.ahead) - count) * width_s
    columns = {
        "ds": pd.to_datetime(starts, unit="s"),
        "y": np.concatenate([blocks.values, np.full(blocks.ahead, np.nan)]),
    }
    for at, row in enumerate(blocks.events):
        if np.ptp(row[:count]) > 0:
            columns[f"event{at}"] = row
    return pd.DataFrame(columns)

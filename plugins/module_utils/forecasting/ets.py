# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Exponential smoothing in state space form, on statsmodels."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ..libraries import library
from .blocks import block_means, spread_over_steps
from .model import Model, ModelFailed, Task
from .normal import normal_quantiles

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import statsmodels.tsa.exponential_smoothing.ets as smoothing
    from numpy.typing import NDArray
else:
    np = library("numpy")
    pd = library("pandas")
    smoothing = library("statsmodels.tsa.exponential_smoothing.ets", "statsmodels")

#: Fitted on means of this length, as ARIMA is.
BLOCK_S = 3_600
#: Days of history before a daily profile can be told from noise.
SEASONAL_DAYS = 3


class Ets(Model):
    """ETS(A,N,A) on hourly means: a level that drifts and a daily profile, one fit per series.

    Hyndman, Koehler, Ord, Snyder, Forecasting with Exponential Smoothing, Springer 2008. No trend: over a day ahead an
    extrapolated one does more harm than good on demand.
    """

    NAME = "ets"
    PER_SERIES = True

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        return np.concatenate([self._one(task.rows([row])) for row in range(len(task.values))])

    def _one(self, task: Task) -> NDArray[np.float32]:
        blocks = block_means(task, BLOCK_S)
        seasonal = blocks.per_day > 1 and len(blocks.values) >= SEASONAL_DAYS * blocks.per_day
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # statsmodels warns of slow convergence
            model = smoothing.ETSModel(
                pd.Series(blocks.values),
                error="add",
                seasonal="add" if seasonal else None,
                seasonal_periods=blocks.per_day if seasonal else None,
            )
            forecast = model.fit(disp=False, maxiter=100).get_prediction(
                start=len(blocks.values), end=len(blocks.values) + blocks.ahead - 1
            )
        mean, variance = np.asarray(forecast.predicted_mean), np.asarray(forecast.forecast_variance)
        if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
            raise ModelFailed("its forecast is not finite")
        sd = np.hypot(np.sqrt(variance), blocks.within_sd)
        return normal_quantiles(spread_over_steps(mean, blocks), spread_over_steps(sd, blocks), task.levels)[None]

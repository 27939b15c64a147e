# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""ARIMA with Fourier seasonality and event regressors, on statsmodels (Durbin and Koopman's state space form)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from ..libraries import library
from .blocks import Blocks, block_means, spread_over_steps
from .model import Model, ModelFailed, Task
from .normal import normal_quantiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from statsmodels.tsa.statespace import sarimax
else:
    np = library("numpy")
    sarimax = library("statsmodels.tsa.statespace.sarimax", "statsmodels")

#: Fitted on means of this length: five-minute demand is mostly noise to a linear model, and twelve times dearer.
BLOCK_S = 3_600
#: Orders (p, d, q): a stationary ARMA around the seasonal mean; differencing would let the intervals grow unbounded.
ORDER = (2, 0, 1)
#: Sine and cosine pairs of the daily profile.
HARMONICS = 3
#: A past covariate is kept when it lowers the error to this share at most: less is chance.
CLEAR_GAIN = 0.95


def _companions_help(blocks: Blocks) -> bool:
    """Return whether past covariates lower the regression's error on the last blocks, had they not been known."""
    if not len(blocks.companions) or len(blocks.values) <= 2 * blocks.ahead:
        return False
    errors = []
    for chosen in (False, True):
        known, _ahead = blocks.regressors(HARMONICS, with_companions=chosen)
        slopes = np.linalg.lstsq(known[: -blocks.ahead], blocks.values[: -blocks.ahead], rcond=None)[0]
        errors.append(float(np.abs(blocks.values - known @ slopes)[-blocks.ahead :].mean()))
    return errors[1] < CLEAR_GAIN * errors[0]


class Arima(Model):
    """Dynamic harmonic regression with ARIMA(2,0,1) errors on hourly means, one fit per series.

    Hyndman and Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., section 10.5. The regression
    is fitted first and the errors' ARMA after it: together they take twenty times as long and forecast no better.
    """

    NAME = "arima"
    PER_SERIES = True
    USES_EVENTS = True
    USES_COMPANIONS = True

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        return np.concatenate([self._one(task.rows([row])) for row in range(len(task.values))])

    def _one(self, task: Task) -> NDArray[np.float32]:
        blocks = block_means(task, BLOCK_S)
        known, ahead = blocks.regressors(HARMONICS, with_companions=_companions_help(blocks))
        slopes = np.linalg.lstsq(known, blocks.values, rcond=None)[0]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # statsmodels warns of starting values and of slow convergence
            model = sarimax.SARIMAX(blocks.values - known @ slopes, order=ORDER, concentrate_scale=True)
            forecast = model.fit(disp=False, maxiter=30, cov_type="none").get_forecast(blocks.ahead)
        mean = np.asarray(forecast.predicted_mean) + ahead @ slopes
        sd = np.asarray(forecast.se_mean)
        if not (np.isfinite(mean).all() and np.isfinite(sd).all()):
            raise ModelFailed("ARIMA's forecast is not finite")
        steps = spread_over_steps(mean, blocks), spread_over_steps(np.hypot(sd, blocks.within_sd), blocks)
        return normal_quantiles(*steps, task.levels)[None]

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forecasts the benchmark's series by other people's libraries, in a virtual environment of their own.

Usage: forecast_competitors.py FOLDER STEPS_AHEAD; reads in.npz there, writes one array per method and costs.json.
All are fitted on hourly means (an hour's level is spread over its steps): five-minute seasonality of 288 is out of
reach for them. Their intervals get the scatter of single steps around the hourly mean added.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

HOUR = 12
warnings.filterwarnings("ignore")
logging.getLogger("cmdstanpy").setLevel(logging.ERROR)


def statsforecast_model(name: str) -> Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]:
    """Return a function that gives hourly mean and standard deviation by that statsforecast model."""
    from statsforecast import models

    def run(hourly: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
        model = getattr(models, name)(season_length=24)
        said = model.forecast(y=hourly, h=ahead, level=[80])
        return said["mean"], (said["hi-80"] - said["lo-80"]) / (2 * NormalDist().inv_cdf(0.9))

    return run


def prophet(hourly: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Return hourly mean and standard deviation by Prophet with its defaults."""
    from prophet import Prophet

    stamps = pd.date_range("2026-01-01", periods=len(hourly) + ahead, freq="h")
    model = Prophet(interval_width=0.8).fit(pd.DataFrame({"ds": stamps[: len(hourly)], "y": hourly}))
    said = model.predict(pd.DataFrame({"ds": stamps[len(hourly) :]}))
    spread = (said.yhat_upper - said.yhat_lower) / (2 * NormalDist().inv_cdf(0.9))
    return said.yhat.to_numpy(), spread.to_numpy()


def sarimax(hourly: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
    """Return hourly mean and standard deviation by a seasonal ARIMA (1,0,1)(1,1,0)[24]."""
    from statsmodels.tsa.statespace.sarimax import SARIMAX

    said = (
        SARIMAX(hourly, order=(1, 0, 1), seasonal_order=(1, 1, 0, 24)).fit(disp=False, maxiter=20).get_forecast(ahead)
    )
    return said.predicted_mean, said.se_mean


def main() -> None:
    """Run every method on every series."""
    folder, steps = Path(sys.argv[1]), int(sys.argv[2])
    given = np.load(folder / "in.npz")
    scores = np.array([NormalDist().inv_cdf(level) for level in given["levels"]])
    names = ("AutoARIMA", "AutoETS", "AutoTheta", "SeasonalNaive")
    methods = {name: statsforecast_model(name) for name in names} | {"Prophet": prophet, "SARIMAX": sarimax}
    costs = {}
    for name, method in methods.items():
        answers = []
        started = time.process_time()
        for history in given["history"]:
            blocks = history[-(len(history) // HOUR * HOUR) :].reshape(-1, HOUR)
            within = np.sqrt(blocks.var(axis=1).mean())
            mean, sd = method(blocks.mean(axis=1), steps // HOUR)
            spread = np.hypot(np.nan_to_num(np.asarray(sd)), within)
            hourly = np.asarray(mean)[:, None] + spread[:, None] * scores
            answers.append(np.repeat(hourly, HOUR, axis=0))
        costs[name] = time.process_time() - started
        np.save(folder / f"{name}.npy", np.stack(answers).astype(np.float32))
    (folder / "costs.json").write_text(json.dumps(costs))


if __name__ == "__main__":
    main()

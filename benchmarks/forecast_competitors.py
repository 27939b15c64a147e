# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forecasts the benchmark's series by one of other people's models, in a virtual environment of their own.

Usage: forecast_competitors.py METHOD FOLDER STEPS_AHEAD; reads in.npz there, writes METHOD.npy and METHOD.json.
All are fitted on hourly means (an hour's level is spread over its steps): five-minute seasonality of 288 is out of
reach for them. Their intervals get the scatter of single steps around the hourly mean added. A fit that takes more
than `FIT_CPU_S` is given up and counts as failed, so that a run ends in bounded time.
"""

from __future__ import annotations

import json
import logging
import resource
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pandas as pd

HOUR = 12
#: What fitting raises on series that a method cannot take, or does not come to an end with.
FITTING_ERRORS = (ArithmeticError, ValueError, LookupError, RuntimeError, TimeoutError)
#: The most CPU time that one fit may take, in seconds.
FIT_CPU_S = 30.0
#: AutoARIMA compares models by approximate likelihood, as R's `auto.arima` does unasked for more than 150 values or a
#: season longer than 12; exact comparison takes ten times as long on these series.
STATSFORECAST_OPTIONS = {"AutoARIMA": {"approximation": True}}
warnings.filterwarnings("ignore")
logging.getLogger("cmdstanpy").disabled = True

Method = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


def statsforecast_model(name: str) -> Method:
    """Return a function that gives hourly mean and standard deviation by that statsforecast model."""
    from statsforecast import models

    def run(hourly: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
        model = getattr(models, name)(season_length=24, **STATSFORECAST_OPTIONS.get(name, {}))
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

    model = SARIMAX(hourly, order=(1, 0, 1), seasonal_order=(1, 1, 0, 24))
    said = model.fit(disp=False, maxiter=20).get_forecast(ahead)
    return said.predicted_mean, said.se_mean


def method_called(name: str) -> Method:
    """Return the method of that name."""
    own = {"Prophet": prophet, "SARIMAX": sarimax}
    return own[name] if name in own else statsforecast_model(name)


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Raise TimeoutError inside the block once it has used that much CPU time, and each second from then on.

    Once would not do: libraries catch what a single candidate model raises, and try the next.
    """

    def give_up(_number: int, _frame: object) -> None:
        raise TimeoutError(f"not fitted within {seconds:g} s of CPU time")

    before = signal.signal(signal.SIGPROF, give_up)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def spread_over_steps(method: Method, history: np.ndarray, steps: int, scores: np.ndarray) -> tuple[np.ndarray, bool]:
    """Return quantiles (steps, levels) from one history, and whether the method failed on it.

    A failure (raised, or not finite) is answered with the last day's mean and spread.
    """
    blocks = history[-(len(history) // HOUR * HOUR) :].reshape(-1, HOUR)
    within = np.sqrt(blocks.var(axis=1).mean())
    hourly = blocks.mean(axis=1)
    hours = -(-steps // HOUR)
    try:
        with cpu_limit(FIT_CPU_S):
            mean, sd = method(hourly, hours)
        failed = not (np.isfinite(mean).all() and np.isfinite(np.nan_to_num(np.asarray(sd), posinf=np.inf)).all())
    except FITTING_ERRORS:
        failed = True
    if failed:
        mean, sd = np.full(hours, hourly[-24:].mean()), np.full(hours, hourly[-24:].std())
    spread = np.hypot(np.nan_to_num(np.asarray(sd)), within)
    quantiles = np.asarray(mean)[:, None] + spread[:, None] * scores
    return np.repeat(quantiles, HOUR, axis=0)[:steps], failed


def cpu_s() -> float:
    """Return the CPU time of this process and of those it started (Prophet runs Stan in one)."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def peak_mib() -> int:
    """Return the most memory that this process has held (`ru_maxrss` would count its parent's before the start)."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def main() -> None:
    """Run one method on every series."""
    name, folder, steps = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    given = np.load(folder / "in.npz")
    scores = np.array([NormalDist().inv_cdf(level) for level in given["levels"]])
    method = method_called(name)
    before = cpu_s()
    answers, failures = [], 0
    for history in given["history"]:
        quantiles, failed = spread_over_steps(method, history.astype(np.float64), steps, scores)
        answers.append(quantiles)
        failures += failed
    facts = {"cpu_s": cpu_s() - before, "peak_mib": peak_mib(), "failures": failures}
    np.save(folder / f"{name}.npy", np.stack(answers).astype(np.float32))
    (folder / f"{name}.json").write_text(json.dumps(facts))


if __name__ == "__main__":
    main()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How forecasts do with hours or a few days of history, on recorded demand of other providers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey, SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import backtest, levels
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest
from forecast_cases import DAY, LEVELS, STEP_S, PeakScore, table
from numpy.typing import NDArray

HOUR = DAY // 24
#: Hours known and hours ahead, on the series of one day.
PLANETLAB = ((2, 6), (6, 6), (12, 12))
#: Days known, on the series of two weeks; a day ahead.
NAB = (1, 2, 4, 7, 12)
HEAD = ["known", "ahead", "series", "loss / that of the history's quantiles", "in 80 %", "in 95 %", "95 % peak"]


def cold_start_tables(folder: Path) -> list[str]:
    """Return tables for those of planetlab.parquet and nab_aws.parquet that are in the folder."""
    parts = []
    for name, score in (("planetlab", _planetlab), ("nab_aws", _nab)):
        if (folder / f"{name}.parquet").exists():
            parts += [f"Cold start, {name}:", table(HEAD, score(folder / f"{name}.parquet"))]
    return parts


def _planetlab(path: Path) -> list[list[str]]:
    """Score the one-day series of CPU use, all three days as one fleet."""
    rows = pd.read_parquet(path)
    wide = rows.pivot_table(index=["vm", "day"], columns="slot", values="cpu_pct")
    values = wide.to_numpy(np.float32)
    print(f"planetlab: {len(values)} series", flush=True)
    return [
        _row(
            f"{known} h", f"{ahead} h", [(values[:, : known * HOUR], values[:, known * HOUR : (known + ahead) * HOUR])]
        )
        for known, ahead in PLANETLAB
    ]


def _nab(path: Path) -> list[list[str]]:
    """Score the series as one fleet, each from its own first sample on, at every other day with a day to come."""
    pieces = pd.read_parquet(path).groupby(["vm", "metric"])
    series = [_on_grid(piece) for _name, piece in pieces]
    print(f"nab_aws: {len(series)} series", flush=True)
    found = []
    for days in NAB:
        tasks = []
        for origin in range(days * DAY, max(map(len, series)) - DAY + 1, 2 * DAY):
            long_enough = [values for values in series if len(values) >= origin + DAY]
            history = np.stack([values[origin - days * DAY : origin] for values in long_enough])
            tasks.append((history, np.stack([values[origin : origin + DAY] for values in long_enough])))
        found.append(_row(f"{days} days", "24 h", tasks))
    return found


def _on_grid(piece: pd.DataFrame) -> NDArray[np.float32]:
    at = ((piece.ts - piece.ts.min()) // STEP_S).to_numpy()
    values = np.full(int(at.max()) + 1, np.nan, np.float32)
    values[at] = piece.value
    return values


def _row(known: str, ahead: str, tasks: list[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> list[str]:
    """Return the cells for tasks of (history, what came), each (series, steps) and forecast as a fleet of its own."""
    logs, inside80, inside95, peaks, count = [], [], [], PeakScore([]), 0
    for history, actual in tasks:
        keys = tuple(SeriesKey("vm", f"{row:05d}", "cpu") for row in range(len(history)))
        request = ForecastRequest(horizon_s=actual.shape[1] * STEP_S)
        answer = forecast(SeriesSet(keys, 0.0, STEP_S, history), request)
        place = [keys.index(key) for key in answer.keys]
        came = actual[place]
        plain = np.nanquantile(history[place], LEVELS, axis=1).T[:, None].repeat(came.shape[1], axis=1)
        loss = _loss(answer.quantiles, came), _loss(plain.astype(np.float32), came)
        level = np.nanmean(history[place], axis=1)
        told = np.isfinite(loss[0]) & (loss[1] > 1e-3 * level)
        logs.append(np.log(loss[0] + 1e-3 * level)[told] - np.log(loss[1] + 1e-3 * level)[told])
        for share, inside in ((0.8, inside80), (0.95, inside95)):
            inside.append(levels.coverage(answer.quantiles, came, LEVELS, share)[told])
        for row in np.flatnonzero(told):
            peaks.add(float(np.nanmax(came[row])), max(float(answer.peak_quantiles[row, 2]), 1e-9))
        count += int(told.sum())
    return [
        known,
        ahead,
        str(count),
        f"{np.exp(np.concatenate(logs).mean()):.3f}",
        f"{np.concatenate(inside80).mean():.3f}",
        f"{np.concatenate(inside95).mean():.3f}",
        str(peaks),
    ]


def _loss(quantiles: NDArray[np.float32], actual: NDArray[np.float32]) -> NDArray[np.float32]:
    return backtest.mean_loss(quantiles, actual, LEVELS)

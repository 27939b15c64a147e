# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Predicted against actual: how a forecast that has come due turned out, and which models a series should be spared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..estate.forecast import PEAK_LEVELS, Forecast
from ..estate.series import SeriesKey, SeriesSet
from ..libraries import library
from .backtest import mean_loss
from .coarse import held
from .levels import coverage

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: A series must have been measured on this share of the horizon to be scored.
LEAST_MEASURED = 0.5
#: A model fails a series when its loss is this many times that of taking the day before as it was.
FAILING = 1.0
#: So often in a row, and the series loses the model.
STRIKES = 3
#: Loss below which nothing failed, as a share of the series' level.
NEGLIGIBLE = 0.01


@dataclass(frozen=True, slots=True)
class Score:
    """How one series' forecast turned out.

    ``loss`` is the pinball loss summed over levels, mean over steps, as a share of the mean level; ``relative`` the
    same divided by that of taking the day before as it was (None where that was not measured). ``coverage_80``
    and ``coverage_95`` are shares of steps inside the bands; ``peak_exceeded`` tells of the 95 % level.
    """

    entity_kind: str
    entity_id: str
    metric: str
    model: str
    loss: float
    relative: float | None
    coverage_80: float
    coverage_95: float
    peak_exceeded: bool

    @property
    def key(self) -> SeriesKey:
        """The series' key."""
        return SeriesKey(self.entity_kind, self.entity_id, self.metric)


def score(forecast: Forecast, actual: SeriesSet) -> list[Score]:
    """Return a score for each series measured well enough.

    ``actual`` is on the forecast's step, from one day before its origin to its end at least.
    """
    day = round(86_400 / forecast.step_s)
    first = round((forecast.origin_ts - actual.start_ts) / forecast.step_s)
    rows = {key: row for row, key in enumerate(actual.keys)}
    measured = held(actual.values, actual.step_s)
    found = []
    for place, key in enumerate(forecast.keys):
        if key not in rows:
            continue
        values = measured[rows[key]]
        came = values[first : first + forecast.horizon_steps][None].astype(np.float32)
        if np.isfinite(came).mean() < LEAST_MEASURED:
            continue
        said = forecast.quantiles[place][None]
        before = values[first - day : first - day + forecast.horizon_steps].astype(np.float32)
        level = max(float(np.nanmean(np.abs(came))), 1e-9)
        loss = float(mean_loss(said, came, forecast.levels)[0]) / level
        found.append(
            Score(
                *key,
                model=forecast.reports[place].model,
                loss=round(loss, 5),
                relative=_relative(loss, came, before, level, forecast.levels),
                coverage_80=round(float(coverage(said, came, forecast.levels, 0.8)[0]), 4),
                coverage_95=round(float(coverage(said, came, forecast.levels, 0.95)[0]), 4),
                peak_exceeded=bool(np.nanmax(came) > forecast.peak_quantiles[place, PEAK_LEVELS.index(0.95)]),
            )
        )
    return found


def _relative(
    loss: float, came: np.ndarray, before: np.ndarray, level: float, levels: tuple[float, ...]
) -> float | None:
    if len(before) < came.shape[1] or not np.isfinite(before[np.isfinite(came[0])]).any():
        return None
    naive = float(mean_loss(np.repeat(before[None, :, None], len(levels), axis=2), came, levels)[0]) / level
    return round((loss + 1e-6) / (naive + 1e-6), 4)


def demoted(history: Iterable[Iterable[Score]]) -> dict[SeriesKey, frozenset[str]]:
    """Return the models that each series has lost: those that failed it `STRIKES` times in a row, latest included.

    ``history`` holds the scores of past forecasts, latest first.
    """
    strikes: dict[tuple[SeriesKey, str], int] = {}
    settled: set[tuple[SeriesKey, str]] = set()
    for scores in history:
        for one in scores:
            case = (one.key, one.model)
            if case in settled or one.relative is None:
                continue
            if one.relative > FAILING and one.loss > NEGLIGIBLE:
                strikes[case] = strikes.get(case, 0) + 1
            else:
                settled.add(case)
    lost: dict[SeriesKey, frozenset[str]] = {}
    for (key, model), count in strikes.items():
        if count >= STRIKES:
            lost[key] = lost.get(key, frozenset()) | {model}
    return lost

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Coherent scenarios from the joint past, made honest at group level by a conformal spread per metric.

Whole aligned windows of all series keep how VMs moved together. They begin at every hour of the history, and those
that reach beyond its end go on at its beginning: so every hour counts as often as any other, and the peak of last night
no less than that of a night a week ago. What the past windows did not foresee is measured on
the estate's own recent days: for random groups, the peak that came against the peaks of the windows before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from ..estate.scenarios import WindowScenarios, window_index
from ..estate.series import SeriesKey
from ..libraries import library
from .history import History
from .levels import sample_quantiles

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Windows begin this often.
STRIDE_S = 3_600
#: How many scenarios there are at least: with fewer windows each is used with several multipliers.
MIN_SCENARIOS = 200
#: VMs a host typically carries: the size of the random groups on which scenarios are calibrated.
GROUP_SIZE = 20
#: Random groups per past day in the backtest.
GROUPS = 40
#: Past days that the backtest forecasts.
BACKTEST_DAYS = 7
#: Levels of the groups' peaks at which scenarios are scored, and the one at which they are made to hold.
SCORED_LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)
HELD_LEVEL = 0.95
#: Spreads (standard deviation of the log multiplier) to choose from.
SPREADS = (0.0, 0.02, 0.05)
#: Shift of the log multiplier believed in before any backtest, and how much of the backtest's own shift is taken:
#: backtests have less history than the forecast and few independent days. Chosen on VMs that no published score is of,
#: so that peaks of no resource are exceeded more often than they claim there by more than half a percent.
PRIOR_SHIFT = 0.03
PRIOR_SD = 0.05
TRUST = 0.3


@dataclass(frozen=True, slots=True)
class Spread:
    """How scenario multipliers of one metric are drawn: ``exp(shift + sd * z)``; ``groups`` were backtested."""

    shift: float
    sd: float
    groups: int


def build_scenarios(history: History, horizon: int, seed: int, coarsen: int = 1) -> WindowScenarios:
    """Return scenarios of all series of ``history`` for ``horizon`` steps from its end, in the metrics' units."""
    metrics = tuple(sorted({key.metric for key in history.keys}))
    starts = _starts(history.values.shape[1], history)
    repeats = max(1, -(-MIN_SCENARIOS // len(starts)))
    starts = np.tile(starts, repeats).astype(np.int32)
    noise = _normal_scores(len(starts), seed)
    multipliers = np.ones((len(starts), len(metrics)), np.float32)
    for column, metric in enumerate(metrics):
        rows = np.array([row for row, key in enumerate(history.keys) if key.metric == metric])
        spread = calibrate(history, rows, horizon, seed)
        multipliers[:, column] = np.exp(spread.shift + spread.sd * noise)
    return WindowScenarios(
        keys=history.keys,
        metrics=metrics,
        history=history.values,
        scale=history.scale,
        history_step_s=history.step_s,
        steps=horizon,
        starts=starts,
        multipliers=multipliers,
        coarsen=coarsen,
    )


def with_constants(scenarios: WindowScenarios, constants: Mapping[SeriesKey, float]) -> WindowScenarios:
    """Return the scenarios with series added that keep their value in every path."""
    if not constants:
        return scenarios
    zeros = np.zeros((len(constants), scenarios.history.shape[1]), np.float32)
    steady = {key: np.full(scenarios.steps, value, np.float32) for key, value in constants.items()}
    return replace(
        scenarios,
        keys=(*scenarios.keys, *constants),
        history=np.concatenate([scenarios.history, zeros]),
        scale=np.concatenate([scenarios.scale, np.ones(len(constants))]),
        additions={**scenarios.additions, **steady},
    )


def calibrate(history: History, rows: NDArray[np.int64], horizon: int, seed: int) -> Spread:
    """Return the spread of one metric's multipliers from how past windows foretold the peaks of random groups.

    ``rows`` are that metric's series. Without a day of joint past before a day of its own to be foretold, the prior
    stands alone.
    """
    rng = np.random.default_rng(seed)
    count = len(rows)
    known_days = -(-int(history.steps_measured[rows].max()) // history.day) if count else 0
    days = min(BACKTEST_DAYS, known_days - 1)
    if days < 1:
        return Spread(PRIOR_SHIFT, PRIOR_SD, 0)
    size = max(1, min(GROUP_SIZE, count // 2))
    groups = [rows[rng.choice(count, size, replace=False)] for _unused in range(GROUPS)]
    sums = np.stack([history.scale[group] @ history.values[group] for group in groups])
    actual, before = _peaks(sums, history, horizon, days)
    known = (actual > 0) & (before.min(axis=-1) > 0)
    if not known.any():
        return Spread(PRIOR_SHIFT, PRIOR_SD, 0)
    errors = np.log(actual[known])[:, None]
    return _fit(errors, np.log(before[known]), seed)


def _fit(actual: NDArray[np.float64], before: NDArray[np.float64], seed: int) -> Spread:
    """Return the spread whose shifted windows score best on log peaks; ``before`` is (cases, windows)."""
    noise = _normal_scores(before.shape[1], seed)
    best = (np.inf, 0.0, 0.0)
    for sd in SPREADS:
        quantiles = sample_quantiles(before + sd * noise, SCORED_LEVELS)
        held = actual[:, 0] - quantiles[:, SCORED_LEVELS.index(HELD_LEVEL)]
        shift = TRUST * float(np.quantile(held, HELD_LEVEL)) + (1 - TRUST) * PRIOR_SHIFT
        error = actual - (quantiles + shift)
        level = np.asarray(SCORED_LEVELS)
        loss = float(np.maximum(level * error, (level - 1) * error).mean())
        best = min(best, (loss, shift, sd))
    return Spread(best[1], best[2], len(actual))


def _peaks(
    sums: NDArray[np.float64], history: History, horizon: int, days: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return per group and past day the peak that came, and the peaks of the scenarios that day would have had.

    Shapes (groups * days,) and (groups * days, scenarios); a day with fewer scenarios repeats some.
    """
    actual, before = [], []
    count = len(_starts(sums.shape[1], history))
    for back in range(1, days + 1):
        end = sums.shape[1] - back * history.day
        starts = _starts(end, history)
        index = window_index(starts, end, horizon, history.step_s)
        peaks = np.stack([group[index].max(axis=1) for group in sums])
        actual.append(sums[:, end : end + horizon].max(axis=1))
        before.append(peaks[:, np.linspace(0, len(starts) - 1, count).round().astype(int)])
    return np.concatenate(actual).astype(np.float64), np.concatenate(before).astype(np.float64)


def _starts(steps: int, history: History) -> NDArray[np.int32]:
    """Return where windows begin in that many steps of history, the latest first."""
    stride = max(1, STRIDE_S // history.step_s)
    return np.arange(steps - stride, -1, -stride, dtype=np.int32)


def _normal_scores(count: int, seed: int) -> NDArray[np.float32]:
    """Return ``count`` evenly spread standard normal values in a shuffled order that the seed decides."""
    normal = NormalDist()
    scores = np.array([normal.inv_cdf((rank + 0.5) / count) for rank in range(count)], np.float32)
    return np.asarray(np.random.default_rng(seed).permutation(scores), np.float32)

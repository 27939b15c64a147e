# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Laws that every forecast keeps, whatever the series."""

from __future__ import annotations

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import Forecast
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.forecasting.series_sets import (
    DAY,
    busy_fleet,
    series_set,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

QUICK = settings(max_examples=25, deadline=None)
HORIZON_S = 6 * 3600
#: Values as a hypervisor may report them: gaps, zeros, bursts of any size.
VALUES = st.one_of(st.just(float("nan")), st.just(0.0), st.floats(0, 100, width=32), st.floats(0, 1e9, width=32))


def run(series: SeriesSet, **options: object) -> Forecast:
    return forecast(series, ForecastRequest(horizon_s=HORIZON_S, **options))  # type: ignore[arg-type]


@QUICK
@given(arrays(np.float64, (4, 3 * DAY), elements=VALUES))
def test_distributions_are_proper(values: np.ndarray) -> None:
    answer = run(series_set(list(values)))
    assert np.isfinite(answer.quantiles).all()
    assert (answer.quantiles >= 0).all()
    assert (np.diff(answer.quantiles, axis=2) >= 0).all()
    assert (answer.sd >= 0).all()
    assert (answer.mean >= answer.quantiles[:, :, 0]).all()
    assert (answer.mean <= answer.quantiles[:, :, -1]).all()
    assert (np.diff(answer.peak_quantiles, axis=1) >= 0).all()
    assert (answer.peak_quantiles >= 0).all()
    assert (answer.peak_mean >= answer.peak_quantiles[:, 0]).all()
    assert (answer.peak_mean <= answer.peak_quantiles[:, -1]).all()


@QUICK
@given(st.integers(0, 1000), st.sampled_from([2.0**-20, 2.0**-3, 2.0**10, 2.0**40]))
def test_scaling_the_input_scales_the_answer(seed: int, factor: float) -> None:
    values = busy_fleet(5, 3, seed)
    once, scaled = run(series_set(list(values))), run(series_set(list(values * factor)))
    np.testing.assert_allclose(scaled.quantiles, once.quantiles * factor, rtol=1e-4)
    np.testing.assert_allclose(scaled.peak_quantiles, once.peak_quantiles * factor, rtol=1e-4)
    groups = [list(once.keys)]
    np.testing.assert_allclose(scaled.scenarios.totals(groups), once.scenarios.totals(groups) * factor, rtol=1e-4)


@pytest.mark.parametrize("factor", [1e12, 1e-6, 3.0, 1e25])
@pytest.mark.parametrize("seed", range(3))
def test_scaling_by_any_factor_scales_the_answer_also_of_idle_series(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    busy = busy_fleet(4, 6, seed)
    rare = np.where(rng.random((4, 6 * DAY)) < 0.01, 5.0, 0.0)
    values = np.concatenate([busy, rare, np.zeros((1, 6 * DAY))])
    once, scaled = run(series_set(list(values))), run(series_set(list(values * factor)))
    for name in ("quantiles", "mean", "sd", "peak_quantiles", "peak_mean", "peak_sd"):
        np.testing.assert_allclose(
            getattr(scaled, name) / factor, getattr(once, name), rtol=1e-3, atol=1e-6, err_msg=name
        )


@QUICK
@given(st.permutations(range(6)))
def test_permuting_the_series_permutes_the_answer(order: list[int]) -> None:
    series = series_set(list(busy_fleet(6, 3)))
    shuffled = SeriesSet(
        tuple(series.keys[at] for at in order), series.start_ts, series.step_s, series.values[list(order)]
    )
    once, other = run(series), run(shuffled)
    assert other.keys == shuffled.keys
    np.testing.assert_array_equal(other.quantiles, once.quantiles[list(order)])
    np.testing.assert_array_equal(other.peak_quantiles, once.peak_quantiles[list(order)])
    assert other.reports == tuple(once.reports[at] for at in order)
    groups = [list(once.keys[:3])]
    np.testing.assert_array_equal(other.scenarios.totals(groups), once.scenarios.totals(groups))


def test_the_same_input_and_seed_give_the_same_numbers() -> None:
    series = series_set(list(busy_fleet(8)))
    once, again = run(series, seed=3), run(series, seed=3)
    np.testing.assert_array_equal(once.quantiles, again.quantiles)
    groups = [list(once.keys)]
    np.testing.assert_array_equal(once.scenarios.totals(groups), again.scenarios.totals(groups))


def test_scenarios_keep_how_vms_moved_together() -> None:
    rng = np.random.default_rng(1)
    common = rng.lognormal(0, 0.7, 8 * DAY)
    together = [common * 2, common * 3]
    apart = [common, 3.0 - np.minimum(common, 3.0)]
    answer = run(series_set([*together, *apart]))
    singles = answer.scenarios.totals([[key] for key in answer.keys])
    correlation = np.corrcoef(singles.transpose(1, 0, 2).reshape(4, -1))
    assert correlation[0, 1] > 0.98
    assert correlation[2, 3] < -0.5
    summed = answer.scenarios.totals([list(answer.keys)])[:, 0]
    np.testing.assert_allclose(summed, singles.sum(axis=1), rtol=1e-4)


def test_the_first_burst_of_idle_vms_moves_the_peaks_of_no_busy_one() -> None:
    busy = busy_fleet(30, 7)
    idle = np.zeros((10, 7 * DAY))
    idle[:, 4 - DAY] = 5.0  # inside what was ahead a day ago
    alone, beside = run(series_set(list(busy))), run(series_set([*busy, *idle]))
    np.testing.assert_allclose(beside.peak_quantiles[:30], alone.peak_quantiles, rtol=0.1)


@pytest.mark.parametrize("hour", [0, 30, 95])
def test_an_hour_of_the_history_is_in_as_many_scenarios_as_any_other(hour: int) -> None:
    values = np.ones(4 * DAY)
    steps = DAY // 24
    values[hour * steps : (hour + 1) * steps] = 1_000.0
    answer = forecast(series_set([values]), ForecastRequest(horizon_s=86_400))
    peaks = answer.scenarios.totals([list(answer.keys)])[:, 0].max(axis=1)
    assert np.mean(peaks > 100) == pytest.approx(24 / 96)


@pytest.mark.parametrize(("level", "at_most", "at_least"), [(0.5, 0.68, 0.3), (0.9, 0.19, 0.02), (0.95, 0.11, 0.0)])
def test_peaks_of_random_groups_are_exceeded_about_as_often_as_claimed(
    level: float, at_most: float, at_least: float
) -> None:
    exceeded = []
    for seed in range(12):
        values = busy_fleet(60, 11, seed)
        rng = np.random.default_rng(seed)
        # a fleet whose level wanders together from day to day, so that yesterday alone tells little
        values *= np.repeat(np.exp(rng.normal(0, 0.15, 11)), DAY)
        past, ahead = values[:, : 10 * DAY], values[:, 10 * DAY :][:, : HORIZON_S // 1800]
        answer = run(series_set(list(past)))
        members = [rng.choice(60, 20, replace=False) for _unused in range(20)]
        peaks = answer.scenarios.totals([[answer.keys[at] for at in group] for group in members]).max(axis=2)
        claimed = np.quantile(peaks, level, axis=0)
        exceeded += [ahead[group].sum(axis=0).max() > claim for group, claim in zip(members, claimed, strict=True)]
    assert at_least <= np.mean(exceeded) <= at_most

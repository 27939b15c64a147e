# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Series as they really come: each kind of trouble is answered for, and harms no other series."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS, Forecast
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import registry
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import BadSeries
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.model import Model, ModelFailed, Task
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.forecasting.series_sets import (
    DAY,
    STEP_S,
    busy_fleet,
    series_set,
)

STEPS = 6 * DAY
MEDIAN = LEVELS.index(0.5)
NAN = np.full(STEPS, np.nan)


def run(rows: list[np.ndarray], hours: int = 12, **options: object) -> Forecast:
    return forecast(series_set(rows), ForecastRequest(horizon_s=hours * 3600, **options))  # type: ignore[arg-type]


def only(values: np.ndarray, **options: object) -> Forecast:
    """Forecast ``values`` among ordinary series, and see to it that those come out as they do without it."""
    others = list(busy_fleet(3))
    answer = run([*others, values], **options)
    assert np.isfinite(answer.quantiles).all()
    for key in answer.keys[:3]:
        assert answer.reports[answer.keys.index(key)].model
    return answer


@pytest.mark.parametrize("level", [0.0, 1e-9, 3.0, 1e12])
def test_a_constant_series_is_forecast_as_that_constant(level: float) -> None:
    answer = run([np.full(STEPS, level)])
    np.testing.assert_allclose(answer.quantiles, level, rtol=1e-5)
    np.testing.assert_allclose(answer.peak_quantiles, level, rtol=1e-3)


def test_a_series_without_any_measurement_is_not_invented() -> None:
    answer = only(NAN)
    assert len(answer.keys) == 3
    assert list(answer.abstained.values()) == ["no history: nothing was measured"]


def test_one_sample_is_not_a_history() -> None:
    values = NAN.copy()
    values[-1] = 2.0
    (reason,) = only(values).abstained.values()
    assert "1 measured step" in reason


def test_a_given_size_stands_in_for_a_missing_history_also_in_scenarios() -> None:
    series = series_set([*busy_fleet(3), NAN])
    lost = series.keys[3]
    answer = forecast(series, ForecastRequest(horizon_s=6 * 3600, no_history_values={lost: 4.0}))
    assert answer.keys == series.keys
    np.testing.assert_allclose(answer.quantiles[3], 4.0)
    assert answer.scenarios.missing([lost]) == ()
    np.testing.assert_allclose(answer.scenarios.totals([[lost]]), 4.0)


def test_values_of_1e12_keep_their_precision() -> None:
    small, huge = busy_fleet(1)[0], busy_fleet(1)[0] * 1e12
    np.testing.assert_allclose(run([huge]).quantiles, run([small]).quantiles * 1e12, rtol=1e-3)


def test_negative_values_count_as_missing_and_are_reported() -> None:
    values = busy_fleet(1)[0]
    values[100:110] = -5.0
    answer = run([values])
    assert (answer.quantiles >= 0).all()
    assert any("10 negative" in text for text in answer.reports[0].warnings)


def test_infinite_values_count_as_missing() -> None:
    values = busy_fleet(1)[0]
    values[50] = np.inf
    assert np.isfinite(only(values).quantiles).all()


def test_after_a_step_change_the_new_level_is_forecast() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(1, 0.05, STEPS)
    values[-DAY * 3 // 2 :] += 9
    answer = run([values])
    assert 8 < np.median(answer.quantiles[0, :, MEDIAN]) < 12


@pytest.mark.parametrize(("factor", "told"), [(2.0, True), (0.4, True), (1.1, False)])
def test_a_level_beyond_all_earlier_ones_is_called_drift(factor: float, told: bool) -> None:
    steady, moved = busy_fleet(2, 10, seed=3)
    moved[-2 * DAY :] *= factor
    answer = forecast(series_set([steady, moved]), ForecastRequest())
    warned = [any(text.startswith("drift:") for text in report.warnings) for report in answer.reports]
    assert warned == [False, told]


def test_a_strict_trend_is_not_left_behind() -> None:
    values = np.linspace(1, 10, STEPS)
    answer = run([values])
    assert answer.quantiles[0, :, -1].mean() > 9
    assert answer.peak_quantiles[0, -1] >= 0.99 * values[-1]


def test_two_interleaved_regimes_are_both_in_the_band() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random(STEPS) < 0.5, 1.0, 5.0)
    answer = run([values])
    assert answer.quantiles[0, :, LEVELS.index(0.1)].mean() < 1.5
    assert answer.quantiles[0, :, LEVELS.index(0.9)].mean() > 4.5


def test_a_history_that_ends_hours_ago_is_called_stale_and_widened() -> None:
    values = busy_fleet(1)[0]
    silent = values.copy()
    silent[-10:] = np.nan
    fresh, stale = run([values]), run([silent])
    assert any("stale" in text for text in stale.reports[0].warnings)
    assert not fresh.reports[0].warnings
    assert _width(stale) > _width(fresh)


def test_a_horizon_longer_than_the_history_is_answered_and_called_short() -> None:
    values = NAN.copy()
    values[-8:] = busy_fleet(1)[0, -8:]
    answer = run([values], hours=24)
    assert answer.horizon_steps == DAY
    assert any("short history" in text for text in answer.reports[0].warnings)
    assert answer.reports[0].score is None


def test_a_grid_shorter_than_a_day_is_answered() -> None:
    answer = run([busy_fleet(1)[0, :5]], hours=24)
    assert np.isfinite(answer.quantiles).all()
    assert answer.reports[0].history_steps == 5


@pytest.mark.parametrize("days", [1, 2, 14])
@pytest.mark.parametrize("step_s", [300, 900, 1_080, 3_600, 21_600, 43_200, 86_400])
def test_steps_of_any_length_are_answered(step_s: int, days: int) -> None:
    steps = days * 86_400 // step_s
    values = np.random.default_rng(0).lognormal(0, 0.3, (3, steps))
    keys = series_set(list(values)).keys
    answer = forecast(SeriesSet(keys, 0.0, step_s, values), ForecastRequest())
    if days == 1 and step_s == 86_400:
        assert set(answer.abstained) == set(keys)  # a single value is no history
    else:
        assert answer.quantiles.shape == (3, 86_400 // step_s, len(LEVELS))
        assert np.isfinite(answer.quantiles).all()


def _width(answer: Forecast) -> float:
    return float((answer.quantiles[0, :, -1] - answer.quantiles[0, :, 0]).mean())


def test_duplicate_series_are_refused_by_name() -> None:
    series = series_set(list(busy_fleet(2)))
    twice = replace(series, keys=(series.keys[0], series.keys[0]))
    with pytest.raises(BadSeries) as caught:
        forecast(twice, ForecastRequest())
    assert caught.value.details["key"] == list(series.keys[0])


def test_values_that_do_not_match_the_keys_are_refused() -> None:
    series = series_set(list(busy_fleet(2)))
    with pytest.raises(BadSeries):
        forecast(replace(series, keys=series.keys[:1]), ForecastRequest())


def test_no_series_at_all_is_an_empty_forecast() -> None:
    answer = forecast(SeriesSet((), 0.0, STEP_S, np.zeros((0, STEPS))), ForecastRequest(horizon_s=3600))
    assert answer.keys == ()
    assert answer.mean.shape == (0, 2)
    assert answer.scenarios.totals([[]]).shape[1:] == (1, 2)


@pytest.mark.parametrize("horizon_s", [0, 1, 3601, -1800])
def test_a_horizon_that_is_not_whole_steps_is_refused(horizon_s: int) -> None:
    with pytest.raises(InvalidOption):
        forecast(series_set(list(busy_fleet(1))), ForecastRequest(horizon_s=horizon_s))


class Fragile(Model):
    """Answers 1 for every series but fails on those whose last value is the largest of all."""

    NAME = "fragile"

    def __init__(self, failure: Callable[[np.ndarray], None]) -> None:
        self._failure = failure

    def quantiles(self, task: Task) -> np.ndarray:
        answer = np.ones((len(task.values), task.horizon, len(task.levels)), np.float32)
        for row in np.flatnonzero(task.values[:, -1] >= task.values.max(axis=1)):
            self._failure(answer[row])
        return answer


def _raise_model_failed(answer: np.ndarray) -> None:
    raise ModelFailed("no convergence")


def _raise_linear_algebra(answer: np.ndarray) -> None:
    raise np.linalg.LinAlgError("singular")


def _diverge(answer: np.ndarray) -> None:
    answer[:] = 1e30


def _not_a_number(answer: np.ndarray) -> None:
    answer[0] = np.nan


@pytest.mark.parametrize("failure", [_raise_model_failed, _raise_linear_algebra, _diverge, _not_a_number])
def test_a_model_that_fails_on_one_series_leaves_the_others_alone(
    failure: Callable[[np.ndarray], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.MODELS, "fragile", Fragile(failure))
    rows = list(busy_fleet(5))
    rows[3] = np.linspace(1, 9, STEPS)  # ends at its largest value
    answer = run(rows, model="fragile")
    models = [report.model for report in answer.reports]
    assert [at for at, model in enumerate(models) if model != "fragile"] == [3]
    assert "fragile failed" in answer.reports[3].why
    assert np.isfinite(answer.quantiles).all()

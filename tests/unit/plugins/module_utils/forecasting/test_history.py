# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gaps are filled with what the series is like, whatever is missing."""

from __future__ import annotations

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey, SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.backtest import origins
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.coarse import held
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import fill_gaps, prepare
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.model import Task
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest

DAY = 48
NAN = np.nan


def five_minute_grid(values: np.ndarray) -> SeriesSet:
    keys = tuple(SeriesKey("vm", f"vm-{at}", "cpu") for at in range(len(values)))
    return SeriesSet(keys, 0.0, 300, values)


@pytest.mark.parametrize("every", [3, 6, 12, 24])
def test_samples_coarser_than_the_grid_count_as_measured_until_the_next_one(every: int) -> None:
    demand = np.random.default_rng(0).lognormal(0, 0.3, (1, 6 * 288))
    demand[0, np.arange(6 * 288) % every > 0] = NAN
    history, _abstained = prepare(five_minute_grid(demand))
    assert history.steps_measured[0] == 6 * 288
    answer = forecast(five_minute_grid(demand), ForecastRequest())
    assert answer.reports[0].score is not None
    assert answer.reports[0].warnings == ()


def test_rolled_up_history_is_that_of_its_own_days_and_not_of_the_last() -> None:
    values = np.full((1, 4 * 288), NAN)
    values[0, : 2 * 288 : 24] = 1.0
    values[0, 2 * 288 : 3 * 288 : 6] = 2.0
    values[0, 3 * 288 :] = 9.0
    history, _abstained = prepare(five_minute_grid(values))
    by_day = (history.values[0] * history.scale[0]).reshape(4, 288)
    np.testing.assert_allclose(by_day, np.repeat([[1.0], [1.0], [2.0], [9.0]], 288, axis=1), rtol=1e-5)


def test_a_coarse_sample_that_went_missing_is_a_gap() -> None:
    values = np.full((1, 60), NAN)
    values[0, ::3] = np.arange(20)
    values[0, 30] = NAN
    answer = held(values, 300)[0]
    assert np.flatnonzero(np.isnan(answer)).tolist() == [30, 31, 32]
    np.testing.assert_array_equal(answer[27:30], 9.0)
    np.testing.assert_array_equal(answer[-3:], 19.0)


def test_single_values_that_went_missing_are_not_held() -> None:
    rng = np.random.default_rng(0)
    values = np.where(rng.random((5, 500)) < 0.1, NAN, 1.0)
    np.testing.assert_array_equal(held(values, 300), values)
    daily = np.full((1, 10 * 288), NAN)
    daily[0, ::288] = 1.0
    np.testing.assert_array_equal(held(daily, 300), daily)


def test_a_missing_day_is_taken_from_the_day_before() -> None:
    day = np.arange(DAY, dtype=np.float32)
    filled = fill_gaps(np.concatenate([day, np.full(DAY, NAN, np.float32), day + 100])[None], DAY)
    np.testing.assert_array_equal(filled[0, DAY : 2 * DAY], day)


def test_coarser_samples_are_held_until_the_next_one() -> None:
    values = np.arange(2 * DAY, dtype=np.float32)
    sparse = np.where(np.arange(2 * DAY) % 3 == 0, values, NAN).astype(np.float32)
    np.testing.assert_array_equal(fill_gaps(sparse[None], DAY)[0], values // 3 * 3)


def test_times_of_day_never_measured_repeat_what_was() -> None:
    known = np.arange(1, 17, dtype=np.float32)
    values = np.full(2 * DAY, NAN, np.float32)
    values[-16:] = known
    filled = fill_gaps(values[None], DAY)[0]
    np.testing.assert_array_equal(filled[-16:], known)
    for day in filled.reshape(2, DAY):
        np.testing.assert_array_equal(np.sort(day), np.sort(np.tile(known, 3)))


def test_nothing_at_all_stays_missing() -> None:
    assert np.isnan(fill_gaps(np.full((1, 2 * DAY), NAN, np.float32), DAY)).all()


def test_a_past_origin_knows_nothing_of_what_was_measured_later() -> None:
    rng = np.random.default_rng(0)
    values = rng.lognormal(0, 0.3, (4, 9 * 288))
    values[1, : 4 * 288 + 100] = NAN  # a young VM
    values[2].reshape(9, 288)[:8, 50:62] = NAN  # an hour that nobody measured until the last day
    values[3, rng.random(9 * 288) < 0.3] = NAN
    other = values.copy()
    other[:, -288:] = rng.lognormal(2, 1, (4, 288))
    for one, two in zip(_origins(values), _origins(other), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def _origins(values: np.ndarray) -> list[np.ndarray]:
    """Return what is known at each past origin, in the metric's unit."""
    history, _abstained = prepare(five_minute_grid(values))
    metrics = tuple(key.metric for key in history.keys)
    task = Task(history.values, history.observed, metrics, 300, 0.0, 288, LEVELS)
    return [origin.task.values * history.scale[:, None] for origin in origins(task, 6)]

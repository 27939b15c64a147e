# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Predicted against actual: scores tell what came, and a model that keeps failing a series loses it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey, SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.scoring import Score, demoted, score
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.forecasting.series_sets import (
    DAY,
    STEP_S,
    busy_fleet,
    series_set,
)

VALUES = busy_fleet(10, 9, seed=4)
PAST = series_set(list(VALUES[:, : 8 * DAY]))
ANSWER = forecast(PAST, ForecastRequest())


def what_came(values: np.ndarray) -> SeriesSet:
    return SeriesSet(PAST.keys, PAST.end_ts - 86_400, STEP_S, np.concatenate([VALUES[:, 7 * DAY : 8 * DAY], values], 1))


def test_what_comes_as_foretold_scores_well() -> None:
    scores = score(ANSWER, what_came(VALUES[:, 8 * DAY :]))
    assert len(scores) == 10
    assert np.mean([one.coverage_80 for one in scores]) > 0.65
    assert np.median([one.relative for one in scores]) < 1.0


def test_what_comes_otherwise_scores_badly() -> None:
    scores = score(ANSWER, what_came(VALUES[:, 8 * DAY :] * 50))
    assert all(one.coverage_95 < 0.2 and one.peak_exceeded for one in scores)


def test_a_series_hardly_measured_is_not_scored() -> None:
    came = VALUES[:, 8 * DAY :].copy()
    came[0, : DAY * 3 // 4] = np.nan
    assert {one.key for one in score(ANSWER, what_came(came))} == set(ANSWER.keys[1:])


def test_what_was_measured_in_coarser_steps_is_scored_too() -> None:
    came = VALUES[:, 8 * DAY :].copy()
    came[0, np.arange(DAY) % 3 > 0] = np.nan
    assert {one.key for one in score(ANSWER, what_came(came))} == set(ANSWER.keys)


def test_a_usual_value_that_comes_as_stated_is_inside_the_band_in_any_unit() -> None:
    rng = np.random.default_rng(0)
    values = 0.2 * rng.lognormal(0, 1, (20, 1)) * np.where(rng.random((20, 9 * DAY)) < 0.02, 5.0, 1.0)
    answer = forecast(series_set(list(values[:, : 8 * DAY])), ForecastRequest())
    came = SeriesSet(answer.keys, PAST.end_ts - 86_400, STEP_S, values[:, 7 * DAY :])
    assert np.mean([one.coverage_80 for one in score(answer, came)]) > 0.9


FAILED = Score(
    "vm", "vm-000", "cpu", "global", loss=2.0, relative=3.0, coverage_80=0.1, coverage_95=0.2, peak_exceeded=True
)
FINE = replace(FAILED, relative=0.5)
KEY = SeriesKey("vm", "vm-000", "cpu")


def test_three_failures_in_a_row_cost_a_model_the_series() -> None:
    assert demoted([[FAILED]] * 3) == {KEY: frozenset({"global"})}
    assert demoted([[FAILED]] * 2) == {}
    assert demoted([[FINE], [FAILED], [FAILED], [FAILED]]) == {}
    assert demoted([[FAILED], [FINE], [FAILED], [FAILED]]) == {}


def test_a_lost_model_is_passed_over() -> None:
    (key,) = [PAST.keys[0]]
    answer = forecast(PAST, ForecastRequest(demoted={key: frozenset({"global"})}))
    assert answer.reports[0].model != "global"
    assert "keeps failing" in answer.reports[0].why
    np.testing.assert_array_equal(
        [report.model for report in answer.reports[1:]], [r.model for r in ANSWER.reports[1:]]
    )


def test_a_model_asked_for_is_lost_too_and_auto_takes_over() -> None:
    key = PAST.keys[0]
    answer = forecast(PAST, ForecastRequest(model="last_week", demoted={key: frozenset({"last_week"})}))
    assert answer.reports[0].model != "last_week"
    assert "last_week was asked for but keeps failing on this series" in answer.reports[0].why
    assert {report.model for report in answer.reports[1:]} == {"last_week"}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every model behind the one interface: a daily wave is found, and a missing library is named."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption, MissingLibrary
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey, SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import registry
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.levels import coverage
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.weights import (
    codec,
    global_weights,
    lstm_weights,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.forecasting.series_sets import (
    DAY,
    series_set,
)

STEPS = 10 * DAY
WAVE = 3 + np.sin(np.arange(STEPS + DAY) / DAY * 2 * np.pi)
NOISE = np.random.default_rng(0).normal(0, 0.1, STEPS)
SERIES = series_set([WAVE[:STEPS] + NOISE])
MEDIAN = LEVELS.index(0.5)
SEASONAL = (
    *("arima", "ets", "prophet", "global"),
    *("seasonal_quantile", "same_time", "seasonal_recent", "day_naive", "week_naive"),
)


@pytest.mark.parametrize("name", SEASONAL)
def test_a_daily_wave_is_foreseen(name: str) -> None:
    answer = forecast(SERIES, ForecastRequest(model=name))
    assert answer.reports[0].model == name, answer.reports[0].why
    error = np.abs(answer.quantiles[0, :, MEDIAN] - WAVE[STEPS:])
    assert error.mean() < 0.35


@pytest.mark.parametrize("step_s", [480, 900, 1_080])
@pytest.mark.parametrize("name", ["arima", "ets"])
def test_a_daily_wave_is_foreseen_at_steps_of_other_lengths(name: str, step_s: int) -> None:
    day = 86_400 // step_s
    wave = 3 + np.sin(np.arange(8 * day) / day * 2 * np.pi) + np.random.default_rng(0).normal(0, 0.05, 8 * day)
    past = SeriesSet(SERIES.keys, 0.0, step_s, wave[None, : 7 * day])
    answer = forecast(past, ForecastRequest(model=name))
    assert answer.reports[0].model == name, answer.reports[0].why
    assert np.abs(answer.quantiles[0, :, MEDIAN] - wave[7 * day :]).mean() < 0.1


def test_monday_is_foreseen_after_a_weekend_and_sunday_after_a_saturday() -> None:
    """Of an estate whose weekends run at 30 %, with two weeks of history."""
    rng = np.random.default_rng(0)
    steps = np.arange(15 * DAY)
    for days_since_monday in (0, 6):
        weekday = (steps // DAY - 14 + days_since_monday) % 7
        usual = (1 + 0.4 * np.sin(steps / DAY * 2 * np.pi)) * np.where(weekday >= 5, 0.3, 1.0)
        demand = usual * rng.lognormal(0, 0.5, (20, 1)) * rng.lognormal(0, 0.15, (20, len(steps)))
        answer = forecast(series_set(list(demand[:, : 14 * DAY])), ForecastRequest())
        came = demand[:, 14 * DAY :]
        assert np.abs(answer.quantiles[:, :, MEDIAN] - came).mean() < 0.2 * came.mean()
        assert coverage(answer.quantiles, came, LEVELS, 0.8).mean() > 0.6


@pytest.mark.parametrize("days", [8, 9])
def test_a_history_too_short_for_a_week_ago_is_forecast_by_others_with_the_reason(days: int) -> None:
    answer = forecast(series_set([WAVE[: days * DAY]]), ForecastRequest(model="week_naive"))
    assert answer.reports[0].model != "week_naive"
    assert "needs 10 days of history" in answer.reports[0].why


@pytest.mark.parametrize("name", sorted(registry.MODELS))
def test_every_model_answers_and_is_backtested(name: str) -> None:
    answer = forecast(SERIES, ForecastRequest(model=name))
    report = answer.reports[0]
    assert report.model == name, report.why
    assert report.score is not None
    assert np.isfinite(answer.quantiles).all()


def test_a_model_can_be_chosen_for_one_metric_alone() -> None:
    both = series_set([WAVE[:STEPS], WAVE[:STEPS] * 2])
    keys = (both.keys[0], both.keys[1]._replace(metric="memory"))
    answer = forecast(type(both)(keys, both.start_ts, both.step_s, both.values), ForecastRequest(model={"cpu": "ets"}))
    assert answer.reports[0].model == "ets"
    assert answer.reports[1].model != "ets"


def test_an_unknown_model_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(InvalidOption) as caught:
        forecast(SERIES, ForecastRequest(model="oracle"))
    assert "prophet" in caught.value.advice


def test_prophet_asked_for_and_absent_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prophet", None)
    with pytest.raises(MissingLibrary) as caught:
        forecast(SERIES, ForecastRequest(model="prophet"))
    assert "pip install 'prophet'" in caught.value.advice


def test_nothing_that_is_installed_imports_torch() -> None:
    for path in Path(registry.__file__).parents[2].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            else:
                names = [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []
            assert not {name.partition(".")[0] for name in names} & {"torch"}, path


@pytest.mark.parametrize("text", [global_weights.WEIGHTS, lstm_weights.WEIGHTS])
def test_shipped_weights_are_small_and_finite(text: str) -> None:
    assert len(text) < 1_000_000
    assert all(np.isfinite(array).all() for array in codec.unpack(text).values())


def test_weights_that_would_run_code_are_refused() -> None:
    import base64
    import io

    stream = io.BytesIO()
    np.savez(stream, evil=np.array([object()], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        codec.unpack(base64.b85encode(stream.getvalue()).decode())


@pytest.mark.parametrize(("useful", "kept"), [(True, True), (False, False)])
def test_a_past_covariate_is_kept_only_where_it_lowers_the_error(useful: bool, kept: bool) -> None:
    rng = np.random.default_rng(3)
    throughput = np.repeat(rng.lognormal(0, 1, STEPS // 8 + 12), 8)[: STEPS + DAY]
    demand = 2 + (throughput[:STEPS] if useful else rng.normal(0, 0.1, STEPS))
    seen = throughput[DAY:] if useful else rng.lognormal(0, 1, STEPS)  # a day ahead of the demand it causes
    series = series_set([demand])
    companions = type(series)(
        (SeriesKey("app", "vm-000", "throughput"),), series.start_ts, series.step_s, seen[None, :STEPS]
    )
    alone = forecast(series, ForecastRequest(model="arima"))
    helped = forecast(series, ForecastRequest(model="arima", companions=companions))
    assert helped.reports[0].model == "arima"
    assert (not np.array_equal(helped.quantiles, alone.quantiles)) == kept
    if useful:
        errors = [np.abs(a.quantiles[0, :, MEDIAN] - 2 - throughput[STEPS:]).mean() for a in (helped, alone)]
        assert errors[0] < errors[1]

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scheduled events: learned from when they came before, taken as declared, or owned up to as unknown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS, Forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import forecast as whole
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.chunk import ChunkWork
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest, KnownEvent
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.forecasting.series_sets import (
    DAY,
    END_TS,
    STEP_S,
    series_set,
)

DAYS = 8
STEPS = DAYS * DAY
MEDIAN = LEVELS.index(0.5)
NOISE = np.random.default_rng(0).normal(2.0, 0.1, STEPS)
AHEAD = slice(10, 14)


def spans(days_back: tuple[int, ...]) -> tuple[tuple[float, float], ...]:
    """Return when the event is on: at steps `AHEAD` of tomorrow and of the same steps so many days before."""
    return tuple(
        (END_TS + AHEAD.start * STEP_S - back * 86_400, END_TS + AHEAD.stop * STEP_S - back * 86_400)
        for back in (*days_back, 0)
    )


def run(values: np.ndarray, days_back: tuple[int, ...], effects: Mapping[str, float], model: str = "auto") -> Forecast:
    event = KnownEvent("backup", frozenset({"vm-000"}), spans(days_back), effects)
    return forecast(series_set([values, NOISE]), ForecastRequest(events=(event,), model=model))


def with_backups(days_back: tuple[int, ...], height: float) -> np.ndarray:
    values = NOISE.copy()
    for back in days_back:
        end = STEPS - back * DAY
        values[end + AHEAD.start : end + AHEAD.stop] += height
    return values


@pytest.mark.parametrize("model", ["auto", "last_week", "arima"])
def test_an_event_seen_before_is_learned_and_stays_out_of_other_hours(model: str) -> None:
    answer = run(with_backups((3, 6), 5.0), (3, 6), {}, model)
    median = answer.quantiles[0, :, MEDIAN]
    assert median[AHEAD].mean() == pytest.approx(7.0, abs=1.2)
    assert np.delete(median, range(8, 16)).mean() == pytest.approx(2.0, abs=0.3)
    assert answer.quantiles[1, :, MEDIAN].max() < 3.0
    assert any("learned" in text for text in answer.reports[0].warnings)


def test_an_event_never_seen_takes_its_declared_effect_also_in_peaks_and_scenarios() -> None:
    answer = run(NOISE, (), {"cpu": 4.0})
    assert answer.quantiles[0, AHEAD, MEDIAN].mean() == pytest.approx(6.0, abs=0.5)
    assert answer.peak_quantiles[0, 0] > 5.5
    paths = answer.scenarios.totals([[answer.keys[0]]])[:, 0]
    assert np.median(paths[:, AHEAD]) == pytest.approx(6.0, abs=0.5)
    assert any("declared" in text for text in answer.reports[0].warnings)


def test_a_declared_effect_on_another_resource_changes_nothing_here() -> None:
    answer = run(NOISE, (), {"disk": 400.0})
    assert answer.quantiles[0, :, MEDIAN].max() < 3.0
    assert not answer.reports[0].warnings


def test_an_event_of_unknown_effect_widens_the_upper_band_and_says_so() -> None:
    plain = forecast(series_set([NOISE, NOISE]), ForecastRequest())
    answer = run(NOISE, (), {})
    upper, usual = answer.quantiles[0, :, -1], plain.quantiles[0, :, -1]
    assert (upper[AHEAD] > usual[AHEAD]).all()
    np.testing.assert_allclose(np.delete(upper, range(10, 14)), np.delete(usual, range(10, 14)), rtol=1e-5)
    assert any("unknown effect" in text for text in answer.reports[0].warnings)


def test_an_event_of_every_day_is_part_of_the_pattern_and_not_added_twice() -> None:
    every_day = tuple(range(1, DAYS + 1))
    answer = run(with_backups(every_day, 5.0), every_day, {}, "seasonal_quantile")
    assert answer.quantiles[0, :, MEDIAN].max() < 8.5
    assert any("daily pattern" in text for text in answer.reports[0].warnings)


def run_all(values: np.ndarray, *events: KnownEvent) -> Forecast:
    return forecast(series_set([values, NOISE]), ForecastRequest(events=events))


def test_two_events_of_the_same_hours_are_not_both_credited_with_what_came() -> None:
    both = [KnownEvent(name, frozenset({"vm-000"}), spans((3, 6))) for name in ("backup", "scan")]
    answer = run_all(with_backups((3, 6), 5.0), *both)
    assert answer.quantiles[0, AHEAD, MEDIAN].mean() == pytest.approx(7.0, abs=1.2)
    paths = answer.scenarios.totals([[answer.keys[0]]])[:, 0]
    assert np.median(paths[:, AHEAD]) == pytest.approx(7.0, abs=1.2)


@pytest.mark.parametrize("vm", ["vm-000", "vm-001"])
def test_a_weekly_event_is_learned_beside_a_daily_one_at_the_same_hours(vm: str) -> None:
    daily = KnownEvent("daily", frozenset({vm}), spans(tuple(range(1, DAYS + 1))))
    weekly = KnownEvent("weekly", frozenset({"vm-000"}), spans((3, 6)))
    answer = run_all(with_backups((3, 6), 5.0), daily, weekly)
    assert answer.quantiles[0, AHEAD, MEDIAN].mean() == pytest.approx(7.0, abs=1.2)
    assert any("'weekly': +" in text and "learned" in text for text in answer.reports[0].warnings)


def test_an_event_that_takes_demand_away_leaves_none_below_zero() -> None:
    rng = np.random.default_rng(1)
    values = 2 + rng.random(STEPS) * 2
    for back in (3, 6):
        values[STEPS - back * DAY + AHEAD.start : STEPS - back * DAY + AHEAD.stop] = 0.0
    stop = KnownEvent("maintenance", frozenset({"vm-000"}), spans((3, 6)))
    answer = run_all(values, stop)
    paths = answer.scenarios.totals([[answer.keys[0]]])[:, 0]
    assert paths.min() >= 0
    assert np.median(paths[:, AHEAD]) < 1.0
    together = answer.scenarios.totals([list(answer.keys)])[:, 0]
    np.testing.assert_allclose(together, answer.scenarios.totals([[key] for key in answer.keys]).sum(axis=1), rtol=1e-5)
    assert (answer.scenarios.mean_totals([[answer.keys[0]]]) >= 0).all()


@pytest.mark.parametrize(("model", "needed"), [("auto", False), ("last_week", False), ("arima", True)])
def test_only_models_that_look_at_events_themselves_are_handed_them(
    model: str, needed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: list[ChunkWork] = []
    run_chunks = whole.run_chunks

    def noted(works: list[ChunkWork], *rest: object) -> object:
        handed.extend(works)
        return run_chunks(works, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(whole, "run_chunks", noted)
    run(NOISE, (3,), {}, model)
    assert [work.task.regressors is not None for work in handed] == [needed]

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Keeps the books of forecasts: scores those that have come due, and says what they teach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..estate.serialise import from_data, to_data
from ..estate.series import SeriesKey
from ..forecasting.scoring import Score, score
from ..libraries import library
from ..workspace.errors import ArtefactMissing, BadArtefact
from ..workspace.workspace import Workspace
from .own_load import own_metric

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

DAY_S = 86_400
#: Longest horizon: a forecast older than this has come due.
HORIZON_S = 86_400
#: Forecasts scored in one call, latest first; more have waited in vain already.
MOST_SCORED = 3
#: Scored forecasts that are looked at.
REMEMBERED = 10


def forecast_ts(forecast_id: str) -> float | None:
    """Return the time that our ids begin with, in Unix seconds; None for an id that is not ours."""
    try:
        moment = datetime.strptime(forecast_id[:15], "f-%Y%m%dt%H%M").replace(tzinfo=UTC)
    except ValueError:
        return None
    return moment.timestamp()


def keep_score(workspace: Workspace, now_ts: float, *, check_mode: bool) -> tuple[list[list[Score]], tuple[str, ...]]:
    """Score forecasts that have come due by ``now_ts`` and return the latest scores, latest forecast first.

    A forecast that is damaged or gone counts as scored, without any scores, and is told of in the second part.
    """
    known = workspace.scores.ids()
    due = [name for name in workspace.forecasts.by_age() if name not in known and _is_due(name, now_ts)]
    fresh: dict[str, list[Score]] = {}
    warnings = []
    for name in due[:MOST_SCORED]:
        try:
            fresh[name] = _score(workspace, name)
        except (ArtefactMissing, BadArtefact) as error:
            fresh[name] = []
            warnings.append(f"a forecast that came due cannot be scored: {error.message}")
    if not check_mode:
        for name, scores in fresh.items():
            workspace.scores.write(name, [to_data(one) for one in scores])
    latest = sorted([*known, *fresh], reverse=True)[:REMEMBERED]
    history = [
        fresh[name] if name in fresh else [from_data(Score, item) for item in workspace.scores.read(name)]
        for name in latest
    ]
    return history, tuple(warnings)


def _is_due(forecast_id: str, now_ts: float) -> bool:
    begun = forecast_ts(forecast_id)
    return begun is not None and begun + HORIZON_S <= now_ts


def _score(workspace: Workspace, forecast_id: str) -> list[Score]:
    forecast = workspace.forecasts.read(forecast_id)
    stored = {_stored(key): key for key in forecast.keys}
    end_ts = forecast.origin_ts + forecast.horizon_steps * forecast.step_s
    actual = workspace.metrics.read(list(stored), forecast.origin_ts - DAY_S, end_ts, forecast.step_s)
    named = type(actual)(tuple(stored[key] for key in actual.keys), actual.start_ts, actual.step_s, actual.values)
    return score(forecast, named)


def _stored(key: SeriesKey) -> SeriesKey:
    """Return the key under which the series' history is stored."""
    return key._replace(metric=own_metric(key.metric)) if key.entity_kind == "host" else key


def track_record(history: Sequence[Sequence[Score]]) -> dict[str, dict[str, Any]]:
    """Return per model how its forecasts turned out: how many, coverage of the bands, peaks exceeded, median loss."""
    by_model: dict[str, list[Score]] = {}
    for scores in history:
        for one in scores:
            by_model.setdefault(one.model, []).append(one)
    return {model: _summary(scores) for model, scores in sorted(by_model.items())}


def track_records(history: Sequence[Sequence[Score]]) -> Mapping[SeriesKey, dict[str, Any]]:
    """Return the same per series, over whatever models forecast it."""
    by_series: dict[SeriesKey, list[Score]] = {}
    for scores in history:
        for one in scores:
            by_series.setdefault(one.key, []).append(one)
    return {key: _summary(scores) for key, scores in by_series.items()}


def _summary(scores: Sequence[Score]) -> dict[str, Any]:
    relative = [one.relative for one in scores if one.relative is not None]
    return {
        "forecasts": len(scores),
        "coverage_80": round(float(np.mean([one.coverage_80 for one in scores])), 4),
        "coverage_95": round(float(np.mean([one.coverage_95 for one in scores])), 4),
        "peaks_exceeded": round(float(np.mean([one.peak_exceeded for one in scores])), 4),
        "relative_loss": round(float(np.median(relative)), 4) if relative else None,
    }

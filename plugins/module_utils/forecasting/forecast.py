# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Series in, distributions out: the whole of a forecast, pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..estate.forecast import LEVELS, PEAK_LEVELS, Forecast, Scenarios, SeriesReport
from ..estate.series import SeriesKey, SeriesSet
from ..libraries import library
from . import calibration, registry
from . import peaks as peak_model
from .chunk import ChunkResult, ChunkWork
from .companions import Companions
from .drift import level_changes
from .events import Effects, find_effects
from .executor import Report, run_chunks
from .history import SHORT_S, STALE_S, History, prepare
from .joint import build_scenarios, with_constants
from .levels import at_level, moments, monotone
from .model import Task
from .request import ForecastRequest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Series forecast together; fixed, so that no number depends on how many workers there are.
CHUNK_ROWS = 128

#: Steps of a fleet's bands that are copied at a time, to bound memory.
REORDERED_STEPS = 16
#: How much wider the upper quantiles are while an event of unknown effect is on.
UNKNOWN_EVENT = 1.5


def _unheard(done: int, total: int) -> None:
    """Report to nobody."""


def forecast(series: SeriesSet, request: ForecastRequest, report: Report = _unheard) -> Forecast:
    """Forecast every series from the end of its grid, in the metric's unit.

    The answer depends on the series and the request alone: not on the order of the series nor on the workers.
    Series without a usable history are in ``abstained``, or constant where the request gives them a value. Raises
    `BadSeries` for contradictory series and `InvalidOption` for a horizon or model that cannot be.
    """
    horizon = request.horizon_steps(series.step_s)
    for metric in {key.metric for key in series.keys}:
        if request.model_for(metric) != registry.AUTO:
            registry.find_model(request.model_for(metric))
    history, abstained = prepare(_sorted(series))
    effects = find_effects(history, horizon, request.events)
    if effects is not None:
        effects.take_out_of(history)
    works = _works(history, horizon, request, effects)
    running = run_chunks(works, request.workers, report, request.dask_scheduler)
    results, bands = _gathered(running, len(history.keys), horizon)
    coarsen = max(1, (request.scenario_step_s or history.step_s) // history.step_s)
    constants = {key: request.no_history_values[key] for key in abstained if key in request.no_history_values}
    scenarios = build_scenarios(history, horizon, request.seed, coarsen)
    if effects is not None:
        scenarios = replace(scenarios, additions=_additions(history, horizon, effects))
    scenarios = with_constants(scenarios, constants)
    answer = _with_constants(_assemble(history, results, bands, scenarios, effects), abstained, constants)
    return _in_order_of(series.keys, answer)


def _sorted(series: SeriesSet) -> SeriesSet:
    order = sorted(range(len(series.keys)), key=series.keys.__getitem__)
    if order == list(range(len(order))):
        return series
    return SeriesSet(tuple(series.keys[row] for row in order), series.start_ts, series.step_s, series.values[order])


def _additions(history: History, horizon: int, effects: Effects) -> dict[SeriesKey, NDArray[np.float32]]:
    """Return what events add to each path ahead, in the metrics' units, for the series that any touches."""
    ahead = effects.amounts[:, -horizon:]
    return {
        history.keys[row]: np.asarray(ahead[row] * history.scale[row], np.float32)
        for row in np.flatnonzero(ahead.any(axis=1))
    }


def _works(history: History, horizon: int, request: ForecastRequest, effects: Effects | None) -> list[ChunkWork]:
    companions = Companions(request.companions)
    works = []
    for first in range(0, len(history.keys), CHUNK_ROWS):
        rows = slice(first, first + CHUNK_ROWS)
        keys = history.keys[rows]
        names = tuple(request.model_for(key.metric) for key in keys)
        models = [registry.find_model(name) for name in set(names) - {registry.AUTO}]
        task = Task(
            values=history.values[rows],
            observed=history.observed[rows],
            metrics=tuple(key.metric for key in keys),
            step_s=history.step_s,
            origin_ts=history.origin_ts,
            horizon=horizon,
            levels=LEVELS,
            added=None if effects is None else effects.amounts[rows],
            regressors=effects.regressors(rows) if effects and any(model.USES_EVENTS for model in models) else None,
            companions=companions.of(keys, history) if any(model.USES_COMPANIONS for model in models) else None,
        )
        demoted = tuple(request.demoted.get(key, frozenset()) for key in keys)
        works.append(ChunkWork(task, names, demoted, PEAK_LEVELS))
    return works


def _gathered(
    running: Iterable[ChunkResult], count: int, horizon: int
) -> tuple[list[ChunkResult], NDArray[np.float32]]:
    """Return all results without their quantiles, and these in one array: a fleet's bands must not be held twice."""
    quantiles = np.empty((count, horizon, len(LEVELS)), np.float32)
    results: list[ChunkResult] = []
    first = 0
    for result in running:
        last = first + len(result.quantiles)
        quantiles[first:last] = result.quantiles
        results.append(replace(result, quantiles=quantiles[first:last]))
        first = last
    return results, quantiles


def _assemble(
    history: History,
    results: Sequence[ChunkResult],
    quantiles: NDArray[np.float32],
    scenarios: Scenarios,
    effects: Effects | None,
) -> Forecast:
    """Calibrate across all chunks and bring everything into the metrics' units; ``quantiles`` is written over."""
    counted = calibration.pool([result.conformity for result in results])
    factors = {group: calibration.stretches(found, LEVELS) for group, found in counted.items()}
    widening = _widening(history)
    mean, sd = np.empty(quantiles.shape[:2], np.float32), np.empty(quantiles.shape[:2], np.float32)
    first = 0
    for result in results:
        rows = slice(first, first + len(result.quantiles))
        stretch = np.stack([factors[group] for group in result.groups])[:, None, :]
        moved = _widened(calibration.stretched(result.quantiles, stretch, LEVELS), widening[rows])
        if effects is not None:
            moved = _with_events(moved, effects, rows)
        quantiles[rows] = monotone(moved) * history.scale[rows, None, None]
        mean[rows], sd[rows] = moments(quantiles[rows], LEVELS)
        first = rows.stop
    if effects is not None:
        widening = np.where(effects.unknown.any(axis=1), UNKNOWN_EVENT * widening, widening)
    peak_quantiles = np.maximum(_peaks(history, results, widening), _highest_steps(quantiles))
    peak_mean, peak_sd = moments(peak_quantiles, PEAK_LEVELS)
    return Forecast(
        keys=history.keys,
        origin_ts=history.origin_ts,
        step_s=history.step_s,
        mean=mean,
        sd=sd,
        quantiles=quantiles,
        peak_mean=peak_mean,
        peak_sd=peak_sd,
        peak_quantiles=peak_quantiles,
        reports=_reports(history, results, effects),
        scenarios=scenarios,
    )


def _highest_steps(quantiles: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the highest of each level's steps, (series, peak levels): no peak's quantile can be lower."""
    highest = quantiles.max(axis=1)
    return np.stack([at_level(highest, LEVELS, level) for level in PEAK_LEVELS], axis=1)


def _with_events(quantiles: NDArray[np.float32], effects: Effects, rows: slice) -> NDArray[np.float32]:
    """Return quantiles with what events add, and wider above the median where one of unknown effect is on."""
    horizon = quantiles.shape[1]
    middle = quantiles[..., LEVELS.index(0.5)][..., None]
    unknown = effects.unknown[rows, :, None]
    wider = np.where(unknown & (quantiles > middle), middle + UNKNOWN_EVENT * (quantiles - middle), quantiles)
    return np.asarray(wider + effects.amounts[rows, -horizon:, None], np.float32)


def _peaks(history: History, results: Sequence[ChunkResult], widening: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return calibrated quantiles of the maximum over the horizon in the metrics' units, (series, peak levels)."""
    count = len(PEAK_LEVELS)
    if not results:
        return np.zeros((0, count), np.float32)
    metrics = [key.metric for key in history.keys]
    logs = np.concatenate([result.peaks for result in results])
    errors = np.concatenate([result.peak_errors for result in results])
    shift = calibration.peak_shifts(errors, metrics, PEAK_LEVELS)
    peaks = np.where(peak_model.is_nothing(logs), 0.0, np.exp(logs + shift))
    middle = peaks[:, :1]
    widened = middle + (peaks - middle) * widening[:, None]
    return monotone(widened) * history.scale[:, None].astype(np.float32)


def _widening(history: History) -> NDArray[np.float64]:
    """Return by how much the distance from the median is stretched for a short or stale history, at least 1.

    Growth is slow (fourth root of how many times shorter than two days, and less for hours of silence): recent
    levels say most, and conformal calibration on peers already covers what a day of history lacks.
    """
    short = np.maximum(1.0, SHORT_S / np.maximum(history.steps_measured * history.step_s, 1))
    stale = np.maximum(1.0, history.silent_steps * history.step_s / STALE_S)
    return np.asarray(short**0.25 * stale**0.15, np.float64)


def _widened(quantiles: NDArray[np.float32], widening: NDArray[np.float64]) -> NDArray[np.float32]:
    middle = quantiles[..., LEVELS.index(0.5)][..., None]
    stretched = middle + (quantiles - middle) * widening[:, None, None].astype(np.float32)
    return np.asarray(np.where(widening[:, None, None] > 1, stretched, quantiles), np.float32)


def _reports(history: History, results: Sequence[ChunkResult], effects: Effects | None) -> tuple[SeriesReport, ...]:
    reports: list[SeriesReport] = []
    changes = level_changes(history)
    for result in results:
        for row, model in enumerate(result.models):
            place = len(reports)
            reports.append(
                SeriesReport(
                    model=model,
                    why=result.reasons[row],
                    history_steps=int(history.steps_measured[place]),
                    score=_known(result.score[row]),
                    coverage_80=_known(result.coverage_80[row]),
                    coverage_95=_known(result.coverage_95[row]),
                    warnings=(
                        *_warnings(history, place, changes[place]),
                        *(effects.notes.get(place, ()) if effects else ()),
                    ),
                )
            )
    return tuple(reports)


def _known(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None


def _warnings(history: History, row: int, change: float) -> tuple[str, ...]:
    found = []
    measured_s = int(history.steps_measured[row]) * history.step_s
    silent_s = int(history.silent_steps[row]) * history.step_s
    if measured_s < SHORT_S:
        found.append(f"short history: {measured_s / 3600:.1f} h measured; intervals widened")
    if silent_s > STALE_S:
        found.append(f"stale: nothing measured in the last {silent_s / 3600:.1f} h; intervals widened")
    if not np.isnan(change):
        found.append(f"drift: the last two days lie at {change:.3g} times the mean of the days before, beyond them all")
    if history.negatives[row]:
        found.append(f"{history.negatives[row]} negative value(s) taken as missing")
    return tuple(found)


def _with_constants(
    answer: Forecast, abstained: dict[SeriesKey, str], constants: Mapping[SeriesKey, float]
) -> Forecast:
    """Add series without history as the constants given for them; name the others as abstained."""
    given = list(constants)
    others = {key: reason for key, reason in abstained.items() if key not in constants}
    if not given:
        return replace(answer, abstained=others)
    value = np.array(list(constants.values()), np.float32)
    steps, levels, peak_levels = answer.horizon_steps, len(LEVELS), len(PEAK_LEVELS)
    reports = [
        SeriesReport("allocated", "no usable history; the configured size is taken", 0, warnings=(abstained[key],))
        for key in given
    ]
    return replace(
        answer,
        keys=(*answer.keys, *given),
        mean=np.concatenate([answer.mean, np.repeat(value[:, None], steps, axis=1)]),
        sd=np.concatenate([answer.sd, np.zeros((len(given), steps), np.float32)]),
        quantiles=np.concatenate(
            [answer.quantiles, np.broadcast_to(value[:, None, None], (len(given), steps, levels))]
        ),
        peak_mean=np.concatenate([answer.peak_mean, value]),
        peak_sd=np.concatenate([answer.peak_sd, np.zeros(len(given), np.float32)]),
        peak_quantiles=np.concatenate([answer.peak_quantiles, np.repeat(value[:, None], peak_levels, axis=1)]),
        reports=(*answer.reports, *reports),
        abstained=others,
    )


def _in_order_of(keys: Sequence[SeriesKey], answer: Forecast) -> Forecast:
    """Return the forecast's series in the order in which they were given."""
    place = {key: row for row, key in enumerate(answer.keys)}
    order = [place[key] for key in keys if key in place]
    if order == list(range(len(order))):
        return answer
    _reorder(answer.quantiles, order)
    return replace(
        answer,
        keys=tuple(answer.keys[row] for row in order),
        mean=answer.mean[order],
        sd=answer.sd[order],
        peak_mean=answer.peak_mean[order],
        peak_sd=answer.peak_sd[order],
        peak_quantiles=answer.peak_quantiles[order],
        reports=tuple(answer.reports[row] for row in order),
    )


def _reorder(values: NDArray[np.float32], order: Sequence[int]) -> None:
    """Bring ``values`` (series, steps, levels) into that order of series in place, some steps at a time."""
    for first in range(0, values.shape[1], REORDERED_STEPS):
        steps = slice(first, first + REORDERED_STEPS)
        values[:, steps] = values[order, steps]

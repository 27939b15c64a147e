# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One chunk of series forecast from start to end, the unit of work of an executor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..libraries import library
from . import backtest, calibration, peaks, registry, select
from .backtest import Origin
from .calibration import Conformity
from .global_network import ORIGINS_SEEN
from .levels import coverage, monotone
from .members import DayNaive
from .model import Model, ModelFailed, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: What fitting a model on hostile data raises. numpy's LinAlgError is a ValueError.
FITTING_ERRORS = (ModelFailed, ArithmeticError, ValueError, LookupError, RuntimeError)
#: A forecast beyond this many times the largest value of the history is taken for divergence.
DIVERGED = 100.0
#: Past origins: the latest ones are forecast, those before them are what the network saw then.
BACKTEST_DAYS = select.SCORED_DAYS + ORIGINS_SEEN


@dataclass(frozen=True)
class ChunkWork:
    """Series to be forecast together. ``models`` names the model asked for each; ``demoted`` what each has lost."""

    task: Task
    models: tuple[str, ...]
    demoted: tuple[frozenset[str], ...]
    peak_levels: tuple[float, ...]


@dataclass(frozen=True)
class ChunkResult:
    """What came of a chunk, in its task's units, before conformal calibration.

    Shapes: ``quantiles`` (series, horizon, levels); ``peaks`` (series, peak levels), ``peak_errors`` (series, origins,
    peak levels) in logs; ``score``, ``coverage_80``, ``coverage_95`` (series,), NaN without a backtest.
    ``conformity`` counts, for each of the ``groups`` that are calibrated together (those that `auto` forecast, and
    those of each model asked for), how past values lay against what was said.
    """

    quantiles: NDArray[np.float32]
    peaks: NDArray[np.float64]
    peak_errors: NDArray[np.float64]
    score: NDArray[np.float64]
    coverage_80: NDArray[np.float32]
    coverage_95: NDArray[np.float32]
    models: tuple[str, ...]
    groups: tuple[str, ...]
    reasons: tuple[str, ...]
    conformity: dict[str, Conformity]


def forecast_chunk(work: ChunkWork) -> ChunkResult:
    """Forecast one chunk. A model that fails on a series leaves that series to `auto`, with the reason recorded."""
    draft = _Draft(work)
    failures: dict[int, str] = {}
    for name in sorted(set(work.models) - {registry.AUTO}):
        rows = [row for row, wanted in enumerate(work.models) if wanted == name]
        lost = [row for row in rows if name in work.demoted[row]]
        failures |= dict.fromkeys(lost, f"{name} was asked for but keeps failing on this series")
        kept = [row for row in rows if name not in work.demoted[row]]
        if kept:
            failures |= draft.run(registry.find_model(name), kept, f"{name} was asked for")
    left = sorted({row for row, wanted in enumerate(work.models) if wanted == registry.AUTO} | set(failures))
    if left:
        draft.run_auto(left, failures)
    return draft.result()


class _Draft:
    """The arrays of a chunk while models fill in their series' rows."""

    def __init__(self, work: ChunkWork) -> None:
        task = work.task
        self.work = work
        self.task = task
        self.past = backtest.origins(task, BACKTEST_DAYS)
        self.scored = self.past[: select.SCORED_DAYS]
        shape = (len(task.values), task.horizon, len(task.levels))
        self.ahead = np.full(shape, np.nan, np.float32)
        self.said = [np.full(shape, np.nan, np.float32) for _unused in self.scored]
        self.models = [""] * len(task.values)
        self.groups = [registry.AUTO] * len(task.values)
        self.reasons = [""] * len(task.values)

    def run(self, model: Model, rows: list[int], reason: str) -> dict[int, str]:
        """Forecast ``rows`` with ``model``; return why it failed on those where it did."""
        pieces = [[row] for row in rows] if model.PER_SERIES else [rows]
        failures: dict[int, str] = {}
        for piece in pieces:
            failures |= self._piece(model, piece, reason)
        return failures

    def _piece(self, model: Model, rows: list[int], reason: str) -> dict[int, str]:
        days = min(model.BACKTEST_DAYS, len(self.scored))
        try:
            ahead = _checked(model, self.task.rows(rows))
            said = [_checked(model, origin.task.rows(rows)) for origin in self.scored[:days]]
        except FITTING_ERRORS as exc:
            if len(rows) > 1:
                halves = rows[: len(rows) // 2], rows[len(rows) // 2 :]
                return self._piece(model, halves[0], reason) | self._piece(model, halves[1], reason)
            return {rows[0]: f"{model.NAME} failed ({str(exc) or type(exc).__name__})"}
        self.ahead[rows] = ahead
        for place, quantiles in enumerate(said):
            self.said[place][rows] = quantiles
        for row in rows:
            self.models[row], self.groups[row], self.reasons[row] = model.NAME, model.NAME, reason
        return {}

    def run_auto(self, rows: list[int], failures: Mapping[int, str]) -> None:
        """Let `auto` forecast ``rows``; ``failures`` says why others failed on some of them."""
        past = [Origin(origin.task.rows(rows), origin.actual[rows]) for origin in self.past]
        chosen = select.choose(self.task.rows(rows), past, [self.work.demoted[row] for row in rows])
        self.ahead[rows] = chosen.ahead
        for place, quantiles in enumerate(chosen.said):
            self.said[place][rows] = quantiles
        for at, row in enumerate(rows):
            self.models[row] = chosen.models[at]
            self.reasons[row] = f"{failures[row]}; {chosen.reasons[at]}" if row in failures else chosen.reasons[at]

    def result(self) -> ChunkResult:
        """Return what the chunk came to, with its errors on the past."""
        levels = self.task.levels
        count = len(self.task.values)
        said = np.concatenate([np.zeros((count, 0, len(levels)), np.float32), *self.said], axis=1)
        actual = np.concatenate(
            [np.zeros((count, 0), np.float32)]
            + [np.where(origin.counted[:, None], origin.actual, np.nan) for origin in self.scored],
            axis=1,
        )
        actual = np.where(np.isnan(said[:, :, 0]), np.nan, actual).astype(np.float32)
        naive = [monotone(DayNaive().quantiles(origin.task)) for origin in self.scored]
        base = np.concatenate([np.zeros((count, 0, len(levels)), np.float32), *naive], axis=1)
        loss = backtest.mean_loss(said, actual, levels)
        return ChunkResult(
            quantiles=self.ahead,
            conformity=self._conformity(said, actual),
            peaks=peaks.peak_log_quantiles(self.task, self.work.peak_levels),
            peak_errors=peaks.peak_errors(self.past[:4], self.work.peak_levels),
            score=backtest.relative_score(loss[:, None], backtest.mean_loss(base, actual, levels)[:, None]),
            coverage_80=coverage(said, actual, levels, 0.8),
            coverage_95=coverage(said, actual, levels, 0.95),
            models=tuple(self.models),
            groups=tuple(self.groups),
            reasons=tuple(self.reasons),
        )

    def _conformity(self, said: NDArray[np.float32], actual: NDArray[np.float32]) -> dict[str, Conformity]:
        found = {}
        for group in sorted(set(self.groups)):
            rows = [row for row, mine in enumerate(self.groups) if mine == group]
            found[group] = calibration.conformity(said[rows], actual[rows], self.task.levels)
        return found


def _checked(model: Model, task: Task) -> NDArray[np.float32]:
    """Return the model's quantiles without what events add, monotone and non-negative.

    Raises `ModelFailed` for absurd ones.
    """
    if model.USES_EVENTS and task.added is not None and task.added_ahead is not None:
        measured = replace(task, values=task.values + task.added[:, : task.values.shape[1]])
        quantiles = model.quantiles(measured) - task.added_ahead[:, :, None]
    else:
        quantiles = model.quantiles(task)
    if not np.isfinite(quantiles).all():
        raise ModelFailed("its forecast is not finite")
    if (quantiles.max(axis=(1, 2)) > DIVERGED * np.maximum(task.values.max(axis=1), 1.0)).any():
        raise ModelFailed("its forecast diverged")
    return monotone(quantiles)

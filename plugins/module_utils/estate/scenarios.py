# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Coherent sample paths kept compactly: the joint past of all series, and where each scenario's window begins in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..libraries import library
from .series import SeriesKey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

DAY_S = 86_400
#: Series whose means are worked out together, which bounds the memory that takes.
BLOCK_ROWS = 1024


@dataclass(frozen=True)
class WindowScenarios:
    """Scenarios that replay whole aligned windows of the joint past; implements `Scenarios`.

    Scenario ``s`` takes, for every step ahead, the value that all series had together at that time of day inside the
    day(s) that begin at history step ``starts[s]`` (see `window_index`), times ``multipliers[s, metric]``: what was
    not foreseen about such windows before (see `forecasting.joint`). Known events add ``additions[key]`` to every path.

    Shapes: ``history`` (series, history steps) without NaN, in units of ``scale`` (series,), which is in the metrics'
    units; ``starts`` (scenarios,); ``multipliers`` (scenarios, len(``metrics``)); each of ``additions`` (history-
    resolution steps ahead,) in the metrics' units.
    ``history_step_s`` is the history's step, ``steps`` the number of such steps ahead, ``coarsen`` how many of them
    one step of the paths joins (it holds the maximum of the *sum* over them). ``replayed_means`` is what
    `mean_replays` returns, where that was worked out before (series, ``steps``).
    """

    keys: tuple[SeriesKey, ...]
    metrics: tuple[str, ...]
    history: NDArray[np.float32]
    scale: NDArray[np.float64]
    history_step_s: int
    steps: int
    starts: NDArray[np.int32]
    multipliers: NDArray[np.float32]
    coarsen: int = 1
    additions: Mapping[SeriesKey, NDArray[np.float32]] = field(default_factory=dict)
    replayed_means: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for means of other series or steps."""
        if self.replayed_means is not None and self.replayed_means.shape != (len(self.keys), self.steps):
            raise ValueError(f"means of shape {self.replayed_means.shape} for {len(self.keys)} x {self.steps}")

    @property
    def count(self) -> int:
        """How many scenarios there are; all equally likely."""
        return len(self.starts)

    @property
    def step_s(self) -> int:
        """Seconds per step of the paths."""
        return self.history_step_s * self.coarsen

    @property
    def horizon_steps(self) -> int:
        """Steps per path."""
        return -(-self.steps // self.coarsen)

    def missing(self, keys: Sequence[SeriesKey]) -> tuple[SeriesKey, ...]:
        """Return those of ``keys`` that have no paths."""
        return tuple(key for key in keys if key not in self._rows)

    def totals(self, groups: Sequence[Sequence[SeriesKey]]) -> NDArray[np.float32]:
        """Return the sum of each group's members per scenario and step, shape (scenarios, groups, steps).

        Members without a forecast count as 0; `missing` names them. Peak memory is that of the answer plus one
        history per group.
        """
        answer = np.zeros((self.count, len(groups), self.horizon_steps), np.float32)
        index = window_index(self.starts, self.history.shape[1], self.steps, self.history_step_s)
        for place, group in enumerate(groups):
            answer[:, place] = self._maxima(self._paths(group, index))
        return answer

    def mean_totals(self, groups: Sequence[Sequence[SeriesKey]]) -> NDArray[np.float32]:
        """Return the mean over the scenarios of each group's sum, shape (groups, steps).

        The mean of a sum is the sum of the means. A step that joins several holds the largest of their means. Where an
        event takes more off than some of a series' paths hold, it is a little less: there paths stop at 0, not means.
        """
        means = self.mean_replays
        answer = np.zeros((len(groups), self.steps), np.float32)
        for place, group in enumerate(groups):
            rows = [self._rows[key] for key in group if key in self._rows]
            means[rows].sum(axis=0, out=answer[place])
        for place, group in enumerate(groups if self.additions else ()):
            for key in group:
                if key in self.additions:
                    answer[place] += np.maximum(self.additions[key], -means[self._rows[key]])
        return self._maxima(answer)

    @cached_property
    def mean_replays(self) -> NDArray[np.float32]:
        """The mean over the scenarios of each series' replayed windows, events left out, shape (series, steps).

        It is a weighted sum of history steps, with the same weights for all series of a metric.
        """
        if self.replayed_means is not None:
            return self.replayed_means
        means = np.zeros((len(self.keys), self.steps), np.float32)
        for column, metric in enumerate(self.metrics):
            rows = np.array([row for row, key in enumerate(self.keys) if key.metric == metric], np.intp)
            for first in range(0, len(rows), BLOCK_ROWS):
                block = rows[first : first + BLOCK_ROWS]
                scaled = self.history[block] * self.scale[block, None].astype(np.float32)
                means[block] = self._means(np.asarray(scaled, np.float32), column)
        return means

    def _summed(self, rows: list[int]) -> NDArray[np.float32]:
        """Return the sum of those series at every history step, in the metric's unit."""
        return np.asarray(self.scale[rows].astype(np.float32) @ self.history[rows], np.float32)

    def _means(self, past: NDArray[np.float32], column: int) -> NDArray[np.float32]:
        """Return the mean over the scenarios of one metric's ``past`` (series, history steps), (series, steps ahead).

        A history step is replayed only at its own time of day, so few pairs of steps have any weight.
        """
        history_steps = self.history.shape[1]
        index = window_index(self.starts, history_steps, self.steps, self.history_step_s)
        pairs = np.arange(self.steps) * history_steps + index
        shares = np.broadcast_to(self.multipliers[:, column, None] / self.count, index.shape)
        weights = np.bincount(pairs.ravel(), shares.ravel(), minlength=self.steps * history_steps)
        used = np.flatnonzero(np.bincount(pairs.ravel(), minlength=self.steps * history_steps))
        weighted = past[:, used % history_steps] * weights[used].astype(np.float32)
        first_of_step = np.searchsorted(used, np.arange(self.steps) * history_steps)
        return np.asarray(np.add.reduceat(weighted, first_of_step, axis=1), np.float32)

    def _paths(self, group: Sequence[SeriesKey], index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return one group's sums at the history's resolution, shape (scenarios, steps ahead)."""
        known = [key for key in group if key in self._rows]
        lowered = {key for key in known if key in self.additions and self.additions[key].min() < 0}
        paths = self._replayed([key for key in known if key not in lowered], index)
        for key in known:
            if key in lowered:  # no demand falls below nothing
                paths += np.maximum(self._replayed([key], index) + self.additions[key], 0.0)
            elif key in self.additions:
                paths += self.additions[key]
        return paths

    def _replayed(self, keys: Sequence[SeriesKey], index: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the sum of the series' replayed windows, events left out, shape (scenarios, steps ahead)."""
        paths = np.zeros((self.count, self.steps), np.float32)
        for column, metric in enumerate(self.metrics):
            rows = [self._rows[key] for key in keys if key.metric == metric]
            if rows:
                replayed = self._summed(rows).take(index)
                replayed *= self.multipliers[:, column, None]
                paths += replayed
        return paths

    def _maxima(self, paths: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.coarsen == 1:
            return paths
        padding = self.horizon_steps * self.coarsen - self.steps
        padded = np.pad(paths, ((0, 0), (0, padding)), mode="edge")
        return np.asarray(padded.reshape(len(paths), self.horizon_steps, self.coarsen).max(axis=2), np.float32)

    @cached_property
    def _rows(self) -> Mapping[SeriesKey, int]:
        return {key: row for row, key in enumerate(self.keys)}


def window_index(starts: NDArray[np.int32], history_steps: int, steps_ahead: int, step_s: int) -> NDArray[np.int64]:
    """Return which history step each scenario replays at each step ahead, shape (scenarios, ``steps_ahead``).

    A window is the whole number of days from its start that covers ``steps_ahead``; inside it a step ahead takes
    the value of its own time of day, so that days begun at any hour serve a forecast made at any hour. A window that
    reaches beyond the end of the history goes on at its beginning.
    """
    day = max(1, round(DAY_S / step_s))
    ahead = np.arange(steps_ahead)
    phase = (history_steps + ahead[None, :] - starts[:, None].astype(np.int64)) % day
    return np.asarray((starts[:, None] + phase + day * (ahead // day)[None, :]) % history_steps, np.int64)

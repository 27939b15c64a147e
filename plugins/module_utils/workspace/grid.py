# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Samples of one day after another, averaged onto a grid of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library
from .metric_file import MS_PER_DAY, Rows

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


class Grid:
    """The mean of each series in each step, NaN where nothing was measured.

    Days come in order. Beyond the result only one day's sums are kept, and those of the step that reaches into the
    next day.
    """

    def __init__(self, series: int, start_ms: int, step_ms: int, steps: int) -> None:
        self._start_ms = start_ms
        self._step_ms = step_ms
        self._first_open = 0
        self._sums: NDArray[np.float64] = np.zeros((series, 0))
        self._counts: NDArray[np.int64] = np.zeros((series, 0), np.int64)
        self._means = np.full((series, steps), np.nan, np.float32)

    def add_day(self, day: int, rows: Rows) -> None:
        """Take the samples of ``day`` (days since 1970 in UTC); those outside the grid must have been left out."""
        series, steps = self._means.shape
        last = min(steps - 1, ((day + 1) * MS_PER_DAY - 1 - self._start_ms) // self._step_ms)
        first = max(0, min(self._first_open, last), (day * MS_PER_DAY - self._start_ms) // self._step_ms)
        width = last - first + 1
        step = (rows.ms.astype(np.int64) + (day * MS_PER_DAY - self._start_ms)) // self._step_ms
        cell = rows.series * np.int64(width) + (step - first)
        shape = (series, width)
        sums = np.asarray(np.bincount(cell, rows.value, series * width), np.float64).reshape(shape)
        counts = np.bincount(cell, minlength=series * width).astype(np.int64).reshape(shape)
        if self._sums.shape[1] and self._first_open == first:
            sums[:, :1] += self._sums
            counts[:, :1] += self._counts
        with np.errstate(invalid="ignore"):
            self._means[:, first : last + 1] = sums / counts
        self._first_open, self._sums, self._counts = last, sums[:, -1:].copy(), counts[:, -1:].copy()

    def means(self) -> NDArray[np.float32]:
        """Return the means, shape (series, steps)."""
        return self._means

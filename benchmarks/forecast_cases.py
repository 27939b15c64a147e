# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What forecasts are scored on: origins in recorded demand, random groups of VMs, and how far a statement was off."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tools" / "train"), str(HERE.parent / "tests")]
importlib.import_module("conftest")  # makes this checkout importable as the collection
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesSet  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import backtest, levels  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import prepare  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.members import DayNaive  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.model import Model, Task  # noqa: E402
from traces import DAY, METRICS, STEP_S, Traces  # noqa: E402

HISTORY_DAYS = 14
#: A series that yesterday's rule forecasts this well, in units of its mean, tells models apart by rounding only.
TRIVIAL = 1e-4
#: The share of the scored day that must have been measured: the trace has days without any record.
MEASURED = 0.95
#: The peak's level that the aims in docs/performance.md speak of.
PEAK_LEVEL = 0.95


class Case:
    """One origin: the history, what came, and the loss of yesterday's rule, per series."""

    def __init__(self, traces: Traces, origin: int, history_days: int = HISTORY_DAYS) -> None:
        self.origin = origin
        self.keys = traces.keys
        first = max(0, origin - history_days * DAY)
        self.series = SeriesSet(traces.keys, 0.0, STEP_S, traces.values[:, first:origin])
        self.actual = traces.values[:, origin : origin + DAY]
        history, _abstained = prepare(self.series)
        if history.keys != traces.keys:
            raise SystemExit("The benchmark needs series that are measured at every origin.")
        self.history = history
        self.scale = history.scale
        metrics = tuple(key.metric for key in traces.keys)
        self.task = Task(history.values, history.observed, metrics, STEP_S, 0.0, DAY, LEVELS)
        self.naive = self.loss(self.said_by(DayNaive()))
        known = np.isfinite(self.actual).mean(axis=1) > 0.5
        self.counted = known & (self.naive > TRIVIAL) & (np.nan_to_num(self.actual).max(axis=1) > 0)

    @cached_property
    def filled(self) -> NDArray[np.floating]:
        """The history without gaps, in the metrics' units."""
        return self.task.values * self.scale[:, None]

    def said_by(self, model: Model) -> NDArray[np.float32]:
        """Return the model's own quantiles, uncalibrated, in the metrics' units."""
        return (levels.monotone(model.quantiles(self.task)) * self.scale[:, None, None]).astype(np.float32)

    def loss(self, quantiles: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return each series' mean pinball loss in units of its mean."""
        return backtest.mean_loss(quantiles, self.actual.astype(np.float32), LEVELS) / self.scale

    def relative(self, quantiles: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log of the loss relative to yesterday's rule."""
        return np.log((self.loss(quantiles) + 1e-6) / (self.naive + 1e-6))

    def groups(self, metric: str, size: int, count: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
        """Return the rows of ``count`` random groups of VMs, as far as there are so many VMs."""
        members = [row for row, key in enumerate(self.keys) if key.metric == metric]
        return [rng.choice(members, min(size, len(members)), replace=False) for _unused in range(count)]

    def came(self, group: NDArray[np.int64]) -> float:
        """Return the group's highest demand together over the scored day; 0 for a VM that was not recorded."""
        return float(np.nansum(self.actual[group], axis=0).max())


def usable_origins(traces: Traces, every: int, history_days: int = HISTORY_DAYS) -> list[int]:
    """Return all origins ``every`` so many steps with that much history, and a day measured well after them."""
    measured = np.isfinite(traces.values).mean(axis=0)
    last = traces.values.shape[1] - DAY
    found = range(history_days * DAY + every % DAY, last, every)
    return [at for at in found if measured[at : at + DAY].mean() >= MEASURED]


@dataclass
class PeakScore:
    """How stated peaks did: collects (came, stated) pairs in logs."""

    over: list[float]

    def add(self, came: float, stated: float) -> None:
        """Note one pair; one of nothing at all says nothing."""
        if came > 0 and stated > 0:
            self.over.append(float(np.log(came / stated)))

    @property
    def pinball(self) -> float:
        """The mean pinball loss of the logarithm at `PEAK_LEVEL`."""
        over = np.array(self.over)
        return float(np.maximum(PEAK_LEVEL * over, (PEAK_LEVEL - 1) * over).mean())

    def __str__(self) -> str:
        """Return how often the peak was exceeded, the median of stated to actual, and the loss."""
        over = np.array(self.over)
        return f"{100 * (over > 1e-4).mean():.1f} % / {np.median(np.exp(-over)):.2f} / {self.pinball:.4f}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *rows])


__all__ = [
    "DAY",
    "HERE",
    "LEVELS",
    "METRICS",
    "STEP_S",
    "Case",
    "PeakScore",
    "Traces",
    "table",
    "usable_origins",
]

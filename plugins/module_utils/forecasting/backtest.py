# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Rolling-origin backtests: what each model would have said on each of the last days, against what came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..libraries import library
from .history import as_known, usable_steps
from .levels import monotone, pinball
from .members import DayNaive
from .model import Model, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Loss below which a series counts as forecast perfectly, in units of its mean.
NEGLIGIBLE = 1e-6


@dataclass(frozen=True)
class Origin:
    """One past origin: the task as it was then, and what came after it (NaN where nothing was measured)."""

    task: Task
    actual: NDArray[np.float32]

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Which series had a usable history then and measured values after it, shape (series,)."""
        needed = usable_steps(self.task.step_s)
        known_after = np.isfinite(self.actual).any(axis=1)
        return np.asarray(known_after & (self.task.observed.sum(axis=1) >= needed))


def origins(task: Task, days: int) -> tuple[Origin, ...]:
    """Return up to ``days`` past origins, one a day and the latest first, each a horizon's worth of time back or more.

    At least one day of history stays before each. Nothing of what came later is visible in an origin's task.
    """
    found = []
    first = -(-task.horizon // task.day)
    for back in range(first, first + days):
        steps = back * task.day
        end = task.values.shape[1] - steps
        if end < task.day:
            break
        later = slice(end, end + task.horizon)
        actual = np.where(task.observed[:, later], task.values[:, later], np.nan).astype(np.float32)
        then = task.before(steps)
        found.append(Origin(replace(then, values=as_known(then.values, then.observed, task.day)), actual))
    return tuple(found)


def losses(model: Model, past: Sequence[Origin]) -> NDArray[np.float32]:
    """Return the mean pinball loss per series and origin, shape (series, origins); NaN where it does not count."""
    columns = []
    for origin in past:
        loss = mean_loss(monotone(model.quantiles(origin.task)), origin.actual, origin.task.levels)
        columns.append(np.where(origin.counted, loss, np.nan))
    return np.stack(columns, axis=1) if columns else np.zeros((0, 0), np.float32)


def mean_loss(
    quantiles: NDArray[np.float32], actual: NDArray[np.float32], levels: Sequence[float]
) -> NDArray[np.float32]:
    """Return the mean over the known steps of the pinball loss, shape (series,); NaN where no step is known."""
    loss = pinball(quantiles, actual, levels)
    known = np.isfinite(loss)
    count = known.sum(axis=1)
    total = np.where(known, loss, 0.0).sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan), np.float32)


def naive_losses(past: Sequence[Origin]) -> NDArray[np.float32]:
    """Return the loss of "same time yesterday" per series and origin: what scores are relative to."""
    return losses(DayNaive(), past)


def relative_score(loss: NDArray[np.floating], naive: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return per series the loss over that of "same time yesterday"; both (series, origins), NaN without a backtest."""
    known = np.isfinite(loss) & np.isfinite(naive)
    count = np.maximum(known.sum(axis=1), 1)
    own = np.where(known, loss, 0.0).sum(axis=1) / count
    base = np.where(known, naive, 0.0).sum(axis=1) / count
    score = (own + NEGLIGIBLE) / (base + NEGLIGIBLE)
    return np.asarray(np.where(known.any(axis=1), score, np.nan), np.float64)

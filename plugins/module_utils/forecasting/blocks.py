# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One series in coarser blocks, with calendar and event regressors, for models that are fitted per series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..libraries import library
from .model import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


@dataclass(frozen=True)
class Blocks:
    """One series as means of ``width`` steps, counted back from the origin; ``ahead`` blocks are to be forecast.

    ``within_sd`` is how much single steps scatter around their block's mean. ``events`` (regressors, blocks + ahead)
    are the shares of each block that an event covers; ``companions`` (companions, blocks + ahead) are past
    covariates as late as they are still known for every block ahead. ``per_day`` blocks make a day.
    """

    values: NDArray[np.float64]
    within_sd: float
    width: int
    ahead: int
    per_day: int
    horizon: int
    events: NDArray[np.float64]
    companions: NDArray[np.float64]

    def regressors(
        self, harmonics: int, *, with_companions: bool = False
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a constant, daily sine and cosine pairs and events as columns, for the past blocks and those ahead.

        Columns that never vary in the past teach nothing and are left out.
        """
        count = len(self.values)
        at = np.arange(count + self.ahead)
        columns = [np.ones(len(at))]
        for harmonic in range(1, min(harmonics, (self.per_day - 1) // 2) + 1):
            angle = 2 * np.pi * harmonic * at / self.per_day
            columns += [np.sin(angle), np.cos(angle)]
        columns += [row for row in self.events if np.ptp(row[:count]) > 0]
        if with_companions:
            columns += [row for row in self.companions if np.ptp(row[:count]) > 0]
        table = np.stack(columns, axis=1)
        return table[:count], table[count:]


def block_means(task: Task, block_s: int) -> Blocks:
    """Return the first series of ``task`` as means over ``block_s`` seconds (one step where steps are longer).

    Where so many steps do not divide a day, blocks are as much shorter as lets them begin at the same times every day.
    """
    width = max(steps for steps in range(1, max(1, block_s // task.step_s) + 1) if task.day % steps == 0)
    whole = task.values.shape[1] // width * width
    blocks = task.values[0, -whole:].reshape(-1, width).astype(np.float64)
    ahead = -(-task.horizon // width)
    return Blocks(
        values=blocks.mean(axis=1),
        within_sd=float(np.sqrt(blocks.var(axis=1).mean())),
        width=width,
        ahead=ahead,
        per_day=max(1, task.day // width),
        horizon=task.horizon,
        events=_event_blocks(task, width, whole, ahead),
        companions=_companion_blocks(task, width, whole, ahead),
    )


def _event_blocks(task: Task, width: int, whole: int, ahead: int) -> NDArray[np.float64]:
    if task.regressors is None:
        return np.zeros((0, whole // width + ahead))
    rows = task.regressors[0]
    wanted = ahead * width - task.horizon
    padded = np.pad(rows[:, rows.shape[1] - task.horizon - whole :], ((0, 0), (0, wanted)))
    return np.asarray(padded.reshape(len(rows), -1, width).mean(axis=2), np.float64)


def _companion_blocks(task: Task, width: int, whole: int, ahead: int) -> NDArray[np.float64]:
    """Return block means of the companions, moved so many whole days later that all blocks ahead are covered."""
    blocks = whole // width
    if task.companions is None:
        return np.zeros((0, blocks + ahead))
    per_day = max(1, task.day // width)
    lag = -(-ahead // per_day) * per_day
    means = task.companions[0][:, -whole:].reshape(len(task.companions[0]), blocks, width).mean(axis=2)
    late = np.pad(means, ((0, 0), (lag, 0)), mode="edge")
    return np.asarray(late[:, : blocks + ahead], np.float64)


def spread_over_steps(per_block: NDArray[np.floating], blocks: Blocks) -> NDArray[np.float64]:
    """Return one value per step ahead by linear interpolation between the middles of the blocks ahead."""
    middles = (np.arange(blocks.ahead) + 0.5) * blocks.width - 0.5
    return np.asarray(np.interp(np.arange(blocks.horizon), middles, per_block), np.float64)

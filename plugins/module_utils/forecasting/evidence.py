# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the cheap members say of some series now, what they said on past days, and how wrong that was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..libraries import library
from . import backtest
from .backtest import Origin
from .members import MEMBERS
from .model import Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


class Evidence:
    """Computed once for a chunk and used for the network, the choice and the calibration.

    ``losses`` is (series, members, past origins, latest first), NaN where not counted; ``now`` and each of
    ``then`` (for the latest ``kept`` origins) are what the members say or said, (series, members, horizon, levels).
    """

    def __init__(self, task: Task, past: Sequence[Origin], kept: int) -> None:
        self.task = task
        self.past = tuple(past)
        self.now = _say(task)
        self.then: list[NDArray[np.float32]] = []
        self.losses = np.full((len(task.values), len(MEMBERS), len(past)), np.nan, np.float32)
        for place, origin in enumerate(past):
            said = _say(origin.task)
            for index in range(len(MEMBERS)):
                loss = backtest.mean_loss(said[:, index], origin.actual, task.levels)
                self.losses[:, index, place] = np.where(origin.counted, loss, np.nan)
            if place < kept:
                self.then.append(said)


def _say(task: Task) -> NDArray[np.float32]:
    answer = np.empty((len(task.values), len(MEMBERS), task.horizon, len(task.levels)), np.float32)
    for index, member in enumerate(MEMBERS):
        np.maximum(member.quantiles(task), 0.0, out=answer[:, index])
    return answer

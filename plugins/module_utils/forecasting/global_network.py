# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shipped network: trained once on many VMs, it weighs the cheap members for each series and lead time."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ..libraries import library
from . import backtest
from .blend import blend
from .evidence import Evidence
from .features import features
from .model import Model, Task
from .weights import global_weights
from .weights.codec import unpack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Past origins whose losses the network sees.
ORIGINS_SEEN = 4


class GlobalNetwork(Model):
    """Small networks whose mean output says how to average the members' quantiles, and how far to stretch them.

    Each is a perceptron with two hidden layers on `features`, trained on the geometric mean of the pinball loss
    (see docs/model-card.md). As it only averages what the members say, it cannot leave their range by more than its
    stretch, whatever it is shown.
    """

    NAME = "global"
    BACKTEST_DAYS = 2

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        evidence = Evidence(task, backtest.origins(task, ORIGINS_SEEN), kept=0)
        return weigh(task, evidence.now, evidence.losses)


def weigh(task: Task, said: NDArray[np.float32], losses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the network's quantiles (series, horizon, levels) from what the members say and their past losses.

    ``said`` is (series, members, horizon, levels); ``losses`` (series, members, origins, latest first) may have fewer
    or more origins than the network sees.
    """
    seen = np.full((*losses.shape[:2], ORIGINS_SEEN), np.nan, np.float32)
    count = min(ORIGINS_SEEN, losses.shape[2])
    seen[:, :, :count] = losses[:, :, :count]
    return blend(said, _output(features(task, seen)), task.step_s, task.levels)


def _output(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    weights = _weights()
    scaled = (inputs - weights["mean"]) / weights["sd"]
    outputs = []
    for net in range(int(weights["nets"])):
        hidden = scaled
        for layer in range(3):
            hidden = hidden @ weights[f"w{net}_{layer}"] + weights[f"b{net}_{layer}"]
            if layer < 2:
                hidden = np.maximum(hidden, 0.0)
        outputs.append(hidden)
    return np.asarray(np.mean(outputs, axis=0), np.float32)


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    return unpack(global_weights.WEIGHTS)

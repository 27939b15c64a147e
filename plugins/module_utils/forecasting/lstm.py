# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The shipped LSTM: reads a series hour by hour and states quantiles of its hours ahead; numpy alone."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ..libraries import library
from .model import Model, Task
from .weights import lstm_weights
from .weights.codec import unpack

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Hours read before the origin, and hours stated after it.
HOURS_READ = 168
HOURS_AHEAD = 24
#: Keeps the logarithm of nothing finite, in units of the series' mean.
EPSILON = 0.03


class Lstm(Model):
    """One LSTM layer (Hochreiter and Schmidhuber 1997) over a week of hourly log means and log maxima.

    Its last state is mapped to a median and positive steps between quantiles for each hour ahead, in logarithms: so
    quantiles never cross and demand is never negative. Trained once on many VMs (docs/model-card.md).
    """

    NAME = "lstm"
    BACKTEST_DAYS = 2

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        hourly = np.expm1(_hour_quantiles(hour_inputs(task), _weights(), len(task.levels))) * EPSILON
        width = max(1, task.day // 24)
        hour = np.minimum(np.arange(task.horizon) // width, HOURS_AHEAD - 1)
        return np.asarray(np.maximum(hourly, 0.0)[:, hour], np.float32)


def hour_inputs(task: Task) -> NDArray[np.float32]:
    """Return log mean and log maximum of each hour read, shape (series, hours, 2); the first fills what is missing."""
    width = max(1, task.day // 24)
    hours = min(HOURS_READ, task.values.shape[1] // width)
    blocks = task.values[:, -hours * width :].reshape(len(task.values), hours, width)
    read = np.log1p(np.stack([blocks.mean(axis=2), blocks.max(axis=2)], axis=2) / EPSILON)
    return np.asarray(np.pad(read, ((0, 0), (HOURS_READ - hours, 0), (0, 0)), mode="edge"), np.float32)


def _hour_quantiles(
    inputs: NDArray[np.float32], weights: dict[str, NDArray[np.float32]], levels: int
) -> NDArray[np.float32]:
    """Return quantiles of each hour ahead in logarithms, shape (series, `HOURS_AHEAD`, levels)."""
    state = _read(inputs, weights)
    hidden = np.maximum(state @ weights["w_hidden"] + weights["b_hidden"], 0.0)
    raw = (hidden @ weights["w_out"] + weights["b_out"]).reshape(len(inputs), HOURS_AHEAD, levels)
    steps = np.logaddexp(0.0, raw[:, :, 1:])
    return np.concatenate([raw[:, :, :1], raw[:, :, :1] + np.cumsum(steps, axis=2)], axis=2)


def _read(inputs: NDArray[np.float32], weights: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the layer's state after the last hour, gates in torch's order: input, forget, cell, output."""
    units = weights["w_state"].shape[0]
    state = np.zeros((len(inputs), units), np.float32)
    cell = np.zeros_like(state)
    for hour in range(inputs.shape[1]):
        gates = inputs[:, hour] @ weights["w_input"] + state @ weights["w_state"] + weights["b_gates"]
        opened = _sigmoid(gates)
        cell = opened[:, units : 2 * units] * cell + opened[:, :units] * np.tanh(gates[:, 2 * units : 3 * units])
        state = opened[:, 3 * units :] * np.tanh(cell)
    return state


def _sigmoid(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * values)), np.float32)


@cache
def _weights() -> dict[str, NDArray[np.float32]]:
    return unpack(lstm_weights.WEIGHTS)

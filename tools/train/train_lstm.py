# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trains the LSTM (model ``lstm``). torch is needed here and nowhere else."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import backtest
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import prepare
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.levels import monotone
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.lstm import (
    EPSILON,
    HOURS_AHEAD,
    hour_inputs,
)
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.members import DayNaive
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.model import Task
from module_text import write_weights
from torch import nn
from traces import DAY, STEP_S, Traces, read_bitbrains, split

UNITS = 32
HIDDEN = 48
EPOCHS = 20
BATCH = 64
ORIGINS = 30
TRIVIAL = 1e-4
SMALL = 1e-4


class Network(nn.Module):
    """The torch twin of `forecasting.lstm`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(2, UNITS, batch_first=True)
        self.hidden = nn.Linear(UNITS, HIDDEN)
        self.out = nn.Linear(HIDDEN, HOURS_AHEAD * len(LEVELS))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return quantiles of each hour ahead in units of the series' mean, (series, hours, levels)."""
        _all, (state, _cell) = self.layer(inputs)
        raw = self.out(torch.relu(self.hidden(state[-1]))).reshape(len(inputs), HOURS_AHEAD, len(LEVELS))
        steps = nn.functional.softplus(raw[:, :, 1:]).cumsum(dim=2)
        logs = torch.cat([raw[:, :, :1], raw[:, :, :1] + steps], dim=2)
        return (torch.expm1(logs.clamp(max=12.0)) * EPSILON).clamp(min=0.0)


def rows(traces: Traces, origins: list[int]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return inputs, what came (series, hours, steps per hour) and the loss of yesterday's rule, for all origins."""
    inputs, actuals, naives = [], [], []
    for origin in origins:
        start = max(0, origin - 14 * DAY)
        history, _abstained = prepare(SeriesSet(traces.keys, 0.0, STEP_S, traces.values[:, start:origin]))
        place = {key: row for row, key in enumerate(traces.keys)}
        wanted = [place[key] for key in history.keys]
        actual = (traces.values[wanted, origin : origin + DAY] / history.scale[:, None]).astype(np.float32)
        metrics = tuple(key.metric for key in history.keys)
        task = Task(history.values, history.observed, metrics, STEP_S, 0.0, DAY, LEVELS)
        naive = backtest.mean_loss(monotone(DayNaive().quantiles(task)), actual, LEVELS)
        usable = (np.isfinite(actual).mean(axis=1) > 0.5) & (naive > TRIVIAL)
        inputs.append(hour_inputs(task)[usable])
        actuals.append(actual[usable].reshape(-1, HOURS_AHEAD, DAY // HOURS_AHEAD))
        naives.append(naive[usable])
    joined = (np.concatenate(part) for part in (inputs, actuals, naives))
    return tuple(torch.from_numpy(part) for part in joined)  # type: ignore[return-value]  # three parts in, three out


def task_loss(said: torch.Tensor, actual: torch.Tensor) -> torch.Tensor:
    """Return the mean pinball loss of each task over its known steps."""
    error = actual[:, :, :, None] - said[:, :, None, :]
    level = torch.tensor(LEVELS)
    loss = torch.maximum(level * error, (level - 1) * error).sum(dim=3)
    known = torch.isfinite(loss)
    return torch.where(known, loss, torch.zeros(())).sum(dim=(1, 2)) / known.sum(dim=(1, 2)).clamp(min=1)


def main() -> None:
    """Train on one part of the VMs, score on the other, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder with bitbrains_rnd.parquet")
    parser.add_argument("--out", type=Path, required=True, help="the module to write, lstm_weights.py")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(given.seed)
    traces = read_bitbrains(given.traces)
    learn, held_out = split(traces.entities, given.seed)
    rng = np.random.default_rng(given.seed)
    inputs, actual, _naive = rows(traces.of(learn), [int(at) for at in rng.integers(8 * DAY, 34 * DAY, ORIGINS)])
    checked = rows(traces.of(held_out), [int(at) for at in rng.integers(15 * DAY, 34 * DAY, 6)])
    model = Network()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for epoch in range(EPOCHS):
        for batch in torch.randperm(len(inputs)).split(BATCH):
            optimiser.zero_grad()
            torch.log(task_loss(model(inputs[batch]), actual[batch]) + SMALL).mean().backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
        schedule.step()
        with torch.no_grad():
            relative = (task_loss(model(checked[0]), checked[1]) + 1e-6) / (checked[2] + 1e-6)
        print(f"epoch {epoch + 1}: {float(torch.log(relative).mean().exp()):.4f} on other VMs", flush=True)
    write_weights(given.out, arrays(model), "model ``lstm``")


def arrays(model: Network) -> dict[str, np.ndarray]:
    """Return everything that the shipped inference needs."""
    found = {
        "w_input": model.layer.weight_ih_l0.T,
        "w_state": model.layer.weight_hh_l0.T,
        "b_gates": model.layer.bias_ih_l0 + model.layer.bias_hh_l0,
        "w_hidden": model.hidden.weight.T,
        "b_hidden": model.hidden.bias,
        "w_out": model.out.weight.T,
        "b_out": model.out.bias,
    }
    return {name: tensor.detach().numpy() for name, tensor in found.items()}


if __name__ == "__main__":
    main()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trains the network that weighs the cheap members (model ``global``). torch is needed here and nowhere else."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.blend import (
    LEADS_H,
    MOST_STRETCH,
    lead_shares,
    outputs,
)
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.members import MEMBERS
from dataset import Examples, examples, join
from module_text import write_weights
from torch import nn
from traces import DAY, STEP_S, read_bitbrains, split

#: A task on which yesterday's rule errs by less than this (in units of the mean) teaches nothing.
TRIVIAL = 1e-4
#: Keeps the logarithm of a vanishing loss finite.
SMALL = 1e-4
HIDDEN = 40
DROPOUT = 0.1
EPOCHS = 25
BATCH = 128
#: Each batch looks at every STRIDE-th step ahead, from a random one on.
STRIDE = 4
#: How fast the estimate of a task's loss follows.
FOLLOW = 0.3
#: (days of history, origins drawn) of the training examples: mostly a full history, some short ones.
MIXTURE = ((14, 14), (5, 4), (2, 4))

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]


def network(inputs: int) -> nn.Sequential:
    """Return an untrained network."""
    return nn.Sequential(
        nn.Linear(inputs, HIDDEN),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Dropout(DROPOUT),
        nn.Linear(HIDDEN, outputs(len(MEMBERS))),
    )


def quantiles(said: torch.Tensor, raw: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """The torch twin of `blend.blend`; the benchmark, which scores the shipped code, shows when the two part."""
    members = said.shape[1]
    parts = raw.reshape(len(raw), len(LEADS_H), members + 2)
    weights = torch.einsum("hl,nlm->nmh", shares, torch.softmax(parts[:, :, :members], dim=2))
    stretch = torch.einsum("hl,nls->nsh", shares, torch.exp(MOST_STRETCH * torch.tanh(parts[:, :, members:])))
    mixed = torch.einsum("nmh,nmhq->nhq", weights, said)
    middle = mixed[:, :, [LEVELS.index(0.5)]]
    low = torch.tensor([level < 0.5 for level in LEVELS])
    side = torch.where(low, stretch[:, 0, :, None], stretch[:, 1, :, None])
    return middle + (mixed - middle) * side


def task_loss(said: torch.Tensor, raw: torch.Tensor, actual: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    """Return the mean pinball loss of each task over its known steps."""
    error = actual[:, :, None] - quantiles(said, raw, shares)
    level = torch.tensor(LEVELS)
    loss = torch.maximum(level * error, (level - 1) * error).sum(dim=2)
    known = torch.isfinite(loss)
    return torch.where(known, loss, torch.zeros(())).sum(dim=1) / known.sum(dim=1).clamp(min=1)


def tensors(rows: Examples, mean: np.ndarray, sd: np.ndarray) -> Rows:
    """Return the rows that can teach, inputs standardised."""
    keep = rows.naive > TRIVIAL
    return (
        torch.from_numpy(((rows.inputs[keep] - mean) / sd).astype(np.float32)),
        torch.from_numpy(rows.said[keep]),
        torch.from_numpy(rows.actual[keep]),
        torch.from_numpy(rows.naive[keep]),
    )


def fit(rows: Rows, shares: torch.Tensor, seed: int) -> nn.Sequential:
    """Train one network on the mean of the log loss: the geometric mean that the benchmark scores.

    As batches see only some steps, the logarithm's slope is taken at a running estimate of each task's whole loss:
    rare spikes would otherwise be absent from most batches and worth nothing in the others.
    """
    torch.manual_seed(seed)
    level = rows[3].clone()
    model = network(rows[0].shape[1])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS)
    for _epoch in range(EPOCHS):
        model.train()
        for batch in torch.randperm(len(rows[0])).split(BATCH):
            steps = slice(int(torch.randint(STRIDE, (1,))), None, STRIDE)
            said, actual = rows[1][batch][:, :, steps].float(), rows[2][batch][:, steps]
            loss = task_loss(said, model(rows[0][batch]), actual, shares[steps])
            level[batch] += FOLLOW * (loss.detach() - level[batch])
            optimiser.zero_grad()
            (loss / (level[batch] + SMALL)).mean().backward()
            optimiser.step()
        schedule.step()
    return model.eval()


def score(models: list[nn.Sequential], rows: Rows, shares: torch.Tensor) -> float:
    """Return the geometric mean of the loss relative to yesterday's rule."""
    logs = []
    with torch.no_grad():
        for batch in torch.arange(len(rows[0])).split(256):
            raw = torch.stack([model(rows[0][batch]) for model in models]).mean(dim=0)
            loss = task_loss(rows[1][batch].float(), raw, rows[2][batch], shares)
            logs.append(torch.log((loss + 1e-6) / (rows[3][batch] + 1e-6)))
    return float(torch.exp(torch.cat(logs).mean()))


def arrays(models: list[nn.Sequential], mean: np.ndarray, sd: np.ndarray) -> dict[str, np.ndarray]:
    """Return everything that the shipped inference needs."""
    found = {"mean": mean, "sd": sd, "nets": np.array(len(models))}
    for at, model in enumerate(models):
        for layer, linear in enumerate(part for part in model if isinstance(part, nn.Linear)):
            found[f"w{at}_{layer}"] = linear.weight.detach().numpy().T
            found[f"b{at}_{layer}"] = linear.bias.detach().numpy()
    return found


def main() -> None:
    """Train on one part of the VMs, score on the other, write the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--traces", type=Path, required=True, help="folder with bitbrains_rnd.parquet")
    parser.add_argument("--out", type=Path, required=True, help="the module to write, global_weights.py")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nets", type=int, default=3)
    given = parser.parse_args()
    torch.set_num_threads(1)
    traces = read_bitbrains(given.traces)
    learn, held_out = split(traces.entities, given.seed)
    rng = np.random.default_rng(given.seed)
    parts = []
    for days, count in MIXTURE:
        origins = [int(origin) for origin in rng.integers((days + 1) * DAY, 34 * DAY, count)]
        parts.append(examples(traces.of(learn), origins, days))
    train = join(parts)
    origins = [int(origin) for origin in rng.integers(15 * DAY, 34 * DAY, 6)]
    valid = examples(traces.of(held_out), origins, 14)
    mean, sd = train.inputs.mean(axis=0), train.inputs.std(axis=0) + 1e-3
    shares = torch.from_numpy(lead_shares(DAY, STEP_S))
    rows, checked = tensors(train, mean, sd), tensors(valid, mean, sd)
    models = []
    for net in range(given.nets):
        models.append(fit(rows, shares, given.seed + net))
        learnt, unseen = score(models, rows, shares), score(models, checked, shares)
        print(f"{net + 1} net(s): {learnt:.4f} on what was learnt, {unseen:.4f} on other VMs", flush=True)
    write_weights(given.out, arrays(models, mean, sd), f"the {len(models)} networks of model ``global``")


if __name__ == "__main__":
    main()

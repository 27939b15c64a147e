# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Training data: past origins of recorded VMs, as the shipped code itself prepares and backtests them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesSet
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import backtest
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.evidence import Evidence
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.features import features
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.global_network import ORIGINS_SEEN
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import prepare
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.levels import monotone
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.members import MEMBERS, DayNaive
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.model import Task
from numpy.typing import NDArray
from traces import DAY, STEP_S, Traces


@dataclass(frozen=True)
class Examples:
    """What the network learns from, one row per series and origin.

    ``inputs`` (rows, features), ``said`` (rows, members, steps, levels), ``actual`` (rows, steps, NaN where
    unknown), ``naive`` (rows,): the loss of "same time yesterday".
    """

    inputs: NDArray[np.float32]
    said: NDArray[np.float32]
    actual: NDArray[np.float32]
    naive: NDArray[np.float32]


def examples(traces: Traces, origins: list[int], history_days: int) -> Examples:
    """Return one example per series and origin (steps from the traces' start), with that much history before it."""
    parts = [_at(traces, origin, history_days) for origin in origins]
    return join(parts)


def join(parts: list[Examples]) -> Examples:
    """Return all rows of ``parts``."""
    return Examples(
        *(np.concatenate([getattr(part, name) for part in parts]) for name in ("inputs", "said", "actual", "naive"))
    )


def _at(traces: Traces, origin: int, history_days: int) -> Examples:
    start = max(0, origin - history_days * DAY)
    series = SeriesSet(traces.keys, 0.0, STEP_S, traces.values[:, start:origin])
    history, _abstained = prepare(series)
    rows = [traces.keys.index(key) for key in history.keys] if len(history.keys) < len(traces.keys) else slice(None)
    actual = (traces.values[rows, origin : origin + DAY] / history.scale[:, None]).astype(np.float32)
    task = Task(history.values, history.observed, tuple(k.metric for k in history.keys), STEP_S, 0.0, DAY, LEVELS)
    evidence = Evidence(task, backtest.origins(task, ORIGINS_SEEN), kept=0)
    losses = np.full((len(history.keys), len(MEMBERS), ORIGINS_SEEN), np.nan, np.float32)
    losses[:, :, : evidence.losses.shape[2]] = evidence.losses
    naive = backtest.mean_loss(monotone(DayNaive().quantiles(task)), actual, LEVELS)
    usable = np.isfinite(actual).mean(axis=1) > 0.5
    said = evidence.now[usable].astype(np.float16)
    return Examples(features(task, losses)[usable], said, actual[usable], naive[usable])

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Conformal calibration: quantiles moved by what past errors, a series' own and its peers', say they lack."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Share of a series' own offset that is applied, the rest being its peers' median: own errors of four days are few.
OWN_SHARE = 0.5


def offsets(said: NDArray[np.float32], actual: NDArray[np.float32], levels: Sequence[float]) -> NDArray[np.float32]:
    """Return how far each past quantile must move to have held, shape (series, levels); NaN without a backtest.

    At level p that is the p-quantile of the errors ``actual - said`` (split conformal quantile regression: Romano,
    Patterson, Candes, NeurIPS 2019). ``said`` is (series, steps, levels), ``actual`` (series, steps).
    """
    answer = np.full((len(said), len(levels)), np.nan, np.float32)
    for column, level in enumerate(levels):
        answer[:, column] = known_quantile(actual - said[:, :, column], level)
    return answer


def known_quantile(samples: NDArray[np.floating], level: float) -> NDArray[np.float64]:
    """Return the quantile of the values that are not NaN along the last axis; NaN where there are none."""
    ordered = np.sort(samples, axis=-1)  # NaN sorts last
    count = np.isfinite(ordered).sum(axis=-1)
    if not ordered.shape[-1]:
        return np.full(samples.shape[:-1], np.nan)
    position = np.clip(np.ceil(level * (count + 1)).astype(int) - 1, 0, np.maximum(count - 1, 0))
    picked = np.take_along_axis(ordered, position[..., None], axis=-1)[..., 0]
    return np.asarray(np.where(count > 0, picked, np.nan), np.float64)


def pooled(own: NDArray[np.floating], metrics: Sequence[str], own_share: float) -> NDArray[np.float64]:
    """Return offsets shrunk towards the median of the same metric's series, shape of ``own`` (series, levels).

    Series without own offsets take their peers'; a metric without any takes 0.
    """
    answer = np.zeros(own.shape)
    for metric in set(metrics):
        rows = np.flatnonzero(np.asarray(metrics) == metric)
        mine = own[rows]
        known = np.isfinite(mine).all(axis=1)
        peers = np.median(mine[known], axis=0) if known.any() else np.zeros(own.shape[1])
        answer[rows] = np.where(known[:, None], own_share * mine + (1 - own_share) * peers, peers)
    return answer


def peak_shifts(errors: NDArray[np.float64], metrics: Sequence[str], levels: Sequence[float]) -> NDArray[np.float64]:
    """Return by how much the log of each peak quantile must move to hold, shape (series, levels).

    ``errors`` (series, origins, levels) are past peaks less what was said of them, in logs. The peers of a series are
    all series of its metric, whose origins are pooled: one series has only a few peaks. Without any, 0.
    """
    answer = np.zeros((len(errors), len(levels)))
    for metric in set(metrics):
        rows = np.flatnonzero(np.asarray(metrics) == metric)
        for column, level in enumerate(levels):
            shift = known_quantile(errors[rows, :, column].reshape(1, -1), level)[0]
            answer[rows, column] = shift if np.isfinite(shift) else 0.0
    return answer

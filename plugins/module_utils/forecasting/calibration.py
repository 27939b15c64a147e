# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Conformal calibration: bands stretched, and peaks moved, by what the fleet's own last days say they lack."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Stretches that are told apart: factors of the distance from the median, evenly spaced in logarithms.
LEAST, MOST, COUNT = 0.5, 12.0, 64
#: A series whose band is narrower than this (in units of its mean) is constant: it says nothing about stretches.
NARROW = 1e-2
#: Steps to which the belief in "no stretch" is worth: ten series' days of five-minute steps.
PRIOR_STEPS = 2_880
#: Every how many past steps are counted: neighbours say the same.
THIN = 2
#: Share of the shift that past peaks ask for which is applied; they are few, and bursts make them erratic.
PEAK_TRUST = 0.25


@dataclass(frozen=True)
class Conformity:
    """How past values lay against the bands stated for them, in counts that add up over chunks.

    ``counts`` (levels, `COUNT` + 1): at each level, how many values needed a stretch up to each factor (the last: even
    more) to be on the inner side of that quantile.
    """

    counts: NDArray[np.int64]

    def __add__(self, other: Conformity) -> Conformity:
        return Conformity(self.counts + other.counts)


def conformity(said: NDArray[np.float32], actual: NDArray[np.float32], levels: Sequence[float]) -> Conformity:
    """Count how ``actual`` (series, steps) lay against ``said`` (series, steps, levels); NaN is not counted."""
    middle = list(levels).index(0.5)
    counts = np.zeros((len(levels), COUNT + 1), np.int64)
    width = said[:, :, -1] - said[:, :, 0]
    wide = np.nan_to_num(width).mean(axis=1) > NARROW if said.shape[1] else np.zeros(len(said), np.bool_)
    said, actual = said[wide, ::THIN], actual[wide, ::THIN]
    error = actual - said[:, :, middle]
    known = np.isfinite(error)
    for column, level in enumerate(levels):
        if column == middle:
            continue
        side = 1.0 if level > 0.5 else -1.0
        reach = side * (said[:, :, column] - said[:, :, middle])[known]
        needed = side * error[known] / np.maximum(reach, 1e-9)
        counts[column] = np.bincount(np.searchsorted(_factors(), needed), minlength=COUNT + 1)
    return Conformity(counts)


def stretches(found: Conformity, levels: Sequence[float]) -> NDArray[np.float32]:
    """Return by which factor each level's distance from the median must be multiplied to hold, shape (levels,).

    At level p that is the p-quantile of the needed stretches (1 - p below the median): split conformal prediction on
    a multiplicative score (Lei, G'Sell, Rinaldo, Tibshirani, Wasserman, JASA 2018). Few counts are shrunk to 1.
    """
    answer = np.ones(len(levels), np.float32)
    factors = np.append(_factors(), MOST)
    for column, level in enumerate(levels):
        total = int(found.counts[column].sum())
        if total and level != 0.5:
            held = np.cumsum(found.counts[column]) / total
            needed = factors[int(np.argmax(held >= max(level, 1 - level)))]
            weight = total / (total + PRIOR_STEPS / THIN)
            answer[column] = np.exp(weight * np.log(needed))
    return answer


def stretched(
    quantiles: NDArray[np.float32], factors: NDArray[np.float32], levels: Sequence[float]
) -> NDArray[np.float32]:
    """Return quantiles with each level's distance from the median multiplied by its factor."""
    middle = quantiles[..., [list(levels).index(0.5)]]
    return np.asarray(middle + (quantiles - middle) * factors, np.float32)


def _factors() -> NDArray[np.float64]:
    return np.asarray(np.geomspace(LEAST, MOST, COUNT), np.float64)


def pool(parts: Sequence[Mapping[str, Conformity]]) -> dict[str, Conformity]:
    """Return the counts of all chunks together, by the model that forecast."""
    together: dict[str, Conformity] = {}
    for part in parts:
        for model, found in part.items():
            together[model] = together[model] + found if model in together else found
    return together


def known_quantile(samples: NDArray[np.floating], level: float) -> NDArray[np.float64]:
    """Return the conformal quantile of the values that are not NaN along the last axis; NaN where there are none.

    That is the ceil(level (n + 1))-th smallest of n, or the largest.
    """
    ordered = np.sort(samples, axis=-1)  # NaN sorts last
    count = np.isfinite(ordered).sum(axis=-1)
    if not ordered.shape[-1]:
        return np.full(samples.shape[:-1], np.nan)
    position = np.clip(np.ceil(level * (count + 1)).astype(int) - 1, 0, np.maximum(count - 1, 0))
    picked = np.take_along_axis(ordered, position[..., None], axis=-1)[..., 0]
    return np.asarray(np.where(count > 0, picked, np.nan), np.float64)


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
            answer[rows, column] = PEAK_TRUST * shift if np.isfinite(shift) else 0.0
    return answer

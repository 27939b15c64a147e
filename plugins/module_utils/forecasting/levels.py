# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Quantiles: reading them off samples, summarising them, and scoring them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


#: How far two single precision numbers that stand for the same value lie apart at most after scaling, as a share of it.
ROUNDING = 1e-6


def sorted_quantiles(ordered: NDArray[np.floating], levels: Sequence[float]) -> NDArray[np.float32]:
    """Return quantiles of samples already sorted along the last axis, shape (..., levels).

    Linear interpolation between order statistics (Hyndman and Fan's type 7, numpy's default).
    """
    position = np.asarray(levels) * (ordered.shape[-1] - 1)
    below = np.floor(position).astype(int)
    above = np.minimum(below + 1, ordered.shape[-1] - 1)
    share = (position - below).astype(np.float32)
    return np.asarray(ordered[..., below] * (1 - share) + ordered[..., above] * share, np.float32)


def sample_quantiles(samples: NDArray[np.floating], levels: Sequence[float]) -> NDArray[np.float32]:
    """Return quantiles along the last axis of unordered samples, shape (..., levels)."""
    return sorted_quantiles(np.sort(samples, axis=-1), levels)


def monotone(quantiles: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return quantiles made non-negative and non-decreasing along the last axis by sorting them.

    Sorting never worsens the pinball loss (Chernozhukov, Fernandez-Val, Galichon, Econometrica 2010).
    """
    return np.asarray(np.sort(np.maximum(quantiles, 0.0), axis=-1), np.float32)


def moments(
    quantiles: NDArray[np.floating], levels: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return mean and standard deviation of the distribution that is linear between its quantiles, flat beyond.

    The mean is inside the span of the quantiles. Shapes: those of ``quantiles`` without its last axis.
    """
    mass = _masses(levels)
    mean = np.clip(quantiles @ mass, quantiles[..., 0], quantiles[..., -1])  # rounding may lead out of a narrow span
    span = quantiles[..., -1] - quantiles[..., 0]
    away = quantiles - mean[..., None]
    away /= np.where(span > 0, span, 1)[..., None]  # the square of 1e25 is more than single precision holds
    return np.asarray(mean, np.float32), np.asarray(span * np.sqrt(np.square(away) @ mass), np.float32)


def _masses(levels: Sequence[float]) -> NDArray[np.float32]:
    """Return how much probability each quantile stands for: trapezoids inside, everything beyond at the ends."""
    edges = np.concatenate(([0.0], (np.asarray(levels)[1:] + np.asarray(levels)[:-1]) / 2, [1.0]))
    return np.diff(edges).astype(np.float32)


def pinball(
    quantiles: NDArray[np.floating], actual: NDArray[np.floating], levels: Sequence[float]
) -> NDArray[np.float32]:
    """Return the pinball loss summed over levels, shape of ``actual``; NaN where ``actual`` is NaN.

    ``quantiles`` has shape (*actual.shape, levels). Koenker and Bassett, Econometrica 1978.
    """
    level = np.asarray(levels, np.float32)
    below = np.maximum(quantiles - actual[..., None], 0.0).sum(axis=-1)
    # max(p (y - q), (p - 1) (y - q)) = p (y - q) + max(q - y, 0), summed over p with one product
    return np.asarray(level.sum() * actual - quantiles @ level + below, np.float32)


def coverage(
    quantiles: NDArray[np.floating], actual: NDArray[np.floating], levels: Sequence[float], share: float
) -> NDArray[np.float32]:
    """Return per series how often ``actual`` (series, steps) fell inside the central interval of that ``share``.

    Bounds are read by linear interpolation between ``levels``, and what equals one is inside; NaN for a series without
    any actual value.
    """
    low = at_level(quantiles, levels, (1 - share) / 2)
    high = at_level(quantiles, levels, (1 + share) / 2)
    known = np.isfinite(actual)
    room = ROUNDING * np.abs(actual)
    inside = known & (actual >= low - room) & (actual <= high + room)
    count = known.sum(axis=-1)
    return np.asarray(np.where(count > 0, inside.sum(axis=-1) / np.maximum(count, 1), np.nan), np.float32)


def at_level(quantiles: NDArray[np.floating], levels: Sequence[float], level: float) -> NDArray[np.float32]:
    """Return the quantile at ``level``, interpolated between the known ones and held beyond them."""
    right = int(np.clip(np.searchsorted(levels, level - 1e-9), 1, len(levels) - 1))
    span = levels[right] - levels[right - 1]
    share = float(np.clip((level - levels[right - 1]) / span, 0.0, 1.0))
    return np.asarray(quantiles[..., right - 1] * (1 - share) + quantiles[..., right] * share, np.float32)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Quantiles of normal forecasts, as classical models give them."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


def normal_quantiles(
    mean: NDArray[np.floating], sd: NDArray[np.floating], levels: Sequence[float]
) -> NDArray[np.float32]:
    """Return quantiles of independent normals, shape (*mean.shape, levels)."""
    scores = np.array([NormalDist().inv_cdf(level) for level in levels])
    return np.asarray(mean[..., None] + sd[..., None] * scores, np.float32)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the global network's answer becomes quantiles: members averaged level by level, then stretched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Lead times, in hours, at which the network states its weights; between them they are interpolated.
LEADS_H = (0.5, 2.0, 5.0, 10.0, 18.0)
#: The stretch of each side of the median stays within exp(±this).
MOST_STRETCH = 0.7


def outputs(members: int) -> int:
    """Return how many numbers the network gives per series."""
    return len(LEADS_H) * (members + 2)


def lead_shares(horizon: int, step_s: int) -> NDArray[np.float32]:
    """Return how much each of `LEADS_H` counts at each step ahead, shape (horizon, leads); rows sum to 1."""
    hours = (np.arange(horizon) + 0.5) * step_s / 3600
    corners = np.eye(len(LEADS_H))
    return np.stack([np.interp(hours, LEADS_H, corner) for corner in corners], axis=1).astype(np.float32)


def blend(
    said: NDArray[np.float32], raw: NDArray[np.float32], step_s: int, levels: Sequence[float]
) -> NDArray[np.float32]:
    """Return quantiles from the members' and the network's raw output.

    ``said`` is (series, members, horizon, levels), ``raw`` (series, `outputs`); the answer (series, horizon, levels).
    Averaging quantiles keeps them monotone and inside the members' range; each side of the median is then stretched
    or shrunk by a factor of its own.
    """
    members = said.shape[1]
    split = raw.reshape(len(raw), len(LEADS_H), members + 2)
    shares = lead_shares(said.shape[2], step_s)
    weights = np.einsum("hl,nlm->nmh", shares, _softmax(split[:, :, :members]))
    stretch = np.einsum("hl,nls->nsh", shares, np.exp(MOST_STRETCH * np.tanh(split[:, :, members:])))
    mixed = np.einsum("nmh,nmhq->nhq", weights, said)
    middle = mixed[:, :, [list(levels).index(0.5)]]
    side = np.where(np.asarray(levels) < 0.5, stretch[:, 0, :, None], stretch[:, 1, :, None])
    return np.asarray(middle + (mixed - middle) * side, np.float32)


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(logits - logits.max(axis=2, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=2, keepdims=True), np.float32)

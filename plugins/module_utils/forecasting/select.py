# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who forecasts each series: the model that would have served it best on its own last days."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..libraries import library
from . import backtest
from .backtest import NEGLIGIBLE, Origin
from .members import MEMBERS

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


def choose(past: Sequence[Origin], rows: Sequence[int], demoted: Sequence[frozenset[str]]) -> dict[str, dict[int, str]]:
    """Return model name -> row -> why, for ``rows`` of the origins' tasks.

    Each series gets the model with the lowest mean loss on its past origins; without any counted origin the first
    member, the quantiles of the last day. A model that a series has demoted is passed over.
    """
    if not rows:
        return {}
    table = _loss_table(past, rows)
    chosen: dict[str, dict[int, str]] = {}
    for place, row in enumerate(rows):
        candidates = [index for index, model in enumerate(MEMBERS) if model.NAME not in demoted[row]] or [0]
        scores = table[candidates, place]
        if np.isnan(scores).all():
            best, why = candidates[0], "too little history for a backtest"
        else:
            best = candidates[int(np.nanargmin(scores))]
            why = f"lowest loss on {len(past)} past day(s) among {len(candidates)} members"
        chosen.setdefault(MEMBERS[best].NAME, {})[row] = why
    return chosen


def _loss_table(past: Sequence[Origin], rows: Sequence[int]) -> NDArray[np.float64]:
    """Return the mean loss of each member on each row, shape (members, rows); NaN without a backtest."""
    table = np.full((len(MEMBERS), len(rows)), np.nan)
    if not past:
        return table
    picked = [Origin(origin.task.rows(rows), origin.actual[list(rows)]) for origin in past]
    for index, model in enumerate(MEMBERS):
        loss = backtest.losses(model, picked)
        known = np.isfinite(loss)
        mean = np.where(known, loss, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        table[index] = np.where(known.any(axis=1), mean + NEGLIGIBLE, np.nan)
    return table

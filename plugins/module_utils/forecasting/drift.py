# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drift: a level that has left everything that the series did before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library
from .history import History

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Days that make the new level, and measured days that must lie before them.
RECENT_DAYS = 2
EARLIER_DAYS = 3
#: By which factor every recent day must lie beyond every earlier one.
BEYOND = 1.25


def level_changes(history: History) -> NDArray[np.float64]:
    """Return per series how many times its earlier mean level the recent one is; NaN where it has not left that range.

    A series has drifted when the means of its last `RECENT_DAYS` days all lie beyond those of all days before, by the
    factor `BEYOND`. Days of which less than half was measured do not count.
    """
    days = history.values.shape[1] // history.day
    shape = (len(history.keys), days, history.day)
    measured = history.observed.reshape(shape).mean(axis=2) >= 0.5
    level = np.where(measured, history.values.reshape(shape).mean(axis=2, dtype=np.float64), np.nan)
    recent, earlier = level[:, -RECENT_DAYS:], level[:, :-RECENT_DAYS]
    known = np.isfinite(recent).all(axis=1) & (np.isfinite(earlier).sum(axis=1) >= EARLIER_DAYS)
    answer = np.full(len(level), np.nan)
    recent, earlier = recent[known], earlier[known]
    above = recent.min(axis=1) > BEYOND * np.nanmax(earlier, axis=1, initial=0.0)
    below = recent.max(axis=1) * BEYOND < np.nanmin(earlier, axis=1, initial=np.inf)
    usual = np.nanmean(earlier, axis=1) if len(earlier) else np.zeros(0)
    change = np.divide(recent.mean(axis=1), usual, out=np.full(len(usual), np.inf), where=usual > 0)
    answer[known] = np.where(above | below, change, np.nan)
    return answer

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Samples further apart than the grid's steps, as platforms roll their older history up: each stands until the next."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: So many equal distances in a row are how it is measured; fewer may be values that went missing.
REGULAR = 4
#: The longest distance that a sample stands for. vSphere's rollups of a month hold two hours each.
LONGEST_S = 2 * 3_600


def held(values: NDArray[np.floating], step_s: int) -> NDArray[np.floating]:
    """Return ``values`` (series, steps; NaN where nothing was measured) with coarser samples held until the next one.

    Only what was measured at even distances of several steps is; single values that went missing stay so.
    """
    answer = values
    most = LONGEST_S // step_s
    known = np.isfinite(values)
    for row in np.flatnonzero(~known.all(axis=1)) if most > 1 else ():
        at = np.flatnonzero(known[row])
        lengths = _lengths(at, values.shape[1], most)
        if (lengths > 1).any():
            if answer is values:
                answer = values.copy()
            first = np.repeat(np.cumsum(lengths) - lengths, lengths)
            steps = np.repeat(at, lengths) + np.arange(lengths.sum()) - first
            answer[row, steps] = np.repeat(values[row, at], lengths)
    return answer


def _lengths(at: NDArray[np.int64], steps: int, most: int) -> NDArray[np.int64]:
    """Return for how many steps each of the samples measured ``at`` those steps stands, at least 1."""
    lengths = np.ones(len(at), np.int64)
    apart = np.diff(at)
    if len(apart) < REGULAR:
        return lengths
    begins = np.flatnonzero(np.concatenate(([True], apart[1:] != apart[:-1])))
    runs = np.diff(np.append(begins, len(apart)))
    for run in np.flatnonzero((runs >= REGULAR) & (apart[begins] > 1) & (apart[begins] <= most)):
        begin, end = begins[run], begins[run] + runs[run]
        lengths[begin : end + 1] = apart[begin]  # the last one too, as far as nothing follows it
    return np.asarray(np.minimum(lengths, np.append(apart, steps - at[-1])), np.int64)

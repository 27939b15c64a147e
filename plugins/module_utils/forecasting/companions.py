# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Past covariates: an application's latency and throughput beside the demand of the VM it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..estate.series import SeriesSet
from ..libraries import library
from .history import History, prepare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


def align(history: History, companions: SeriesSet | None) -> NDArray[np.float32] | None:
    """Return each series' companions, scaled and gap-free, shape (series, companions, steps); None without any.

    Companions belong to the series of the same ``entity_id``. A series with fewer than others has zeros instead, which
    teach nothing.
    """
    if companions is None or not companions.keys:
        return None
    prepared, _unusable = prepare(companions)
    by_entity: dict[str, list[int]] = {}
    for row, key in enumerate(prepared.keys):
        by_entity.setdefault(key.entity_id, []).append(row)
    most = max((len(by_entity.get(key.entity_id, ())) for key in history.keys), default=0)
    if not most:
        return None
    steps = history.values.shape[1]
    aligned = np.zeros((len(history.keys), most, steps), np.float32)
    for row, key in enumerate(history.keys):
        for place, companion in enumerate(by_entity.get(key.entity_id, ())):
            found = prepared.values[companion][-steps:]
            aligned[row, place, steps - len(found) :] = found
    return aligned

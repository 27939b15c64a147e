# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Past covariates: an application's latency and throughput beside the demand of the VM it runs in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..estate.series import SeriesKey, SeriesSet
from ..libraries import library
from .history import History, prepare

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


class Companions:
    """Series that may help to forecast those of the same ``entity_id``."""

    def __init__(self, series: SeriesSet | None) -> None:
        self._by_entity: dict[str, list[NDArray[np.float32]]] = {}
        if series is not None and series.keys:
            prepared, _unusable = prepare(series)
            for key, values in zip(prepared.keys, prepared.values, strict=True):
                self._by_entity.setdefault(key.entity_id, []).append(values)

    def of(self, keys: Sequence[SeriesKey], history: History) -> NDArray[np.float32] | None:
        """Return the companions of ``keys`` over the steps of ``history``, shape (series, companions, steps).

        They are scaled and gap-free. A series with fewer than others has zeros instead, which teach nothing; None
        when none of them has any.
        """
        found = [self._by_entity.get(key.entity_id, []) for key in keys]
        most = max(map(len, found), default=0)
        if not most:
            return None
        steps = history.values.shape[1]
        aligned = np.zeros((len(keys), most, steps), np.float32)
        for row, companions in enumerate(found):
            for place, values in enumerate(companions):
                known = values[-steps:]
                aligned[row, place, steps - len(known) :] = known
        return aligned

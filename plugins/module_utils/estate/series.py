# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Demand over time: samples as they are measured, and series aligned on one grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Kinds of entities that have series: virtual machines, hosts, and applications attached to a VM.
ENTITY_KINDS = ("vm", "host", "app")


class SeriesKey(NamedTuple):
    """Names one series. ``entity_id`` is a VM's uuid, a `Host.key`, or for ``app`` the uuid of the VM it runs in."""

    entity_kind: str
    entity_id: str
    metric: str


@dataclass(frozen=True, slots=True)
class Samples:
    """Measured values in columns of equal length, in any order; never NaN, never infinite.

    ``entity_kind``, ``entity_id``, ``metric`` are arrays of str, ``ts`` of Unix seconds (float64), ``value`` of
    float64 in the metric's unit.
    """

    entity_kind: NDArray[np.object_]
    entity_id: NDArray[np.object_]
    metric: NDArray[np.object_]
    ts: NDArray[np.float64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.ts)


@dataclass(frozen=True, slots=True)
class SeriesSet:
    """Series on one grid: ``values[i, t]`` is ``keys[i]`` in the step that begins at ``start_ts + t * step_s``.

    ``values`` is float32 or float64, shape (series, steps); a missing step is NaN.
    """

    keys: tuple[SeriesKey, ...]
    start_ts: float
    step_s: int
    values: NDArray[np.floating]

    @property
    def end_ts(self) -> float:
        """Unix seconds at which the last step ends."""
        return self.start_ts + self.step_s * int(self.values.shape[1])

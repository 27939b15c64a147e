# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the VMs of a scenario want at any time: their traces, scaled and shifted, within what is allocated to them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import InvalidOption
from ...estate.resources import RESOURCES
from ...libraries import library
from .scenario import SimulatedVm
from .traces import STEP_S, Traces

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


@dataclass(frozen=True, slots=True)
class DemandJump:
    """From ``start_ts`` to ``end_ts`` VM number ``vm`` wants ``factor`` times as much of ``resources`` (indices)."""

    vm: int
    resources: tuple[int, ...]
    factor: float
    start_ts: float
    end_ts: float


class Demand:
    """Demand of a scenario's VMs, in their order, in the units of `RESOURCES`."""

    def __init__(self, vms: Sequence[SimulatedVm], traces: Traces) -> None:
        """Bind VMs to traces; raises `InvalidOption` for a trace that the file does not have."""
        number = {name: index for index, name in enumerate(traces.names)}
        for vm in vms:
            if vm.trace is not None and vm.trace not in number:
                raise InvalidOption("scenario.vms.trace", f"{vm.trace!r} is not in the traces file")
        self._traces = traces
        self._trace = np.array([-1 if vm.trace is None else number[vm.trace] for vm in vms], dtype=np.int64)
        self._offset_steps = np.array([vm.offset_s // STEP_S for vm in vms], dtype=np.int64)
        self._created_ts = np.array([-np.inf if vm.created_ts is None else vm.created_ts for vm in vms])
        self._scale = _table([list(vm.scale) for vm in vms])
        self._constant = _table([list(vm.demand) for vm in vms])
        ceiling = _table([list(vm.allocated) for vm in vms])
        self._ceiling = np.where(ceiling > 0, ceiling, np.inf).astype(np.float32)

    def over(
        self, start_ts: float, steps: int, jumps: Sequence[DemandJump] = (), vms: NDArray[np.int64] | None = None
    ) -> NDArray[np.float32]:
        """Return what each VM wants in the ``steps`` steps from ``start_ts``, shape (vms, resources, steps).

        ``vms`` picks VMs by number (default: all, in order).
        """
        return self._values(self._traces.filled, start_ts, steps, jumps, vms)

    def recorded(self, start_ts: float, steps: int, jumps: Sequence[DemandJump] = ()) -> NDArray[np.float32]:
        """Return the same with NaN where nothing was recorded or the VM did not exist yet."""
        values = self._values(self._traces.recorded, start_ts, steps, jumps, None)
        ts = start_ts + STEP_S * np.arange(steps)
        values[np.broadcast_to((ts[None, :] < self._created_ts[:, None])[:, None, :], values.shape)] = np.nan
        return values

    def at(self, ts: float, jumps: Sequence[DemandJump] = ()) -> NDArray[np.float32]:
        """Return what each VM wants at ``ts``, shape (vms, resources)."""
        return self.over(ts, 1, jumps)[:, :, 0]

    def _values(
        self,
        source: NDArray[np.float32],
        start_ts: float,
        steps: int,
        jumps: Sequence[DemandJump],
        vms: NDArray[np.int64] | None,
    ) -> NDArray[np.float32]:
        chosen = np.arange(len(self._trace)) if vms is None else vms
        values = np.repeat(self._constant[chosen][:, :, None], steps, axis=2)
        traced = np.flatnonzero(self._trace[chosen] >= 0)
        if traced.size:
            which = chosen[traced]
            first = int((start_ts - self._traces.start_ts) // STEP_S)
            step = (first + self._offset_steps[which][:, None] + np.arange(steps)[None, :]) % self._traces.steps
            resource = np.arange(len(RESOURCES))[None, :, None]
            replayed = source[self._trace[which][:, None, None], resource, step[:, None, :]]
            values[traced] += replayed * self._scale[which][:, :, None]
        self._apply(jumps, chosen, start_ts, values)
        return np.minimum(values, self._ceiling[chosen][:, :, None], out=values)

    def _apply(
        self, jumps: Sequence[DemandJump], chosen: NDArray[np.int64], start_ts: float, values: NDArray[np.float32]
    ) -> None:
        ts = start_ts + STEP_S * np.arange(values.shape[2])
        for jump in jumps:
            for row in np.flatnonzero(chosen == jump.vm):
                struck = (ts >= jump.start_ts) & (ts < jump.end_ts)
                for resource in jump.resources:
                    values[row, resource, struck] *= jump.factor


def _table(rows: list[list[float]]) -> NDArray[np.float32]:
    return np.array(rows, dtype=np.float32).reshape(len(rows), len(RESOURCES))

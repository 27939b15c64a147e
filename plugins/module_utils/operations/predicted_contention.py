# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts the newest forecast sees in trouble, from when, and which of their VMs weigh most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..estate.resources import RESOURCES, checked_limits
from ..estate.series import SeriesKey
from ..libraries import library
from ..workspace.workspace import Workspace
from .host_room import Outlook, outlooks

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: VMs named per host, heaviest first.
NAMED_VMS = 5


@dataclass(frozen=True, slots=True)
class Contention:
    """A host whose load is forecast to pass its limit. ``begins_ts`` is Unix seconds, ``hours`` how long in all.

    ``vms`` are (uuid, name) of the residents with the largest mean demand for ``resource`` while it lasts.
    """

    host_key: str
    host_name: str
    resource: str
    begins_ts: float
    hours: float
    vms: tuple[tuple[str, str], ...]

    def as_dict(self) -> dict[str, Any]:
        """Return it as events show it."""
        return {
            "host": self.host_key,
            "host_name": self.host_name,
            "resource": self.resource,
            "begins": to_iso(self.begins_ts),
            "hours": round(self.hours, 2),
            "vms": [{"uuid": uuid, "name": name} for uuid, name in self.vms],
        }


def predicted_contention(
    store: str, level: float = 0.5, limits: Mapping[str, float] | None = None
) -> tuple[str | None, tuple[Contention, ...]]:
    """Return the id of the newest forecast in ``store`` (None: there is none) and the contention it sees.

    The soonest comes first. A host is in contention at a step when the ``level`` quantile of what its VMs and itself
    will use together is above its capacity times the limit. Raises what opening the store and reading it raise.
    """
    shares = checked_limits(limits or {})
    workspace = Workspace.open(store, writable=False)
    forecast_id = workspace.forecasts.latest()
    if forecast_id is None:
        return None, ()
    estate = workspace.snapshots.latest()
    hosts = [host for host in estate.hosts.values() if host.state == "up"]
    found = [
        each for known in outlooks(workspace, estate, forecast_id, hosts) for each in _of_host(known, level, shares)
    ]
    return forecast_id, tuple(sorted(found, key=lambda one: (one.begins_ts, one.host_key, one.resource)))


def _of_host(known: Outlook, level: float, limits: Mapping[str, float]) -> Sequence[Contention]:
    room = known.room(level, limits, soft_overcommit=1.0)
    found = []
    for row, resource in enumerate(RESOURCES):
        capacity = known.host.capacity[resource]
        above = np.flatnonzero(room.load[row] > capacity * limits[resource]) if capacity > 0 else np.array([], int)
        if len(above):
            found.append(
                Contention(
                    host_key=known.host.key,
                    host_name=known.host.name,
                    resource=resource,
                    begins_ts=room.start_ts + float(above[0]) * room.step_s,
                    hours=len(above) * room.step_s / 3600.0,
                    vms=_heaviest(known, resource, above),
                )
            )
    return found


def _heaviest(known: Outlook, resource: str, steps: NDArray[np.intp]) -> tuple[tuple[str, str], ...]:
    keys = [(SeriesKey("vm", vm.uuid, resource),) for vm in known.residents]
    demand = known.scenarios.totals(keys)[:, :, steps].mean(axis=(0, 2))
    order = np.argsort(-demand, kind="stable")[:NAMED_VMS]
    return tuple((known.residents[index].uuid, known.residents[index].name) for index in order)

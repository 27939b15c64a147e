# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a migration must know of the future and of the present: the VM's need, the destination's room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..estate.nouns import Host, Vm
from ..estate.reservation import Reservation
from ..estate.resources import DEFAULT_LIMITS, RESOURCES, Resources
from ..estate.series import SeriesKey
from ..estate.snapshot import Estate
from ..libraries import library
from ..placement.loads import demand_keys, stand_in
from ..placement.own_load import present_own_load
from ..reservations.host_calendar import DEFAULT_SOFT_OVERCOMMIT, HostRoom
from ..workspace.workspace import Workspace
from .host_room import outlooks

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: Length of the one step of a room that rests on the present alone, seconds.
PRESENT_STEP_S = 300
#: How long a VM has to be quiet for a move to be put off until then, seconds.
QUIET_S = 3600.0


def remaining_need(
    workspace: Workspace, forecast_id: str | None, vm: Vm, reservation: Reservation | None, level: float, now_ts: float
) -> Resources | None:
    """Return the most that ``vm`` will need in what is left of the reservation's window, by the ``level`` quantiles.

    It is the highest quantile of the steps left, and never more than the quantile of the whole horizon's peak, which
    is what a reservation is sized by.
    CPU and memory never exceed the VM's size; a resource without a forecast counts with what is used now. None without
    a forecast or when it has nothing to say about the time left. ``forecast_id`` None: the newest, if there is one.
    Raises `ArtefactMissing` for an id that does not exist.
    """
    chosen = forecast_id or workspace.forecasts.latest()
    if chosen is None:
        return None
    forecast = workspace.forecasts.read(chosen, keys=demand_keys(vm))
    end_ts = reservation.end_ts if reservation is not None else float("inf")
    begins = forecast.origin_ts + forecast.step_s * np.arange(forecast.horizon_steps)
    left = (begins + forecast.step_s > now_ts) & (begins < end_ts)
    if not forecast.keys or not left.any():
        return None
    step_level = int(np.abs(np.array(forecast.levels) - level).argmin())
    peak_level = int(np.abs(np.array(forecast.peak_levels) - level).argmin())
    steps_left = forecast.quantiles[:, left, step_level].max(axis=1)
    whole_peak = forecast.peak_quantiles[:, peak_level]  # what is left cannot peak above the whole horizon
    peaks = dict(zip(forecast.keys, np.minimum(steps_left, whole_peak).tolist(), strict=True))
    return Resources(
        *(_bounded(vm, name, peaks.get(key)) for name, key in zip(RESOURCES, demand_keys(vm), strict=True))
    )


def activity_ahead(
    workspace: Workspace, forecast_id: str | None, vm: Vm, now_ts: float
) -> tuple[tuple[float, float], ...]:
    """Return how busy ``vm`` will be: (start in Unix seconds, highest mean CPU demand in the hour from then / now's).

    One entry per forecast step to come that has a whole hour after it; empty without a forecast of the VM's CPU.
    """
    chosen = forecast_id or workspace.forecasts.latest()
    cpu = SeriesKey("vm", vm.uuid, "cpu")
    if chosen is None or vm.used is None or vm.used.cpu_cores <= 0:
        return ()
    forecast = workspace.forecasts.read(chosen, keys=[cpu])
    if forecast.keys != (cpu,):
        return ()
    hour = max(1, round(QUIET_S / forecast.step_s))
    return tuple(
        (start_ts, float(forecast.mean[0, step : step + hour].max()) / vm.used.cpu_cores)
        for step in range(forecast.horizon_steps - hour + 1)
        if (start_ts := forecast.origin_ts + step * forecast.step_s) > now_ts
    )


def destination_room(
    workspace: Workspace, forecast_id: str | None, estate: Estate, host: Host, vm: Vm, level: float, now_ts: float
) -> HostRoom:
    """Return the room of ``host`` beside what its VMs are forecast to need at ``level``; ``vm`` is not among them.

    Without a forecast that reaches past ``now_ts``, the room by what it carries right now.
    """
    chosen = forecast_id or workspace.forecasts.latest()
    if chosen is not None:
        known = outlooks(workspace, estate, chosen, [host], vm)[0]
        if known.end_ts > now_ts:
            return known.room(level, DEFAULT_LIMITS, DEFAULT_SOFT_OVERCOMMIT)
    return present_room(estate, host, vm, now_ts)


def present_room(estate: Estate, host: Host, vm: Vm, now_ts: float) -> HostRoom:
    """Return the room of ``host`` by what it carries right now, without ``vm``."""
    residents = [other for other in estate.vms_by_host.get(host.key, ()) if other.power_state != "off"]
    others = [other for other in residents if other.uuid != vm.uuid]
    own = np.array(present_own_load(host, residents) or [0.0] * len(RESOURCES))
    load = own + sum(np.array([stand_in(other, name) for name in RESOURCES]) for other in others)
    return HostRoom(
        capacity=host.capacity,
        limit=DEFAULT_LIMITS,
        load=np.maximum(load, 0.0).reshape(len(RESOURCES), 1),
        start_ts=now_ts,
        step_s=PRESENT_STEP_S,
        taken_ts=now_ts,
    )


def _bounded(vm: Vm, resource: str, need: float | None) -> float:
    if need is None:
        need = stand_in(vm, resource)
    size = vm.allocated[resource]
    return min(need, size) if resource in ("cpu", "memory") and size > 0 else need

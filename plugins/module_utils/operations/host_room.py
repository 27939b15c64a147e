# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The room of a host and the need of a VM, from a snapshot of the estate and a forecast."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..clock import to_iso
from ..errors import InvalidOption
from ..estate.forecast import Forecast
from ..estate.nouns import Host, Vm
from ..estate.resources import RESOURCES, Resources
from ..estate.series import SeriesKey
from ..estate.snapshot import Estate
from ..libraries import library
from ..placement.loads import demand_keys, own_load, stand_in
from ..placement.verdict import ForecastTooShort
from ..reservations.host_calendar import HostRoom
from ..workspace.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: Steps to which an amount taken from a forecast is rounded up, in the order of `RESOURCES`: finer is noise.
ROUND_UP_TO = (0.01, 1.0, 0.1, 0.1)


@dataclass(frozen=True)
class Outlook:
    """What is known of one host's future: its residents' forecast, and the estate that says who they are.

    ``residents`` are the VMs that use it, without the one that capacity is asked for.
    """

    host: Host
    estate: Estate
    forecast: Forecast
    residents: tuple[Vm, ...]

    @property
    def end_ts(self) -> float:
        """Unix seconds at which the forecast ends."""
        return self.forecast.origin_ts + self.forecast.step_s * self.forecast.horizon_steps

    def room(self, level: float, limits: Mapping[str, float], soft_overcommit: float) -> HostRoom:
        """Return the host's room: the ``level`` quantile, per step, of its residents' demand summed per scenario.

        The host's own load is added, and for residents without a forecast what they use now, or else their size.
        """
        scenarios = self.forecast.scenarios
        groups = [tuple(SeriesKey("vm", vm.uuid, name) for vm in self.residents) for name in RESOURCES]
        paths = scenarios.totals(groups) + self._standing()[:, None]
        return HostRoom(
            capacity=self.host.capacity,
            limit=limits,
            load=np.quantile(paths, level, axis=0, method="higher"),
            start_ts=self.forecast.origin_ts,
            step_s=scenarios.step_s,
            taken_ts=self.estate.taken_ts,
            paths=paths,
            soft_overcommit=soft_overcommit,
        )

    def assumed(self) -> tuple[Vm, ...]:
        """Return the residents without a forecast, which count with what they use now, or else with their size."""
        missing = {key.entity_id for key in self._missing()}
        return tuple(vm for vm in self.residents if vm.uuid in missing)

    def _missing(self) -> tuple[SeriesKey, ...]:
        return self.forecast.scenarios.missing([key for vm in self.residents for key in demand_keys(vm)])

    def _standing(self) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        standing = own_load(self.host, self.estate.vms_by_host.get(self.host.key, ()))
        by_uuid = {vm.uuid: vm for vm in self.residents}
        for key in self._missing():
            standing[RESOURCES.index(key.metric)] += stand_in(by_uuid[key.entity_id], key.metric)
        return standing


def outlooks(
    workspace: Workspace, estate: Estate, forecast_id: str, hosts: Sequence[Host], vm: Vm | None = None
) -> tuple[Outlook, ...]:
    """Read what is known of the future of ``hosts`` and of ``vm``, which is not counted among their residents.

    Raises `ArtefactMissing` or `BadArtefact`.
    """
    residents = {host.key: residents_of(estate, host, vm) for host in hosts}
    involved = [*(resident for each in residents.values() for resident in each), *([vm] if vm else [])]
    forecast = workspace.forecasts.read(forecast_id, [key for each in involved for key in demand_keys(each)])
    return tuple(Outlook(host, estate, forecast, residents[host.key]) for host in hosts)


def residents_of(estate: Estate, host: Host, vm: Vm | None = None) -> tuple[Vm, ...]:
    """Return the VMs on ``host`` that use it, without ``vm``."""
    return tuple(
        resident
        for resident in estate.vms_by_host.get(host.key, ())
        if resident.power_state != "off" and (vm is None or resident.key != vm.key)
    )


def check_covered(known: Outlook, start_ts: float, end_ts: float) -> tuple[str, ...]:
    """Return a warning where the forecast ends inside the window; raises `ForecastTooShort` where before it."""
    if known.end_ts <= start_ts:
        raise ForecastTooShort(
            "The forecast ends before the window that is to be reserved begins",
            advice="Run vm_forecast again, with a horizon that reaches past the window.",
            details={"forecast_ends": to_iso(known.end_ts), "window_start": to_iso(start_ts)},
        )
    if known.end_ts >= end_ts:
        return ()
    return (
        f"The forecast ends at {to_iso(known.end_ts)}, before the window does at {to_iso(end_ts)}; "
        "the time between counts with the highest load forecast",
    )


def needed_amount(vm: Vm, forecast: Forecast, level: float) -> tuple[Resources, tuple[str, ...]]:
    """Return what ``vm`` needs: the ``level`` quantile of its peak over the horizon, and what had to be assumed.

    CPU and memory never exceed the VM's configured size. Resources without a forecast count with what the VM uses
    now, or else with its size; the second value names them. Amounts are rounded up.
    Raises `InvalidOption` for a level of which the forecast has no peak quantile.
    """
    if level not in forecast.peak_levels:
        known = ", ".join(f"{known:g}" for known in forecast.peak_levels)
        raise InvalidOption("level", f"{level:g} is not a level of the forecast's peaks; it has {known}")
    column = forecast.peak_levels.index(level)
    row = {key: index for index, key in enumerate(forecast.keys)}
    amounts, assumed = [], []
    for key, step in zip(demand_keys(vm), ROUND_UP_TO, strict=True):
        if key in row:
            need = float(forecast.peak_quantiles[row[key], column])
        else:
            need = stand_in(vm, key.metric)
            assumed.append(key.metric)
        size = vm.allocated[key.metric]
        if key.metric in ("cpu", "memory") and size > 0:
            need = min(need, size)
        amounts.append(math.ceil(round(max(need, 0.0) / step, 6)) * step)
    return Resources(*(round(amount, 6) for amount in amounts)), tuple(assumed)

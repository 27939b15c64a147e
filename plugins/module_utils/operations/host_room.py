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
from ..estate.forecast import Outline, Scenarios
from ..estate.nouns import Host, Vm
from ..estate.resources import RESOURCES, Resources
from ..estate.series import SeriesKey
from ..estate.snapshot import Estate
from ..libraries import library
from ..placement.loads import demand_keys, stand_in
from ..placement.own_load import OwnLoad, own_keys, own_load
from ..placement.verdict import ForecastTooShort
from ..reservations.host_calendar import HostRoom
from ..workspace.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
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
    outline: Outline
    scenarios: Scenarios
    residents: tuple[Vm, ...]

    @property
    def end_ts(self) -> float:
        """Unix seconds at which the forecast ends."""
        return self.outline.end_ts

    def room(self, level: float, limits: Mapping[str, float], soft_overcommit: float) -> HostRoom:
        """Return the host's room: the ``level`` quantile, per step, of what it and its residents use per scenario.

        What has no forecast counts as it is now: the host's own load, and residents (or else their size).
        """
        own = self.own()
        groups = list(zip(own.keys, *map(demand_keys, self.residents), strict=True))
        paths = self.scenarios.totals(groups) + self._standing(own)[:, None]
        return HostRoom(
            capacity=self.host.capacity,
            limit=limits,
            load=np.quantile(paths, level, axis=0, method="higher"),
            start_ts=self.outline.origin_ts,
            step_s=self.scenarios.step_s,
            taken_ts=self.estate.seen_ts(self.host.key),
            paths=paths,
            soft_overcommit=soft_overcommit,
        )

    def floors(self, level: float) -> dict[str, Resources]:
        """Return what residents need themselves, by uuid: the ``level`` quantile, over the scenarios, of their peaks.

        Residents of which some resource has no forecast are left out.
        """
        missing = {key.entity_id for key in self._missing()}
        found = {}
        for vm in self.residents:
            if vm.uuid not in missing:
                peaks = self.scenarios.totals([(key,) for key in demand_keys(vm)]).max(axis=2)
                found[vm.uuid] = Resources(
                    *(float(need) for need in np.quantile(peaks, level, axis=0, method="higher"))
                )
        return found

    def own(self) -> OwnLoad:
        """Return what the host uses besides its VMs."""
        return own_load(self.host, self.estate.vms_by_host.get(self.host.key, ()), self.scenarios)

    def assumptions(self) -> tuple[str, ...]:
        """Return in sentences what counts with its present use because it has no forecast."""
        missing = {key.entity_id for key in self._missing()}
        assumed = sorted(vm.name for vm in self.residents if vm.uuid in missing)
        found = []
        if assumed:
            names = ", ".join(assumed[:5])
            found.append(f"{len(assumed)} VMs on the host have no forecast and count with their use: {names}")
        caution = self.own().caution(self.outline.abstained)
        if caution:
            found.append(f"What host {self.host.name} uses besides its VMs is not all forecast; it counts {caution}")
        return tuple(found)

    def _missing(self) -> tuple[SeriesKey, ...]:
        return self.scenarios.missing([key for vm in self.residents for key in demand_keys(vm)])

    def _standing(self, own: OwnLoad) -> NDArray[np.float32]:
        standing = own.constant.copy()
        by_uuid = {vm.uuid: vm for vm in self.residents}
        for key in self._missing():
            standing[RESOURCES.index(key.metric)] += stand_in(by_uuid[key.entity_id], key.metric)
        return standing


def outlooks(
    workspace: Workspace, estate: Estate, forecast_id: str, hosts: Sequence[Host], vm: Vm | None = None
) -> tuple[Outlook, ...]:
    """Read what is known of the future of ``hosts``; ``vm`` is not counted among their residents.

    Raises `ArtefactMissing` or `BadArtefact`.
    """
    chosen = workspace.forecasts.find(forecast_id)
    residents = {host.key: residents_of(estate, host, vm) for host in hosts}
    involved = [key for each in residents.values() for resident in each for key in demand_keys(resident)]
    scenarios = workspace.forecasts.scenarios(chosen, [*involved, *(key for host in hosts for key in own_keys(host))])
    outline = workspace.forecasts.outline(chosen)
    return tuple(Outlook(host, estate, outline, scenarios, residents[host.key]) for host in hosts)


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


def needed_amount(
    vm: Vm, peaks: Mapping[SeriesKey, Mapping[float, float]], level: float
) -> tuple[Resources, tuple[str, ...]]:
    """Return what ``vm`` needs: the ``level`` quantile of its peak over the horizon, and what had to be assumed.

    ``peaks`` are `Forecasts.peaks` of the VM's `demand_keys`. CPU and memory never exceed the VM's configured size.
    Resources without a forecast count with what the VM uses now, or else with its size; the second value names them.
    Amounts are rounded up. Raises `InvalidOption` for a level of which the forecast has no peak quantile.
    """
    amounts, assumed = [], []
    for key, step in zip(demand_keys(vm), ROUND_UP_TO, strict=True):
        if key in peaks:
            need = _at_level(peaks[key], level)
        else:
            need = stand_in(vm, key.metric)
            assumed.append(key.metric)
        size = vm.allocated[key.metric]
        if key.metric in ("cpu", "memory") and size > 0:
            need = min(need, size)
        amounts.append(math.ceil(round(max(need, 0.0) / step, 6)) * step)
    return Resources(*(round(amount, 6) for amount in amounts)), tuple(assumed)


def _at_level(quantiles: Mapping[float, float], level: float) -> float:
    if level not in quantiles:
        known = ", ".join(f"{known:g}" for known in quantiles)
        raise InvalidOption("level", f"{level:g} is not a level of the forecast's peaks; it has {known}")
    return quantiles[level]

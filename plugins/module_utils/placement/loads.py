# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load that hosts would carry over the window: residents, reservations and the VM, in coherent scenarios."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..estate.nouns import Host, Vm
from ..estate.reservation import Reservation
from ..estate.resources import RESOURCES
from ..estate.series import SeriesKey
from ..libraries import library
from .own_load import OwnLoad, own_load
from .question import Question
from .verdict import ForecastTooShort, Load, OwnUse, VmNotForecast

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: The level at which headroom is stated.
LEVEL = 0.95
#: Resources without which a VM's demand is not known.
ESSENTIAL = ("cpu", "memory")


def demand_keys(vm: Vm) -> tuple[SeriesKey, ...]:
    """Return the keys of the VM's demand series, in the order of `RESOURCES`."""
    return tuple([SeriesKey("vm", vm.uuid, resource) for resource in RESOURCES])


def stand_in(vm: Vm, resource: str) -> float:
    """Return the constant demand assumed where ``vm`` has no forecast: what it uses now, else its configured size."""
    return vm.used[resource] if vm.used is not None else vm.allocated[resource]


class HostLoads:
    """Loads of hosts with and without the question's VM.

    Arrays are float32 and cover the steps of the window.
    """

    def __init__(self, question: Question) -> None:
        """Find the window's steps and the VM's own demand.

        Raises `ForecastTooShort` when the forecast covers none of the window, `VmNotForecast` when it does not hold
        the VM's CPU and memory.
        """
        self._question = question
        self._scenarios = question.scenarios
        self._steps = _window(question)
        self.step_h = question.scenarios.step_s / 3600.0
        self.assumed: set[str] = set()
        self._own: dict[str, OwnLoad] = {}
        self._keys: dict[str, tuple[SeriesKey, ...]] = {}
        self._means: dict[str, NDArray[np.float32]] = {}
        self._held: dict[str, list[Reservation]] = {}
        for held in question.other_reservations:
            self._held.setdefault(held.host_key, []).append(held)
        own = demand_keys(question.vm)
        missing = {key.metric for key in question.scenarios.missing(own)}
        if missing & set(ESSENTIAL):
            raise _not_forecast(question, missing)
        self._own_constant = np.array(
            [[stand_in(question.vm, name) if name in missing else 0.0] for name in RESOURCES], np.float32
        )

    def means(self, hosts: Sequence[Host]) -> NDArray[np.float32]:
        """Return the expected load with the VM, shape (hosts, `RESOURCES`, steps)."""
        new = [host for host in hosts if host.key not in self._means]
        if new:
            paths = self._cut(
                self._scenarios.mean_totals([g for host in new for g in self._groups(host, with_vm=True)])
            )
            shape = (len(new), len(RESOURCES), paths.shape[-1])
            for host, mean in zip(new, paths.reshape(shape), strict=True):
                self._means[host.key] = mean + (self._constant(host) + self._own_constant)
        return np.stack([self._means[host.key] for host in hosts])

    def judge(self, host: Host) -> Load:
        """Return the `Load` of ``host`` with the VM, from all scenarios."""
        constant = self._constant(host)
        load = self._paths(host, with_vm=True) + (constant + self._own_constant)
        ceiling, mean = ceilings([host], self._question)[0], self.means([host])[0]
        peaks = load.max(axis=-1)
        overload_h = without_h = 0.0
        if (peaks > ceiling).any():
            overload_h = overload_hours(load, ceiling, self.step_h)
            without_h = overload_hours(self._paths(host, with_vm=False) + constant, ceiling, self.step_h)
        found = describe_load(peaks, mean, ceiling, capacities([host])[0], overload_h, without_h)
        return replace(found, own=self._own_use(host))

    def _paths(self, host: Host, *, with_vm: bool) -> NDArray[np.float32]:
        """Return the demand of the residents per scenario, shape (scenarios, `RESOURCES`, steps)."""
        return self._cut(self._scenarios.totals(self._groups(host, with_vm=with_vm)))

    def _cut(self, paths: NDArray[np.float32]) -> NDArray[np.float32]:
        return paths[..., self._steps]

    def own(self, host: Host) -> OwnLoad:
        """Return the host's own load as it counts."""
        found = self._own.get(host.key)
        if found is None:
            residents = self._question.estate.vms_by_host.get(host.key, ())
            found = self._own[host.key] = own_load(host, residents, self._scenarios)
        return found

    def _own_use(self, host: Host) -> OwnUse:
        own = self.own(host)
        mean = self._cut(self._scenarios.mean_totals([(key,) for key in own.keys])).mean(axis=-1) + own.constant
        return OwnUse(
            dict(zip(RESOURCES, mean.tolist(), strict=True)), own.sources, own.caution(self._question.left_out)
        )

    def _residents(self, host: Host) -> list[Vm]:
        """Return the other VMs that use ``host``."""
        asked, others = self._question.vm.key, self._question.estate.vms_by_host.get(host.key, ())
        return sorted((vm for vm in others if vm.power_state != "off" and vm.key != asked), key=lambda vm: vm.uuid)

    def _groups(self, host: Host, *, with_vm: bool) -> list[tuple[SeriesKey, ...]]:
        """Return one group per resource: what the host and its residents use, with or without the question's VM.

        The VM is summed inside the group, for a coarse step of the paths holds the maximum of the *sum*.
        """
        members = [*self._residents(host), *([self._question.vm] if with_vm else [])]
        return list(zip(self.own(host).keys, *map(self._keys_of, members), strict=True))

    def _keys_of(self, vm: Vm) -> tuple[SeriesKey, ...]:
        """Return the VM's `demand_keys`, made once."""
        keys = self._keys.get(vm.key)
        if keys is None:
            keys = self._keys[vm.key] = demand_keys(vm)
        return keys

    def _constant(self, host: Host) -> NDArray[np.float32]:
        """Return what does not depend on scenarios: reservations, and load without a forecast.

        Its shape is (`RESOURCES`, steps), or (`RESOURCES`, 1) where nothing is reserved.
        """
        constant = self._standing(host)[:, None]
        if host.key not in self._held:
            return constant
        constant = np.repeat(constant, self._steps.stop - self._steps.start, axis=1)
        for held in self._held[host.key]:
            constant[:, self._covered(held.start_ts, held.end_ts)] += np.array(tuple(held.amount), np.float32)[:, None]
        return constant

    def _standing(self, host: Host) -> NDArray[np.float32]:
        """Return the load without a forecast, the host's own and its residents', per resource."""
        residents = self._residents(host)
        standing = self.own(host).constant.copy()
        missing = self._scenarios.missing([key for vm in residents for key in self._keys_of(vm)])
        by_uuid = {vm.uuid: vm for vm in residents} if missing else {}
        for key in missing:
            standing[RESOURCES.index(key.metric)] += stand_in(by_uuid[key.entity_id], key.metric)
            self.assumed.add(key.entity_id)
        return standing

    def _covered(self, start_ts: float, end_ts: float) -> slice:
        """Return the window's steps that [start_ts, end_ts) touches."""
        step_s = self._scenarios.step_s
        first_ts = self._question.origin_ts + self._steps.start * step_s
        first, last = math.floor((start_ts - first_ts) / step_s), math.ceil((end_ts - first_ts) / step_s)
        return slice(max(0, first), max(0, last))


def _not_forecast(question: Question, missing: Collection[str]) -> VmNotForecast:
    """Return the error for a VM of which the forecast lacks what is essential, with the forecast's own reason."""
    why = {key.metric: question.left_out[key] for key in demand_keys(question.vm) if key in question.left_out}
    told = f" ({'; '.join(sorted(set(why.values())))})" if why else ""
    return VmNotForecast(
        f"The forecast holds no {' and '.join(name for name in ESSENTIAL if name in missing)} demand of the VM{told}",
        advice="Collect its metrics and run vm_forecast for it; on_no_history there says what to assume "
        "for a VM without history.",
        details={"vm": question.vm.key, "missing": sorted(missing), "reasons": why},
    )


def _window(question: Question) -> slice:
    """Return the scenario steps from now to the end of the window, as far as the forecast goes."""
    scenarios = question.scenarios
    first = max(0, math.floor((question.now_ts - question.origin_ts) / scenarios.step_s))
    end_ts = question.now_ts + question.window_s
    last = min(scenarios.horizon_steps, math.ceil((end_ts - question.origin_ts) / scenarios.step_s))
    if last <= first:
        raise ForecastTooShort(
            "The forecast ends before the window that is to be judged begins",
            advice="Run vm_forecast again, with a horizon that reaches past the window.",
            details={"origin_ts": question.origin_ts, "now_ts": question.now_ts, "window_s": question.window_s},
        )
    return slice(first, last)


def capacities(hosts: Sequence[Host]) -> NDArray[np.float32]:
    """Return capacities, shape (hosts, `RESOURCES`); infinite where unknown (0), so that nothing overloads it."""
    amounts = np.array([tuple(host.capacity) for host in hosts], np.float32).reshape(len(hosts), len(RESOURCES))
    bounded: NDArray[np.float32] = np.where(amounts > 0, amounts, np.float32(np.inf))
    return bounded


def ceilings(hosts: Sequence[Host], question: Question) -> NDArray[np.float32]:
    """Return the loads that hosts may reach: capacity times the resource's limit, shape (hosts, `RESOURCES`)."""
    shares = np.array([question.limits[resource] for resource in RESOURCES], np.float32)
    reachable: NDArray[np.float32] = capacities(hosts) * shares
    return reachable


def overload_hours(load: NDArray[np.float32], ceiling: NDArray[np.float32], step_h: float) -> float:
    """Return the expected overload of one host: hours above the ceiling times the depth as a share of it, summed.

    ``load`` has shape (scenarios, resources, steps), ``ceiling`` (resources,), ``step_h`` is hours per step.
    """
    excess = np.maximum(load - ceiling[:, None], 0).sum(axis=-1, dtype=np.float64) / ceiling
    return float(excess.mean(axis=0).sum() * step_h)


def describe_load(
    peaks: NDArray[np.float32],
    mean: NDArray[np.float32],
    ceiling: NDArray[np.float32],
    capacity: NDArray[np.float32],
    overload_h: float,
    overload_without_h: float,
) -> Load:
    """Return the `Load` of one host.

    ``peaks`` is the highest load with the VM per scenario, shape (scenarios, resources), ``mean`` its mean over the
    scenarios, (resources, steps); ``ceiling`` and ``capacity`` are (resources,), infinite where unknown. The overloads
    are those with and without the VM.
    """
    over = peaks > ceiling
    level = np.maximum(np.quantile(peaks, LEVEL, axis=0, method="higher"), mean.max(axis=-1))
    known = np.isfinite(ceiling)
    return Load(
        overload_probability=float(over.any(axis=-1).mean()),
        overload_by_resource=named(over.mean(axis=0), known),
        expected_overload_h=overload_h,
        added_overload_h=max(overload_h - overload_without_h, 0.0),
        peak_level=named(level, known),
        headroom=named(1 - level / ceiling, known),
        mean_use=named(mean.mean(axis=-1) / capacity, known),
        mean_peak_use=named(mean.max(axis=-1) / capacity, known),
    )


def named(values: NDArray[np.floating], known: NDArray[np.bool_]) -> dict[str, float]:
    """Return the values by resource, those of unknown capacity left out."""
    return {name: float(value) for name, value, there in zip(RESOURCES, values, known, strict=True) if there}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The load that hosts would carry over the window: residents, reservations and the VM, in coherent scenarios."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..estate.nouns import Host, Vm
from ..estate.resources import RESOURCES
from ..estate.series import SeriesKey
from ..libraries import library
from .question import Question
from .verdict import ForecastTooShort, Load, VmNotForecast

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
    return tuple(SeriesKey("vm", vm.uuid, resource) for resource in RESOURCES)


def stand_in(vm: Vm, resource: str) -> float:
    """Return the constant demand assumed where ``vm`` has no forecast: what it uses now, else its configured size."""
    return vm.used[resource] if vm.used is not None else vm.allocated[resource]


class HostLoads:
    """Loads of hosts with and without the question's VM.

    Arrays are float32 and cover the steps of the window: (…, hosts, `RESOURCES`, steps).
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
        own = demand_keys(question.vm)
        missing = {key.metric for key in question.scenarios.missing(own)}
        if missing & set(ESSENTIAL):
            raise VmNotForecast(
                f"The forecast holds no {' and '.join(sorted(missing & set(ESSENTIAL)))} demand of the VM",
                advice="Collect its metrics and run vm_forecast for it; on_no_history there says what to assume "
                "for a VM without history.",
                details={"vm": question.vm.key, "missing": sorted(missing)},
            )
        self._own_constant = np.array(
            [[stand_in(question.vm, name) if name in missing else 0.0] for name in RESOURCES], np.float32
        )

    def mean(self, hosts: Sequence[Host]) -> NDArray[np.float32]:
        """Return the expected load with the VM, shape (hosts, `RESOURCES`, steps)."""
        paths = self._cut(self._scenarios.mean_totals(self._groups(hosts, with_vm=True)))
        shape = (len(hosts), len(RESOURCES), paths.shape[-1])
        total: NDArray[np.float32] = paths.reshape(shape) + self._constant(hosts) + self._own_constant
        return total

    def judge(self, hosts: Sequence[Host]) -> list[Load]:
        """Return the `Load` of each host with the VM, from all scenarios."""
        constant = self._constant(hosts)
        without = self._paths(hosts, with_vm=False) + constant
        load = self._paths(hosts, with_vm=True) + (constant + self._own_constant)
        return judge_loads(without, load, capacities(hosts), limits(hosts, self._question), self.step_h)

    def _paths(self, hosts: Sequence[Host], *, with_vm: bool) -> NDArray[np.float32]:
        """Return the demand of the residents per scenario, shape (scenarios, hosts, `RESOURCES`, steps)."""
        paths = self._cut(self._scenarios.totals(self._groups(hosts, with_vm=with_vm)))
        return paths.reshape(paths.shape[0], len(hosts), len(RESOURCES), paths.shape[-1])

    def _cut(self, paths: NDArray[np.float32]) -> NDArray[np.float32]:
        return paths[..., self._steps]

    def _residents(self, host: Host) -> list[Vm]:
        others = self._question.estate.vms_by_host.get(host.key, ())
        return sorted((vm for vm in others if vm.key != self._question.vm.key), key=lambda vm: vm.uuid)

    def _groups(self, hosts: Sequence[Host], *, with_vm: bool) -> list[tuple[SeriesKey, ...]]:
        """Return one group per host and resource: the demand of its residents, with or without the question's VM.

        The VM is summed inside the group, for a coarse step of the paths holds the maximum of the *sum*.
        """
        added = [self._question.vm] if with_vm else []
        return [
            tuple(SeriesKey("vm", vm.uuid, resource) for vm in [*residents, *added])
            for residents in map(self._residents, hosts)
            for resource in RESOURCES
        ]

    def _constant(self, hosts: Sequence[Host]) -> NDArray[np.float32]:
        """Return what does not depend on scenarios: own load, residents without forecast, reservations."""
        start, stop, _step = self._steps.indices(self._scenarios.horizon_steps)
        constant = np.zeros((len(hosts), len(RESOURCES), stop - start), np.float32)
        row = {host.key: index for index, host in enumerate(hosts)}
        for host in hosts:
            constant[row[host.key]] += self._standing(host)[:, None]
        for held in self._question.other_reservations:
            if held.host_key in row:
                amount = np.array(tuple(held.amount), np.float32)
                constant[row[held.host_key], :, self._covered(held.start_ts, held.end_ts)] += amount[:, None]
        return constant

    def _standing(self, host: Host) -> NDArray[np.float32]:
        """Return the host's own load and that of residents without a forecast, per resource."""
        residents = self._residents(host)
        standing = own_load(host, self._question.estate.vms_by_host.get(host.key, ()))
        missing = self._scenarios.missing([key for vm in residents for key in demand_keys(vm)])
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


def own_load(host: Host, residents: Sequence[Vm]) -> NDArray[np.float32]:
    """Return the host's load that is not its VMs', per resource; 0 where it cannot be told apart."""
    if host.used is None or any(vm.used is None for vm in residents):
        return np.zeros(len(RESOURCES), np.float32)
    uses = np.array([tuple(vm.used) for vm in residents if vm.used is not None], np.float64)
    rest = np.array(tuple(host.used)) - (uses.sum(axis=0) if len(uses) else 0.0)
    own: NDArray[np.float32] = np.maximum(rest, 0.0).astype(np.float32)
    return own


def capacities(hosts: Sequence[Host]) -> NDArray[np.float32]:
    """Return capacities, shape (hosts, `RESOURCES`); infinite where unknown (0), so that nothing overloads it."""
    amounts = np.array([tuple(host.capacity) for host in hosts], np.float32).reshape(len(hosts), len(RESOURCES))
    bounded: NDArray[np.float32] = np.where(amounts > 0, amounts, np.float32(np.inf))
    return bounded


def limits(hosts: Sequence[Host], question: Question) -> NDArray[np.float32]:
    """Return the loads that hosts may reach: capacity times the resource's limit, shape (hosts, `RESOURCES`)."""
    shares = np.array([question.limits[resource] for resource in RESOURCES], np.float32)
    reachable: NDArray[np.float32] = capacities(hosts) * shares
    return reachable


def judge_loads(
    without: NDArray[np.float32],
    load: NDArray[np.float32],
    capacity: NDArray[np.float32],
    limit: NDArray[np.float32],
    step_h: float,
) -> list[Load]:
    """Return the `Load` of each host.

    ``without`` and ``load`` are the loads without and with the VM, shape (scenarios, hosts, resources, steps);
    ``capacity`` and ``limit`` are (hosts, resources), infinite where unknown; ``step_h`` is hours per step.
    """
    ceiling = limit[None, :, :, None]
    overload_without = np.maximum(without - ceiling, 0).mean(axis=0, dtype=np.float64).sum(axis=-1) * step_h / limit
    over = load > ceiling
    overload = np.maximum(load - ceiling, 0).mean(axis=0, dtype=np.float64).sum(axis=-1) * step_h / limit
    by_resource = over.any(axis=-1).mean(axis=0)
    jointly = over.any(axis=(-1, -2)).mean(axis=0)
    mean = load.mean(axis=0, dtype=np.float64)
    peak = np.quantile(load.max(axis=-1), LEVEL, axis=0, method="higher")
    level = np.maximum(peak, mean.max(axis=-1))
    tables = (by_resource, level, 1 - level / limit, mean.mean(axis=-1) / capacity, mean.max(axis=-1) / capacity)
    known = np.isfinite(limit)
    return [
        Load(
            overload_probability=float(jointly[index]),
            overload_by_resource=_named(tables[0][index], known[index]),
            expected_overload_h=float(overload[index].sum()),
            added_overload_h=float(np.maximum(overload[index] - overload_without[index], 0).sum()),
            peak_level=_named(tables[1][index], known[index]),
            headroom=_named(tables[2][index], known[index]),
            mean_use=_named(tables[3][index], known[index]),
            mean_peak_use=_named(tables[4][index], known[index]),
        )
        for index in range(without.shape[1])
    ]


def _named(values: NDArray[np.floating], known: NDArray[np.bool_]) -> dict[str, float]:
    return {name: float(value) for name, value, there in zip(RESOURCES, values, known, strict=True) if there}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The estate at one moment: the scenario with everything that has happened to it since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ...estate.resources import RESOURCES, Resources
from ...libraries import library
from .contention import Service, serve
from .demand import Demand, DemandJump
from .faults import LiveFault
from .scenario import Scenario, SimulatedHost, SimulatedVm
from .state import State
from .traces import STEP_S

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Number of "no host" in arrays of host numbers.
NOWHERE = -1


@dataclass(frozen=True)
class Moment:
    """What holds at ``now_ts``.

    ``host_of`` (vms,) is each VM's host number or `NOWHERE`; ``guaranteed`` (vms, resources) what it is guaranteed,
    holds on its own host included; ``jumps`` the demand jumps of live faults, for any time; ``throttled`` the share of
    its CPU that a migration takes from a VM, by its number.
    """

    now_ts: float
    host_of: NDArray[np.int64]
    power_states: tuple[str, ...]
    host_states: tuple[str, ...]
    guaranteed: NDArray[np.float64]
    holds: tuple[Mapping[str, Any], ...]
    faults: tuple[LiveFault, ...]
    jumps: tuple[DemandJump, ...]
    throttled: Mapping[int, float]

    @property
    def active_host_of(self) -> NDArray[np.int64]:
        """The host number of each VM that runs, `NOWHERE` for all others."""
        running = np.array([state == "running" for state in self.power_states], dtype=bool)
        return np.where(running, self.host_of, NOWHERE)


class World:
    """A scenario's hosts and VMs by number, and their state."""

    def __init__(self, scenario: Scenario, demand: Demand, state: State) -> None:
        self.scenario = scenario
        self.demand = demand
        self.state = state
        self.hosts: tuple[SimulatedHost, ...] = scenario.hosts
        self.vms: tuple[SimulatedVm, ...] = scenario.vms
        self.host_number = {host.host_id: index for index, host in enumerate(self.hosts)}
        self.vm_number = {vm.uuid: index for index, vm in enumerate(self.vms)}
        self.capacity = _table([host.capacity for host in self.hosts])
        self.own_load = _table([host.own_load for host in self.hosts])
        self._guaranteed = _table([vm.guaranteed for vm in self.vms])
        self._home = np.array([self.host_number[vm.host_id] for vm in self.vms], dtype=np.int64)
        self._before = np.array([self.host_number[vm.came_from or vm.host_id] for vm in self.vms], dtype=np.int64)
        self._came_ts = np.array([vm.came_ts for vm in self.vms], dtype=np.float64)

    def moment(self, now_ts: float) -> Moment:
        """Read the state; call it inside a transaction when what is read is then acted on."""
        faults = tuple(self.state.faults())
        host_of = self.host_of_at(now_ts)
        holds = tuple(self.state.holds())
        power = self.state.power_states()
        host_states = self._host_states(faults, now_ts)
        power_states = tuple(
            self._power_state(power.get(vm.uuid, vm.power_state), host_of[index], host_states)
            for index, vm in enumerate(self.vms)
        )
        return Moment(
            now_ts=now_ts,
            host_of=host_of,
            power_states=power_states,
            host_states=host_states,
            guaranteed=self._guarantees(holds, host_of),
            holds=holds,
            faults=faults,
            jumps=tuple(self._jumps(faults)),
            throttled={
                self.vm_number[body["vm_uuid"]]: body["copy"]["throttle"] for _number, body in self.state.active_jobs()
            },
        )

    def host_of_at(self, ts: float) -> NDArray[np.int64]:
        """Return the number of the host on which each VM was at ``ts``."""
        host_of = np.where(self._came_ts <= ts, self._home, self._before)
        for vm_uuid, host_id, since_ts in self.state.placements():
            if since_ts <= ts:
                host_of[self.vm_number[vm_uuid]] = NOWHERE if host_id is None else self.host_number[host_id]
        return host_of

    def service(self, moment: Moment, ts: float) -> Service:
        """Return what is wanted and delivered at ``ts`` with the moment's placement; one step."""
        demand = self.demand.over(ts, 1, moment.jumps)
        for vm, share in moment.throttled.items():
            demand[vm, RESOURCES.index("cpu")] *= 1.0 - share
        return serve(demand, moment.guaranteed, moment.active_host_of, self.own_load, self.capacity)

    def serviced_spans(
        self, moment: Moment, start_ts: float, steps: int
    ) -> Iterator[tuple[float, NDArray[np.float32], Service]]:
        """Yield (start, recorded demand, service) for spans of constant placement that make up the past window."""
        changes = {since_ts for _vm, _host, since_ts in self.state.placements()} | set(self._came_ts.tolist())
        edges = [start_ts + STEP_S * step for step in range(steps + 1)]
        cuts = sorted(
            {0, steps} | {_first_at_or_after(edges, change) for change in changes if edges[0] < change <= edges[-1]}
        )
        for first, last in pairwise(cuts):
            begin, length = edges[first], last - first
            host_of = np.where(moment.active_host_of == NOWHERE, NOWHERE, self.host_of_at(begin))
            demand = self.demand.over(begin, length, moment.jumps)
            service = serve(demand, self._guaranteed, host_of, self.own_load, self.capacity)
            yield begin, self.demand.recorded(begin, length, moment.jumps), service

    def matches_vm(self, wanted: str | None, vm_uuid: str) -> bool:
        """Return whether a fault that names ``wanted`` (a name, a uuid or None for all) means this VM."""
        if wanted is None or wanted == vm_uuid:
            return True
        number = self.vm_number.get(vm_uuid)
        return number is not None and wanted == self.vms[number].name

    def matches_host(self, wanted: str | None, host_id: str) -> bool:
        """Return whether a fault that names ``wanted`` (a name, an id or None for all) means this host."""
        return wanted is None or wanted == host_id or wanted == self.hosts[self.host_number[host_id]].name

    def _host_states(self, faults: Sequence[LiveFault], now_ts: float) -> tuple[str, ...]:
        states = {host.host_id: host.state for host in self.hosts} | self.state.host_states()
        for live in faults:
            if live.fault.kind == "host_state" and live.fault.at_percent is None and live.ready(now_ts):
                states |= {
                    host_id: live.fault.state for host_id in states if self.matches_host(live.fault.host, host_id)
                }
        return tuple(states[host.host_id] for host in self.hosts)

    def _power_state(self, own: str, host: int, host_states: Sequence[str]) -> str:
        """Return a VM's power state: nothing runs on a host that is off."""
        return "off" if host != NOWHERE and host_states[host] == "off" else own

    def _guarantees(self, holds: Sequence[Mapping[str, Any]], host_of: NDArray[np.int64]) -> NDArray[np.float64]:
        guaranteed = self._guaranteed.copy()
        for vm_uuid, amount in self.state.guarantees().items():
            guaranteed[self.vm_number[vm_uuid]] = list(Resources.from_dict(amount))
        for hold in holds:
            vm = self.vm_number.get(hold["vm_uuid"])
            if vm is not None and hold["tier"] == "hard" and host_of[vm] == self.host_number[hold["host_id"]]:
                guaranteed[vm] = np.maximum(guaranteed[vm], list(Resources.from_dict(hold["amount"])))
        return guaranteed

    def _jumps(self, faults: Sequence[LiveFault]) -> Iterator[DemandJump]:
        for live in faults:
            fault = live.fault
            if fault.kind != "demand_jump":
                continue
            chosen = range(len(RESOURCES)) if fault.resource is None else [RESOURCES.index(fault.resource)]
            for vm in self.vms:
                if self.matches_vm(fault.vm, vm.uuid):
                    yield DemandJump(
                        vm=self.vm_number[vm.uuid],
                        resources=tuple(chosen),
                        factor=fault.factor,
                        start_ts=-np.inf if fault.start_ts is None else fault.start_ts,
                        end_ts=np.inf if fault.end_ts is None else fault.end_ts,
                    )


def _table(rows: Sequence[Resources]) -> NDArray[np.float64]:
    return np.array([list(row) for row in rows], dtype=np.float64).reshape(len(rows), len(RESOURCES))


def _first_at_or_after(edges: Sequence[float], ts: float) -> int:
    return next(index for index, edge in enumerate(edges) if edge >= ts)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver of simulated estates: a scenario behind the protocol that real hypervisors speak."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...clock import Clock
from ...errors import ForesightError, InvalidOption
from ...estate.resources import RESOURCES, Resources
from ...estate.series import Samples
from ...libraries import library
from ..protocol import (
    Capabilities,
    DirtyRate,
    Driver,
    EndpointUnreachable,
    Finding,
    Hold,
    HypervisorFault,
    Inventory,
    Job,
    MoveOrder,
    Progress,
    Reading,
    Tuning,
    Whereabouts,
)
from . import checks, describe, holds, measurement
from .clock import ClockReading, EstateClock
from .demand import Demand
from .dirtying import mean_burst
from .faults import read_fault
from .fields import Fields
from .mover import Move, Mover, traffic_mbit_s
from .precopy import DEFAULT_MAX_DOWNTIME_MS, Precopy
from .scenario import DEFAULT_START_TS, Scenario, load_scenario
from .state import State
from .traces import DAY_S, Traces, load_traces, no_traces
from .world import NOWHERE, Moment, World

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: A migration sends at least so much, MiB: firmware and device memory (assumption).
LEAST_MEMORY_MIB = 16.0


class SimulatedDriver(Driver):
    """An estate of hosts of every family that lives in a scenario file and a state file.

    Options: ``scenario`` (path), ``state_path`` (path; by default below ``~/.foresight/simulated``, one per scenario).
    """

    TYPE = "simulated"
    FAMILY = None

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        if not options.get("scenario"):
            raise InvalidOption("endpoints.scenario", f"endpoint {name!r} of type simulated needs a scenario file")
        self._scenario_path = str(options["scenario"])
        self._timeout_s = float(options.get("timeout_s") or 60.0)
        self._world: World | None = None

    # connection, clock and faults

    @property
    def clock(self) -> Clock:
        """The estate's own clock, shared with every process that uses the same state file."""
        return EstateClock(self._opened().state)

    def connect(self) -> None:
        """Open the state; raises `EndpointUnreachable` while a fault says so."""
        self._opened()
        with self._answering("connect"):
            pass

    def close(self) -> None:
        """Close the state file."""
        if self._world is not None:
            self._world.state.close()
        self._world = None

    def _opened(self) -> World:
        """Return the world, loading scenario, traces and state on first use."""
        if self._world is None:
            scenario = load_scenario(self._scenario_path)
            traces = no_traces() if scenario.traces_path is None else load_traces(scenario.traces_path)
            demand = Demand(scenario.vms, traces)
            start_ts = _start_ts(scenario, traces)
            clock = ClockReading(scenario.clock.mode, scenario.clock.speed, start_ts, time.time())
            state = State(_state_path(self.options.get("state_path"), scenario))
            state.open(scenario.digest, clock, scenario.faults)
            self._world = World(scenario, demand, state)
        return self._world

    @contextmanager
    def _answering(self, call: str) -> Iterator[tuple[World, Moment]]:
        """Answer one call: as slowly as faults say, with migrations up to date, in one transaction."""
        world = self._opened()
        self._meet_faults(world, call)
        with world.state.transaction():
            now_ts = self.clock.now()
            Mover(world).advance(now_ts)
            yield world, world.moment(now_ts)

    def _meet_faults(self, world: World, call: str) -> None:
        """Wait or fail as live faults on this endpoint ask."""
        clock = self.clock
        with world.state.transaction():
            now_ts = clock.now()
            struck = [
                live
                for live in world.state.faults()
                if live.fault.kind in ("slow_answers", "endpoint_unreachable")
                and live.ready(now_ts)
                and live.fault.endpoint in (None, self.name)
                and (not live.fault.calls or call in live.fault.calls)
            ]
            for live in struck:
                world.state.count_fault(live.fault_id)
        if any(live.fault.kind == "endpoint_unreachable" for live in struck):
            raise EndpointUnreachable(f"Endpoint {self.name!r} does not answer", details={"endpoint": self.name})
        delay_s = max((live.fault.delay_s for live in struck), default=0.0)
        clock.sleep(min(delay_s, self._timeout_s))
        if delay_s > self._timeout_s:
            raise EndpointUnreachable(
                f"Endpoint {self.name!r} did not answer {call} within {self._timeout_s:g} s",
                details={"endpoint": self.name, "timeout_s": self._timeout_s},
            )

    def inject(self, fault: Mapping[str, Any]) -> str:
        """Add a fault (written as in a scenario) to the living estate and return its id."""
        checked = read_fault(Fields(fault, "fault"))
        world = self._opened()
        with world.state.transaction():
            Mover(world).advance(self.clock.now())
            return world.state.add_fault(checked)

    def clear_fault(self, fault_id: str) -> bool:
        """Remove a fault and return whether there was one."""
        world = self._opened()
        with world.state.transaction():
            Mover(world).advance(self.clock.now())
            return world.state.remove_fault(fault_id)

    # reading

    def capabilities(self) -> Capabilities:
        """Return what the scenario lets this endpoint do (everything unless told otherwise)."""
        return self._opened().scenario.capabilities

    def inventory(self) -> Inventory:
        """Return all hosts and VMs with their use now; ``facts['demand']`` is what they want."""
        with self._answering("inventory") as (world, moment):
            service = world.service(moment, moment.now_ts)
            traffic = self._traffic(world)
            mine = self._mine(world)
            return Inventory(
                hosts=tuple(describe.hosts(self.name, world, moment, service, mine, traffic)),
                vms=tuple(describe.vms(self.name, world, moment, service, mine)),
                rules=describe.rules(self.name, world),
                clusters=describe.clusters(self.name, world, mine),
                server_ts=moment.now_ts,
                facts={"simulated": True, "scenario": world.scenario.description},
            )

    def _mine(self, world: World) -> list[int]:
        """Return the numbers of the hosts behind this endpoint."""
        return [number for number, host in enumerate(world.hosts) if host.endpoint in (None, self.name)]

    def _key(self, host_id: str) -> str:
        return describe.host_key(self.name, host_id)

    def _traffic(self, world: World) -> dict[str, float]:
        """Return what migrations take of each host's network now, Mbit/s."""
        traffic: dict[str, float] = {}
        for _number, body in world.state.active_jobs():
            move = Move.from_dict(body)
            for host_id in (move.source, move.destination):
                traffic[host_id] = traffic.get(host_id, 0.0) + traffic_mbit_s(move)
        return traffic

    def read(self, previous: Mapping[str, Any]) -> Reading:
        """Return what every host and VM uses now."""
        with self._answering("read") as (world, moment):
            service = world.service(moment, moment.now_ts)
            return Reading(measurement.now(world, moment, service, self._visible(world, moment), self._key))

    def recorded_demand(self, vm_uuids: Sequence[str], start_ts: float, steps: int) -> NDArray[np.float32]:
        """Return what VMs want in the ``steps`` 5-minute steps from ``start_ts``, past or future.

        Shape (vms, resources, steps), in the units of `RESOURCES`. It comes from the traces, whatever hosts deliver;
        demand jumps on request are included. Raises `HypervisorFault` for a VM that is not of this estate.
        """
        with self._answering("recorded_demand") as (world, moment):
            unknown = [vm_uuid for vm_uuid in vm_uuids if vm_uuid not in world.vm_number]
            if unknown:
                raise HypervisorFault(f"No VM has the uuid {unknown[0]}", details={"fault": "vm_unknown"})
            numbers = np.array([world.vm_number[vm_uuid] for vm_uuid in vm_uuids], dtype=np.int64)
            return world.demand.over(start_ts, steps, moment.jumps, numbers)

    def first_homes(self) -> dict[str, str]:
        """Return the host id on which each VM began, by uuid: the placement before anything was moved."""
        return {vm.uuid: vm.host_id for vm in self._opened().vms}

    def history(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        """Yield what was used in [``since_ts``, ``until_ts``), at most the hours that the scenario keeps."""
        with self._answering("history") as (world, moment):
            visible = self._visible(world, moment)
        since_ts = max(since_ts, moment.now_ts - world.scenario.history_hours * 3600.0)
        yield from measurement.past(world, moment, since_ts, min(until_ts, moment.now_ts), visible, self._key)

    def _visible(self, world: World, moment: Moment) -> measurement.Visible:
        mine = self._mine(world)
        chosen = set(mine)
        return measurement.Visible(
            hosts=[number for number in mine if moment.host_states[number] not in ("off", "disconnected")],
            vms=[
                number
                for number, host in enumerate(moment.host_of.tolist())
                if host in chosen and moment.power_states[number] == "running"
            ],
        )

    def locate(self, vm_uuid: str) -> tuple[Whereabouts, ...]:
        """Return where the VM is; during post-copy both sides know it."""
        with self._answering("locate") as (world, moment):
            number = world.vm_number.get(vm_uuid)
            if number is None or moment.host_of[number] == NOWHERE:
                return ()
            here = world.hosts[int(moment.host_of[number])].host_id
            seen = [Whereabouts(vm_uuid, here, moment.power_states[number], active=True)]
            found = self._move_of(world, vm_uuid)
            if found is not None and found[1].copy.phase == "postcopy":
                seen.append(Whereabouts(vm_uuid, found[1].source, "paused", active=False))
            mine = {world.hosts[index].host_id for index in self._mine(world)}
            return tuple(sighting for sighting in seen if sighting.host_id in mine)

    def observe_host(self, host_id: str) -> Resources:
        """Return what the host uses now, migrations' traffic included."""
        with self._answering("observe_host") as (world, moment):
            number = self._host_number(world, host_id)
            used = world.service(moment, moment.now_ts).used[number, :, 0]
            return Resources(*used.tolist()) + describe.migration_load(self._traffic(world), host_id)

    def observe_vm(self, vm_uuid: str) -> Resources | None:
        """Return what the VM gets now; None when it does not run."""
        with self._answering("observe_vm") as (world, moment):
            number = world.vm_number.get(vm_uuid)
            if number is None or moment.power_states[number] != "running":
                return None
            return Resources(*world.service(moment, moment.now_ts).served[number, :, 0].tolist())

    def _host_number(self, world: World, host_id: str) -> int:
        if host_id not in world.host_number:
            raise HypervisorFault(f"No host has the id {host_id!r}", details={"fault": "host_unknown"})
        return world.host_number[host_id]

    def measure_dirty_rate(self, vm_uuid: str, seconds: float) -> DirtyRate | None:
        """Watch the VM for ``seconds`` and return how fast it dirties memory; None when it does not run here."""
        with self._answering("measure_dirty_rate") as (world, _moment):
            if not world.scenario.capabilities.dirty_rate:
                return None
        self.clock.sleep(seconds)
        with self._answering("measure_dirty_rate") as (world, moment):
            number = world.vm_number.get(vm_uuid)
            if number is None or moment.power_states[number] != "running":
                return None
            cpu, memory = world.service(moment, moment.now_ts).served[number, :2, 0].tolist()
            vm = world.vms[number]
            bursts = mean_burst(vm, moment.now_ts - seconds, moment.now_ts)
            return DirtyRate(cpu * vm.dirty_mib_s_per_core * bursts, memory * vm.working_set_fraction, "simulated")

    # holds

    def foresee_hold(self, hold: Hold) -> Mapping[str, str]:
        """Return who would enforce the hold; raises `HoldRefused` where it would be refused."""
        with self._answering("foresee_hold") as (world, moment):
            self._host_number(world, hold.host_id)
            holds.admit(world, moment, hold)
            return holds.enforcement(world, hold.tier)

    def place_hold(self, hold: Hold) -> Hold:
        """Hold capacity: of the hard tier all four resources are enforced, of the soft tier none."""
        with self._answering("place_hold") as (world, moment):
            self._host_number(world, hold.host_id)
            refusal = self._admission(world, moment, hold)
            if refusal is None:
                body = {
                    "reservation_id": hold.reservation_id,
                    "host_id": hold.host_id,
                    "vm_uuid": hold.vm_uuid,
                    "amount": hold.amount.as_dict(),
                    "tier": hold.tier,
                }
                world.state.put_hold(hold.reservation_id, hold.host_id, hold.vm_uuid, body)
                return self._as_hold(world, body)
        raise refusal

    def _admission(self, world: World, moment: Moment, hold: Hold) -> ForesightError | None:
        """Return why the hold is refused, None when it is admitted; a refusal on request is counted."""
        try:
            holds.admit(world, moment, hold)
        except holds.RefusedOnRequest as refusal:
            world.state.count_fault(refusal.fault_id)
            return refusal
        return None

    def _as_hold(self, world: World, body: Mapping[str, Any]) -> Hold:
        return Hold(
            reservation_id=body["reservation_id"],
            host_id=body["host_id"],
            vm_uuid=body["vm_uuid"],
            amount=Resources.from_dict(body["amount"]),
            tier=body["tier"],
            enforced_by=holds.enforcement(world, body["tier"]),
            tokens={"hold": body["reservation_id"]},
        )

    def release_hold(self, reservation_id: str, tokens: Mapping[str, Any]) -> bool:
        """Remove the hold and return whether there was one."""
        with self._answering("release_hold") as (world, _moment):
            return world.state.drop_hold(reservation_id)

    def list_holds(self) -> tuple[Hold, ...]:
        """Return every hold in place on this endpoint's hosts."""
        with self._answering("list_holds") as (world, moment):
            mine = {world.hosts[number].host_id for number in self._mine(world)}
            return tuple(self._as_hold(world, body) for body in moment.holds if body["host_id"] in mine)

    def settle_hold(self, hold: Hold) -> Mapping[str, str]:
        """Make a hard hold the VM's own guarantee; drop a soft one. Raises `HypervisorFault` before the VM is there."""
        with self._answering("settle_hold") as (world, moment):
            number = world.vm_number.get(hold.vm_uuid)
            if number is None or int(moment.host_of[number]) != self._host_number(world, hold.host_id):
                raise HypervisorFault(
                    f"The VM {hold.vm_uuid} is not on the host that holds capacity for it",
                    details={"fault": "vm_not_here", "host_id": hold.host_id},
                )
            if hold.tier == "hard":
                world.state.set_guarantee(hold.vm_uuid, hold.amount.as_dict())
            world.state.drop_hold(hold.reservation_id)
            return holds.enforcement(world, hold.tier)

    # migrations

    def preflight(self, vm_uuid: str, source: Driver, host_id: str, order: MoveOrder) -> tuple[Finding, ...]:
        """Return what stands against the move."""
        with self._answering("preflight") as (world, moment):
            return tuple(checks.preflight(world, moment, vm_uuid, host_id, order))

    def start_migration(self, order: MoveOrder, destination: Driver) -> Job:
        """Start a live migration; raises `HypervisorFault` when the platform would refuse it."""
        with self._answering("start_migration") as (world, moment):
            self._require_same_estate(destination)
            findings = checks.preflight(world, moment, order.vm_uuid, order.destination_host_id, order)
            blocking = next((finding for finding in findings if finding.blocking), None)
            if blocking is not None:
                raise HypervisorFault(blocking.message, details={"fault": blocking.code, **dict(blocking.details)})
            move = self._begin(world, moment, order)
            number = world.state.add_job(move.vm_uuid, move.as_dict())
            return describe.job(number, move)

    def _require_same_estate(self, destination: Driver) -> None:
        own_path = self._opened().state.path
        if isinstance(destination, SimulatedDriver) and destination._opened().state.path == own_path:
            return
        raise HypervisorFault(
            f"Endpoint {destination.name!r} is not part of the same simulated estate",
            advice="Give both endpoints the same scenario and state_path.",
            details={"fault": "destination_foreign"},
        )

    def _begin(self, world: World, moment: Moment, order: MoveOrder) -> Move:
        number = world.vm_number[order.vm_uuid]
        memory_mib = float(world.service(moment, moment.now_ts).served[number, RESOURCES.index("memory"), 0])
        disk_mib = world.vms[number].disk_mib if order.storage_copy else 0.0
        allowed = order.tuning.max_downtime_ms
        return Move(
            vm_uuid=order.vm_uuid,
            source=world.hosts[int(moment.host_of[number])].host_id,
            destination=order.destination_host_id,
            reservation_id=order.reservation_id,
            started_ts=moment.now_ts,
            advanced_ts=moment.now_ts,
            copy=Precopy.begin(max(LEAST_MEMORY_MIB, memory_mib) + disk_mib),
            max_downtime_ms=DEFAULT_MAX_DOWNTIME_MS if allowed is None else allowed,
            bandwidth_mib_s=order.tuning.bandwidth_mib_s,
            auto_converge=order.auto_converge or order.tuning.throttle is True,
            post_copy=order.post_copy,
            compression=order.compression,
            streams=max(1, order.parallel_connections),
        )

    def _move_of(self, world: World, vm_uuid: str) -> tuple[int, Move] | None:
        for number, body in world.state.active_jobs():
            if body["vm_uuid"] == vm_uuid:
                return number, Move.from_dict(body)
        return None

    def find_migration(self, vm_uuid: str) -> Job | None:
        """Return the VM's migration in flight from this endpoint."""
        with self._answering("find_migration") as (world, _moment):
            found = self._move_of(world, vm_uuid)
            mine = {world.hosts[number].host_id for number in self._mine(world)}
            return describe.job(*found) if found is not None and found[1].source in mine else None

    def progress(self, job: Job) -> Progress:
        """Return how far the job is, also after it has ended."""
        with self._answering("progress") as (world, moment):
            body = world.state.job(int(job.handle["job"]))
            if body is None:
                return Progress(phase="gone", elapsed_s=0.0)
            return describe.progress(Move.from_dict(body), moment.now_ts)

    @contextmanager
    def _changing(self, job: Job, call: str) -> Iterator[tuple[World, Moment, Move]]:
        """Change a move in flight; raises `HypervisorFault` when it has ended."""
        with self._answering(call) as (world, moment):
            number = int(job.handle["job"])
            body = world.state.job(number)
            move = None if body is None else Move.from_dict(body)
            if move is None or not move.active:
                state = "unknown" if move is None else move.phase
                raise HypervisorFault(
                    f"The migration cannot be changed: it is {state}", details={"fault": "job_finished", "phase": state}
                )
            yield world, moment, move
            world.state.save_job(number, move.as_dict(), active=move.active)

    def tune(self, job: Job, tuning: Tuning) -> None:
        """Change bandwidth, allowed downtime or throttling of the running job."""
        with self._changing(job, "tune") as (_world, _moment, move):
            if tuning.bandwidth_mib_s is not None:
                move.bandwidth_mib_s = tuning.bandwidth_mib_s
            if tuning.max_downtime_ms is not None:
                move.max_downtime_ms = tuning.max_downtime_ms
            if tuning.throttle is not None:
                move.auto_converge = tuning.throttle
                move.copy.throttle = move.copy.throttle if tuning.throttle else 0.0

    def switch_to_post_copy(self, job: Job) -> None:
        """Let the VM run on at the destination now; refused unless the order allowed it."""
        with self._changing(job, "switch_to_post_copy") as (world, moment, move):
            if not move.post_copy or move.copy.phase != "precopy" or move.stalled:
                raise HypervisorFault(
                    "The migration cannot switch to post-copy now",
                    details={"fault": "post_copy_refused", "phase": move.phase, "allowed": move.post_copy},
                )
            Mover(world).switch_to_post_copy(move, moment.now_ts)

    def recover_post_copy(self, job: Job, destination: Driver) -> None:
        """Resume a post-copy that stalled."""
        with self._changing(job, "recover_post_copy") as (_world, _moment, move):
            if not (move.stalled and move.copy.phase == "postcopy"):
                raise HypervisorFault(
                    "There is no broken post-copy to resume", details={"fault": "not_broken", "phase": move.phase}
                )
            move.resume()

    def abort(self, job: Job) -> None:
        """Stop the job; the VM stays on its source. Refused in post-copy. Nothing to do when it has failed already."""
        with self._answering("abort") as (world, _moment):
            body = world.state.job(int(job.handle["job"]))
            if body is not None and body["phase"] in ("failed", "aborted"):
                return
        with self._changing(job, "abort") as (world, moment, move):
            if move.phase == "postcopy" or move.copy.phase == "postcopy":
                raise HypervisorFault(
                    "The VM runs on the destination already: a migration in post-copy cannot be stopped",
                    details={"fault": "postcopy_active"},
                )
            Mover(world).abort(move, moment.now_ts)


def _start_ts(scenario: Scenario, traces: Traces) -> float:
    """Return when the estate's life begins: as told, else a day before the traces end, else a fixed Monday."""
    if scenario.clock.start_ts is not None:
        return scenario.clock.start_ts
    return traces.end_ts - DAY_S if traces.names else DEFAULT_START_TS


def _state_path(option: Any, scenario: Scenario) -> Path:
    if option:
        return Path(str(option)).expanduser().absolute()
    name = hashlib.sha256(str(scenario.path).encode()).hexdigest()[:16]
    return Path.home() / ".foresight" / "simulated" / f"{name}.sqlite"

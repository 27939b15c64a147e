# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Migrations in flight: brought up to the present whenever anybody looks, whoever started them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...estate.resources import RESOURCES
from ...libraries import library
from . import precopy
from .dirtying import BURST_S, burst
from .faults import LiveFault
from .links import fair_shares, load_mbit_s, payload_mib_s
from .precopy import Precopy, Rates
from .traces import STEP_S
from .world import Moment, World

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

_CPU, _MEMORY, _NETWORK = (RESOURCES.index(name) for name in ("cpu", "memory", "network"))
#: Share of a link that migrations get however busy the VMs' own traffic keeps it (assumption: TCP starves nobody).
LEAST_LINK_SHARE = 0.1
#: Events that end within this many seconds of each other happen together; double precision tells times of this
#: century apart by a quarter of a microsecond.
SAME_TIME_S = 1e-6


@dataclass(slots=True)
class Move:
    """One migration as the state keeps it. ``phase`` is the protocol's; ``struck``: the faults that have hit it."""

    vm_uuid: str
    source: str
    destination: str
    reservation_id: str
    started_ts: float
    advanced_ts: float
    copy: Precopy
    max_downtime_ms: float = precopy.DEFAULT_MAX_DOWNTIME_MS
    bandwidth_mib_s: float | None = None
    auto_converge: bool = False
    post_copy: bool = False
    compression: bool = False
    streams: int = 1
    phase: str = "starting"
    error: str = ""
    stalled: bool = False
    stalled_until_ts: float | None = None
    ended_ts: float | None = None
    rate_mib_s: float = 0.0
    dirty_mib_s: float = 0.0
    struck: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the move as JSON-able data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Move:
        """Build the move from what `as_dict` made of it."""
        return cls(**{**data, "copy": Precopy(**data["copy"])})

    @property
    def active(self) -> bool:
        """Whether it goes on."""
        return self.ended_ts is None

    def resume(self) -> None:
        """Go on after a stall."""
        self.stalled, self.stalled_until_ts, self.phase = False, None, self.copy.phase


class Mover:
    """Advances all migrations of a world together, as they share its links."""

    def __init__(self, world: World) -> None:
        self._world = world

    def advance(self, now_ts: float) -> None:
        """Bring every migration to ``now_ts``, inside a transaction; how often that is done makes no difference."""
        moves = {number: Move.from_dict(body) for number, body in self._world.state.active_jobs()}
        left_s = now_ts - min((move.advanced_ts for move in moves.values()), default=now_ts)
        if left_s <= 0:
            return
        while left_s > 0 and any(move.active for move in moves.values()):
            left_s -= self._one_span(moves, now_ts - left_s, left_s)
        for number, move in moves.items():
            move.advanced_ts = now_ts
            self._world.state.save_job(number, move.as_dict(), active=move.active)

    def _one_span(self, moves: Mapping[int, Move], ts: float, left_s: float) -> float:
        """Advance to the next event, at most ``left_s`` on, and return how many seconds that took."""
        moment = replace(self._world.moment(ts), throttled={})  # as of the last save; `_rate` knows the present
        active = [move for move in moves.values() if move.active]
        for move in active:
            self._meet_hosts(move, moment, ts)
            self._meet_faults(move, moment, ts)
        active = [move for move in active if move.active]
        rates = self._rates(active, moment, ts)
        span_s = min([left_s, _to_next_step(ts), *self._waits(active, rates, moment, ts)])
        for move, rate in zip(active, rates, strict=True):
            due = not move.stalled and precopy.seconds_to_event(move.copy, rate) <= span_s + SAME_TIME_S
            precopy.advance(move.copy, rate, precopy.seconds_to_event(move.copy, rate) if due else span_s)
            if due:
                self._go_on(move, rate, ts + span_s)
        return max(span_s, SAME_TIME_S)

    def _waits(self, active: list[Move], rates: list[Rates], moment: Moment, ts: float) -> list[float]:
        """Return how long until each thing that may change a rate or a phase."""
        waits = [
            edge - ts
            for live in moment.faults
            for edge in (live.fault.start_ts, live.fault.end_ts)
            if edge is not None and edge > ts + SAME_TIME_S
        ]
        for move, rate in zip(active, rates, strict=True):
            if self._world.vms[self._world.vm_number[move.vm_uuid]].dirty_burstiness:
                waits.append(BURST_S - ts % BURST_S)
            if not move.stalled:
                waits.append(precopy.seconds_to_event(move.copy, rate))
            elif move.stalled_until_ts is not None:
                waits.append(max(SAME_TIME_S, move.stalled_until_ts - ts))
            waits += [
                wait
                for live in self._pending_faults(move, moment, ts)
                if (wait := precopy.seconds_to_percent(move.copy, rate, live.fault.at_percent or 0.0)) > 0
            ]
        return waits

    def _rates(self, active: list[Move], moment: Moment, ts: float) -> list[Rates]:
        if not active:
            return []
        service = self._world.service(moment, ts)
        capacity: dict[Any, float] = {
            ("link", name): payload_mib_s(limit) for name, limit in self._world.scenario.links.items()
        }
        for number, host in enumerate(self._world.hosts):
            link = host.migration_link_mbit_s
            busy = float(service.used[number, _NETWORK, 0]) if host.migration_shares_vm_network else 0.0
            capacity["host", host.host_id] = payload_mib_s(max(LEAST_LINK_SHARE * link, link - busy))
        routes = [self._route(move) for move in active]
        wire = fair_shares(
            {link: capacity[link] for route in routes for link in route}, routes, [_limit(move) for move in active]
        )
        return [self._rate(move, rate, service.served, ts) for move, rate in zip(active, wire, strict=True)]

    def _route(self, move: Move) -> list[tuple[str, str]]:
        """Return the links a move crosses: both hosts' own, and every shared one that only one of them is behind."""
        ends = [self._world.hosts[self._world.host_number[host_id]] for host_id in (move.source, move.destination)]
        crossed = set(ends[0].links) ^ set(ends[1].links)
        return [("host", end.host_id) for end in ends] + [("link", name) for name in sorted(crossed)]

    def _rate(self, move: Move, wire_mib_s: float, served: NDArray[np.float64], ts: float) -> Rates:
        number = self._world.vm_number[move.vm_uuid]
        vm = self._world.vms[number]
        gain = 1.0 / vm.compressed_fraction if move.compression else 1.0
        busy_cores = float(served[number, _CPU, 0]) * (1.0 - move.copy.throttle)
        rate = Rates(
            memory_mib_s=wire_mib_s * gain,
            wire_mib_s=wire_mib_s,
            dirty_mib_s=busy_cores * vm.dirty_mib_s_per_core * burst(vm, ts),
            working_set_mib=float(served[number, _MEMORY, 0]) * vm.working_set_fraction,
        )
        move.rate_mib_s = wire_mib_s if move.copy.phase in ("precopy", "postcopy") else 0.0
        move.dirty_mib_s = rate.dirty_mib_s
        return rate

    def _go_on(self, move: Move, rate: Rates, ts: float) -> None:
        precopy.end_phase(move.copy, rate, move.max_downtime_ms, move.auto_converge)
        if move.copy.phase != "done":
            move.phase = "postcopy" if move.copy.phase == "postcopy" else "precopy"
            return
        if move.phase != "postcopy":
            self._world.state.place(move.vm_uuid, move.destination, ts)
        self._end(move, "done", ts)

    def switch_to_post_copy(self, move: Move, ts: float) -> None:
        """Let the VM run on at the destination before all of its memory is there."""
        precopy.switch_to_post_copy(move.copy)
        move.phase = "postcopy"
        self._world.state.place(move.vm_uuid, move.destination, ts)

    def _meet_hosts(self, move: Move, moment: Moment, ts: float) -> None:
        """Fail the move when one of its hosts is gone."""
        for host_id, role in ((move.destination, "destination"), (move.source, "source")):
            if moment.host_states[self._world.host_number[host_id]] in ("off", "disconnected") and move.active:
                self._fail(move, f"the {role} host went away during the migration", ts)

    def _pending_faults(self, move: Move, moment: Moment, ts: float) -> list[LiveFault]:
        """Return the faults that wait for this move."""
        return [
            live
            for live in moment.faults
            if (live.fault.kind in ("migration_stall", "migration_failure") or _kills_host_mid_move(live))
            and live.fault_id not in move.struck
            and live.ready(ts)
            and self._world.matches_vm(live.fault.vm, move.vm_uuid)
            and self._world.matches_host(live.fault.host, move.destination)
        ]

    def _meet_faults(self, move: Move, moment: Moment, ts: float) -> None:
        """Let faults strike whose percentage is reached, and end stalls that are over."""
        if move.stalled and move.stalled_until_ts is not None and ts >= move.stalled_until_ts - SAME_TIME_S:
            move.resume()
        for live in self._pending_faults(move, moment, ts):
            reached = move.copy.first_pass_percent >= (live.fault.at_percent or 0.0) - 1e-6
            if move.active and move.copy.phase in ("precopy", "postcopy") and reached:
                self._strike(move, live, ts)

    def _strike(self, move: Move, live: LiveFault, ts: float) -> None:
        move.struck.append(live.fault_id)
        self._world.state.count_fault(live.fault_id)
        fault = live.fault
        if fault.kind == "migration_stall":
            move.stalled, move.phase = True, "stalled"
            move.stalled_until_ts = None if fault.for_s is None else ts + fault.for_s
        elif fault.kind == "migration_failure":
            self._fail(move, fault.message or "the migration failed on request", ts)
        else:
            self._world.state.set_host_state(move.destination, fault.state)
            self._fail(move, fault.message or "the destination host died during the migration", ts)

    def _fail(self, move: Move, error: str, ts: float) -> None:
        """End the move badly. The VM runs on at its source; in post-copy it is lost, as half of its memory is."""
        if move.copy.phase == "postcopy":
            self._world.state.set_power_state(move.vm_uuid, "paused")
        move.error = error
        self._end(move, "failed", ts)

    def abort(self, move: Move, ts: float) -> None:
        """End the move on request; the VM runs on at its source."""
        self._end(move, "aborted", ts)

    def _end(self, move: Move, phase: str, ts: float) -> None:
        move.phase = phase
        move.ended_ts = ts
        move.rate_mib_s = 0.0


def traffic_mbit_s(move: Move) -> float:
    """Return what a move takes of both hosts' networks right now, Mbit/s."""
    return load_mbit_s(move.rate_mib_s) if move.active and not move.stalled else 0.0


def _limit(move: Move) -> float:
    """Return the most that a move may send, MiB/s: its cap, and what its connections carry; nothing while it stands."""
    if move.stalled or move.copy.phase not in ("precopy", "postcopy"):
        return 0.0
    streams = precopy.STREAM_MIB_S * max(1, move.streams)
    return streams if move.bandwidth_mib_s is None else min(streams, move.bandwidth_mib_s)


def _kills_host_mid_move(live: LiveFault) -> bool:
    return live.fault.kind == "host_state" and live.fault.at_percent is not None


def _to_next_step(ts: float) -> float:
    """Return the seconds until recorded demand may change."""
    return STEP_S - ts % STEP_S

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From a wanted move to all checks, the strategy, and the order for the driver. Asks much, changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ..errors import ForesightError
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Capabilities, DirtyRate, Driver, MoveOrder, Tuning
from ..placement.link import bandwidth_mib_s
from ..placement.migration_cost import (
    STANDSTILL_SHARE,
    MigrationDemand,
    disks_to_copy,
    memory_activity,
    memory_to_send,
)
from ..reservations.ledger import Ledger
from . import precheck
from .guard_state import Ladder
from .move import Check, Move
from .strategy import LEAST_DOWNTIME_MS, Choice, Strategy, choose_strategy, downtime_ceiling, wait_for_quiet

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Basis:
    """What the prediction rests on; the methods say ``measured``, ``platform`` or ``assumed``.

    ``problem`` says why the dirty rate could not be measured although the platform should be able to; ``disks_by`` is
    ``none`` when no disk is copied, and ``unknown`` when the platform does not tell how large those are that will be.
    """

    demand: MigrationDemand
    link_mib_s: float
    dirty_method: str
    link_method: str
    problem: str = ""
    disks_by: str = "none"

    def as_dict(self) -> dict[str, float | str | None]:
        """Return the figures JSON-able."""
        return {
            "memory_mib": self.demand.memory_mib,
            "dirty_mib_s": self.demand.dirty_mib_s,
            "working_set_mib": self.demand.working_set_mib,
            "error_share": self.demand.error_share,
            "bandwidth_mib_s": self.demand.bandwidth_mib_s,
            "disk_mib": None if self.disks_by == "unknown" else self.demand.disk_mib,
            "dirty_rate_by": self.dirty_method,
            "bandwidth_by": self.link_method,
            "disks_by": self.disks_by,
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What would be done. ``order`` and ``ladder`` are None when the strategy is to refuse."""

    checks: tuple[Check, ...]
    choice: Choice
    basis: Basis
    order: MoveOrder | None
    ladder: Ladder | None

    @property
    def forbidding(self) -> tuple[Check, ...]:
        """The checks that forbid the move."""
        return tuple(check for check in self.checks if check.forbids)


def make_plan(move: Move, fleet: Fleet, ledger: Ledger, now_ts: float) -> Plan:
    """Make every check and choose the strategy; nothing is changed anywhere.

    A check that cannot be made counts as failed. Raises what connecting to either endpoint raises.
    """
    source = fleet.driver(move.source.endpoint)
    destination = fleet.driver(move.destination.endpoint)
    checks = [
        *precheck.check_vm(move),
        *precheck.check_destination(move),
        *precheck.check_window(move, now_ts),
        *precheck.check_reservation(move, now_ts),
        *precheck.check_enforcement(move, _or_error(destination.list_holds)),
        *precheck.attempt("destination_room", lambda: precheck.check_room(move, ledger, now_ts)),
        *precheck.attempt("concurrency", lambda: precheck.check_concurrency(move, fleet, ledger, now_ts)),
    ]
    able = source.capabilities()
    flying = _or_error(lambda: precheck.others_in_flight(move, fleet, ledger, now_ts))
    sharing = 1 if isinstance(flying, ForesightError) else 1 + _on_same_links(move, flying)
    basis = measure_basis(move, fleet, sharing=sharing)
    sla, means = move.terms.sla, move.terms.means
    choice = choose_strategy(basis.demand, able, sla, means, assumed=basis.dirty_method == "assumed")
    if choice.verdict == "refuse":
        choice = wait_for_quiet(choice, basis.demand, able, sla, means, move.ahead)
    order = order_for(move, choice, basis, able)
    checks += precheck.attempt("preflight", lambda: precheck.check_preflight(move, fleet, order or plain_order(move)))
    checks += precheck.check_duration(move, choice, now_ts)
    checks += precheck.check_basis(basis.problem)
    ladder = ladder_for(move, basis, able, now_ts, choice.strategy, order) if order is not None else None
    return Plan(tuple(checks), choice, basis, order, ladder)


def _on_same_links(move: Move, flying: Sequence[tuple[str, str]]) -> int:
    """Return how many of the moves in flight (source and destination each) have the busier of this move's two links."""
    ends = (move.source.key, move.destination.key)
    return max(sum(end in other for other in flying) for end in ends)


def measure_basis(move: Move, fleet: Fleet, *, measure: bool = True, sharing: int = 1) -> Basis:
    """Find out what the move has to carry, over what: measured where the platform can, else as told, else assumed.

    ``measure=False`` leaves out the measurement, which would disturb a move in flight. ``sharing`` moves, this one
    included, have the link to themselves; each begins with an equal part of it.
    """
    terms = move.terms
    told = memory_activity(move.vm)
    dirty_mib_s, method, problem = told.dirty_mib_s, told.method, ""
    working_set_mib: float | None = told.working_set_mib
    error_share = 0.0
    measured = _or_error(lambda: _measured(fleet.driver(move.source.endpoint), move)) if measure else None
    if isinstance(measured, ForesightError):
        problem = measured.message
    elif measured is not None:
        dirty_mib_s, method = measured.dirty_mib_s, f"measured ({measured.method})"
        working_set_mib = measured.working_set_mib  # None: larger than could be seen, so all of the memory
        error_share = measured.error_share
    link_mib_s = bandwidth_mib_s(move.source, move.destination)
    disk_mib = disks_to_copy(move.vm) if terms.storage_copy else 0.0
    told_links = all(host.migration_link_mbit_s for host in (move.source, move.destination))
    demand = MigrationDemand(
        memory_mib=memory_to_send(move.vm),
        dirty_mib_s=dirty_mib_s,
        working_set_mib=working_set_mib,
        bandwidth_mib_s=min(link_mib_s / sharing, terms.bandwidth_mib_s or link_mib_s),
        switchover_mib_s=STANDSTILL_SHARE * link_mib_s / sharing,
        max_downtime_ms=downtime_ceiling(terms.sla),
        disk_mib=disk_mib or 0.0,
        error_share=error_share,
    )
    link_method = "platform" if told_links else "assumed"
    disks_by = ("unknown" if disk_mib is None else "platform") if terms.storage_copy else "none"
    return Basis(demand, link_mib_s, method, link_method, problem, disks_by)


def _measured(source: Driver, move: Move) -> DirtyRate | None:
    """Have the dirty rate measured where that is wanted and possible."""
    wanted_s = move.terms.dirty_rate_s
    if wanted_s <= 0 or move.vm.power_state != "running" or not source.capabilities().dirty_rate:
        return None
    return source.measure_dirty_rate(move.vm.uuid, wanted_s)


def plain_order(move: Move) -> MoveOrder:
    """Return the order without any means, for asking the platform when no strategy was found."""
    return MoveOrder(
        vm_uuid=move.vm.uuid,
        destination_host_id=move.destination.host_id,
        reservation_id=move.reservation.reservation_id if move.reservation else "",
        storage_copy=move.terms.storage_copy,
        options=move.terms.options,
    )


def order_for(move: Move, choice: Choice, basis: Basis, able: Capabilities) -> MoveOrder | None:
    """Return the order for the driver; None when the choice is not to go."""
    strategy = choice.strategy
    if strategy is None:
        return None
    capped = able.bandwidth_limit and basis.demand.bandwidth_mib_s < basis.link_mib_s
    plain = plain_order(move)
    return MoveOrder(
        vm_uuid=plain.vm_uuid,
        destination_host_id=plain.destination_host_id,
        reservation_id=plain.reservation_id,
        tuning=Tuning(
            bandwidth_mib_s=basis.demand.bandwidth_mib_s if capped else None,
            max_downtime_ms=strategy.max_downtime_ms if able.downtime_limit else None,
        ),
        auto_converge=strategy.auto_converge,
        post_copy=strategy.post_copy_armed,
        compression=strategy.compression,
        parallel_connections=strategy.parallel_connections,
        storage_copy=plain.storage_copy,
        options=plain.options,
    )


def ladder_for(
    move: Move,
    basis: Basis,
    able: Capabilities,
    now_ts: float,
    strategy: Strategy | None = None,
    order: MoveOrder | None = None,
) -> Ladder:
    """Return the ladder with which the guard begins; without ``strategy`` and ``order`` for a move found in flight."""
    ceiling_ms = basis.demand.max_downtime_ms
    first_ms = order.tuning.max_downtime_ms if order is not None else None
    means = move.terms.means
    return Ladder(
        cap_mib_s=min(basis.link_mib_s, move.terms.bandwidth_mib_s or basis.link_mib_s),
        bandwidth_mib_s=basis.demand.bandwidth_mib_s,
        max_downtime_ms=LEAST_DOWNTIME_MS if first_ms is None else first_ms,
        downtime_ceiling_ms=ceiling_ms,
        can_set_bandwidth=able.bandwidth_limit,
        can_set_downtime=able.downtime_limit,
        can_throttle=able.auto_converge and "auto_converge" in means,
        can_post_copy=able.post_copy and "post_copy" in means and (order is None or order.post_copy),
        post_copy_planned=strategy is not None and strategy.post_copy,
        throttled=order is not None and order.auto_converge,
        post_copy=move.vm.host_key == move.destination.key,
        moved_ts=now_ts,
        tuned_ts=now_ts,
        calm_since_ts=now_ts,
    )


def _or_error(question: Callable[[], T]) -> T | ForesightError:
    """Return the answer, or the error in its place."""
    try:
        return question()
    except ForesightError as error:
        return error

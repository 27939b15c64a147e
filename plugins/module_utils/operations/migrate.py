# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move one VM live to the host on which capacity is reserved for it, and settle the reservation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import ForesightError, InvalidOption
from ..estate.nouns import Host
from ..estate.reservation import Reservation
from ..estate.sla import sla_from
from ..estate.snapshot import Estate
from ..hypervisors.fleet import Fleet
from ..migration.errors import DifferentFamily, MigrationUnsettled, NothingReserved
from ..migration.finding import Found, find_vm, take_inventory
from ..migration.latency import parse_target
from ..migration.move import Limits, Move, Terms
from ..migration.orchestrator import Orchestrator, require_same_target, required
from ..migration.settlement import Settlement
from ..migration.strategy import DEFAULT_MEANS, MEANS
from ..reservations.claims import MAX_TTL_S
from ..reservations.ledger import Ledger, open_ledger
from ..reservations.location import ledger_url
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .migrate_outlook import activity_ahead, destination_room, remaining_need
from .migrate_result import already_there, broken_record, in_flight, migration_record, moved, would_move
from .migrate_windows import windows_from

#: Who the ledger's audit trail names.
ACTOR = "vm_migrate"
#: Longest time for which the dirty rate is measured, in seconds; what it was an hour ago says nothing of now.
MAX_DIRTY_RATE_S = 3600.0


@dataclass(frozen=True)
class MigrateRequest:
    """The options of vm_migrate.

    ``reservation_id`` or ``destination`` says where to; without either, the VM's one active reservation does.
    ``means`` are names of `strategy.MEANS`, ``windows`` as `windows_from` takes them.
    """

    endpoints: Sequence[Mapping[str, Any]]
    store: str
    vm: str
    ledger: str | None = None
    vm_endpoint: str | None = None
    reservation_id: str | None = None
    destination: str | None = None
    forecast_id: str | None = None
    forecast_level: float = 0.95
    sla: Mapping[str, Any] = field(default_factory=dict)
    means: Sequence[str] = tuple(sorted(DEFAULT_MEANS))
    bandwidth_mib_s: float | None = None
    storage_copy: bool = False
    windows: Sequence[Mapping[str, Any]] | None = None
    limits: Mapping[str, int | None] = field(default_factory=dict)
    lease_minutes: float = 30.0
    dirty_rate_s: float = 2.0
    latency_url: str | None = None
    driver_options: Mapping[str, Any] = field(default_factory=dict)


def migrate_vm(request: MigrateRequest, context: Context) -> Outcome:
    """Bring the VM to its reserved destination, or find it there, and settle the reservation.

    In check mode all checks are made and the strategy is chosen; nothing is changed. Raises the errors of
    `Orchestrator.run`, of finding the VM, and of the store, the ledger and the endpoints.
    """
    if request.latency_url is not None:
        parse_target(request.latency_url)
    workspace = Workspace.open(request.store, writable=not context.check_mode)
    url = ledger_url(request.ledger, request.store)
    with Fleet(request.endpoints) as fleet, open_ledger(url, actor=ACTOR, writable=not context.check_mode) as ledger:
        clock = fleet.clock
        terms = _terms(request, clock.now())
        reservation = ledger.get(request.reservation_id) if request.reservation_id is not None else None
        estate = take_inventory(fleet, clock.now())
        found = find_vm(fleet, estate, request.vm, request.vm_endpoint, reservation.vm_uuid if reservation else None)
        if reservation is None:
            reservation = _held_for(ledger, found, _asked(estate, request.destination), clock.now())
        destination = _destination(estate, request.destination, reservation)
        move = _move(request, terms, found, destination, reservation, workspace, clock.now())
        orchestrator = Orchestrator(fleet, ledger, clock, context.report, request.latency_url)
        warnings = _unreachable(estate)
        if found.flight is None and found.host_key == destination.key:
            return _at_destination(move, found, orchestrator, context, warnings)
        if move.source.family != destination.family:
            raise DifferentFamily(
                f"{move.source.key} is {move.source.family}, {destination.key} is {destination.family}",
                advice="Live migration stays within one hypervisor family. Choose another destination.",
                details={"source": move.source.family, "destination": destination.family},
            )
        if context.check_mode:
            return _foreseen(move, found, orchestrator, warnings)
        return _carry_out(move, found, orchestrator, workspace, warnings)


def _carry_out(
    move: Move, found: Found, orchestrator: Orchestrator, workspace: Workspace, warnings: tuple[str, ...]
) -> Outcome:
    try:
        arrived, plan = orchestrator.run(move, found.flight)
    except ForesightError as error:
        if orchestrator.broken is not None:
            _keep(workspace, broken_record(move, orchestrator.broken, error), error)
        raise
    record = migration_record(move, arrived, plan)
    try:
        workspace.migrations.append(record)
    except ForesightError as error:
        warnings = (*warnings, f"predicted and actual were not kept: {error.message}")
    result, diff = moved(move, arrived, plan)
    soft = tuple(check.message for check in (plan.checks if plan else ()) if not check.passed)
    return Outcome(True, result, diff, (*warnings, *soft))


def _keep(workspace: Workspace, record: Mapping[str, Any], error: ForesightError) -> None:
    """Keep the record of a failed move; where that fails too, ``error`` says so beside its own cause."""
    try:
        workspace.migrations.append(record)
    except ForesightError as refusal:
        error.details["not_recorded"] = refusal.message


def _at_destination(
    move: Move, found: Found, orchestrator: Orchestrator, context: Context, warnings: tuple[str, ...]
) -> Outcome:
    answering = [status.name for status in found.estate.endpoints if status.reachable]
    if not found.complete:
        raise MigrationUnsettled(
            f"The VM runs on {move.destination.key}, but part of its memory is still on the host that it left, which "
            "does not answer",
            advice="Bring that host back before anything else: without it the VM is lost. The reservation is kept.",
            details={"vm_uuid": move.vm.uuid, "answering": answering},
        )
    settlement = _foreseen_settlement(move) if context.check_mode else orchestrator.settle_there(move, answering)
    result, diff = already_there(move, settlement)
    return Outcome(settlement is not None and settlement.changed, result, diff, warnings)


def _foreseen_settlement(move: Move) -> Settlement | None:
    """Return what settling there would bring; who will guarantee what shows only then."""
    if move.reservation is None:
        return None
    unsettled = move.reservation.state in ("active", "expired")
    return Settlement("consumed" if unsettled else move.reservation.state, unsettled, {})


def _foreseen(move: Move, found: Found, orchestrator: Orchestrator, warnings: tuple[str, ...]) -> Outcome:
    if found.flight is not None:
        require_same_target(move, found.flight)
        result, diff = in_flight(move)
        return Outcome(True, result, diff, warnings)
    plan = orchestrator.plan(move)
    required(plan, without=("reservation_exists",))
    result, diff = would_move(move, plan)
    soft = tuple(check.message for check in plan.checks if not check.passed)
    return Outcome(True, result, diff, (*warnings, *soft))


def _asked(estate: Estate, wanted: str | None) -> Host | None:
    return estate.find_host(wanted) if wanted is not None else None


def _held_for(ledger: Ledger, found: Found, destination: Host | None, now_ts: float) -> Reservation | None:
    """Return what is reserved for the VM (on ``destination`` if one was asked for): active, or else consumed last.

    Raises `InvalidOption` when it is reserved on several hosts and none was asked for.
    """
    hosts = None if destination is None else [destination.key]
    held = ledger.find(hosts, [found.vm.uuid], ("active", "consumed"), now_ts=now_ts)
    active = [reservation for reservation in held if reservation.state == "active"]
    if len({reservation.host_key for reservation in active}) > 1:
        names = ", ".join(sorted(reservation.host_key for reservation in active))
        raise InvalidOption("destination", f"the VM is reserved on {names}; say which is meant")
    return max(active or held, key=lambda reservation: reservation.updated_ts, default=None)


def _destination(estate: Estate, wanted: str | None, reservation: Reservation | None) -> Host:
    """Return the destination.

    Raises `NothingReserved` when neither option nor reservation names one, `InvalidOption` when they differ.
    """
    asked = _asked(estate, wanted)
    if reservation is None:
        if asked is None:
            raise NothingReserved(
                "Nothing is reserved for the VM, and no destination was given",
                advice="Run host_select and host_reserve first.",
            )
        return asked
    reserved = estate.find_host(reservation.host_key)
    if asked is not None and asked.key != reserved.key:
        raise InvalidOption("destination", f"{wanted!r} is not {reserved.key}, for which reservation_id holds capacity")
    return reserved


def _move(
    request: MigrateRequest,
    terms: Terms,
    found: Found,
    destination: Host,
    reservation: Reservation | None,
    workspace: Workspace,
    now_ts: float,
) -> Move:
    source_key = found.flight.source_key if found.flight is not None else found.host_key
    return Move(
        vm=found.vm,
        source=found.estate.find_host(source_key),
        destination=destination,
        reservation=reservation,
        terms=terms,
        need=remaining_need(workspace, request.forecast_id, found.vm, reservation, request.forecast_level, now_ts),
        room=destination_room(
            workspace, request.forecast_id, found.estate, destination, found.vm, request.forecast_level, now_ts
        ),
        ahead=activity_ahead(workspace, request.forecast_id, found.vm, now_ts),
    )


def _terms(request: MigrateRequest, now_ts: float) -> Terms:
    """Return the terms of the request; raises `InvalidOption` for what cannot be meant."""
    unknown = sorted(set(request.means) - set(MEANS))
    if unknown:
        raise InvalidOption("means", f"unknown means {unknown[0]!r}; known are {', '.join(MEANS)}")
    if request.bandwidth_mib_s is not None and not request.bandwidth_mib_s > 0:
        raise InvalidOption("bandwidth_mib_s", f"{request.bandwidth_mib_s!r} is not above 0")
    if not 0 < request.lease_minutes <= MAX_TTL_S / 60.0:
        raise InvalidOption(
            "lease_minutes", f"{request.lease_minutes!r} is not above 0 and at most {MAX_TTL_S / 60.0:.0f}"
        )
    if not 0 < request.forecast_level < 1:
        raise InvalidOption("forecast_level", f"{request.forecast_level!r} is not between 0 and 1")
    if not 0 <= request.dirty_rate_s <= MAX_DIRTY_RATE_S:
        raise InvalidOption("dirty_rate_s", f"{request.dirty_rate_s!r} is not between 0 and {MAX_DIRTY_RATE_S:g}")
    for name, limit in request.limits.items():
        if limit is not None and limit < 1:
            raise InvalidOption(f"limits.{name}", f"{limit!r} would never let a migration run")
    return Terms(
        sla=sla_from(request.sla),
        means=frozenset(request.means),
        bandwidth_mib_s=request.bandwidth_mib_s,
        storage_copy=request.storage_copy,
        windows=windows_from(request.windows, now_ts),
        limits=Limits(**dict(request.limits)),
        lease_ttl_s=request.lease_minutes * 60.0,
        dirty_rate_s=request.dirty_rate_s,
        options=request.driver_options,
    )


def _unreachable(estate: Estate) -> tuple[str, ...]:
    return tuple(
        f"endpoint {status.name!r} could not be asked: {(status.error or {}).get('message', '')}"
        for status in estate.endpoints
        if not status.reachable
    )

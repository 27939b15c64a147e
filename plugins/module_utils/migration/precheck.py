# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Everything that must hold before a move is started. Each check asks, none changes anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..clock import to_iso
from ..errors import ForesightError
from ..estate.reservation import Reservation
from ..estate.resources import FIELD_OF, RESOURCES, UNITS
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Hold, MoveOrder
from ..reservations.host_calendar import is_lapsed
from ..reservations.ledger import Ledger
from .move import Check, Move
from .strategy import Choice

#: A reservation may fall short of the forecast by this share: forecasts of the same hour differ by as much.
COVER_TOLERANCE = 0.05
#: Relative slack against rounding.
ROUNDING = 1e-6


def check_vm(move: Move) -> list[Check]:
    """Check that the VM can be moved live at all."""
    vm = move.vm
    return [
        Check("vm_running", vm.power_state == "running", f"the VM is {vm.power_state}"),
        Check("vm_movable", not vm.pinned_by and not vm.is_template, _pinned(vm.pinned_by, vm.is_template)),
    ]


def check_destination(move: Move) -> list[Check]:
    """Check that the destination is of the same family and takes VMs."""
    source, destination = move.source, move.destination
    return [
        Check(
            "same_family", source.family == destination.family,
            f"source is {source.family}, destination is {destination.family}",
        ),
        Check("destination_up", destination.state == "up", f"{destination.key} is {destination.state}"),
    ]  # fmt: skip


def check_window(move: Move, now_ts: float) -> list[Check]:
    """Check that a move may start now: no blackout, and inside a window where there are any."""
    terms = move.terms
    dark = next(((start, end) for start, end in terms.sla.blackout if start <= now_ts < end), None)
    checks = [
        Check(
            "no_blackout", dark is None, f"blackout until {to_iso(dark[1])}" if dark else "no blackout now",
            blocking="blackout" not in terms.sla.soft,
        )
    ]  # fmt: skip
    if terms.windows is not None:
        inside = any(start <= now_ts < end for start, end in terms.windows)
        upcoming = min((start for start, _end in terms.windows if start > now_ts), default=None)
        opens = f"the next window opens {to_iso(upcoming)}" if upcoming is not None else "no window is to come"
        checks.append(Check("window_open", inside, "inside a window" if inside else opens))
    return checks


def check_duration(move: Move, choice: Choice, now_ts: float) -> list[Check]:
    """Check that the move is predicted to end before a blackout, its window or its reservation does."""
    if choice.strategy is None:
        return []
    end_ts = now_ts + choice.strategy.prediction.duration_s
    sla, reservation = move.terms.sla, move.reservation
    limits = [("the next blackout begins", start, "blackout" not in sla.soft) for start, _unused in sla.blackout]
    limits += [("the window closes", end, False) for start, end in move.terms.windows or () if start <= now_ts]
    if reservation is not None:
        limits.append(("the reservation ends", reservation.end_ts, True))
    return [
        Check("ends_in_time", False, f"it would take until {to_iso(end_ts)}; {what} {to_iso(ts)}", blocking)
        for what, ts, blocking in limits
        if now_ts < ts < end_ts
    ] or [Check("ends_in_time", True, f"it should end {to_iso(end_ts)}")]


def check_reservation(move: Move, now_ts: float) -> list[Check]:
    """Check that the capacity is reserved: for this VM, on this host, now, and as much as it will need."""
    reservation = move.reservation
    if reservation is None:
        return [
            Check("reservation_exists", False, f"nothing is reserved for the VM on {move.destination.key}"),
        ]
    active = reservation.state == "active" and not is_lapsed(reservation, now_ts)
    state = "lapsed" if reservation.state == "active" and not active else reservation.state
    matches = (reservation.vm_uuid, reservation.host_key) == (move.vm.uuid, move.destination.key)
    started = reservation.start_ts <= now_ts
    return [
        Check("reservation_exists", True, f"{reservation.tier} reservation {reservation.reservation_id}"),
        Check("reservation_active", active, f"it is {state}"),
        Check(
            "reservation_matches", matches,
            f"it is for VM {reservation.vm_uuid} on {reservation.host_key}; "
            f"asked was VM {move.vm.uuid} on {move.destination.key}",
        ),
        Check("reservation_begun", started, f"its window begins {to_iso(reservation.start_ts)}"),
        *_covers(move, reservation),
    ]  # fmt: skip


def check_enforcement(move: Move, holds: Sequence[Hold] | ForesightError) -> list[Check]:
    """Check that what the hypervisor was to enforce is really in place, by the hypervisor's own answer."""
    reservation = move.reservation
    if reservation is None:
        return []
    promised = [r for r in RESOURCES if reservation.enforced_by.get(r) == "hypervisor" and reservation.amount[r] > 0]
    if not promised:
        return [Check("reservation_enforced", True, "held by the ledger alone")]
    blocking = reservation.tier == "hard"
    if isinstance(holds, ForesightError):
        return [Check("reservation_enforced", False, f"the hypervisor did not say: {holds.message}", blocking)]
    hold = next((hold for hold in holds if hold.reservation_id == reservation.reservation_id), None)
    if hold is None:
        return [Check("reservation_enforced", False, "the hypervisor holds nothing for it any more", blocking)]
    weak = [r for r in promised if hold.amount[r] < reservation.amount[r] * (1 - ROUNDING)]
    message = f"the hypervisor holds {', '.join(promised)}" if not weak else f"it holds too little {', '.join(weak)}"
    return [Check("reservation_enforced", not weak, message, blocking, {"held": hold.amount.as_dict()})]


def check_room(move: Move, ledger: Ledger, now_ts: float) -> list[Check]:
    """Check that everything promised on the destination, this VM included, still fits beside its load.

    The measure is its whole capacity: how much of it may be planned for was judged when the reservation was made.
    """
    reservation, room = move.reservation, move.room
    if reservation is None or room is None:
        return []
    end_ts = max(reservation.end_ts, now_ts + room.step_s)
    calendar = ledger.calendar(move.destination.key, room, now_ts, start_ts=now_ts, end_ts=end_ts)
    promised = calendar.load + calendar.hard + (calendar.soft if reservation.tier == "soft" else 0.0)
    short = {}
    for index, resource in enumerate(RESOURCES):
        capacity = room.capacity[resource]
        lack = float(promised[index].max()) - capacity
        if reservation.amount[resource] > 0 and capacity > 0 and lack > ROUNDING * capacity:
            short[resource] = lack
    message = "; ".join(f"{r} is short by {lack:.6g} {UNITS[r]}" for r, lack in short.items())
    details = {"shortfall": {FIELD_OF[r]: lack for r, lack in short.items()}}
    return [
        Check(
            "destination_room",
            not short,
            message or "the destination has the room",
            reservation.tier == "hard",
            details,
        )
    ]


def check_basis(problem: str) -> list[Check]:
    """Return a warning when the dirty rate could not be measured."""
    return [Check("dirty_rate_measured", False, problem, blocking=False)] if problem else []


def check_preflight(move: Move, fleet: Fleet, order: MoveOrder) -> list[Check]:
    """Ask the platform itself whether the move is possible."""
    destination = fleet.driver(move.destination.endpoint)
    source = fleet.driver(move.source.endpoint)
    findings = destination.preflight(move.vm.uuid, source, move.destination.host_id, order)
    passed = not any(finding.blocking for finding in findings)
    summary = Check("preflight", passed, "the platform has no objection" if passed else "the platform objects")
    return [summary, *map(Check.of_finding, findings)]


def check_concurrency(move: Move, fleet: Fleet, ledger: Ledger, now_ts: float) -> list[Check]:
    """Check that the limits on concurrent migrations leave a place for this one.

    Counted are the moves in flight of VMs that hold an active reservation anywhere, by asking the hypervisors.
    """
    limits = move.terms.limits
    if (limits.incoming_per_host, limits.outgoing_per_host, limits.total) == (None, None, None):
        return []
    flying = others_in_flight(move, fleet, ledger, now_ts)
    incoming = sum(1 for _source, destination in flying if destination == move.destination.key)
    outgoing = sum(1 for source, _destination in flying if source == move.source.key)
    counted = (
        ("incoming", incoming, limits.incoming_per_host, f"into {move.destination.key}"),
        ("outgoing", outgoing, limits.outgoing_per_host, f"out of {move.source.key}"),
        ("total", len(flying), limits.total, "in all"),
    )
    return [
        Check(f"concurrency_{name}", count < limit, f"{count} of {limit} migrations {where} are running")
        for name, count, limit, where in counted
        if limit is not None
    ]


def others_in_flight(move: Move, fleet: Fleet, ledger: Ledger, now_ts: float) -> list[tuple[str, str]]:
    """Return source and destination (`Host.key`) of every move in flight of another VM with an active reservation."""
    others = [r for r in ledger.find(states=("active",)) if r.vm_uuid != move.vm.uuid and not is_lapsed(r, now_ts)]
    return list(_in_flight(others, fleet))


def _in_flight(reservations: Iterable[Reservation], fleet: Fleet) -> Iterable[tuple[str, str]]:
    """Yield the host that is left and the host of the reservation, for each whose VM is being moved there."""
    wanted = {reservation.vm_uuid: reservation for reservation in reservations}
    if not wanted:
        return
    answers = fleet.ask(lambda driver: [(driver.name, job) for uuid in wanted if (job := driver.find_migration(uuid))])
    for jobs in answers.values():
        if isinstance(jobs, ForesightError):
            continue  # an endpoint that does not answer has no part in this move, or the move fails on it anyway
        for endpoint, job in jobs:
            yield f"{endpoint}/{job.source_host_id}", wanted[job.vm_uuid].host_key


def _covers(move: Move, reservation: Reservation) -> list[Check]:
    if move.need is None:
        return [Check("reservation_covers_forecast", True, "there is no forecast to compare with", blocking=False)]
    short = {
        r: move.need[r] - reservation.amount[r]
        for r in RESOURCES
        if reservation.amount[r] > 0 and move.need[r] * (1 - COVER_TOLERANCE) > reservation.amount[r]
    }
    said = "; ".join(
        f"{r}: forecast {move.need[r]:.6g}, reserved {reservation.amount[r]:.6g} {UNITS[r]}" for r in short
    )
    details = {"shortfall": {FIELD_OF[r]: lack for r, lack in short.items()}}
    message = said or "it covers the current forecast"
    return [Check("reservation_covers_forecast", not short, message, reservation.tier == "hard", details)]


def _pinned(pinned_by: Sequence[str], is_template: bool) -> str:
    if is_template:
        return "it is a template"
    return f"it is tied to its host by {', '.join(pinned_by)}" if pinned_by else "nothing ties it to its host"


def attempt(code: str, checks: Callable[[], list[Check]]) -> list[Check]:
    """Return the checks, or one failed check ``code`` that says why they could not be made."""
    try:
        return checks()
    except ForesightError as error:
        return [Check(code, False, error.message, details={"error": error.code})]

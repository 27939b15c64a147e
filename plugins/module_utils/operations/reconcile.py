# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``state: reconciled``: ledger and hypervisors brought into agreement after crashes, and what disagrees reported."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..clock import to_iso
from ..errors import ForesightError, InvalidOption
from ..estate.reservation import Reservation
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Driver, Hold
from ..reservations.ledger import Ledger
from ..reservations.ledger_errors import LedgerDenied
from .context import Context, Outcome
from .enforcement import endpoint_of, enforce, host_id_of, is_arriving
from .overcommitment import overcommitted_hosts
from .reserve_request import ReserveRequest, brief

#: Largest relative difference between what is held and what is reserved that is mere rounding by the platform.
ROUNDING = 0.01
DAY_S = 86_400.0
#: Most entries of one kind in a result; all are dealt with.
MOST_LISTED = 40


@dataclass
class _Report:
    """What was found and done (or, in check mode, would be), by kind; each entry is JSON-able."""

    expired: list[dict[str, Any]] = field(default_factory=list)
    removed_holds: list[dict[str, Any]] = field(default_factory=list)
    settled: list[dict[str, Any]] = field(default_factory=list)
    adopted: list[dict[str, Any]] = field(default_factory=list)
    placed_again: list[dict[str, Any]] = field(default_factory=list)
    unenforced: list[dict[str, Any]] = field(default_factory=list)
    foreign_holds: list[dict[str, Any]] = field(default_factory=list)
    unrepaired: list[dict[str, Any]] = field(default_factory=list)
    clocks_corrected: list[str] = field(default_factory=list)
    forgotten: int = 0

    def changes(self) -> dict[str, Any]:
        """Return what differs from before, without what was only found."""
        kinds = ("expired", "removed_holds", "settled", "adopted", "placed_again", "clocks_corrected", "forgotten")
        return {kind: getattr(self, kind) for kind in kinds if getattr(self, kind)}


@dataclass(frozen=True)
class _Scene:
    """Where a reconciliation works."""

    fleet: Fleet
    ledger: Ledger
    now_ts: float
    check_mode: bool
    report: _Report

    def do(self, kind: str, entry: Mapping[str, Any], action: Callable[[], object]) -> None:
        """Carry out ``action`` (not in check mode) and list ``entry`` under ``kind``, or ``unrepaired``."""
        if not self.check_mode:
            try:
                action()
            except ForesightError as error:
                self.give_up(kind, entry, error)
                return
        getattr(self.report, kind).append(dict(entry))

    def give_up(self, kind: str, entry: Mapping[str, Any], error: ForesightError) -> None:
        """List ``entry``, which belongs under ``kind``, with the error that kept it from there."""
        self.report.unrepaired.append({**entry, "wanted": kind, "error": error.as_dict()})


def reconcile(request: ReserveRequest, context: Context) -> Outcome:
    """Expire what has lapsed, remove holds without a living reservation, repair living ones, forget old ones.

    Endpoints that do not answer are reported and left alone. Holds made through another ledger are reported as
    foreign and never touched. Running it again changes nothing. Raises `InvalidOption` for ``retention_days`` below 1.
    """
    if not request.retention_days >= 1:
        raise InvalidOption("retention_days", f"{request.retention_days!r} is less than a day")
    with Fleet(request.endpoints) as fleet, request.open_ledger(writable=not context.check_mode) as ledger:
        scene = _Scene(fleet, ledger, fleet.clock.now(), context.check_mode, _Report())
        # Holds are listed before the ledger is read: every hold listed had its claim committed before.
        answers = fleet.ask(lambda driver: driver.list_holds())
        holds = {name: answer for name, answer in answers.items() if not isinstance(answer, ForesightError)}
        unreachable = {name: answer.as_dict() for name, answer in answers.items() if isinstance(answer, ForesightError)}
        _correct_clocks(scene)
        scene.report.expired.extend(brief(each) for each in ledger.expire(scene.now_ts, dry_run=context.check_mode))
        known = _known(scene, holds)
        for name, found in holds.items():
            for hold in found:
                _judge_hold(scene, fleet.driver(name), hold, known.get(hold.reservation_id))
        held = {hold.reservation_id for found in holds.values() for hold in found}
        for reservation in known.values():
            answered = endpoint_of(reservation) in holds
            if reservation.state == "active" and answered and reservation.reservation_id not in held:
                _judge_missing(scene, fleet.driver(endpoint_of(reservation)), reservation)
        overcommitted, warnings = overcommitted_hosts(request, ledger, scene.now_ts)
        kept = _forget(scene, request.retention_days)
    findings = {**vars(scene.report), "overcommitted": overcommitted}
    changes = scene.report.changes()
    return Outcome(
        changed=bool(changes),
        result={**_shortened(findings), "unreachable": unreachable},
        diff={"before": _shortened(changes), "after": {}},
        warnings=(*warnings, *kept, *_warnings(scene.report, unreachable), *_left_out(findings)),
    )


def _shortened(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same with every list cut to `MOST_LISTED` entries."""
    return {kind: entries[:MOST_LISTED] if isinstance(entries, list) else entries for kind, entries in found.items()}


def _left_out(found: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a warning for every list that is too long to be shown whole."""
    return tuple(
        f"{len(entries)} entries belong under '{kind}'; the first {MOST_LISTED} are shown"
        for kind, entries in found.items()
        if isinstance(entries, list) and len(entries) > MOST_LISTED
    )


def _forget(scene: _Scene, retention_days: float) -> tuple[str, ...]:
    """Remove what ended longer ago than it is kept; a role that may not delete anything keeps it, with a warning."""
    before_ts = scene.now_ts - retention_days * DAY_S
    due = scene.ledger.forget(before_ts, dry_run=True)
    try:
        scene.report.forgotten = scene.ledger.forget(before_ts) if due and not scene.check_mode else due
    except LedgerDenied as error:
        return (
            f"{due} reservations that ended more than {retention_days:g} days ago are kept, as this role may not "
            f"delete them: {error.message}",
        )
    return ()


def _correct_clocks(scene: _Scene) -> None:
    if scene.check_mode:
        scene.report.clocks_corrected.extend(scene.ledger.hosts_ahead(scene.now_ts))
    else:
        scene.report.clocks_corrected.extend(scene.ledger.accept_clock(scene.now_ts))


def _known(scene: _Scene, holds: Mapping[str, tuple[Hold, ...]]) -> dict[str, Reservation]:
    """Return every active reservation and every one that some hypervisor has a hold for, by id."""
    ids = {hold.reservation_id for found in holds.values() for hold in found}
    found = (
        *scene.ledger.find(states=["active"], now_ts=scene.now_ts),
        *scene.ledger.find(reservation_ids=ids, now_ts=scene.now_ts),
    )
    return {reservation.reservation_id: reservation for reservation in found}


def _judge_hold(scene: _Scene, driver: Driver, hold: Hold, reservation: Reservation | None) -> None:
    """Decide on one hold that is really in place."""
    entry = {
        "reservation_id": hold.reservation_id,
        "endpoint": driver.name,
        "host_id": hold.host_id,
        "vm_uuid": hold.vm_uuid,
        "state": reservation.state if reservation else "unknown",
    }
    if reservation is None and not hold.reservation_id.startswith(f"r-{scene.ledger.ledger_id()}-"):
        scene.report.foreign_holds.append(entry)
    elif reservation is None or reservation.state in ("released", "expired"):
        scene.do("removed_holds", entry, lambda: driver.release_hold(hold.reservation_id, hold.tokens))
    elif reservation.state == "consumed":
        _settle_late(scene, driver, reservation, entry)
    elif f"{driver.name}/{hold.host_id}" != reservation.host_key:
        scene.do("removed_holds", entry, lambda: driver.release_hold(hold.reservation_id, hold.tokens))
    elif _differs(hold, reservation):
        _place_again(scene, driver, reservation)
    elif not reservation.enforced_by:
        scene.do("adopted", brief(reservation), lambda: _adopt(scene, hold, reservation))


def _settle_late(scene: _Scene, driver: Driver, reservation: Reservation, entry: Mapping[str, Any]) -> None:
    """Finish what a crash between the VM's arrival and its settlement left: the VM's own guarantee, or nothing.

    It is settled by the reservation, since the hypervisor's hold shows only what the hypervisor holds of it.
    """
    hold = Hold.of(reservation)
    if any(seen.active and seen.host_id == hold.host_id for seen in driver.locate(hold.vm_uuid)):
        scene.do("settled", entry, lambda: driver.settle_hold(hold))
    else:
        scene.do("removed_holds", entry, lambda: driver.release_hold(hold.reservation_id, hold.tokens))


def _adopt(scene: _Scene, hold: Hold, reservation: Reservation) -> None:
    """Note a hold that was placed by a process which died before it could say so."""
    scene.ledger.record_enforcement(
        reservation.reservation_id,
        hold.enforced_by,
        hold.tokens,
        scene.now_ts,
        generation=reservation.generation,
    )


def _judge_missing(scene: _Scene, driver: Driver, reservation: Reservation) -> None:
    """Decide on an active reservation of which the hypervisor holds nothing."""
    if any(seen.active and seen.host_id == host_id_of(reservation) for seen in driver.locate(reservation.vm_uuid)):
        # Settled on the platform, but its mover died before it could tell the ledger.
        scene.do(
            "settled",
            brief(reservation),
            lambda: scene.ledger.consume(reservation.reservation_id, scene.now_ts),
        )
    elif "hypervisor" in reservation.enforced_by.values():
        _place_again(scene, driver, reservation)
    elif not reservation.enforced_by:
        scene.report.unenforced.append({**brief(reservation), "lease_expires": to_iso(reservation.lease_expires_ts)})


def _place_again(scene: _Scene, driver: Driver, reservation: Reservation) -> None:
    """Have the hypervisor hold what is reserved; not while the VM arrives, as a hold may give way to it meanwhile."""
    arriving, error = is_arriving(reservation, scene.fleet)
    if arriving:
        return
    if error is not None:
        scene.give_up("placed_again", brief(reservation), error)
        return
    scene.do("placed_again", brief(reservation), lambda: enforce(driver, scene.ledger, reservation, scene.now_ts))


def _differs(hold: Hold, reservation: Reservation) -> bool:
    """Return whether the hypervisor holds another amount than is reserved, in what it enforces at all."""
    return any(
        abs(hold.amount[name] - reservation.amount[name]) > ROUNDING * max(1.0, reservation.amount[name])
        for name, who in hold.enforced_by.items()
        if who == "hypervisor"
    )


def _warnings(report: _Report, unreachable: Mapping[str, Any]) -> tuple[str, ...]:
    found = [f"Endpoint {name} did not answer; its holds were not looked at" for name in unreachable]
    if report.foreign_holds:
        found.append(f"{len(report.foreign_holds)} holds were made through another ledger and were left alone")
    if report.unenforced:
        found.append(f"{len(report.unenforced)} active reservations are not enforced by their hypervisor (yet)")
    if report.unrepaired:
        found.append(f"{len(report.unrepaired)} repairs could not be made; see 'unrepaired'")
    return tuple(found)

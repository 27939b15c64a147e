# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a claim would do, given what the ledger holds: found here, written by the ledger. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ..clock import to_iso
from ..estate.reservation import Reservation
from .admission import Verdict, admit
from .claims import ClaimRequest, ClaimResult
from .host_calendar import HostCalendar, HostRoom, build_calendar, holds_room, is_lapsed
from .ledger_errors import ClaimRefused, VmReservedElsewhere


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """An admitted claim. ``current`` is the reservation it changes; ``action`` as in `ClaimResult`."""

    current: Reservation | None
    action: str
    verdict: Verdict
    before: HostCalendar
    after: HostCalendar

    def result(self, reservation: Reservation, expired: tuple[Reservation, ...]) -> ClaimResult:
        """Return the answer to the claim, with ``reservation`` as it is (or would be) afterwards."""
        return ClaimResult(self.action, reservation, self.current, self.verdict, self.before, self.after, expired)


def decide(
    request: ClaimRequest,
    room: HostRoom,
    on_host: Iterable[Reservation],
    of_vm: Iterable[Reservation],
    now_ts: float,
) -> Decision:
    """Decide on ``request`` given the reservations ``on_host`` and those ``of_vm``, of whatever state.

    Raises `VmReservedElsewhere` or `ClaimRefused`.
    """
    holding = [reservation for reservation in on_host if holds_room(reservation, room, now_ts)]
    current = next((r for r in holding if r.state == "active" and _is_same_claim(r, request)), None)
    if current is None and not request.allow_second_host:
        _refuse_second_host(request, of_vm, now_ts)
    others = [reservation for reservation in holding if reservation is not current]
    without = build_calendar(room, others, max(request.start_ts, now_ts), request.end_ts, now_ts)
    before = without
    if current is not None:
        before = without.adding(current.amount, current.tier, current.start_ts, current.end_ts)
    soft = [reservation for reservation in others if reservation.tier == "soft"]
    verdict = admit(request.amount, request.tier, without, room.soft_overcommit, soft)
    if current is not None and request.is_within(current, now_ts):
        verdict = replace(verdict, admitted=True, shortfall=())
    if not verdict.admitted:
        raise _refusal(request, verdict)
    after = without.adding(request.amount, request.tier, request.start_ts, request.end_ts)
    return Decision(current, _action(current, request, now_ts), verdict, before, after)


def next_reservation(decision: Decision, request: ClaimRequest, now_ts: float, new_id: str) -> Reservation:
    """Return the reservation as it is after the decision; generation and time of change are the ledger's to set."""
    current = decision.current
    lease_expires_ts = now_ts + request.ttl_s
    if current is None:
        return Reservation(
            reservation_id=new_id,
            host_key=request.host_key,
            vm_uuid=request.vm_uuid,
            vm_name=request.vm_name,
            amount=request.amount,
            tier=request.tier,
            start_ts=request.start_ts,
            end_ts=request.end_ts,
            lease_expires_ts=lease_expires_ts,
            owner=request.owner,
            purpose=request.purpose,
            created_ts=now_ts,
            updated_ts=now_ts,
        )
    if decision.action == "unchanged":
        return current
    longest = max(current.lease_expires_ts, lease_expires_ts)
    if decision.action == "renewed":
        return replace(current, lease_expires_ts=longest)
    return replace(
        current,
        amount=request.amount,
        tier=request.tier,
        start_ts=request.start_ts,
        end_ts=request.end_ts,
        lease_expires_ts=longest,
        enforced_by={},  # what is held is still the old amount, until somebody notes that the new one is
    )


def difference(old: Reservation | None, new: Reservation) -> dict[str, object]:
    """Return what the audit trail keeps of a change: every field that differs, as ``{field: [old, new]}``.

    Tokens are left out: they are the driver's business.
    """
    fields = ("tier", "start_ts", "end_ts", "lease_expires_ts", "enforced_by")
    changes: dict[str, object] = {}
    for name in fields:
        before, after = (getattr(old, name) if old else None), getattr(new, name)
        if before != after:
            changes[name] = [before, after]
    if old is None or old.amount != new.amount:
        changes["amount"] = [old.amount.as_dict() if old else None, new.amount.as_dict()]
    return changes


def _is_same_claim(reservation: Reservation, request: ClaimRequest) -> bool:
    return reservation.vm_uuid == request.vm_uuid and reservation.purpose == request.purpose


def _action(current: Reservation | None, request: ClaimRequest, now_ts: float) -> str:
    if current is None:
        return "created"
    if not request.is_met_by(current):
        return "updated"
    return "renewed" if current.lease_expires_ts - now_ts < request.ttl_s / 2 else "unchanged"


def _refuse_second_host(request: ClaimRequest, of_vm: Iterable[Reservation], now_ts: float) -> None:
    elsewhere = [
        reservation
        for reservation in of_vm
        if reservation.state == "active"
        and reservation.host_key != request.host_key
        and not is_lapsed(reservation, now_ts)
    ]
    if elsewhere:
        first = elsewhere[0]
        raise VmReservedElsewhere(
            f"VM {request.vm_name or request.vm_uuid} already holds reservation {first.reservation_id} on host "
            f"{first.host_key}, made by {first.owner}",
            advice="Release that one first, or set allow_second_host if both are really wanted.",
            details={"reservations": _named(elsewhere)},
        )


def _named(reservations: Sequence[Reservation]) -> list[dict[str, str]]:
    return [
        {
            "reservation_id": reservation.reservation_id,
            "host": reservation.host_key,
            "owner": reservation.owner,
            "purpose": reservation.purpose,
            "lease_expires": to_iso(reservation.lease_expires_ts),
        }
        for reservation in reservations
    ]


def _refusal(request: ClaimRequest, verdict: Verdict) -> ClaimRefused:
    return ClaimRefused(
        f"Host {request.host_key} does not have the room for a {request.tier} reservation: "
        + "; ".join(lack.sentence() for lack in verdict.shortfall),
        advice="Choose another host or window, ask for less, or raise the limit.",
        details={
            "host": request.host_key,
            "tier": request.tier,
            "likelihood": verdict.likelihood,
            "shortfall": [lack.as_dict() for lack in verdict.shortfall],
        },
    )

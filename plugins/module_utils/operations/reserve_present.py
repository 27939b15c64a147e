# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``state: present``: capacity of a host held for a VM, in the ledger and as far as possible by the hypervisor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..clock import from_iso, to_iso
from ..errors import ForesightError, InvalidOption
from ..estate.nouns import Host, Vm
from ..estate.reservation import Reservation
from ..estate.resources import FIELD_OF, Resources, checked_limits
from ..estate.series import SeriesKey
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Driver, Hold, HoldRefused
from ..placement.loads import demand_keys
from ..reservations.claims import ClaimRequest, ClaimResult
from ..reservations.host_calendar import HostRoom
from ..reservations.ledger import Ledger
from ..reservations.ledger_errors import ClaimRefused
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .enforcement import LEDGER_ONLY, check_unused, enforce_claim, unheld
from .host_room import Outlook, check_covered, needed_amount, outlooks
from .reserve_request import DEFAULT_WINDOW_HOURS, ReserveRequest, checked_window_s, shown

#: The quantiles of a VM's peaks, by series and level, as `Forecasts.peaks` returns them.
Peaks = Mapping[SeriesKey, Mapping[float, float]]


class HostUnusable(ForesightError):
    """The host cannot receive the VM at all, whatever room it has."""

    code = "host_unusable"


@dataclass(frozen=True)
class _Case:
    """A claim about to be made: who, where, when, how much, against what."""

    vm: Vm
    host: Host
    claim: ClaimRequest
    room: HostRoom
    warnings: tuple[str, ...]


def hold_capacity(request: ReserveRequest, context: Context) -> Outcome:
    """Claim in the ledger, then have the hypervisor hold it; taken back when it does not hold a hard one.

    The same request again changes nothing. A VM that already runs on the host needs no reservation there.
    Raises what claiming, reading the store and the drivers raise, `HostUnusable`, and `ReservationInUse` for a change
    while the VM is on its way there.
    """
    workspace = Workspace.open(request.store, writable=False)
    estate = workspace.snapshots.read(request.snapshot_id)
    vm = estate.find_vm(_given(request.vm, "vm"), request.vm_endpoint)
    host = estate.find_host(_given(request.host, "host"))
    _check_host(host, vm, estate.hosts.get(vm.host_key or ""))
    with Fleet(request.endpoints) as fleet, request.open_ledger(writable=not context.check_mode) as ledger:
        now_ts = fleet.clock.now()
        driver = fleet.driver(host.endpoint)
        if any(seen.active and seen.host_id == host.host_id for seen in driver.locate(vm.uuid)):
            return _already_there(vm, host)
        current = _current(ledger, vm, host, request.purpose, now_ts)
        forecast_id = workspace.forecasts.find(request.forecast_id)
        known = outlooks(workspace, estate, forecast_id, [host], vm)[0]
        peaks = workspace.forecasts.peaks(forecast_id, demand_keys(vm))
        case = _case(request, known, vm, peaks, current, now_ts)
        if current is not None and not (case.claim.is_met_by(current) and current.enforced_by):
            check_unused(current, fleet)  # its hold may be giving way to the VM; whoever moves it looks after it
        context.report(_progress_line(case), {"host": host.key, "vm": vm.key})
        claim = ledger.claim(case.claim, case.room, now_ts, dry_run=context.check_mode)
        if context.check_mode:
            return _outcome(case, claim, *_foreseen(driver, claim.reservation, known.floors(request.level)))
        warnings = _clear_expired(driver, claim.expired)
        reservation, more = _enforced(driver, ledger, claim, case, known.floors(request.level), now_ts)
        return _outcome(case, claim, reservation, (*warnings, *more))


def claim_refusal(
    request: ReserveRequest, ledger: Ledger, known: Outlook, vm: Vm, peaks: Peaks, now_ts: float
) -> ClaimRefused | None:
    """Return why ``ledger`` would refuse to hold the VM's need on the host, None when it would not; claims nothing.

    Raises what asking the ledger raises.
    """
    current = _current(ledger, vm, known.host, request.purpose, now_ts)
    case = _case(request, known, vm, peaks, current, now_ts)
    try:
        ledger.claim(replace(case.claim, allow_second_host=True), case.room, now_ts, dry_run=True)
    except ClaimRefused as refusal:
        return refusal
    return None


def _given(value: str | None, option: str) -> str:
    if not value:
        raise InvalidOption(option, "is needed for state=present")
    return value


def _check_host(host: Host, vm: Vm, source: Host | None) -> None:
    if host.state != "up":
        raise HostUnusable(
            f"Host {host.name} is {host.state} and takes no VM",
            advice="Choose another host, or collect again if that has changed.",
            details={"host": host.key, "state": host.state},
        )
    if source is not None and source.family != host.family:
        raise HostUnusable(
            f"VM {vm.name} runs on {source.family}; host {host.name} is of family {host.family}",
            advice="A live migration stays within one family of hypervisors.",
            details={"host": host.key, "family": host.family, "vm_family": source.family},
        )


def _current(ledger: Ledger, vm: Vm, host: Host, purpose: str, now_ts: float) -> Reservation | None:
    found = ledger.find([host.key], [vm.uuid], ["active"], now_ts=now_ts)
    return next((reservation for reservation in found if reservation.purpose == purpose), None)


def _case(
    request: ReserveRequest, known: Outlook, vm: Vm, peaks: Peaks, current: Reservation | None, now_ts: float
) -> _Case:
    start_ts, end_ts = _window(request, known, current, now_ts)
    warnings = [*check_covered(known, max(start_ts, now_ts), end_ts), *known.assumptions()]
    amount, amount_warnings = _amount(request, vm, peaks)
    claim = ClaimRequest(
        vm_uuid=vm.uuid,
        vm_name=vm.name,
        host_key=known.host.key,
        amount=amount,
        tier=request.tier,
        start_ts=start_ts,
        end_ts=end_ts,
        ttl_s=request.ttl_minutes * 60.0,
        owner=request.actor(),
        purpose=request.purpose,
        allow_second_host=request.allow_second_host,
    )
    claim.check(now_ts)
    room = known.room(request.level, checked_limits(request.limits), request.soft_overcommit)
    return _Case(vm, known.host, claim, room, (*warnings, *amount_warnings))


def _window(request: ReserveRequest, known: Outlook, current: Reservation | None, now_ts: float) -> tuple[float, float]:
    """Return the window asked for: from now, and to the end of the forecast (or a day) where that is not said.

    Where no start is asked for, a reservation that already holds keeps its window while at least half of the length
    is left, so that asking again shortly after changes nothing. One of another length than is asked for does not.
    """
    start_ts = now_ts if request.window_start is None else from_iso(request.window_start, "window_start")
    length_s = checked_window_s(request.window_hours)
    if length_s is None:
        end_ts = max(min(known.end_ts, start_ts + DEFAULT_WINDOW_HOURS * 3600.0), start_ts + known.outline.step_s)
    else:
        end_ts = start_ts + length_s
    if request.window_start is None and current is not None:
        as_long = length_s is None or abs(current.end_ts - current.start_ts - length_s) < 1
        left_s = current.end_ts - now_ts
        if as_long and (end_ts - start_ts) / 2 <= left_s <= end_ts - start_ts:
            return current.start_ts, current.end_ts
    return start_ts, end_ts


def _amount(request: ReserveRequest, vm: Vm, peaks: Peaks) -> tuple[Resources, tuple[str, ...]]:
    if request.amount is not None:
        return Resources.from_dict(request.amount, "amount"), ()
    amount, assumed = needed_amount(vm, peaks, request.level)
    if not assumed:
        return amount, ()
    return amount, (f"No forecast of the VM's {', '.join(assumed)}: what it uses now (or its size) was taken",)


def _enforced(
    driver: Driver, ledger: Ledger, claim: ClaimResult, case: _Case, floors: Mapping[str, Resources], now_ts: float
) -> tuple[Reservation, tuple[str, ...]]:
    # A reservation without a note of who enforces it is one whose maker died in between.
    if claim.action in ("unchanged", "renewed") and claim.reservation.enforced_by:
        return claim.reservation, ()
    return enforce_claim(driver, ledger, claim, case.claim, case.room, now_ts, floors)


def _clear_expired(driver: Driver, expired: tuple[Reservation, ...]) -> tuple[str, ...]:
    """Remove what the hypervisor still holds for reservations that the claim found lapsed."""
    warnings = []
    for reservation in expired:
        try:
            driver.release_hold(reservation.reservation_id, reservation.tokens)
        except ForesightError as error:
            warnings.append(
                f"The hold of the expired reservation {reservation.reservation_id} is still in place: {error.message}; "
                "state=reconciled removes it"
            )
    return tuple(warnings)


def _foreseen(
    driver: Driver, reservation: Reservation, floors: Mapping[str, Resources]
) -> tuple[Reservation, tuple[str, ...]]:
    """Return the reservation with who would enforce it, as the platform is now, and warnings.

    Raises `HoldRefused` where the platform already tells that it would not hold a hard one.
    """
    if reservation.enforced_by:
        return reservation, ()
    try:
        foreseen = driver.foresee_hold(Hold.of(reservation, floors))
    except HoldRefused as refusal:
        if reservation.tier != "soft":
            raise
        return replace(reservation, enforced_by=LEDGER_ONLY), (unheld(refusal),)
    return replace(reservation, enforced_by=foreseen), ()


def _progress_line(case: _Case) -> str:
    amount = ", ".join(f"{value:g} {name}" for name, value in case.claim.amount.as_dict().items())
    return f"{case.vm.name}: {case.claim.tier} claim on {case.host.name} until {to_iso(case.claim.end_ts)} ({amount})"


def _already_there(vm: Vm, host: Host) -> Outcome:
    return Outcome(
        changed=False,
        result={
            "action": "not_needed",
            "reservation_id": "",
            "reservation": {},
            "host": host.key,
            "vm": vm.key,
        },
        diff={"before": {}, "after": {}},
        warnings=(f"VM {vm.name} already runs on {host.name}: nothing to reserve",),
    )


def _swept(claim: ClaimResult, state: str) -> dict[str, Any]:
    """Return the diff's part on the lapsed reservations that the claim swept away; empty without any."""
    return {"expired": {each.reservation_id: state for each in claim.expired}} if claim.expired else {}


def _outcome(case: _Case, claim: ClaimResult, reservation: Reservation, warnings: tuple[str, ...]) -> Outcome:
    before, after = shown(claim.previous if claim.changed else claim.reservation), shown(reservation)
    result: dict[str, Any] = {
        "action": claim.action,
        "reservation_id": reservation.reservation_id,
        "reservation": after,
        "host": case.host.key,
        "vm": case.vm.key,
        "enforced_by": dict(reservation.enforced_by),
        "likelihood": claim.verdict.likelihood,
        "yielding": list(claim.verdict.yielding),
        "calendar": {"before": claim.before.rows(), "after": claim.after.rows()},
        "expired": [each.reservation_id for each in claim.expired],
    }
    unchecked = tuple(
        f"The capacity of {name} of host {case.host.name} is unknown: {case.claim.amount.as_dict()[FIELD_OF[name]]:g} "
        "is written down, but nothing vouches for it"
        for name in claim.verdict.unchecked
    )
    return Outcome(
        changed=before != after or bool(claim.expired),
        result=result,
        diff={"before": {**before, **_swept(claim, "lapsed")}, "after": {**after, **_swept(claim, "expired")}},
        warnings=(*case.warnings, *unchecked, *warnings),
    )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who holds what, where and until when: host_reserve_info."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..clock import from_iso, to_iso
from ..errors import InvalidOption
from ..estate.reservation import STATES, Reservation
from ..estate.resources import checked_limits
from ..hypervisors.fleet import Fleet
from ..reservations.claims import Transition
from ..reservations.host_calendar import DEFAULT_SOFT_OVERCOMMIT
from ..reservations.ledger import Ledger, open_ledger
from ..reservations.location import ledger_url
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .host_keys import host_key_of
from .host_room import outlooks
from .reserve_request import checked_window_s, shown

#: Most reservations shown in one result, without and with their audit trails; a narrower question shows the rest.
MOST_SHOWN = 100
MOST_AUDITED = 20
#: Most hosts whose calendars are shown in one result.
MOST_CALENDARS = 6


@dataclass(frozen=True)
class ReserveInfoRequest:
    """Options of host_reserve_info, under the same names; None does not narrow the answer."""

    endpoints: Sequence[Mapping[str, Any]]
    store: str
    ledger: str | None = None
    hosts: Sequence[str] | None = None
    vms: Sequence[str] | None = None
    states: Sequence[str] | None = None
    reservation_ids: Sequence[str] | None = None
    window_start: str | None = None
    window_hours: float | None = None
    calendar: bool = False
    audit: bool = False
    level: float = 0.95
    limits: Mapping[str, float] = field(default_factory=dict)
    snapshot_id: str = "latest"
    forecast_id: str = "latest"


def reserve_info(request: ReserveInfoRequest, _context: Context) -> Outcome:
    """Return the reservations that fit, with calendars and audit trails where asked for; changes nothing.

    Raises `InvalidOption`, `UnknownHost`, `AmbiguousHost` and what the ledger and the store raise.
    """
    unknown = sorted(set(request.states or ()) - set(STATES))
    if unknown:
        raise InvalidOption("states", f"unknown state {unknown[0]!r}; known are {', '.join(STATES)}")
    workspace = Workspace.open(request.store, writable=False)
    url = ledger_url(request.ledger, request.store)
    with Fleet(request.endpoints) as fleet, open_ledger(url, actor="", writable=False) as ledger:
        now_ts = fleet.clock.now()
        start_ts, end_ts = _window(request, now_ts)
        keys = None if request.hosts is None else [host_key_of(host, ledger, workspace) for host in request.hosts]
        found = ledger.find(
            keys,
            states=request.states,
            start_ts=start_ts,
            end_ts=end_ts,
            vms=request.vms,
            reservation_ids=request.reservation_ids,
            now_ts=now_ts,
        )
        listed = found[-(MOST_AUDITED if request.audit else MOST_SHOWN) :]
        result: dict[str, Any] = {
            "reservations": [_entry(reservation, ledger, request) for reservation in listed],
            "count": len(found),
            "ledger": ledger.shown_url,
        }
        if request.calendar:
            hosts = keys if keys is not None else sorted({reservation.host_key for reservation in found})
            result["calendars"] = _calendars(request, workspace, ledger, hosts, now_ts)
    left_out = len(found) - len(listed)
    warnings = (f"The {left_out} oldest reservations are not shown; narrow the question",) if left_out else ()
    return Outcome(changed=False, result=result, warnings=warnings)


def _window(request: ReserveInfoRequest, now_ts: float) -> tuple[float | None, float | None]:
    if request.window_start is None and request.window_hours is None:
        return None, None
    start_ts = now_ts if request.window_start is None else from_iso(request.window_start, "window_start")
    length_s = checked_window_s(request.window_hours)
    return start_ts, None if length_s is None else start_ts + length_s


def _entry(reservation: Reservation, ledger: Ledger, request: ReserveInfoRequest) -> dict[str, Any]:
    if not request.audit:
        return shown(reservation)
    return {**shown(reservation), "audit": [_line(each) for each in ledger.transitions(reservation.reservation_id)]}


def _line(transition: Transition) -> dict[str, Any]:
    return {
        "time": to_iso(transition.ts),
        "actor": transition.actor,
        "action": transition.action,
        "from_state": transition.from_state,
        "to_state": transition.to_state,
        "reason": transition.reason,
        "change": transition.change,
    }


def _calendars(
    request: ReserveInfoRequest, workspace: Workspace, ledger: Ledger, hosts: Sequence[str], now_ts: float
) -> dict[str, list[dict[str, Any]]]:
    """Return each host's calendar over the window asked for, else from now to the end of the forecast."""
    if len(hosts) > MOST_CALENDARS:
        raise InvalidOption(
            "calendar", f"{len(hosts)} hosts are too many", advice=f"Name up to {MOST_CALENDARS} hosts."
        )
    estate = workspace.snapshots.read(request.snapshot_id)
    present = [estate.hosts[key] for key in hosts if key in estate.hosts]
    start_ts, end_ts = _window(request, now_ts)
    calendars = {}
    for each in outlooks(workspace, estate, request.forecast_id, present):
        room = each.room(request.level, checked_limits(request.limits), DEFAULT_SOFT_OVERCOMMIT)
        first = now_ts if start_ts is None else start_ts
        last = max(each.end_ts, first + room.step_s) if end_ts is None else end_ts
        calendar = ledger.calendar(each.host.key, room, now_ts, start_ts=first, end_ts=last)
        calendars[each.host.key] = calendar.rows()
    return calendars

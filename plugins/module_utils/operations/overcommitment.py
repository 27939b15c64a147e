# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts that hold more than they have: capacity shrank, or load grew, below what was reserved."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..estate.reservation import Reservation
from ..estate.resources import RESOURCES, UNITS, checked_limits
from ..libraries import library
from ..reservations.admission import ROUNDING
from ..reservations.host_calendar import HostCalendar, build_calendar
from ..reservations.ledger import Ledger
from ..workspace.errors import ArtefactMissing
from ..workspace.workspace import Workspace
from .host_room import outlooks
from .reserve_request import ReserveRequest, brief

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")


def overcommitted_hosts(
    request: ReserveRequest, ledger: Ledger, now_ts: float
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return the hosts whose hard reservations and forecast load pass the limit at some step, and warnings.

    An entry is ``{host, reservations, resources: [{resource, unit, excess, first_step, worst_step, steps}]}``; for
    a host that is not in the snapshot any more ``resources`` is empty and ``gone`` true.
    """
    hard = [r for r in ledger.find(states=["active", "consumed"], now_ts=now_ts) if r.tier == "hard"]
    hard = [reservation for reservation in hard if reservation.end_ts > now_ts]
    if not hard:
        return [], ()
    workspace = Workspace.open(request.store, writable=False)
    try:
        estate = workspace.snapshots.read(request.snapshot_id)
        by_host: dict[str, list[Reservation]] = defaultdict(list)
        for reservation in hard:
            if reservation.state == "active" or reservation.updated_ts > estate.seen_ts(reservation.host_key):
                by_host[reservation.host_key].append(reservation)
        hosts = [estate.hosts[key] for key in sorted(by_host) if key in estate.hosts]
        known = outlooks(workspace, estate, request.forecast_id, hosts)
    except ArtefactMissing as missing:
        return [], (f"Whether hosts still have what is reserved was not checked: {missing.message}",)
    entries = [
        {"host": key, "gone": True, "reservations": [brief(each) for each in held], "resources": []}
        for key, held in sorted(by_host.items())
        if key not in estate.hosts
    ]
    for each in known:
        held = by_host[each.host.key]
        room = each.room(request.level, checked_limits(request.limits), request.soft_overcommit)
        last_ts = max(reservation.end_ts for reservation in held)
        excess = _excess(build_calendar(room, held, now_ts, last_ts, now_ts))
        if excess:
            named = [brief(reservation) for reservation in held]
            entries.append({"host": each.host.key, "gone": False, "reservations": named, "resources": excess})
    return entries, tuple(f"Host {entry['host']} holds more than it has" for entry in entries)


def _excess(calendar: HostCalendar) -> list[dict[str, Any]]:
    """Return by how much what is held passes the limit, per resource, at steps where anything hard is held."""
    found = []
    for index, name in enumerate(RESOURCES):
        over = np.where(calendar.hard[index] > 0, -calendar.free[index], -np.inf)
        steps = np.flatnonzero(over > ROUNDING * max(1.0, float(calendar.ceiling[index])))
        if len(steps) and np.isfinite(calendar.ceiling[index]):
            worst = int(over.argmax())
            found.append(
                {
                    "resource": name,
                    "unit": UNITS[name],
                    "excess": round(float(over[worst]), 3),
                    "first_step": to_iso(calendar.start_ts + int(steps[0]) * calendar.step_s),
                    "worst_step": to_iso(calendar.start_ts + worst * calendar.step_s),
                    "steps": len(steps),
                }
            )
    return found

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``state: absent``: holds removed from the hypervisor, then reservations released in the ledger."""

from __future__ import annotations

from typing import Any

from ..errors import InvalidOption
from ..estate.reservation import Reservation
from ..estate.snapshot import AmbiguousVm
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Driver, Hold
from ..reservations.ledger import Ledger
from ..reservations.ledger_errors import ReservationUnknown
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .enforcement import check_unused, endpoint_of
from .host_keys import host_key_of
from .reserve_request import ReserveRequest, brief, shown


def release_capacity(request: ReserveRequest, context: Context) -> Outcome:
    """Release the reservation of ``reservation_id``, or the active ones of ``vm`` (on ``host``); none is fine.

    The hypervisor's hold goes first: until then the room is really taken, and the ledger must say so.
    Raises `AmbiguousVm` when the name fits reservations of several VMs, `ReservationInUse` while the VM is being moved
    into one, and what the ledger and the drivers raise.
    """
    if not request.reservation_id and not request.vm:
        raise InvalidOption("reservation_id", "or vm is needed for state=absent")
    with Fleet(request.endpoints) as fleet, request.open_ledger(writable=not context.check_mode) as ledger:
        now_ts = fleet.clock.now()
        found = _asked_for(request, ledger)
        for reservation in found:
            check_unused(reservation, fleet)
        stray = [] if found else _stray_holds(request, fleet)
        before = {reservation.reservation_id: shown(reservation) for reservation in found}
        after = dict(before)
        for reservation in found:
            released = reservation
            if not context.check_mode:
                fleet.driver(endpoint_of(reservation)).release_hold(reservation.reservation_id, reservation.tokens)
                released = ledger.release(reservation.reservation_id, now_ts, "state=absent")
            after[reservation.reservation_id] = {**shown(released), "state": "released"}
        for driver, hold in stray:
            if not context.check_mode:
                driver.release_hold(hold.reservation_id, hold.tokens)
    result: dict[str, Any] = {
        "released": [brief(reservation) for reservation in found],
        "removed_holds": [{"reservation_id": hold.reservation_id, "endpoint": driver.name} for driver, hold in stray],
    }
    diff = {"before": {**before, **_holds(stray)}, "after": after}
    return Outcome(changed=bool(found or stray), result=result, diff=diff)


def _asked_for(request: ReserveRequest, ledger: Ledger) -> tuple[Reservation, ...]:
    """Return the active reservations that are meant."""
    if request.reservation_id:
        try:
            found = ledger.get(request.reservation_id)
        except ReservationUnknown:
            return ()
        return (found,) if found.state == "active" else ()
    active = ledger.find(vms=[request.vm or ""], states=["active"])
    workspace = Workspace.open(request.store, writable=False)
    if request.vm_endpoint and active:
        # A reservation does not say where its VM is, only where it will be.
        uuid = workspace.snapshots.latest().find_vm(request.vm or "", request.vm_endpoint).uuid
        active = tuple(each for each in active if each.vm_uuid == uuid)
    if request.host:
        key = host_key_of(request.host, ledger, workspace)
        active = tuple(each for each in active if each.host_key == key)
    if len({each.vm_uuid for each in active}) > 1:
        raise AmbiguousVm(
            f"Reservations of several VMs called {request.vm!r} are active",
            advice="Name the VM by its uuid, or give reservation_id.",
            details={"candidates": [brief(each) for each in active]},
        )
    return tuple(each for each in active if each.purpose == request.purpose)


def _stray_holds(request: ReserveRequest, fleet: Fleet) -> list[tuple[Driver, Hold]]:
    """Return the holds that some hypervisor still has for a reservation named by id that is not active."""
    if not request.reservation_id:
        return []
    drivers = [fleet.driver(name) for name in fleet.names]
    return [
        (driver, hold)
        for driver in drivers
        for hold in driver.list_holds()
        if hold.reservation_id == request.reservation_id
    ]


def _holds(stray: list[tuple[Driver, Hold]]) -> dict[str, Any]:
    return {hold.reservation_id: {"hold_on": driver.name, "host_id": hold.host_id} for driver, hold in stray}

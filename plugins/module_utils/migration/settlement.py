# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of the reservation after a move. Every function can be repeated after a crash at any point."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import ForesightError
from ..estate.reservation import Reservation
from ..hypervisors.protocol import Driver, Hold
from ..reservations.ledger import Ledger
from ..reservations.ledger_errors import ReservationNotActive


@dataclass(frozen=True, slots=True)
class Settlement:
    """``state`` of the reservation now; ``guaranteed_by`` says per resource who guarantees what the VM has now.

    ``undone`` lists what was removed, ``left`` what could not be and waits for ``state: reconciled``.
    """

    state: str
    changed: bool
    guaranteed_by: Mapping[str, str]
    undone: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def settle_arrival(reservation: Reservation, destination: Driver, ledger: Ledger, now_ts: float) -> Settlement:
    """Turn the reservation into the VM's own guarantee and consume it, also when its lease ran out meanwhile.

    Raises what the driver raises when the guarantee cannot be given; the reservation then stays active, and the next
    run settles it.
    """
    if reservation.state not in ("active", "expired"):
        return Settlement(reservation.state, False, {})
    guaranteed_by = destination.settle_hold(Hold.of(reservation))
    try:
        ledger.consume(reservation.reservation_id, now_ts)
    except ReservationNotActive:
        ended = ledger.get(reservation.reservation_id)
        return Settlement(ended.state, False, guaranteed_by)
    return Settlement("consumed", True, guaranteed_by)


def settle_return(
    reservation: Reservation, destination: Driver, ledger: Ledger, now_ts: float, reason: str
) -> Settlement:
    """Remove the hold and release the reservation of a VM that stayed on its source.

    A hold on a host that does not answer is named in ``left``; releasing the reservation does not wait for it.
    """
    undone, left = [], []
    try:
        if destination.release_hold(reservation.reservation_id, reservation.tokens):
            undone.append(f"hold on {reservation.host_key} removed")
    except ForesightError as error:
        left.append(f"hold on {reservation.host_key}: {error.message}")
    state = reservation.state
    try:
        ledger.release(reservation.reservation_id, now_ts, reason=reason)
        undone.append(f"reservation {reservation.reservation_id} released")
        state = "released"
    except ReservationNotActive:
        state = ledger.get(reservation.reservation_id).state
    except ForesightError as error:
        left.append(f"reservation {reservation.reservation_id}: {error.message}")
    return Settlement(state, bool(undone), {}, tuple(undone), tuple(left))

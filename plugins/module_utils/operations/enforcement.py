# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""From the ledger to the hypervisor: a claim's hold placed and noted, or the claim taken back.

The ledger comes first and goes last, so that whatever a crash leaves is either a reservation that lapses by itself
or a hold whose reservation says what should be there; `reconcile` finds both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import ForesightError
from ..estate.reservation import Reservation
from ..estate.resources import RESOURCES, Resources
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Driver, Hold, HoldRefused, Job
from ..reservations.claims import ClaimRequest, ClaimResult
from ..reservations.host_calendar import HostRoom
from ..reservations.ledger import Ledger
from ..reservations.ledger_errors import GenerationConflict, ReservationNotActive

#: How often a hold is placed anew because the reservation changed in the meantime, before that is an error.
ATTEMPTS = 5
#: Who enforces a reservation that no hypervisor holds.
LEDGER_ONLY: Mapping[str, str] = dict.fromkeys(RESOURCES, "ledger")


class ReservationInUse(ForesightError):
    """The VM is on its way into what is reserved for it."""

    code = "reservation_in_use"


def endpoint_of(reservation: Reservation) -> str:
    """Return the name of the endpoint that the reservation's host belongs to."""
    return reservation.host_key.partition("/")[0]


def host_id_of(reservation: Reservation) -> str:
    """Return the host's id within its endpoint."""
    return reservation.host_key.partition("/")[2]


def is_arriving(reservation: Reservation, fleet: Fleet) -> tuple[bool, ForesightError | None]:
    """Return whether the VM is on its way to the reserved host, as the endpoints tell.

    Where none says so, the second value is the error of one that could not be asked, and might be the one it leaves.
    """
    answers = fleet.ask(lambda driver: driver.find_migration(reservation.vm_uuid)).values()
    # Where nobody can tell where a move goes to, it may be here.
    targets = [job.destination_host_id or host_id_of(reservation) for job in answers if isinstance(job, Job)]
    if host_id_of(reservation) in targets:
        return True, None
    return False, next((answer for answer in answers if isinstance(answer, ForesightError)), None)


def check_unused(reservation: Reservation, fleet: Fleet) -> None:
    """Raise `ReservationInUse` when an endpoint says that the VM is on its way to the reserved host.

    An endpoint that does not answer keeps nothing reserved: the lease ends it at the latest.
    """
    if is_arriving(reservation, fleet)[0]:
        raise ReservationInUse(
            f"VM {reservation.vm_name or reservation.vm_uuid} is being moved to {reservation.host_key}, "
            f"which reservation {reservation.reservation_id} protects",
            advice="Let the move end, or abort it; vm_migrate settles the reservation either way.",
            details={"reservation_id": reservation.reservation_id, "host": reservation.host_key},
        )


def enforce(
    driver: Driver,
    ledger: Ledger,
    reservation: Reservation,
    now_ts: float,
    floors: Mapping[str, Resources] | None = None,
) -> Reservation:
    """Have the hypervisor hold the reservation, note it, and return the reservation as noted.

    ``floors`` is what the VMs on the host need themselves, by uuid, as far as it is known.
    When it is changed by others meanwhile, the hold is placed again for what it then says. Raises what
    `Driver.place_hold` raises, `GenerationConflict` past the bound, and `ReservationNotActive` when it has ended
    meanwhile, with the hold removed.
    """
    for attempt in range(1, ATTEMPTS + 1):
        placed = driver.place_hold(Hold.of(reservation, floors))
        try:
            return ledger.record_enforcement(
                reservation.reservation_id,
                placed.enforced_by,
                placed.tokens,
                now_ts,
                generation=reservation.generation,
            )
        except GenerationConflict:
            if attempt == ATTEMPTS:
                raise
            reservation = ledger.get(reservation.reservation_id)
        except ReservationNotActive:
            driver.release_hold(reservation.reservation_id, placed.tokens)
            raise
    raise AssertionError("the last attempt returns or raises")


def enforce_claim(
    driver: Driver,
    ledger: Ledger,
    claim: ClaimResult,
    request: ClaimRequest,
    room: HostRoom,
    now_ts: float,
    floors: Mapping[str, Resources] | None = None,
) -> tuple[Reservation, tuple[str, ...]]:
    """Enforce what was just claimed; returns the reservation and warnings. ``floors`` as for `enforce`.

    When the hypervisor does not hold a hard claim, the claim is taken back (a changed one to what it was, unless that
    was never enforced either) and the error raised with ``details['rolled_back']``. A soft claim stays, enforced by
    the ledger alone.
    """
    try:
        return enforce(driver, ledger, claim.reservation, now_ts, floors), ()
    except HoldRefused as refusal:
        if request.tier == "soft":
            noted = ledger.record_enforcement(claim.reservation.reservation_id, LEDGER_ONLY, {}, now_ts)
            return noted, (unheld(refusal),)
        raise _rolled_back(driver, ledger, claim, request, room, now_ts, refusal) from refusal
    except (ReservationNotActive, GenerationConflict):
        raise
    except ForesightError as error:
        raise _rolled_back(driver, ledger, claim, request, room, now_ts, error) from error


def unheld(refusal: HoldRefused) -> str:
    """Return the warning about a soft reservation that only the ledger keeps."""
    return f"The hypervisor holds nothing for this soft reservation: {refusal.message}"


def _rolled_back(
    driver: Driver,
    ledger: Ledger,
    claim: ClaimResult,
    request: ClaimRequest,
    room: HostRoom,
    now_ts: float,
    cause: ForesightError,
) -> ForesightError:
    """Undo the claim and return ``cause`` with what was undone in its details."""
    problems: list[dict[str, Any]] = []
    if claim.previous is None or not claim.previous.enforced_by:
        _release(driver, ledger, claim.reservation, now_ts, problems)
    else:
        _restore(driver, ledger, claim.previous, request, room, now_ts, problems)
    cause.details["rolled_back"] = not problems
    cause.details["reservation_id"] = claim.reservation.reservation_id
    if problems:
        cause.details["rollback_problems"] = problems
    return cause


def _release(
    driver: Driver, ledger: Ledger, reservation: Reservation, now_ts: float, problems: list[dict[str, Any]]
) -> None:
    try:
        driver.release_hold(reservation.reservation_id, reservation.tokens)
    except ForesightError as error:
        # The reservation is released all the same: reconcile finds a hold whose reservation has ended.
        problems.append(error.as_dict())
    ledger.release(reservation.reservation_id, now_ts, "the hypervisor did not hold it")


def _restore(
    driver: Driver,
    ledger: Ledger,
    previous: Reservation,
    request: ClaimRequest,
    room: HostRoom,
    now_ts: float,
    problems: list[dict[str, Any]],
) -> None:
    """Bring a changed claim back to what it was, in the ledger and on the hypervisor."""
    before = ClaimRequest(
        vm_uuid=previous.vm_uuid,
        host_key=previous.host_key,
        amount=previous.amount,
        tier=previous.tier,
        start_ts=previous.start_ts,
        end_ts=previous.end_ts,
        owner=previous.owner,
        ttl_s=request.ttl_s,
        purpose=previous.purpose,
        vm_name=previous.vm_name,
    )
    try:
        restored = ledger.claim(before, room, now_ts).reservation
        enforce(driver, ledger, restored, now_ts)
    except ForesightError as error:
        problems.append(error.as_dict())

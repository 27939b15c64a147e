# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of host_reserve, and how reservations are shown in results."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..clock import to_iso
from ..errors import InvalidOption
from ..estate.reservation import Reservation
from ..reservations.claims import MAX_WINDOW_S
from ..reservations.host_calendar import DEFAULT_SOFT_OVERCOMMIT
from ..reservations.ledger import Ledger, open_ledger
from ..reservations.location import ledger_url

#: Longest window that is reserved when none is asked for, in hours.
DEFAULT_WINDOW_HOURS = 24.0

#: How long ended reservations and their audit trails are kept, in days: a quarter, which most audits look back on.
DEFAULT_RETENTION_DAYS = 90.0

#: The most that soft reservations may pass the limit, as a factor on it: far beyond what can be called an effort.
MAX_SOFT_OVERCOMMIT = 100.0


@dataclass(frozen=True)
class ReserveRequest:
    """Options of host_reserve, under the same names; times as ISO 8601, ``amount`` by the fields of `Resources`."""

    endpoints: Sequence[Mapping[str, Any]]
    store: str
    ledger: str | None = None
    state: str = "present"
    vm: str | None = None
    vm_endpoint: str | None = None
    host: str | None = None
    tier: str = "hard"
    amount: Mapping[str, Any] | None = None
    level: float = 0.95
    limits: Mapping[str, float] = field(default_factory=dict)
    soft_overcommit: float = DEFAULT_SOFT_OVERCOMMIT
    window_start: str | None = None
    window_hours: float | None = None
    ttl_minutes: float = 120.0
    owner: str | None = None
    purpose: str = "migration"
    allow_second_host: bool = False
    snapshot_id: str = "latest"
    forecast_id: str = "latest"
    reservation_id: str | None = None
    retention_days: float = DEFAULT_RETENTION_DAYS

    def actor(self) -> str:
        """Return who claims: ``owner``, or else the user and machine that this runs on."""
        return self.owner or f"{_user()}@{socket.gethostname()}"

    def check(self) -> None:
        """Raise `InvalidOption` for a number that nothing could be decided with."""
        if not 0 < self.soft_overcommit <= MAX_SOFT_OVERCOMMIT:
            raise InvalidOption(
                "soft_overcommit", f"{self.soft_overcommit!r} is not above 0 and at most {MAX_SOFT_OVERCOMMIT:g}"
            )
        checked_window_s(self.window_hours)

    def open_ledger(self, *, writable: bool) -> Ledger:
        """Return the ledger, not connected yet."""
        return open_ledger(ledger_url(self.ledger, self.store), actor=self.actor(), writable=writable)


def checked_window_s(hours: float | None) -> float | None:
    """Return the length in seconds of the window that ``window_hours`` asks for, None where it is not given.

    Raises `InvalidOption` for a length that no window can have.
    """
    if hours is None:
        return None
    if not 0 < hours <= MAX_WINDOW_S / 3600.0:
        raise InvalidOption("window_hours", f"{hours!r} is not above 0 and at most {MAX_WINDOW_S / 3600.0:g}")
    return hours * 3600.0


def _user() -> str:
    """Return the name of the user, or the number of one that has no name, as in containers of OpenShift."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # KeyError before Python 3.13
        return f"uid {os.getuid()}"


def shown(reservation: Reservation | None) -> dict[str, Any]:
    """Return the reservation as results show it; empty for none."""
    if reservation is None:
        return {}
    return {
        "reservation_id": reservation.reservation_id,
        "host": reservation.host_key,
        "vm_uuid": reservation.vm_uuid,
        "vm_name": reservation.vm_name,
        "amount": reservation.amount.as_dict(),
        "tier": reservation.tier,
        "state": reservation.state,
        "window_start": to_iso(reservation.start_ts),
        "window_end": to_iso(reservation.end_ts),
        "lease_expires": to_iso(reservation.lease_expires_ts),
        "owner": reservation.owner,
        "purpose": reservation.purpose,
        "enforced_by": dict(reservation.enforced_by),
        "generation": reservation.generation,
        "created": to_iso(reservation.created_ts),
        "updated": to_iso(reservation.updated_ts),
    }


def brief(reservation: Reservation) -> dict[str, Any]:
    """Return what names a reservation, for lists of what was done to many."""
    return {
        "reservation_id": reservation.reservation_id,
        "host": reservation.host_key,
        "vm_uuid": reservation.vm_uuid,
        "vm_name": reservation.vm_name,
        "tier": reservation.tier,
        "owner": reservation.owner,
    }

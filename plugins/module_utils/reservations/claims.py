# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of the ledger, and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import InvalidOption
from ..estate.reservation import TIERS, Reservation
from ..estate.resources import FIELD_OF, RESOURCES, Resources
from .admission import Verdict
from .host_calendar import HostCalendar

#: Longest window of one reservation, in seconds: 31 days, far beyond what a forecast can say.
MAX_WINDOW_S = 31 * 24 * 3600.0
#: Longest lease, in seconds: a year. What nobody renews for longer is held by nobody.
MAX_TTL_S = 366 * 24 * 3600.0
#: Default time to live of a lease, in seconds.
DEFAULT_TTL_S = 2 * 3600.0
#: Relative difference below which two amounts or times are the same.
SAME = 1e-6


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """``amount`` of ``host_key`` for ``vm_uuid`` over [``start_ts``, ``end_ts``), Unix seconds.

    ``(vm_uuid, host_key, purpose)`` names the claim: asking again changes the same reservation. ``ttl_s`` is how
    long it lives without being renewed. ``allow_second_host`` permits a VM to be reserved on several hosts.
    """

    vm_uuid: str
    host_key: str
    amount: Resources
    tier: str
    start_ts: float
    end_ts: float
    owner: str
    ttl_s: float = DEFAULT_TTL_S
    purpose: str = "migration"
    vm_name: str = ""
    allow_second_host: bool = False

    def check(self, now_ts: float) -> None:
        """Raise `InvalidOption` naming what no ledger could grant."""
        for name in RESOURCES:
            if not self.amount[name] >= 0:
                raise InvalidOption(f"amount.{FIELD_OF[name]}", f"{self.amount[name]!r} is negative")
        if not any(self.amount):
            raise InvalidOption("amount", "is zero for every resource", advice="Ask for at least one resource.")
        if self.tier not in TIERS:
            raise InvalidOption("tier", f"{self.tier!r} is not one of {', '.join(TIERS)}")
        if math.isnan(self.end_ts - self.start_ts) or self.end_ts <= self.start_ts:
            raise InvalidOption("window_hours", "the window ends before it starts")
        if self.end_ts <= now_ts:
            raise InvalidOption("window_start", "the window lies in the past")
        if self.end_ts - self.start_ts > MAX_WINDOW_S:
            raise InvalidOption("window_hours", f"a window of more than {MAX_WINDOW_S / 3600:.0f} hours")
        check_ttl(self.ttl_s)
        for option in ("vm_uuid", "host_key", "purpose", "owner"):
            if not getattr(self, option):
                raise InvalidOption(option, "is empty")

    def is_met_by(self, reservation: Reservation) -> bool:
        """Return whether ``reservation`` is what is asked for, lease aside."""
        return (
            reservation.tier == self.tier
            and all(_same(have, ask) for have, ask in zip(reservation.amount, self.amount, strict=True))
            and abs(reservation.start_ts - self.start_ts) < 1
            and abs(reservation.end_ts - self.end_ts) < 1
        )

    def is_within(self, reservation: Reservation, now_ts: float) -> bool:
        """Return whether all that is asked for from ``now_ts`` on is already held by ``reservation``."""
        return (
            (reservation.tier == self.tier or reservation.tier == "hard")
            and all(ask <= have for have, ask in zip(reservation.amount, self.amount, strict=True))
            and reservation.start_ts <= max(self.start_ts, now_ts)
            and self.end_ts <= reservation.end_ts
        )


def check_ttl(ttl_s: float) -> None:
    """Raise `InvalidOption` for a lease that no reservation can have."""
    if not 0 < ttl_s <= MAX_TTL_S:
        raise InvalidOption("ttl_minutes", f"{ttl_s / 60:g} is not above 0 and at most {MAX_TTL_S / 60:.0f}")


def _same(have: float, ask: float) -> bool:
    return abs(have - ask) <= SAME * max(1.0, abs(have))


@dataclass(frozen=True, slots=True, eq=False)
class ClaimResult:
    """What became of a claim. ``action`` is ``created``, ``updated``, ``renewed`` or ``unchanged``.

    ``previous`` is the reservation as it was before (None when created). ``before`` and ``after`` are the host's
    calendar over the window without and with the change. ``expired`` are the lapsed reservations of that host that
    the claim swept away: their enforcement on the hypervisor is the caller's to remove.
    """

    action: str
    reservation: Reservation
    previous: Reservation | None
    verdict: Verdict
    before: HostCalendar
    after: HostCalendar
    expired: tuple[Reservation, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether the ledger differs from before."""
        return self.action != "unchanged"


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of a reservation, as the audit trail keeps it. ``change`` holds what was different, old and new."""

    reservation_id: str
    generation: int
    ts: float
    actor: str
    action: str
    from_state: str
    to_state: str
    reason: str
    change: dict[str, object]

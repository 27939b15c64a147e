# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can go wrong with the ledger and with a claim."""

from __future__ import annotations

from ..errors import ForesightError


class LedgerUnavailable(ForesightError):
    """The database cannot be reached, or was lost and did not come back within the bound."""

    code = "ledger_unavailable"


class LedgerBusy(ForesightError):
    """Others kept the database or the host locked for longer than the bound. Nothing was changed."""

    code = "ledger_busy"


class LedgerReadOnly(ForesightError):
    """The ledger can be read but not written."""

    code = "ledger_read_only"


class LedgerTooNew(ForesightError):
    """The ledger was migrated by a newer version that this one cannot work beside."""

    code = "ledger_too_new"


class LedgerUnsafeLocation(ForesightError):
    """The ledger's file is on a file system whose locks do not protect it."""

    code = "ledger_unsafe_location"


class LedgerDamaged(ForesightError):
    """The file is not a database, or its contents are damaged."""

    code = "ledger_damaged"


class LedgerDenied(ForesightError):
    """The database refused the login, or the role lacks a privilege."""

    code = "ledger_permission_denied"


class ClaimRefused(ForesightError):
    """The host does not have the room. ``details['shortfall']`` names it per resource."""

    code = "capacity_short"


class VmReservedElsewhere(ForesightError):
    """The VM already holds a reservation on another host; ``details['reservations']`` names each and its owner."""

    code = "vm_reserved_elsewhere"


class ReservationUnknown(ForesightError):
    """The ledger has no reservation of that id."""

    code = "reservation_unknown"


class ReservationNotActive(ForesightError):
    """The reservation has ended (``details['state']``) and cannot be changed any more."""

    code = "reservation_not_active"


class GenerationConflict(ForesightError):
    """Somebody else changed the reservation in the meantime, again and again or since the given generation."""

    code = "generation_conflict"


class ClockWentBack(ForesightError):
    """The time given is well before the time at which this host was last changed."""

    code = "clock_went_back"

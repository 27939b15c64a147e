# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is to be moved where, under which terms, and what was found out about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..estate.nouns import Host, Sla, Vm
from ..estate.reservation import Reservation
from ..estate.resources import Resources
from ..hypervisors.protocol import Finding
from ..reservations.host_calendar import HostRoom
from .strategy import DEFAULT_MEANS

#: Time to live given to the reservation's lease while the move runs, in seconds.
LEASE_TTL_S = 1800.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many migrations may run at once into or out of one host, and in all; None: no limit."""

    incoming_per_host: int | None = 2
    outgoing_per_host: int | None = 2
    total: int | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """How the user wants it done.

    ``means`` (of `strategy.MEANS`) may be used. ``bandwidth_mib_s`` caps the transfer. ``windows`` holds (start, end)
    in Unix seconds in which a move may start; None: at any time. ``dirty_rate_s`` is how long the dirty rate is
    measured beforehand (0: not at all). ``options`` go to the driver.
    """

    sla: Sla = Sla()
    means: frozenset[str] = DEFAULT_MEANS
    bandwidth_mib_s: float | None = None
    storage_copy: bool = False
    windows: tuple[tuple[float, float], ...] | None = None
    limits: Limits = Limits()
    lease_ttl_s: float = LEASE_TTL_S
    dirty_rate_s: float = 2.0
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """One VM, the host it runs on now, the one it shall run on, and what is held for it there.

    ``need`` is what the current forecast says that it will need at most (None: there is no forecast); ``room`` is what
    the destination has and carries, for the ledger; ``ahead`` says how busy the VM will be, as (start in Unix seconds,
    its CPU demand in the hour from then as a share of now), by time, and is empty where that is not forecast.
    """

    vm: Vm
    source: Host
    destination: Host
    reservation: Reservation | None
    terms: Terms
    need: Resources | None = None
    room: HostRoom | None = None
    ahead: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check. A failed one that is not ``blocking`` is a warning."""

    code: str
    passed: bool
    message: str
    blocking: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def forbids(self) -> bool:
        """Whether the move may not start because of this check."""
        return self.blocking and not self.passed

    @classmethod
    def of_finding(cls, finding: Finding) -> Check:
        """Return a platform's own finding as a failed check."""
        return cls(finding.code, False, finding.message, finding.blocking, finding.details)


@dataclass(slots=True)
class Timeline:
    """Every step of a move, in order: ``{at, step, message, ...}``."""

    entries: list[dict[str, Any]] = field(default_factory=list)

    #: Entries kept in full; beyond it only the first and the last are, so that a result stays small.
    LIMIT = 200

    def add(self, entry: dict[str, Any]) -> None:
        """Append one step."""
        self.entries.append(entry)

    def summary(self) -> list[dict[str, Any]]:
        """Return all entries, or the first and last with a note of how many lie between."""
        if len(self.entries) <= self.LIMIT:
            return list(self.entries)
        half = self.LIMIT // 2
        left_out = {"step": "omitted", "message": f"{len(self.entries) - 2 * half} steps left out"}
        return [*self.entries[:half], left_out, *self.entries[-half:]]

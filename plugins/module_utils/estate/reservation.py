# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A reservation: capacity of one host, held for one VM over a time window."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .resources import Resources

TIERS = ("soft", "hard")
#: ``active`` holds capacity; the others are final.
STATES = ("active", "consumed", "released", "expired")


@dataclass(frozen=True, slots=True)
class Reservation:
    """A claim on ``host_key`` for ``vm_uuid`` in the window [``start_ts``, ``end_ts``), Unix seconds.

    It frees itself when ``lease_expires_ts`` passes without renewal. ``generation`` grows with every change.
    ``enforced_by`` says per resource who enforces it: ``hypervisor`` or ``ledger``. ``tokens`` is what the driver
    needs to find its hold again.
    """

    reservation_id: str
    host_key: str
    vm_uuid: str
    amount: Resources
    tier: str
    start_ts: float
    end_ts: float
    lease_expires_ts: float
    owner: str
    purpose: str = "migration"
    state: str = "active"
    generation: int = 1
    vm_name: str = ""
    enforced_by: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, Any] = field(default_factory=dict)
    created_ts: float = 0.0
    updated_ts: float = 0.0

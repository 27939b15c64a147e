# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small host and claims on it, for tests of the ledger."""

from __future__ import annotations

from typing import Any

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.reservations.claims import ClaimRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations.host_calendar import HostRoom
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger

NOW = 1_800_000_000.0
HOUR = 3600.0
VM = "00000000-0000-4000-8000-000000000001"
OTHER_VM = "00000000-0000-4000-8000-000000000002"


def room(**changes: Any) -> HostRoom:
    """Return a host of 16 cores and 64 GiB that carries 4 cores and 16 GiB for 24 hours, all of it plannable."""
    load = np.repeat(np.array([[4.0], [16384.0], [1000.0], [100.0]]), 24, axis=1)
    values: dict[str, Any] = {
        "capacity": Resources(16, 65536, 10000, 1000),
        "limit": {},
        "load": load,
        "start_ts": NOW,
        "step_s": 3600,
    }
    return HostRoom(**{**values, **changes})


def claim(cpu_cores: float = 4.0, **changes: Any) -> ClaimRequest:
    """Return a claim of so many cores on host e/h1 for `VM` over the next four hours."""
    values: dict[str, Any] = {
        "vm_uuid": VM,
        "host_key": "e/h1",
        "amount": Resources(cpu_cores),
        "tier": "hard",
        "start_ts": NOW,
        "end_ts": NOW + 4 * HOUR,
        "owner": "tests",
    }
    return ClaimRequest(**{**values, **changes})


DAY = 24 * HOUR


def check_forgetting(ledger: Ledger) -> None:
    """Check on an empty ledger that only what ended long ago is forgotten, and all of that."""
    ids: dict[str, str] = {}
    for number, name in enumerate(("released", "expired", "consumed", "late", "lasting", "active")):
        window = {"end_ts": NOW + 30 * DAY} if name in ("lasting", "active") else {}
        asked = claim(1.0, vm_uuid=f"vm-{number}", host_key=f"e/h{number}", ttl_s=40 * DAY, **window)
        ids[name] = ledger.claim(asked, room(), NOW).reservation.reservation_id
    ledger.release(ids["released"], NOW + HOUR, "not needed")
    ledger.consume(ids["consumed"], NOW + HOUR)
    ledger.consume(ids["lasting"], NOW + HOUR)
    ledger.expire(NOW + 5 * HOUR)
    ledger.consume(ids["late"], NOW + 25 * DAY)
    before_ts = NOW + 20 * DAY
    assert ledger.forget(NOW, dry_run=True) == ledger.forget(NOW) == 0
    assert ledger.forget(before_ts, dry_run=True) == 3
    assert len(ledger.find()) == 6
    assert ledger.forget(before_ts) == 3
    assert ledger.forget(before_ts) == 0
    assert {held.reservation_id for held in ledger.find()} == {ids["late"], ids["lasting"], ids["active"]}
    assert ledger.transitions(ids["released"]) == ()
    assert [line.action for line in ledger.transitions(ids["lasting"])] == ["created", "consumed"]

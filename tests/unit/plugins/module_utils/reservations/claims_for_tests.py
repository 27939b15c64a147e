# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small host and claims on it, for tests of the ledger."""

from __future__ import annotations

from typing import Any

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.reservations.claims import ClaimRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations.host_calendar import HostRoom

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

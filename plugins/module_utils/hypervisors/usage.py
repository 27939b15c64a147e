# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host and its VMs used, for drivers that work it out from counters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

#: What was used, by metric name; a metric that could not be told is absent.
Use = dict[str, float]


@dataclass(frozen=True, slots=True)
class Usage:
    """Use of a host and its VMs between two readings, per metric: cores, MiB, Mbit/s, MiB/s, requests/s."""

    ts: float
    host: Use
    vms: Mapping[str, Use]

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How unevenly a VM writes its memory from second to second. Recorded demand is a mean over minutes."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist

from .scenario import SimulatedVm

#: Seconds for which a VM writes at one rate.
BURST_S = 5.0


def burst(vm: SimulatedVm, ts: float) -> float:
    """Return by how much the VM writes faster or slower at ``ts`` than its demand says; 1 on average.

    It is log-normal with ``vm.dirty_burstiness`` as the standard deviation of the logarithm, and follows from the
    VM's uuid and the time alone, so every process sees the same.
    """
    if vm.dirty_burstiness == 0:
        return 1.0
    digest = hashlib.sha256(f"{vm.uuid}/{int(ts // BURST_S)}".encode()).digest()
    uniform = (int.from_bytes(digest[:6], "big") + 0.5) / 2**48
    deviation = vm.dirty_burstiness
    return math.exp(deviation * NormalDist().inv_cdf(uniform) - deviation**2 / 2)


def mean_burst(vm: SimulatedVm, start_ts: float, end_ts: float) -> float:
    """Return the mean of `burst` from ``start_ts`` to ``end_ts``."""
    if vm.dirty_burstiness == 0 or end_ts <= start_ts:
        return burst(vm, end_ts)
    total, ts = 0.0, start_ts
    while ts < end_ts:
        until_ts = min(end_ts, (ts // BURST_S + 1) * BURST_S)
        total += burst(vm, ts) * (until_ts - ts)
        ts = until_ts
    return total / (end_ts - start_ts)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Counters turned into rates."""

from __future__ import annotations


def rate_between(
    earlier: float, earlier_ts: float, later: float, later_ts: float, *, wraps_at: float | None = None
) -> float | None:
    """Return by how much per second a counter grew between two readings; None when that cannot be known.

    A counter that fell was reset (the VM was restarted or moved), and nothing is known about the time between; unless
    it ``wraps_at`` a known value (such as 2**32) and the growth across the wrap is less than half of that. Readings
    at the same time or out of order give None too.
    """
    seconds = later_ts - earlier_ts
    if not seconds > 0:
        return None
    growth = later - earlier
    if growth < 0 and wraps_at is not None:
        growth += wraps_at
        if growth > wraps_at / 2:
            return None
    return growth / seconds if growth >= 0 else None

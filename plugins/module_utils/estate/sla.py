# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ``sla`` option that selecting a host and migrating share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..clock import from_iso
from ..errors import InvalidOption
from .nouns import Sla

#: The limits, each a number of at least 0.
LIMITS = ("max_downtime_ms", "max_duration_s", "max_overload_probability", "max_latency_ms")
#: What ``soft`` may name.
SOFT = (*LIMITS, "blackout")


def sla_from(options: Mapping[str, Any] | None) -> Sla:
    """Return the `Sla` of the module option ``sla`` (None or empty: no limits).

    Raises `InvalidOption` for a negative limit, a probability above 1, a blackout that ends before it begins, or an
    unknown name in ``soft``.
    """
    given = dict(options or {})
    limits = {name: _limit(name, given.get(name)) for name in LIMITS}
    soft = frozenset(given.get("soft") or ())
    unknown = sorted(soft - set(SOFT))
    if unknown:
        raise InvalidOption("sla.soft", f"unknown limit {unknown[0]!r}; known are {', '.join(SOFT)}")
    blackout = tuple(_blackout(window) for window in given.get("blackout") or ())
    return Sla(**limits, blackout=blackout, soft=soft)


def _limit(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    highest = 1.0 if name == "max_overload_probability" else float("inf")
    if not 0 <= value <= highest:
        raise InvalidOption(f"sla.{name}", f"{value!r} is not between 0 and {highest:g}")
    return float(value)


def _blackout(window: Mapping[str, str]) -> tuple[float, float]:
    start = from_iso(window["start"], "sla.blackout.start")
    end = from_iso(window["end"], "sla.blackout.end")
    if end <= start:
        raise InvalidOption("sla.blackout", f"{window['end']} is not after {window['start']}")
    return start, end

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ``windows`` option of vm_migrate: maintenance windows, once or recurring, as spans of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..clock import from_iso
from ..errors import InvalidOption
from ..estate.event import Event, VmSelection

#: How far ahead the next window is looked for, seconds.
AHEAD_S = 31 * 86_400.0

Span = tuple[float, float]


def windows_from(options: Sequence[Mapping[str, Any]] | None, now_ts: float) -> tuple[Span, ...] | None:
    """Return (start, end) in Unix seconds of every window that touches now or the month to come, by time.

    Each option is ``start`` and ``end``, or ``dtstart`` and ``duration_hours`` with an optional ``rrule``, local to
    ``timezone``. None or empty: None, a move may start at any time. Raises `InvalidOption`.
    """
    if not options:
        return None
    return tuple(sorted(span for option in options for span in _spans(option, now_ts)))


def _spans(option: Mapping[str, Any], now_ts: float) -> Sequence[Span]:
    once, recurring = _given(option, ("start", "end")), _given(option, ("dtstart", "duration_hours"))
    if once == recurring or (once and option.get("rrule")):
        raise InvalidOption("windows", "each needs start and end, or dtstart and duration_hours (and rrule)")
    if once:
        start, end = from_iso(option["start"], "windows.start"), from_iso(option["end"], "windows.end")
        if end <= start:
            raise InvalidOption("windows", f"{option['end']} is not after {option['start']}")
        return [(start, end)]
    try:
        return _event(option).check().occurrences(now_ts, now_ts + AHEAD_S)
    except InvalidOption as error:
        raise InvalidOption("windows", error.message) from error


def _given(option: Mapping[str, Any], names: Sequence[str]) -> bool:
    """Return whether the options ``names`` are given; raises `InvalidOption` when only some are."""
    given = [name for name in names if option.get(name) is not None]
    if given and len(given) < len(names):
        raise InvalidOption("windows", f"{' and '.join(names)} belong together")
    return bool(given)


def _event(option: Mapping[str, Any]) -> Event:
    return Event(
        name="window",
        uid="window",
        vms=VmSelection(),
        duration_s=float(option["duration_hours"]) * 3600.0,
        dtstart=option["dtstart"],
        rrule=option.get("rrule") or "",
        timezone=option.get("timezone") or "UTC",
    )

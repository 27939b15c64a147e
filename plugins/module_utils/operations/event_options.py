# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scheduled events as options give them, and told in a result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..clock import to_iso
from ..errors import InvalidOption
from ..estate.event import Event, VmSelection
from ..estate.resources import Resources
from ..estate.snapshot import Estate
from ..sources.calendar_file import read_calendar

#: How far ahead the next occurrence of an event is looked for.
_AHEAD_S = 8 * 86_400.0


def read_events(options: Sequence[Mapping[str, Any]]) -> list[Event]:
    """Return the events that the option ``events`` describes; each item is one event or a calendar of them.

    Raises `InvalidOption`, also for two events with the same uid, and what `read_calendar` raises.
    """
    events = [event for item in options for event in _events_of(item)]
    uids = [event.uid for event in events]
    doubled = sorted({uid for uid in uids if uids.count(uid) > 1})
    if doubled:
        raise InvalidOption("events", f"two events have the uid {doubled[0]!r}", advice="Give one of them a uid.")
    return events


def events_summary(events: Iterable[Event], estate: Estate, now_ts: float) -> list[dict[str, Any]]:
    """Return name, uid, number of VMs concerned, and the present or next occurrence within eight days."""
    told = []
    for event in events:
        occurrences = event.occurrences(now_ts, now_ts + _AHEAD_S)
        told.append(
            {
                "name": event.name,
                "uid": event.uid,
                "vms": len(event.vms.matching(estate.vms.values())),
                "next_start": to_iso(occurrences[0][0]) if occurrences else None,
                "duration_minutes": round(event.duration_s / 60.0, 1),
            }
        )
    return told


def _events_of(item: Mapping[str, Any]) -> list[Event]:
    vms = VmSelection(
        names=tuple(str(name) for name in item.get("vms") or ()),
        labels={str(name): str(value) for name, value in (item.get("labels") or {}).items()},
        expression=str(item.get("select") or ""),
    )
    effect = Resources.from_dict(item["effect"], "events.effect") if item.get("effect") else None
    if item.get("ical_path"):
        return read_calendar(str(item["ical_path"]), vms, effect)
    name = str(item.get("name") or "")
    event = Event(
        name=name,
        uid=str(item.get("uid") or hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]),
        vms=vms,
        duration_s=float(item.get("duration_minutes") or 0.0) * 60.0,
        dtstart=str(item.get("start") or ""),
        rrule=str(item.get("rrule") or ""),
        timezone=str(item.get("timezone") or "UTC"),
        times=tuple(str(time) for time in item.get("times") or ()),
        excluded=tuple(str(time) for time in item.get("excluded") or ()),
        effect=effect,
    )
    return [event.check()]

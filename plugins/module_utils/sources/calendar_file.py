# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scheduled events out of iCalendar files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption
from ..estate.event import Event, VmSelection
from ..estate.resources import Resources
from ..libraries import library
from .source import SourceFailed

if TYPE_CHECKING:
    import icalendar
else:
    icalendar = library("icalendar")

_OPTION = "events.ical_path"


def read_calendar(path: str, vms: VmSelection, effect: Resources | None) -> list[Event]:
    """Return the events of an iCalendar file (RFC 5545), each for ``vms`` and with ``effect``.

    Recurrence rules, further and excluded dates, and single occurrences that were moved or cancelled are kept.
    Raises `SourceFailed` when the file cannot be read and `InvalidOption` for an event that cannot be used.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as exc:
        raise SourceFailed(f"{path} cannot be read: {exc.strerror}", advice="Check the path.") from exc
    try:
        components: list[Any] = list(icalendar.Calendar.from_ical(content).walk("VEVENT"))
    except ValueError as exc:
        raise InvalidOption(_OPTION, f"{path} is not an iCalendar file: {exc}") from exc
    if not components:
        raise InvalidOption(_OPTION, f"{path} has no event")
    series = [component for component in components if "RECURRENCE-ID" not in component]
    changed = [component for component in components if "RECURRENCE-ID" in component]
    events = {str(one.get("UID", "")): _event(one, path, vms, effect) for one in series if not _cancelled(one)}
    single = []
    for component in changed:
        uid = str(component.get("UID", ""))
        replaced = _moment(component["RECURRENCE-ID"].dt)
        if uid in events:
            events[uid] = replace(events[uid], excluded=(*events[uid].excluded, replaced))
        if not _cancelled(component):
            event = _event(component, path, vms, effect)
            single.append(replace(event, uid=f"{uid}/{replaced}", rrule="", excluded=()))
    return [event.check() for event in (*events.values(), *single)]


def _event(component: Any, path: str, vms: VmSelection, effect: Resources | None) -> Event:
    name = str(component.get("SUMMARY", "")) or str(component.get("UID", ""))
    if "DTSTART" not in component:
        raise InvalidOption(_OPTION, f"event {name!r} in {path} has no DTSTART")
    start = component["DTSTART"].dt
    return Event(
        name=name,
        uid=str(component.get("UID", name)),
        vms=vms,
        duration_s=_duration(component, start).total_seconds(),
        dtstart=_local_text(start),
        rrule=component["RRULE"].to_ical().decode() if "RRULE" in component else "",
        timezone=_zone_name(start),
        times=tuple(_moment(one) for one in _dates(component, "RDATE")),
        excluded=tuple(_moment(one) for one in _dates(component, "EXDATE")),
        effect=effect,
    )


def _cancelled(component: Mapping[str, Any]) -> bool:
    return str(component.get("STATUS", "")).upper() == "CANCELLED"


def _duration(component: Any, start: date) -> timedelta:
    if "DURATION" in component:
        return timedelta(seconds=component["DURATION"].dt.total_seconds())
    if "DTEND" in component:
        return timedelta(seconds=(component["DTEND"].dt - start).total_seconds())
    return timedelta(0) if isinstance(start, datetime) else timedelta(days=1)


def _dates(component: Any, name: str) -> list[date]:
    found = component.get(name, ())
    lists = found if isinstance(found, list | tuple) else [found]
    return [item.dt for one in lists for item in one.dts]


def _zone_name(start: date) -> str:
    zone = start.tzinfo if isinstance(start, datetime) else None
    return str(getattr(zone, "key", None) or "UTC")


def _local_text(moment: date) -> str:
    """Return a time as `Event.dtstart` has it: local, without offset; a whole day begins at midnight."""
    if not isinstance(moment, datetime):
        return f"{moment.isoformat()}T00:00:00"
    if moment.tzinfo is not None and not getattr(moment.tzinfo, "key", None):
        moment = moment.astimezone(UTC)  # an offset or a zone of the file's own: keep the moment, lose the rule
    return moment.replace(tzinfo=None).isoformat()


def _moment(moment: Any) -> str:
    """Return a time as `Event.times` has it: with its offset where it has a zone."""
    if not isinstance(moment, date):
        raise InvalidOption(_OPTION, "an RDATE that is a period is not supported")
    if not isinstance(moment, datetime):
        return f"{moment.isoformat()}T00:00:00"
    return moment.isoformat() if moment.tzinfo is not None else moment.replace(tzinfo=None).isoformat()

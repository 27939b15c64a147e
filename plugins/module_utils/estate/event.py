# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scheduled events: what is known in advance to change the demand of some VMs, such as backups and batch runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import InvalidOption
from ..libraries import library
from .nouns import Vm
from .resources import Resources
from .selection import select

if TYPE_CHECKING:
    from dateutil import rrule as recurrence
else:
    recurrence = library("dateutil.rrule", "python-dateutil")

#: Frequencies that would make millions of occurrences; an event of that kind is a constant load.
_TOO_FREQUENT = ("SECONDLY", "MINUTELY")


@dataclass(frozen=True, slots=True)
class VmSelection:
    """Which VMs an event concerns: those that any of ``names`` (name or uuid), ``labels`` or ``expression`` matches.

    ``labels`` match when a VM has all of them; ``expression`` is JMESPath as `selection.select` takes it. A
    selection that says nothing matches every VM.
    """

    names: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    expression: str = ""

    def matching(self, vms: Iterable[Vm]) -> tuple[Vm, ...]:
        """Return the VMs concerned, in their order; raises `InvalidOption` for an unusable expression."""
        pool = tuple(vms)
        if not (self.names or self.labels or self.expression):
            return pool
        wanted = {name.lower() for name in self.names} | set(self.names)
        chosen = {vm.key for vm in pool if vm.name in wanted or vm.uuid.lower() in wanted}
        if self.labels:
            chosen |= {vm.key for vm in pool if self.labels.items() <= vm.labels.items()}
        if self.expression:
            chosen |= {vm.key for vm in select(pool, self.expression, "events.vms.expression")}
        return tuple(vm for vm in pool if vm.key in chosen)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens to ``vms`` at known times for ``duration_s`` seconds.

    Either ``dtstart`` (local time in ``timezone``, ISO 8601 without offset) with an optional ``rrule`` (RFC 5545) and
    ``excluded`` starts, or explicit ``times`` (ISO 8601; without offset in ``timezone``), or both. ``effect`` is how
    much the event is expected to add to each VM's demand while it lasts (None: to be learned from history).
    """

    name: str
    uid: str
    vms: VmSelection
    duration_s: float
    dtstart: str = ""
    rrule: str = ""
    timezone: str = "UTC"
    times: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    effect: Resources | None = None

    def check(self) -> Event:
        """Return this event; raises `InvalidOption` that names the event's part which cannot be used."""
        if not self.name:
            raise InvalidOption("events.name", "an event needs a name")
        if not 0 < self.duration_s < float("inf"):
            raise InvalidOption("events.duration", f"{self.duration_s!r} of event {self.name!r} is not a time span")
        if not (self.dtstart or self.times):
            raise InvalidOption("events", f"event {self.name!r} needs dtstart or times")
        if self.rrule and not self.dtstart:
            raise InvalidOption("events.rrule", f"event {self.name!r} has an rrule without dtstart")
        self.occurrences(0.0, 1.0)
        return self

    def occurrences(self, start_ts: float, end_ts: float) -> tuple[tuple[float, float], ...]:
        """Return (start, end) in Unix seconds of every occurrence that touches the window, by time.

        Recurrence is computed in local time: "02:00 every day" stays 02:00 when the clocks change; a local time that
        a change skips is taken with the offset before it, one that a change repeats is its first (RFC 5545, 3.3.5).
        Raises `InvalidOption` as `check` does.
        """
        zone = self._zone()
        starts = {self._local(text, "events.times").timestamp() for text in self.times}
        starts |= {start.replace(tzinfo=zone).timestamp() for start in self._recurring(start_ts, end_ts, zone)}
        starts -= {self._local(text, "events.excluded").timestamp() for text in self.excluded}
        return tuple(
            (start, start + self.duration_s)
            for start in sorted(starts)
            if start < end_ts and start + self.duration_s > start_ts
        )

    def _recurring(self, start_ts: float, end_ts: float, zone: ZoneInfo) -> list[datetime]:
        """Return the starts by ``dtstart`` and ``rrule`` around the window, in local time without offset."""
        if not self.dtstart:
            return []
        first = self._local(self.dtstart, "events.dtstart").astimezone(zone).replace(tzinfo=None)
        if not self.rrule:
            return [first]
        margin = timedelta(seconds=self.duration_s) + timedelta(days=1)  # a day covers every change of offset
        begin = datetime.fromtimestamp(start_ts, UTC).replace(tzinfo=None) - margin
        end = datetime.fromtimestamp(end_ts, UTC).replace(tzinfo=None) + timedelta(days=1)
        return list(self._rule(first, zone).between(begin, end, inc=True))

    def _rule(self, first: datetime, zone: ZoneInfo) -> Any:
        text = self.rrule.upper().strip().removeprefix("RRULE:")
        parts = dict(part.split("=", 1) for part in text.split(";") if "=" in part)
        if "\n" in text:
            raise InvalidOption("events.rrule", f"event {self.name!r}: one rule is expected, not several lines")
        if parts.get("FREQ") in _TOO_FREQUENT:
            raise InvalidOption("events.rrule", f"event {self.name!r} recurs too often to be an event: {self.rrule!r}")
        try:
            if "UNTIL" in parts:
                text = text.replace(f"UNTIL={parts['UNTIL']}", f"UNTIL={_local_until(parts['UNTIL'], zone)}")
            return recurrence.rrulestr(text, dtstart=first)
        except (ValueError, TypeError, KeyError, AttributeError) as exc:
            raise InvalidOption("events.rrule", f"{self.rrule!r} of event {self.name!r}: {exc}") from exc

    def _local(self, text: str, option: str) -> datetime:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            raise InvalidOption(option, f"{text!r} of event {self.name!r} is not an ISO 8601 time") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=self._zone())

    def _zone(self) -> ZoneInfo:
        try:
            return ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidOption(
                "events.timezone", f"{self.timezone!r} of event {self.name!r} is not a time zone such as Europe/Berlin"
            ) from None


def _local_until(until: str, zone: ZoneInfo) -> str:
    """Return the UNTIL of a rule in local time; RFC 5545 has it in UTC where dtstart has a zone."""
    if not until.endswith("Z"):
        return until
    moment = datetime.strptime(until, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return moment.astimezone(zone).strftime("%Y%m%dT%H%M%S")

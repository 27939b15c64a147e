# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Events taken over from iCalendar files as calendars write them."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.event import Event, VmSelection
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.sources.calendar_file import read_calendar
from ansible_collections.foresight.migration.plugins.module_utils.sources.source import SourceFailed

NIGHTLY = """
BEGIN:VEVENT
UID:nightly@example.org
SUMMARY:Nightly {{ backup }}
DTSTART;TZID=Europe/Berlin:20261023T020000
DTEND;TZID=Europe/Berlin:20261023T033000
RRULE:FREQ=DAILY;UNTIL=20261028T230000Z
EXDATE;TZID=Europe/Berlin:20261024T020000
END:VEVENT
"""
MOVED = """
BEGIN:VEVENT
UID:nightly@example.org
SUMMARY:Nightly, later
RECURRENCE-ID;TZID=Europe/Berlin:20261026T020000
DTSTART;TZID=Europe/Berlin:20261026T050000
DURATION:PT30M
END:VEVENT
"""
CANCELLED = """
BEGIN:VEVENT
UID:nightly@example.org
STATUS:CANCELLED
RECURRENCE-ID;TZID=Europe/Berlin:20261027T020000
DTSTART;TZID=Europe/Berlin:20261027T020000
END:VEVENT
"""
WHOLE_DAY = """
BEGIN:VEVENT
UID:day
SUMMARY:Stocktaking
DTSTART;VALUE=DATE:20261031
END:VEVENT
"""


def calendar(tmp_path: Path, *events: str) -> str:
    path = tmp_path / "calendar.ics"
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//test//EN", *"".join(events).split("\n"), "END:VCALENDAR", ""]
    path.write_text("\r\n".join(line for line in lines if line) + "\r\n")
    return str(path)


def spans(events: list[Event]) -> list[tuple[str, float]]:
    window = dt.datetime(2026, 10, 1, tzinfo=dt.UTC).timestamp(), dt.datetime(2026, 11, 5, tzinfo=dt.UTC).timestamp()
    found = sorted(span for event in events for span in event.occurrences(*window))
    return [(dt.datetime.fromtimestamp(start, dt.UTC).isoformat()[:16], (end - start) / 60) for start, end in found]


def test_rules_exclusions_moved_and_cancelled_occurrences_are_understood(tmp_path: Path) -> None:
    vms, effect = VmSelection(names=("db",)), Resources(disk_mib_s=80.0)
    events = read_calendar(calendar(tmp_path, NIGHTLY, MOVED, CANCELLED), vms, effect)
    assert spans(events) == [
        ("2026-10-23T00:00", 90.0),
        ("2026-10-25T00:00", 90.0),
        ("2026-10-26T04:00", 30.0),
        ("2026-10-28T01:00", 90.0),
    ]
    assert all((event.vms, event.effect) == (vms, effect) for event in events)
    assert events[0].name == "Nightly {{ backup }}"


def test_an_event_of_a_whole_day_lasts_a_day(tmp_path: Path) -> None:
    assert spans(read_calendar(calendar(tmp_path, WHOLE_DAY), VmSelection(), None)) == [("2026-10-31T00:00", 1440.0)]


@pytest.mark.parametrize("content", [b"", b"not a calendar", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", b"\xff\xfe\x00"])
def test_a_file_without_events_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.ics").write_bytes(content)
    with pytest.raises(InvalidOption):
        read_calendar(str(tmp_path / "x.ics"), VmSelection(), None)


def test_an_absent_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot be read"):
        read_calendar(str(tmp_path / "absent.ics"), VmSelection(), None)


def test_an_event_without_a_start_or_a_length_is_refused(tmp_path: Path) -> None:
    for missing in ("DTSTART;TZID=Europe/Berlin:20261023T020000", "DTEND;TZID=Europe/Berlin:20261023T033000"):
        with pytest.raises(InvalidOption):
            read_calendar(calendar(tmp_path, NIGHTLY.replace(missing + "\n", "")), VmSelection(), None)

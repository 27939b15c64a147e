# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When scheduled events happen, and to which VMs."""

from __future__ import annotations

import datetime as dt
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.event import Event, VmSelection
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.serialise import from_data, to_data
from hypothesis import given
from hypothesis import strategies as st

HOUR_S = 3600.0
BERLIN = ZoneInfo("Europe/Berlin")


def event(**parts: Any) -> Event:
    defaults: dict[str, Any] = {"name": "backup", "uid": "u", "vms": VmSelection(), "duration_s": HOUR_S}
    return Event(**{**defaults, **parts})


def ts(text: str) -> float:
    return dt.datetime.fromisoformat(text).timestamp()


def starts(one: Event, start: str, end: str) -> list[str]:
    found = one.occurrences(ts(start), ts(end))
    return [dt.datetime.fromtimestamp(begin, BERLIN).isoformat() for begin, _unused in found]


def vm(name: str, **labels: str) -> Vm:
    return Vm("lab", f"id-{name}", name, None, "running", Resources(), labels=labels)


def test_two_at_night_stays_two_at_night_when_the_clocks_change() -> None:
    nightly = event(dtstart="2026-10-23T02:00:00", rrule="FREQ=DAILY", timezone="Europe/Berlin")
    assert starts(nightly, "2026-10-24T00:00:00Z", "2026-10-26T12:00:00Z") == [
        "2026-10-24T02:00:00+02:00",
        "2026-10-25T02:00:00+02:00",
        "2026-10-26T02:00:00+01:00",
    ]


def test_a_local_time_that_the_clocks_skip_is_taken_with_the_offset_before() -> None:
    nightly = event(dtstart="2026-03-28T02:30:00", rrule="FREQ=DAILY", timezone="Europe/Berlin")
    assert starts(nightly, "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z") == ["2026-03-29T03:30:00+02:00"]


def test_an_occurrence_under_way_counts_and_one_that_ends_at_the_start_does_not() -> None:
    one = event(times=("2026-01-01T00:00:00Z",))
    begin = ts("2026-01-01T00:00:00Z")
    assert one.occurrences(begin + 1800, begin + 7200) == ((begin, begin + HOUR_S),)
    assert one.occurrences(begin + HOUR_S, begin + 7200) == ()
    assert one.occurrences(begin - 7200, begin) == ()


def test_times_rules_and_exclusions_add_up() -> None:
    weekly = event(
        dtstart="2026-01-05T10:00:00",
        rrule="FREQ=WEEKLY;COUNT=3",
        timezone="Europe/Berlin",
        times=("2026-01-07T10:00:00", "2026-01-08T09:00:00Z"),
        excluded=("2026-01-12T10:00:00",),
    )
    assert [text[:16] for text in starts(weekly, "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")] == [
        "2026-01-05T10:00",
        "2026-01-07T10:00",
        "2026-01-08T10:00",
        "2026-01-19T10:00",
    ]


def test_until_in_utc_bounds_a_rule_in_local_time() -> None:
    daily = event(dtstart="2026-06-01T00:30:00", rrule="FREQ=DAILY;UNTIL=20260602T223000Z", timezone="Europe/Berlin")
    assert len(starts(daily, "2026-05-01T00:00:00Z", "2026-07-01T00:00:00Z")) == 3


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"dtstart": "soon"},
        {"times": ("2026-13-01",)},
        {"rrule": "FREQ=DAILY", "times": ("2026-01-01",)},
        {"dtstart": "2026-01-01", "rrule": "FREQ=NEVER"},
        {"dtstart": "2026-01-01", "rrule": "nonsense"},
        {"dtstart": "2026-01-01", "rrule": "FREQ=DAILY;BYHOUR=99"},
        {"dtstart": "2026-01-01", "rrule": "FREQ=DAILY;UNTIL=never"},
        {"dtstart": "2026-01-01", "rrule": "FREQ=DAILY;UNTIL=2026Z"},
        {"dtstart": "2026-01-01", "rrule": "FREQ=SECONDLY"},
        {"dtstart": "2026-01-01", "rrule": "rrule:freq=minutely"},
        {"dtstart": "2026-01-01", "rrule": "FREQ=DAILY\nRRULE:FREQ=SECONDLY"},
        {"dtstart": "2026-01-01", "timezone": "Mars/Olympus"},
        {"dtstart": "2026-01-01", "timezone": "../../etc/passwd"},
        {"dtstart": "2026-01-01", "duration_s": 0.0},
        {"dtstart": "2026-01-01", "duration_s": float("nan")},
        {"dtstart": "2026-01-01", "name": ""},
    ],
)
def test_an_event_that_cannot_be_is_refused_with_the_option_named(parts: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption) as caught:
        event(**parts).check()
    assert str(caught.value.details["option"]).startswith("events")


def test_vms_are_chosen_by_name_uuid_label_or_expression() -> None:
    vms = (vm("web", tier="gold"), vm("db", tier="gold", site="x"), vm("batch"))
    assert VmSelection(names=("web", "ID-BATCH")).matching(vms) == (vms[0], vms[2])
    assert VmSelection(labels={"tier": "gold", "site": "x"}).matching(vms) == (vms[1],)
    assert VmSelection(expression="starts_with(name, 'b')", labels={"site": "x"}).matching(vms) == (vms[1], vms[2])
    assert VmSelection().matching(vms) == vms
    with pytest.raises(InvalidOption):
        VmSelection(expression="name ==").matching(vms)


@given(
    st.datetimes(dt.datetime(2026, 1, 1), dt.datetime(2027, 1, 1)),
    st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,SU", "FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=HOURLY;INTERVAL=7"]),
    st.integers(0, 300 * 24),
    st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland"]),
)
def test_a_narrow_window_shows_what_a_wide_one_shows_there(
    first: dt.datetime, rule: str, hours: int, zone: str
) -> None:
    one = event(dtstart=first.isoformat(), rrule=rule, timezone=zone)
    begin = ts("2026-01-01T00:00:00Z") + hours * HOUR_S
    wide = one.occurrences(begin - 40 * 86_400, begin + 40 * 86_400)
    narrow = one.occurrences(begin, begin + 86_400)
    assert narrow == tuple(span for span in wide if span[0] < begin + 86_400 and span[1] > begin)


def test_an_event_survives_being_stored() -> None:
    one = event(
        vms=VmSelection(names=("{{ x }}",), labels={"a": "b"}, expression="name"),
        times=("2026-01-01",),
        effect=Resources(1.0, 2.0, 3.0, 4.0),
    )
    assert from_data(Event, to_data(one)) == one

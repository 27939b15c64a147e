# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Maintenance windows as options become spans of time."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.clock import from_iso
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate_windows import windows_from

NOW = from_iso("2026-03-27T12:00:00Z", "now")


def test_without_windows_a_move_may_start_at_any_time() -> None:
    assert windows_from(None, NOW) is None
    assert windows_from([], NOW) is None


def test_a_nightly_window_keeps_its_local_time_when_the_clocks_change() -> None:
    nightly = {
        "dtstart": "2026-01-01T22:00:00",
        "duration_hours": 6,
        "rrule": "FREQ=DAILY",
        "timezone": "Europe/Berlin",
    }
    windows = windows_from([nightly], NOW)
    assert windows is not None
    assert windows[0] == (from_iso("2026-03-27T21:00:00Z", ""), from_iso("2026-03-28T03:00:00Z", ""))
    assert windows[2] == (from_iso("2026-03-29T20:00:00Z", ""), from_iso("2026-03-30T02:00:00Z", ""))


def test_the_window_that_is_open_now_is_among_them() -> None:
    daily = {"dtstart": "2026-01-01T11:00:00", "duration_hours": 2, "rrule": "FREQ=DAILY"}
    windows = windows_from([daily, {"start": "2026-03-27T10:00:00Z", "end": "2026-03-27T11:00:00Z"}], NOW)
    assert windows is not None
    assert sum(start <= NOW < end for start, end in windows) == 1
    assert windows == tuple(sorted(windows))


@pytest.mark.parametrize(
    "window",
    [
        {},
        {"start": "2026-03-27T10:00:00Z"},
        {"start": "2026-03-27T10:00:00Z", "end": "2026-03-27T09:00:00Z"},
        {"start": "then", "end": "2026-03-27T09:00:00Z"},
        {"dtstart": "2026-03-27T10:00:00"},
        {"dtstart": "2026-03-27T10:00:00", "duration_hours": 0},
        {"dtstart": "2026-03-27T10:00:00", "duration_hours": 1, "rrule": "FREQ=SOMETIMES"},
        {"dtstart": "2026-03-27T10:00:00", "duration_hours": 1, "timezone": "Mars/Olympus"},
        {"start": "2026-03-27T10:00:00Z", "end": "2026-03-27T11:00:00Z", "rrule": "FREQ=DAILY"},
        {"start": "2026-03-27T10:00:00Z", "end": "2026-03-27T11:00:00Z", "dtstart": "x", "duration_hours": 1},
    ],
)
def test_a_window_that_cannot_be_meant_is_refused_by_the_name_of_its_option(window: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption) as caught:
        windows_from([window], NOW)
    assert caught.value.details["option"].startswith("windows")

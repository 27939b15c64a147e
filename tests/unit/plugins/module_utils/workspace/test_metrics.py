# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the metrics dataset promises: a sample counts once, gaps stay gaps, nothing is read that nobody asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples, SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

DAY_S = 86_400
START = 1_770_000_000 // DAY_S * DAY_S


def samples(rows: Iterable[tuple[str, str, str, float, float]]) -> Samples:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    names = [np.array(column, dtype=object) for column in columns[:3]]
    return Samples(names[0], names[1], names[2], np.array(columns[3], float), np.array(columns[4], float))


def cpu(values: Sequence[tuple[float, float]], vm: str = "vm-1") -> Samples:
    return samples([("vm", vm, "cpu", ts, value) for ts, value in values])


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(str(tmp_path / "store"))


KEY = SeriesKey("vm", "vm-1", "cpu")


def test_the_mean_of_a_step_is_read_and_a_step_without_samples_is_nan(workspace: Workspace) -> None:
    workspace.metrics.append("a", cpu([(START, 1.0), (START + 299, 3.0), (START + 600, 5.0)]))
    series = workspace.metrics.read([KEY], START, START + 1200, 300)
    np.testing.assert_array_equal(series.values, np.array([[2.0, np.nan, 5.0, np.nan]], np.float32))
    assert (series.start_ts, series.end_ts, series.step_s) == (START, START + 1200, 300)


def test_a_step_that_reaches_into_the_next_day_holds_both_sides(workspace: Workspace) -> None:
    midnight = START + DAY_S
    workspace.metrics.append("a", cpu([(midnight - 60, 1.0), (midnight + 60, 3.0), (midnight + 200, 9.0)]))
    series = workspace.metrics.read([KEY], midnight - 420, midnight + 480, 300)
    np.testing.assert_array_equal(series.values, np.array([[np.nan, 2.0, 9.0]], np.float32))


def test_steps_longer_than_a_day_average_over_days(workspace: Workspace) -> None:
    workspace.metrics.append("a", cpu([(START + day * DAY_S + 5, float(day)) for day in range(7)]))
    series = workspace.metrics.read([KEY], START, START + 7 * DAY_S, 3 * DAY_S)
    np.testing.assert_array_equal(series.values, np.array([[1.0, 4.0, 6.0]], np.float32))


def test_a_sample_collected_twice_counts_once_and_the_last_written_value_wins(workspace: Workspace) -> None:
    workspace.metrics.append("a", cpu([(START, 1.0), (START + 60, 2.0)]))
    workspace.metrics.append("a", cpu([(START, 1.0), (START + 60, 6.0)]))
    series = workspace.metrics.read([KEY], START, START + 300, 300)
    assert series.values[0, 0] == 3.5


def test_the_same_moment_twice_in_one_call_counts_once(workspace: Workspace) -> None:
    report = workspace.metrics.append("a", cpu([(START, 1.0), (START, 5.0)]))
    assert (report.written, dict(report.left_out)) == (1, {"duplicate": 1})
    assert workspace.metrics.read([KEY], START, START + 300, 300).values[0, 0] == 5.0


@pytest.mark.parametrize(
    ("ts", "value", "reason"),
    [
        (START, math.nan, "not_finite"),
        (START, math.inf, "not_finite"),
        (START, -math.inf, "not_finite"),
        (START, 1e300, "not_finite"),
        (START, -0.5, "negative"),
        (math.nan, 1.0, "impossible_time"),
        (-5.0, 1.0, "impossible_time"),
        (1e15, 1.0, "impossible_time"),
    ],
)
def test_a_value_that_cannot_be_is_left_out_and_counted(
    workspace: Workspace, ts: float, value: float, reason: str
) -> None:
    report = workspace.metrics.append("a", cpu([(ts, value), (START + 60, 1.0)]))
    assert (report.written, dict(report.left_out)) == (1, {reason: 1})


def test_no_samples_are_no_file(workspace: Workspace) -> None:
    report = workspace.metrics.append("a", samples([]))
    assert (report.written, report.last_ts) == (0, None)
    assert workspace.metrics.last_ts("a") is None
    assert workspace.metrics.read(None, START, START + 600, 300).keys == ()


def test_late_and_unordered_samples_find_their_place(workspace: Workspace) -> None:
    workspace.metrics.append("a", cpu([(START + 600, 3.0), (START, 1.0)]))
    workspace.metrics.append("a", cpu([(START + 300, 2.0), (START - DAY_S, 9.0)]))
    series = workspace.metrics.read([KEY], START, START + 900, 300)
    np.testing.assert_array_equal(series.values, np.array([[1.0, 2.0, 3.0]], np.float32))


def test_a_vm_that_moved_to_another_endpoint_keeps_its_history(workspace: Workspace) -> None:
    workspace.metrics.append("old", cpu([(START, 1.0)]))
    workspace.metrics.append("new", cpu([(START + 300, 2.0)]))
    series = workspace.metrics.read([KEY], START, START + 600, 300)
    np.testing.assert_array_equal(series.values, np.array([[1.0, 2.0]], np.float32))


def test_series_come_in_the_order_asked_for_and_unknown_ones_are_gaps(workspace: Workspace) -> None:
    rows = [("vm", f"vm-{n}", metric, START, float(n)) for n in range(3) for metric in ("cpu", "memory")]
    workspace.metrics.append("a", samples(rows))
    keys = [SeriesKey("vm", "vm-2", "memory"), SeriesKey("vm", "no", "cpu"), SeriesKey("vm", "vm-1", "cpu")]
    keys.append(keys[0])
    series = workspace.metrics.read(keys, START, START + 300, 300)
    assert series.keys == tuple(keys)
    np.testing.assert_array_equal(series.values[:, 0], np.array([2.0, np.nan, 1.0, 2.0], np.float32))


def test_without_keys_all_series_of_the_window_are_found_and_narrowed(workspace: Workspace) -> None:
    rows = [(kind, "x", metric, START, 1.0) for kind in ("vm", "host") for metric in ("cpu", "memory")]
    workspace.metrics.append("a", samples(rows))
    workspace.metrics.append("a", samples([("vm", "later", "cpu", START + 5 * DAY_S, 1.0)]))
    read = workspace.metrics.read
    assert len(read(None, START, START + 300, 300).keys) == 4
    narrowed = read(None, START, START + 300, 300, entity_kind="host", metrics=["cpu"])
    assert narrowed.keys == (SeriesKey("host", "x", "cpu"),)
    assert read(narrowed.keys, START, START + 300, 300, entity_kind="vm").keys == ()


def test_the_newest_sample_of_an_endpoint_is_known(workspace: Workspace) -> None:
    workspace.metrics.append("a", cpu([(START + DAY_S + 7.5, 1.0), (START, 1.0)]))
    workspace.metrics.append("b", cpu([(START + 9 * DAY_S, 1.0)]))
    assert workspace.metrics.last_ts("a") == START + DAY_S + 7.5
    assert workspace.metrics.endpoints() == ["a", "b"]

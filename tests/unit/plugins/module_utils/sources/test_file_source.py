# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Traces brought in from files: every value in its place, every bad line named."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate
from ansible_collections.foresight.migration.plugins.module_utils.sources.entities import Entities
from ansible_collections.foresight.migration.plugins.module_utils.sources.file_source import BadLines
from ansible_collections.foresight.migration.plugins.module_utils.sources.source import (
    Source,
    SourceFailed,
    open_source,
)

HOSTILE = "{{ lookup('pipe', 'id') }}\"'; DROP\n../../etc/passwd"


def estate(*names: str) -> Estate:
    vms = [Vm("lab", f"uuid-{at}", name, "lab/h", "running", Resources()) for at, name in enumerate(names)]
    host = Host("lab", "h", "host-a", "kvm", "up", Resources(8, 1000))
    return Estate("", 0.0, (), {host.key: host}, {vm.key: vm for vm in vms})


def source(path: Path, known: Estate | None = None, **options: Any) -> Source:
    defaults: dict[str, Any] = {
        "name": "trace",
        "type": "file",
        "path": str(path),
        "entity_column": "vm",
        "time_column": "time",
        "metrics": [{"metric": "cpu", "columns": ["cpu"], "scale": 0.01}],
    }
    return open_source({**defaults, **options}, Entities(known or estate("web", "db")))


def rows(reader: Source) -> list[tuple[str, str, str, float, float]]:
    found = []
    for samples in reader.samples(0.0, 0.0):
        columns = (samples.entity_kind, samples.entity_id, samples.metric, samples.ts, samples.value)
        found += list(zip(*(column.tolist() for column in columns), strict=True))
    return found


def csv_file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "trace.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_columns_are_summed_scaled_and_mapped_to_vms_by_name_or_uuid(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, "vm,time,cpu,rx,tx", "web,1970-01-01T00:05:00Z,150,1,2", "UUID-1,1970-01-01T00:10:00Z,50,3,"
    )
    metrics = [
        {"metric": "cpu", "columns": ["cpu"], "scale": 0.01},
        {"metric": "network", "columns": ["rx", "tx"], "scale": 8},
    ]
    assert rows(source(path, metrics=metrics)) == [
        ("vm", "uuid-0", "cpu", 300.0, 1.5),
        ("vm", "uuid-1", "cpu", 600.0, 0.5),
        ("vm", "uuid-0", "network", 300.0, 24.0),
    ]


def test_running_totals_become_rates_across_resets_wraps_and_entities(tmp_path: Path) -> None:
    lines = [
        "web,0,100,4294967176",
        "db,0,5,0",
        "web,60,700,4294967236",
        "web,120,0,60",
        "web,180,60,",
        "db,60,65,60",
        "web,240,120,180",
    ]
    path = csv_file(tmp_path, "vm,time,up,rx", *lines)
    metrics = [
        {"metric": "up", "columns": ["up"], "counter": True},
        {"metric": "rx", "columns": ["rx"], "counter": True, "wraps_at": 2.0**32, "scale": 2.0},
    ]
    found = {}
    for _unused, entity, metric, ts, value in rows(source(path, metrics=metrics, time_format="unix_s")):
        found.setdefault((entity, metric), []).append((ts, value))
    assert found["uuid-0", "up"] == [(60.0, 10.0), (180.0, 1.0), (240.0, 1.0)]
    assert found["uuid-0", "rx"] == [(60.0, 2.0), (120.0, 4.0), (240.0, 2.0)]
    assert found["uuid-1", "up"] == [(60.0, 1.0)]


def test_long_files_name_the_metric_in_a_column(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "what;vm;time;v", "cpu;web;60;1.5", "latency_ms;web;120;7")
    reader = source(
        path, metrics=[], metric_column="what", value_column="v", time_format="unix_s", delimiter=";", entity_kind="app"
    )
    assert rows(reader) == [("app", "uuid-0", "cpu", 60.0, 1.5), ("app", "uuid-0", "latency_ms", 120.0, 7.0)]


def test_every_bad_line_is_named_and_nothing_is_taken(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path,
        "vm,time,cpu",
        "web,1970-01-01T00:00:00Z,1",
        "web,yesterday,2",
        "web,1970-01-01T00:10:00Z,a lot",
        "web,1",
    )
    with pytest.raises(BadLines) as caught:
        rows(source(path))
    assert caught.value.code == "file_invalid"
    assert caught.value.details["first"] == {
        3: "column 'time': 'yesterday' is not an ISO 8601 time",
        4: "column 'cpu': 'a lot' is not a number",
        5: "2 fields instead of 3",
    }
    assert "line 3" in caught.value.message


def test_bad_lines_can_be_left_out_and_are_still_named(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "vm,time,cpu", "web,nonsense,1", "web,1970-01-01T00:10:00Z,2")
    reader = source(path, on_bad_line="skip")
    assert rows(reader) == [("vm", "uuid-0", "cpu", 600.0, 0.02)]
    assert "line 2" in reader.warnings[0]


def test_a_quoted_line_break_does_not_shift_the_line_numbers(tmp_path: Path) -> None:
    path = csv_file(
        tmp_path, "vm,time,cpu,note", 'web,1970-01-01T00:00:00Z,1,"two\nlines"', "web,1970-01-01T00:05:00Z,x,"
    )
    with pytest.raises(BadLines, match="line 4"):
        rows(source(path))


def test_an_absent_column_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "vm,time,cpu_pct", "web,1970-01-01T00:00:00Z,1")
    with pytest.raises(InvalidOption, match=r"no column 'cpu'; its columns are 'vm', 'time', 'cpu_pct'"):
        rows(source(path))


def test_unknown_and_ambiguous_names_are_left_out_and_reported(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "vm,time,cpu", "ghost,1970-01-01T00:00:00Z,1", "twin,1970-01-01T00:00:00Z,1")
    reader = source(path, estate("twin", "twin"))
    assert rows(reader) == []
    assert any("match no VM" in text and "'ghost'" in text for text in reader.warnings)
    assert any("belong to several" in text and "'twin'" in text for text in reader.warnings)


def test_a_guest_cannot_take_another_vms_history_by_calling_itself_like_its_uuid(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "vm,time,cpu", "uuid-0,1970-01-01T00:00:00Z,1")
    assert [row[1] for row in rows(source(path, estate("victim", "uuid-0")))] == ["uuid-0"]


def test_hostile_names_pass_through_unharmed(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    pq.write_table(pa.table({"vm": [HOSTILE], "time": [0], "cpu": [100.0]}), path)
    reader = source(path, time_format="unix_s", entity_match="as_given")
    assert rows(reader) == [("vm", HOSTILE, "cpu", 0.0, 1.0)]


def test_parquet_with_timestamps_gaps_and_bad_values(tmp_path: Path) -> None:
    path = tmp_path / "trace.parquet"
    times = [dt.datetime(1970, 1, 1, 0, minute, tzinfo=dt.UTC) for minute in (0, 5, 10)]
    pq.write_table(pa.table({"vm": ["web"] * 3, "time": times, "cpu": [100.0, None, 300.0]}), path)
    assert [row[3:] for row in rows(source(path))] == [(0.0, 1.0), (600.0, 3.0)]
    pq.write_table(pa.table({"vm": ["web"], "time": times[:1], "cpu": ["much"]}), path)
    with pytest.raises(BadLines, match="line 1: column 'cpu': 'much'"):
        rows(source(path))


def test_the_hour_that_comes_twice_is_told_apart_and_the_one_that_never_was_is_refused(tmp_path: Path) -> None:
    autumn = [f"web,2026-10-25T{clock},1" for clock in ("01:30:00", "02:30:00", "02:30:00", "03:30:00")]
    path = csv_file(tmp_path, "vm,time,cpu", *autumn)
    times = [row[3] for row in rows(source(path, timezone="Europe/Berlin"))]
    assert np.diff(times).tolist() == [3600.0, 3600.0, 3600.0]
    path = csv_file(tmp_path, "vm,time,cpu", "web,2026-03-29T02:30:00,1")
    with pytest.raises(BadLines, match="does not exist in Europe/Berlin"):
        rows(source(path, timezone="Europe/Berlin"))


@pytest.mark.parametrize(
    "options",
    [
        {"timezone": "Mars/Olympus"},
        {"time_format": "stardate"},
        {"entity_kind": "ghost"},
        {"metrics": []},
        {"metric_column": "a", "value_column": "b"},
        {"format": "xls"},
        {"entity_column": ""},
        {"metrics": [{"metric": "cpu", "columns": []}]},
    ],
)
def test_a_mapping_that_cannot_be_is_refused_before_reading(tmp_path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOption):
        source(tmp_path / "not-there.csv", **options)


def test_files_that_are_not_what_they_should_be_say_so(tmp_path: Path) -> None:
    with pytest.raises(SourceFailed, match="cannot be read"):
        rows(source(tmp_path / "absent.csv"))
    (tmp_path / "x.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(SourceFailed, match="Parquet"):
        rows(source(tmp_path / "x.parquet"))
    (tmp_path / "x.csv").write_bytes(b"vm,time,cpu\n\xff\xfe,0,1\n")
    with pytest.raises(SourceFailed, match="UTF-8"):
        rows(source(tmp_path / "x.csv"))
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InvalidOption, match="no column 'vm'"):
        rows(source(tmp_path / "empty.csv"))


def test_the_fingerprint_changes_with_the_file_and_with_the_mapping(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "vm,time,cpu")
    before = source(path).fingerprint()
    assert source(path).fingerprint() == before
    assert source(path, timezone="Europe/Berlin").fingerprint() != before
    csv_file(tmp_path, "vm,time,cpu", "web,1970-01-01T00:00:00Z,1")
    assert source(path).fingerprint() != before

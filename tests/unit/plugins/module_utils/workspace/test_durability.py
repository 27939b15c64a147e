# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What may happen to a store: crashes, full disks, damage, several writers and mergers at once, newer versions."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples, SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.workspace import compaction
from ansible_collections.foresight.migration.plugins.module_utils.workspace.errors import (
    StoreNotWritable,
    StoreTooNew,
)
from ansible_collections.foresight.migration.plugins.module_utils.workspace.lease import lease
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from hypothesis import given, settings
from hypothesis import strategies as st

DAY_S = 86_400
START = 1_770_000_000 // DAY_S * DAY_S
KEYS = [SeriesKey("vm", f"vm-{number}", metric) for number in range(3) for metric in ("cpu", "memory")]

#: What the processes of these tests begin with; ``collect(workspace, n)`` stores collection n of every series.
PRELUDE = """
import sys
import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples
from ansible_collections.foresight.migration.plugins.module_utils.workspace.compaction import compact
from ansible_collections.foresight.migration.plugins.module_utils.workspace.errors import StoreFull
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
START, KEYS = {start}, {keys}
def collect(workspace, number):
    names = [np.array(column, object) for column in zip(*KEYS)]
    ts = np.full(len(KEYS), START + 300.0 * number)
    return workspace.metrics.append("lab", Samples(*names, ts, np.arange(len(KEYS)) + number))
workspace = Workspace.open(sys.argv[1])
"""


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def process(code: str, *arguments: str, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    prelude = PRELUDE.format(start=START, keys=[tuple(key) for key in KEYS])
    return subprocess.Popen(
        [sys.executable, "-c", prelude + textwrap.dedent(code), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=before,
    )  # fmt: skip


def collect(workspace: Workspace, number: int, keys: Sequence[SeriesKey] = KEYS) -> None:
    names = [np.array([key[part] for key in keys], object) for part in range(3)]
    ts = np.full(len(keys), START + 300.0 * number)
    workspace.metrics.append("lab", Samples(names[0], names[1], names[2], ts, np.arange(len(keys)) + float(number)))


def expected(numbers: Sequence[int]) -> np.ndarray:
    values = np.full((len(KEYS), 288), np.nan, np.float32)
    for number in numbers:
        values[:, number] = np.arange(len(KEYS)) + number
    return values


def read(store: str) -> np.ndarray:
    return Workspace.open(store, writable=False).metrics.read(KEYS, START, START + DAY_S, 300).values


def parquet_files(store: str) -> list[Path]:
    return sorted(Path(store, "metrics").rglob("*.parquet"))


def test_a_writer_killed_at_any_moment_loses_at_most_what_it_was_writing(store: str) -> None:
    Workspace.open(store)
    for kill in range(4):
        writer = process(
            """
            first = int(sys.argv[2])
            for number in range(first, first + 40):
                collect(workspace, number)
                print(number, flush=True)
            """,
            store,
            str(kill * 40),
        )
        assert writer.stdout is not None
        done = [int(writer.stdout.readline()) for _unused in range(2 + kill)]
        writer.send_signal(signal.SIGKILL)
        done += [int(line) for line in writer.communicate()[0].split()]
        values = read(store)[:, kill * 40 : kill * 40 + 40]
        present = np.flatnonzero(~np.isnan(values[0]))
        assert len(done) <= len(present) <= len(done) + 1
        np.testing.assert_array_equal(values[:, present], expected(range(288))[:, kill * 40 + present])
    assert Workspace.open(store).metrics.warnings == []


def test_writers_and_mergers_at_once_lose_and_double_nothing(store: str) -> None:
    Workspace.open(store)
    writers = [
        process(
            """
            for number in range(int(sys.argv[2]), 96, 4):
                collect(workspace, number)
            """,
            store,
            str(first),
        )
        for first in range(4)
    ]
    mergers = [
        process(
            """
            for _ in range(12):
                compact(workspace.metrics, workspace.files, START + 3600)
            assert not workspace.metrics.warnings, workspace.metrics.warnings
            """,
            store,
        )
        for _unused in range(2)
    ]
    while any(one.poll() is None for one in writers):
        values = read(store)
        present = ~np.isnan(values)
        assert (present == present[0]).all()  # at every moment whole collections
        np.testing.assert_array_equal(values[present], expected(range(96))[present])
    for one in (*writers, *mergers):
        assert one.wait() == 0, one.communicate()[1]
    np.testing.assert_array_equal(read(store), expected(range(96)))


def test_a_disk_that_is_full_leaves_nothing_half_written(store: str) -> None:
    workspace = Workspace.open(store)
    collect(workspace, 0)
    limit = parquet_files(store)[0].stat().st_size - 100  # a real limit of the system: the write stops in the middle
    writer = process(
        """
        try:
            collect(workspace, 1)
        except StoreFull as error:
            print(error.code)
        """,
        store,
        before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    output, errors = writer.communicate()
    assert (output.strip(), errors) == ("store_full", "")
    assert [path for path in Path(store).rglob("*") if path.is_file() and path.name.startswith(".")] == []
    np.testing.assert_array_equal(read(store), expected([0]))


def test_a_store_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreNotWritable) as caught:
        Workspace.open(str(tmp_path / "file" / "store"))
    assert caught.value.code == "store_not_writable"


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "foreign"])
def test_a_damaged_file_is_named_and_set_aside_and_the_rest_is_read(store: str, damage: str) -> None:
    workspace = Workspace.open(store)
    collect(workspace, 0)
    broken = parquet_files(store)[0]
    collect(workspace, 1)
    content = bytearray(broken.read_bytes())
    if damage == "flipped":
        content[40] ^= 0xFF  # inside a data page: only the checksum tells
    changed = {"cut": content[: len(content) // 2], "flipped": content, "emptied": b"", "foreign": b"not Parquet"}
    broken.write_bytes(changed[damage])
    np.testing.assert_array_equal(read(store), expected([1]))
    assert broken.exists()  # who only reads moves nothing
    workspace = Workspace.open(store)
    series = workspace.metrics.read(KEYS, START, START + DAY_S, 300)
    np.testing.assert_array_equal(series.values, expected([1]))
    assert broken.name in workspace.metrics.warnings[0]
    kept = list(Path(store, "damaged").rglob("*.parquet"))
    assert [path.read_bytes() for path in kept] == [bytes(changed[damage])]
    assert not broken.exists()


def test_a_newer_store_is_refused_and_left_alone(store: str) -> None:
    Workspace.open(store)
    stamp = Path(store, "workspace.json")
    stamp.write_text(json.dumps({"format": "foresight.migration workspace", "version": 99}))
    with pytest.raises(StoreTooNew) as caught:
        Workspace.open(store)
    assert caught.value.details == {"store_version": 99, "supported_version": 1}
    assert json.loads(stamp.read_text())["version"] == 99


def test_merging_an_hour_and_a_day_changes_no_value(store: str) -> None:
    workspace = Workspace.open(store)
    for number in range(24):
        collect(workspace, number)
    before = read(store)
    assert compaction.compact(workspace.metrics, workspace.files, START + 7200.0)
    assert len(parquet_files(store)) == 1
    collect(workspace, 24)
    collect(workspace, 24)
    assert not compaction.compact(workspace.metrics, workspace.files, START + 7500.0)
    assert compaction.compact(workspace.metrics, workspace.files, START + 2 * DAY_S)
    assert len(parquet_files(store)) == 1
    assert not compaction.compact(workspace.metrics, workspace.files, START + 2 * DAY_S)
    before[:, 24] = np.arange(len(KEYS)) + 24
    np.testing.assert_array_equal(read(store), before)


def test_a_merge_that_was_killed_before_it_removed_anything_doubles_nothing(store: str) -> None:
    workspace = Workspace.open(store)
    for number in range(13):
        collect(workspace, number)
    replaced = {path: path.read_bytes() for path in parquet_files(store)}
    compaction.compact(workspace.metrics, workspace.files, START + 7200.0)
    for path, content in replaced.items():
        path.write_bytes(content)
    np.testing.assert_array_equal(read(store), expected(range(13)))


def test_a_later_correction_wins_also_after_merging(store: str) -> None:
    workspace = Workspace.open(store)
    collect(workspace, 0)
    names = [np.array([part], object) for part in KEYS[0]]
    workspace.metrics.append("lab", Samples(names[0], names[1], names[2], np.array([float(START)]), np.array([99.0])))
    compaction.compact(workspace.metrics, workspace.files, START + 2 * DAY_S)
    assert read(store)[0, 0] == 99.0


def test_old_days_are_forgotten_whole_and_others_kept(store: str) -> None:
    workspace = Workspace.open(store)
    for number in (0, 288, 576):
        collect(workspace, number)
    compaction.forget(workspace.metrics, workspace.files, START + DAY_S + 10.0)
    assert len(parquet_files(store)) == 2
    assert np.isnan(read(store)).all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.integers(0, 9)), min_size=1, max_size=8),
        max_size=14,
    )
)
def test_whatever_is_stored_and_merged_in_whatever_order_the_last_value_of_each_moment_counts(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[int, int, int]]]
) -> None:
    store = str(tmp_path_factory.mktemp("store"))
    workspace, last = Workspace.open(store), {}
    for batch in batches:
        number, minute, value = (np.array(column) for column in zip(*batch, strict=True))
        names = [np.full(len(batch), text, object) for text in ("vm", "cpu")]
        entities = np.array([f"vm-{one}" for one in number], object)
        ts = START + 60.0 * minute
        workspace.metrics.append("lab", Samples(names[0], entities, names[1], ts, value.astype(float)))
        last.update({(f"vm-{one}", at): value for one, at, value in batch})
        compaction.compact(workspace.metrics, workspace.files, START + 3600.0)
    series = workspace.metrics.read(None, START, START + 41 * 60, 60)
    found = {
        (key.entity_id, int(at)): int(series.values[row, at])
        for row, key in enumerate(series.keys)
        for at in np.flatnonzero(~np.isnan(series.values[row]))
    }
    assert found == last


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../../etc", "{{ x }}", "Zürich €", 'a"b\n', "a~b", "con"])
def test_any_endpoint_name_stays_inside_the_store_and_comes_back(store: str, tmp_path: Path, name: str) -> None:
    workspace = Workspace.open(store)
    names = [np.array([part], object) for part in KEYS[0]]
    workspace.metrics.append(name, Samples(names[0], names[1], names[2], np.array([float(START)]), np.array([1.0])))
    workspace.counters.write(name, {"seen": name})
    assert workspace.metrics.endpoints() == [name]
    assert workspace.counters.read(name) == {"seen": name}
    assert {path.parts[len(tmp_path.parts)] for path in tmp_path.rglob("*") if path.is_file()} == {"store"}


@pytest.mark.parametrize("name", ["", "ü" * 100])
def test_an_endpoint_name_that_no_file_system_could_hold_is_refused(store: str, name: str) -> None:
    with pytest.raises(InvalidOption):
        Workspace.open(store).counters.write(name, {})


def test_a_lease_is_held_by_one_process_and_freed_by_its_death(store: str) -> None:
    workspace = Workspace.open(store)
    holder = process(
        """
        from ansible_collections.foresight.migration.plugins.module_utils.workspace.lease import lease
        with lease(workspace.files, "collect", 60.0) as held:
            print(held, flush=True)
            sys.stdin.readline()
            import time
            time.sleep(60)
        """,
        store,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "True"
    with lease(workspace.files, "collect", 60.0) as held:
        assert not held
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with lease(workspace.files, "collect", 60.0) as held:
        assert held

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The store in an object store: the same promises as in a folder."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples, SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate
from ansible_collections.foresight.migration.plugins.module_utils.workspace.compaction import compact
from ansible_collections.foresight.migration.plugins.module_utils.workspace.errors import (
    ArtefactMissing,
    StoreNotReadable,
    StoreNotWritable,
    StoreTooNew,
)
from ansible_collections.foresight.migration.plugins.module_utils.workspace.lease import lease
from ansible_collections.foresight.migration.plugins.module_utils.workspace.retention import tidy
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from ansible_collections.foresight.migration.tests.labs.s3.server import ENVIRONMENT, ObjectStore, running

DAY_S = 86_400
START = 1_770_000_000 // DAY_S * DAY_S
KEYS = [SeriesKey("vm", f"vm-{number}", "cpu") for number in range(4)]


@pytest.fixture(scope="module")
def server() -> Iterator[ObjectStore]:
    with running() as one:
        one.make_bucket("lab")
        yield one


@pytest.fixture
def store(server: ObjectStore, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return server.store("lab", f"prefix/{request.node.name}")


def collect(workspace: Workspace, number: int) -> None:
    names = [np.array([key[part] for key in KEYS], object) for part in range(3)]
    ts = np.full(len(KEYS), START + 300.0 * number)
    workspace.metrics.append("lab/ü", Samples(names[0], names[1], names[2], ts, np.arange(len(KEYS)) + float(number)))


def read(store: str, steps: int) -> np.ndarray:
    return Workspace.open(store, writable=False).metrics.read(KEYS, START, START + 300.0 * steps, 300).values


def expected(steps: int) -> np.ndarray:
    return (np.arange(len(KEYS))[:, None] + np.arange(steps)[None, :]).astype(np.float32)


def test_samples_are_stored_merged_and_read(store: str) -> None:
    workspace = Workspace.open(store)
    for number in range(13):
        collect(workspace, number)
    np.testing.assert_array_equal(read(store, 13), expected(13))
    assert compact(workspace.metrics, workspace.files, START + 7200.0)
    assert sum(map(len, workspace.metrics.partitions().values())) == 1
    np.testing.assert_array_equal(read(store, 13), expected(13))
    assert workspace.metrics.last_ts("lab/ü") == START + 3600.0
    assert workspace.metrics.endpoints() == ["lab/ü"]
    tidy(workspace, START + 90.0 * DAY_S, retention_days=35)
    assert workspace.metrics.partitions() == {}


def test_snapshots_events_and_records_are_kept(store: str) -> None:
    workspace = Workspace.open(store)
    vm = Vm("lab", "u", "{{ name }}", None, "running", Resources(1, 2, 3, 4))
    snapshot_id = workspace.snapshots.write(Estate("", float(START), (), {}, {vm.key: vm}))
    assert Workspace.open(store, writable=False).snapshots.latest().vms == {vm.key: vm}
    workspace.snapshots.delete(snapshot_id)
    workspace.snapshots.delete(snapshot_id)
    with pytest.raises(ArtefactMissing):
        workspace.snapshots.read(snapshot_id)
    workspace.counters.write("a/b", {"x": 1})
    assert workspace.counters.read("a/b") == {"x": 1}
    workspace.migrations.append({"n": 1})
    assert workspace.migrations.read() == [{"n": 1}]


def test_a_damaged_object_is_set_aside(store: str) -> None:
    workspace = Workspace.open(store)
    collect(workspace, 0)
    path = next(iter(workspace.metrics.partitions().values()))[0]
    workspace.files.write(path, workspace.files.read(path)[:100])
    collect(workspace, 1)
    series = workspace.metrics.read(KEYS, START, START + 600, 300)
    np.testing.assert_array_equal(series.values[:, 1], expected(2)[:, 1])
    assert np.isnan(series.values[:, 0]).all()
    assert path in workspace.metrics.warnings[0]
    assert workspace.files.tree("damaged") == [f"damaged/{path}"]


def test_a_writer_that_dies_in_the_middle_leaves_no_object(store: str) -> None:
    Workspace.open(store)
    code = """
import os, sys
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
workspace = Workspace.open(sys.argv[1])
def halves():
    yield b"x" * 6_000_000
    os._exit(1)
workspace.files.write("metrics/endpoint=e/date=2026-01-01/half.parquet", *halves())
"""
    assert subprocess.run([sys.executable, "-c", code, store], check=False).returncode == 1
    assert Workspace.open(store).files.tree("metrics") == []


def test_a_lease_is_held_by_one_at_a_time(store: str) -> None:
    first, second = Workspace.open(store), Workspace.open(store)
    with lease(first.files, "collect", 60.0) as held, lease(second.files, "collect", 60.0) as other:
        assert (held, other) == (True, False)
    with lease(second.files, "collect", 60.0) as held:
        assert held
    with lease(first.files, "collect", -1.0), lease(second.files, "collect", 60.0) as held:
        assert held  # the first one's time was over


def test_what_is_wrong_with_a_store_is_told(store: str, server: ObjectStore) -> None:
    with pytest.raises(StoreNotWritable, match="does not exist"):
        Workspace.open(server.store("no-such-bucket"))
    with pytest.raises(InvalidOption, match="logs"):
        Workspace.open("s3://key:secret@lab/prefix")
    with pytest.raises(InvalidOption, match="unknown parameter 'secret'"):
        Workspace.open("s3://lab/prefix?secret=1")
    with pytest.raises(InvalidOption):
        Workspace.open("gs://lab/prefix")
    workspace = Workspace.open(store)
    workspace.files.write("workspace.json", json.dumps({"version": 99}).encode())
    with pytest.raises(StoreTooNew):
        Workspace.open(store)


def test_an_object_store_that_is_gone_is_told_and_nothing_is_set_aside(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running() as mortal:
        mortal.make_bucket("lab")
        workspace = Workspace.open(mortal.store("lab"))
        collect(workspace, 0)
        mortal.stop()
        with pytest.raises(StoreNotReadable):
            workspace.metrics.read(KEYS, START, START + 600, 300)
        assert workspace.metrics.warnings == []

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The contract in docs/artefacts.md, followed to the letter by a stranger who has pandas only."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import (
    LEVELS,
    PEAK_LEVELS,
    Forecast,
    SeriesReport,
)
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.scenarios import WindowScenarios
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples, SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import EndpointStatus, Estate
from ansible_collections.foresight.migration.plugins.module_utils.workspace.compaction import compact
from ansible_collections.foresight.migration.plugins.module_utils.workspace.errors import ArtefactMissing, BadArtefact
from ansible_collections.foresight.migration.plugins.module_utils.workspace.retention import expired_snapshots, tidy
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

CONTRACT = Path(__file__).resolve().parents[5] / "docs" / "artefacts.md"
DAY_S = 86_400
START = 1_770_000_000 // DAY_S * DAY_S
HOSTILE = "{{ lookup('pipe','id') }}\"'\n../..$(reboot)"


def estate(taken_ts: float = float(START)) -> Estate:
    host = Host("lab", "h1", "host", "kvm", "up", Resources(8, 1024), used=None, cpu_features=frozenset({"avx"}))
    vm = Vm("lab", "u-1", HOSTILE, host.key, "running", Resources(2, 512), used=Resources(1), labels={"a": HOSTILE})
    status = EndpointStatus("lab", "libvirt", True, taken_ts, warnings=("w",))
    return Estate("", taken_ts, (status,), {host.key: host}, {vm.key: vm})


def forecast(series: int = 6, steps: int = 12) -> Forecast:
    rng = np.random.default_rng(3)
    keys = tuple(
        SeriesKey("vm", f"vm-{(7 * at) % series}", metric) for at in range(series) for metric in ("cpu", "memory")
    )
    count = len(keys)

    def values(*shape: int) -> Any:
        return rng.random(shape, np.float32)

    return Forecast(
        keys=keys,
        origin_ts=float(START),
        step_s=300,
        mean=values(count, steps),
        sd=values(count, steps),
        quantiles=values(count, steps, len(LEVELS)),
        peak_mean=values(count),
        peak_sd=values(count),
        peak_quantiles=values(count, len(PEAK_LEVELS)),
        reports=tuple(SeriesReport("auto", f"why {at}", 4032, 0.5, 0.8, None, ("w",)) for at in range(count)),
        scenarios=WindowScenarios(
            keys=keys,
            metrics=("cpu", "memory"),
            history=values(count, 600),
            scale=np.arange(1.0, count + 1),
            history_step_s=300,
            steps=steps,
            starts=np.array([0, 100, 250], np.int32),
            multipliers=values(3, 2),
            coarsen=3,
            additions={keys[-1]: values(steps)},
        ),
        abstained={SeriesKey("vm", "vm-x", "disk"): "no history"},
        facts={"seed": 7},
    )


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace.open(str(tmp_path / "store"))


@pytest.fixture
def store(workspace: Workspace) -> Path:
    return Path(workspace.location)


def passages() -> list[str]:
    """Return the Python of the contract, in order."""
    return re.findall(r"```python\n(.*?)```", CONTRACT.read_text(encoding="utf-8"), re.DOTALL)


def test_a_stranger_with_pandas_reads_what_we_read(workspace: Workspace, store: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for endpoint in ("lab", "Zürich/2"):
        for _unused in range(9):
            count = 400
            names = [np.full(count, "vm", object), np.array([f"vm-{n}" for n in rng.integers(0, 5, count)], object)]
            metric = np.array(["cpu", "memory"], object)[rng.integers(0, 2, count)]
            ts = START + rng.integers(0, 40, count) * 150.0
            workspace.metrics.append(endpoint, Samples(names[0], names[1], metric, ts, rng.random(count)))
        compact(workspace.metrics, workspace.files, START + 3600.0)
    workspace.snapshots.write(estate())
    workspace.forecasts.write("f1", forecast())
    before = ["import sys", "from pathlib import Path", "store, forecast_id = Path(sys.argv[1]), 'f1'"]
    after = ["arrays.to_pickle(sys.argv[2])", "print(len(bands), len(peaks), vms['uuid'].tolist())"]
    code = "\n".join([*before, *passages(), *after])
    pickle = tmp_path / "arrays.pickle"
    stranger = subprocess.run(
        [sys.executable, "-c", code, str(store), str(pickle)], capture_output=True, text=True, check=False
    )
    assert (stranger.returncode, stranger.stderr) == (0, "")
    assert stranger.stdout.split(" ", 2) == ["144", "12", "['u-1']\n"]
    theirs = pd.read_pickle(pickle)
    ours = workspace.metrics.read(None, START, START + 40 * 150, 300)
    assert [tuple(key) for key in theirs.index] == [tuple(key) for key in ours.keys]
    np.testing.assert_allclose(theirs.to_numpy(), ours.values, rtol=1e-6)


def test_the_columns_and_types_are_those_of_the_contract(workspace: Workspace, store: Path) -> None:
    names = [np.array([text], object) for text in ("vm", HOSTILE, "cpu")]
    workspace.metrics.append("lab", Samples(names[0], names[1], names[2], np.array([START + 0.25]), np.array([1.5])))
    frame = pd.read_parquet(next(store.glob("metrics/endpoint=lab/date=*/*.parquet")), partitioning=None)
    assert list(frame.columns) == ["entity_kind", "entity_id", "metric", "ts", "value"]
    assert str(frame["ts"].dtype) == "datetime64[ms, UTC]"
    assert str(frame["value"].dtype) == "float32"
    assert frame["entity_id"].tolist() == [HOSTILE]
    assert frame["ts"][0].timestamp() == START + 0.25


def test_a_snapshot_comes_back_as_it_was_and_its_id_tells_its_time(workspace: Workspace) -> None:
    first, second = workspace.snapshots.write(estate()), workspace.snapshots.write(estate(START + 60.5))
    assert workspace.snapshots.write(estate()) == first
    assert first < second
    assert second.startswith("2026")
    read = workspace.snapshots.read(first)
    assert (read.snapshot_id, read.vms, read.hosts) == (first, estate().vms, estate().hosts)
    assert workspace.snapshots.read("latest").snapshot_id == second


@pytest.mark.parametrize("identifier", ["../../etc/passwd", "a/b", "", ".hidden", "x" * 300])
def test_an_id_from_outside_is_never_a_path(workspace: Workspace, identifier: str) -> None:
    for read in (workspace.snapshots.read, workspace.forecasts.exists):
        with pytest.raises(Exception, match="not an id"):
            read(identifier)


def test_what_is_not_there_or_damaged_says_so(workspace: Workspace, store: Path) -> None:
    for read in (workspace.snapshots.read, workspace.forecasts.read):
        with pytest.raises(ArtefactMissing):
            read("latest")
    snapshot_id = workspace.snapshots.write(estate())
    (store / "estate" / f"{snapshot_id}.json").write_text("{")
    with pytest.raises(BadArtefact):
        workspace.snapshots.latest()
    workspace.forecasts.write("f1", forecast())
    (store / "forecasts" / "f1" / "steps.parquet").write_bytes(b"PAR1")
    with pytest.raises(BadArtefact):
        workspace.forecasts.read("f1")


def test_a_store_that_does_not_exist_reads_as_empty_and_stays_absent(tmp_path: Path) -> None:
    reader = Workspace.open(str(tmp_path / "absent"), writable=False)
    assert (reader.events.all(), reader.migrations.read(), reader.counters.read("x")) == ((), [], {})
    assert reader.metrics.read(None, 0, 600, 300).keys == ()
    assert reader.forecasts.latest() is None
    assert not (tmp_path / "absent").exists()


def test_a_forecast_comes_back_whole_by_key_and_as_scenarios_alone(workspace: Workspace) -> None:
    written = forecast()
    workspace.forecasts.write("f1", written)
    read = workspace.forecasts.read("f1")
    order = [written.keys.index(key) for key in read.keys]
    assert sorted(order) == list(range(len(written.keys)))
    for name in ("mean", "sd", "quantiles", "peak_mean", "peak_sd", "peak_quantiles"):
        np.testing.assert_array_equal(getattr(read, name), getattr(written, name)[order])
    assert read.reports == tuple(written.reports[at] for at in order)
    assert (read.origin_ts, read.step_s, read.levels, read.peak_levels, read.abstained, read.facts) == (
        written.origin_ts, written.step_s, written.levels, written.peak_levels, written.abstained, written.facts
    )  # fmt: skip
    groups = [written.keys[:5], written.keys[3:]]
    np.testing.assert_allclose(read.scenarios.totals(groups), written.scenarios.totals(groups), rtol=1e-3)
    some = [written.keys[4], written.keys[1], SeriesKey("vm", "unknown", "cpu")]
    part = workspace.forecasts.read("f1", some)
    assert sorted(part.keys) == sorted(some[:2])
    np.testing.assert_array_equal(part.mean, written.mean[[written.keys.index(key) for key in part.keys]])
    outline = workspace.forecasts.outline("f1")
    assert (outline.origin_ts, outline.step_s, outline.horizon_steps) == (
        written.origin_ts, written.step_s, written.horizon_steps
    )  # fmt: skip
    assert (outline.levels, outline.peak_levels, outline.abstained, outline.facts) == (
        written.levels, written.peak_levels, written.abstained, written.facts
    )  # fmt: skip
    peaks = workspace.forecasts.peaks("f1", some)
    assert peaks == {
        key: dict(zip(written.peak_levels, written.peak_quantiles[written.keys.index(key)].tolist(), strict=True))
        for key in some[:2]
    }
    only = workspace.forecasts.scenarios("latest", some)
    np.testing.assert_allclose(only.totals([some[:2]]), written.scenarios.totals([some[:2]]), rtol=1e-3)


def test_the_means_stored_with_scenarios_are_those_of_the_paths_that_are_read(workspace: Workspace) -> None:
    written = forecast()
    workspace.forecasts.write("f1", written)
    for keys in (None, written.keys[2:5]):
        read = replace(workspace.forecasts.scenarios("f1", keys), coarsen=1)
        assert read.replayed_means is not None
        groups = [written.keys[:4], written.keys[3:], ()]
        np.testing.assert_allclose(
            read.mean_totals(groups), read.totals(groups).mean(axis=0), rtol=1e-5, atol=1e-5 * read.scale.max()
        )


def test_an_unfinished_forecast_does_not_exist(workspace: Workspace, store: Path) -> None:
    workspace.forecasts.write("f1", forecast())
    (store / "forecasts" / "f1" / "meta.json").unlink()
    assert not workspace.forecasts.exists("f1")
    assert workspace.forecasts.latest() is None


def test_snapshots_thin_out_with_age_and_the_newest_is_never_forgotten() -> None:
    ids = [f"20260301T{hour:02d}{minute:02d}00000Z-{0:012x}" for hour in range(24) for minute in range(0, 60, 5)]
    end_ts = pd.Timestamp("2026-03-02T00:00:00Z").timestamp()
    kept = [one for one in ids if one not in expired_snapshots(ids, end_ts)]
    assert [one for one in kept if one >= "20260301T22"] == [one for one in ids if one >= "20260301T22"]
    assert len([one for one in kept if one < "20260301T22"]) == 22
    assert expired_snapshots(ids[:1], end_ts + 1e9) == []
    assert expired_snapshots(ids, end_ts + 1e9) == ids[-2::-1]


def test_tidying_forgets_what_is_old_and_unfinished_only(workspace: Workspace, store: Path) -> None:
    names = [np.array([text], object) for text in ("vm", "vm-1", "cpu")]
    for day in (0, 40):
        ts = np.array([START + day * DAY_S + 5.0])
        workspace.metrics.append("lab", Samples(names[0], names[1], names[2], ts, np.array([1.0])))
    for number in range(32):
        workspace.forecasts.write(f"f{number:02d}", forecast(series=1))
    tidy(workspace, START + 40.5 * DAY_S, retention_days=35)
    assert len(list(store.glob("metrics/*/*/*.parquet"))) == 1
    assert len(workspace.forecasts.by_age()) == 30
    assert workspace.forecasts.latest() == "f31"


def test_records_are_kept_in_order(workspace: Workspace) -> None:
    for number in range(5):
        workspace.migrations.append({"number": number, "name": HOSTILE})
    assert [one["number"] for one in workspace.migrations.read()] == list(range(5))
    assert json.loads(json.dumps(workspace.migrations.read()[0]))["name"] == HOSTILE

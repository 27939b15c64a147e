# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What forecasting a fleet promises: the same question finds its answer, check mode leaves no trace, gaps are named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples, SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import EndpointStatus, Estate
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast import (
    ForecastVmsRequest,
    forecast_vms,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.own_load import store_own_loads
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

NOW = 1_770_000_000 // 3600 * 3600.0
STEP = 300
HISTORY_DAYS = 3
UUIDS = ("11111111-aaaa", "22222222-bbbb", "33333333-cccc")


@pytest.fixture
def store(tmp_path: Path) -> str:
    """A store with three days of two VMs and their host, and a third VM that was never measured."""
    workspace = Workspace.open(str(tmp_path / "store"))
    ts = NOW - np.arange(HISTORY_DAYS * 288, 0, -1) * STEP + 1.0
    wave = 2 + np.sin(ts / 86_400 * 2 * np.pi)
    for metric, size in (("cpu", 1.0), ("memory", 1000.0)):
        first, second = size * wave, size * 0.5 * wave
        _append(workspace, "vm", UUIDS[0], metric, ts, first)
        _append(workspace, "vm", UUIDS[1], metric, ts, second)
        _append(workspace, "host", "lab/h1", metric, ts, first + second + 0.25 * size)
    workspace.snapshots.write(_estate())
    store_own_loads(workspace, _estate())
    return str(tmp_path / "store")


def _append(workspace: Workspace, kind: str, entity: str, metric: str, ts: np.ndarray, values: np.ndarray) -> None:
    names = [np.full(len(ts), name, dtype=object) for name in (kind, entity, metric)]
    workspace.metrics.append("lab", Samples(names[0], names[1], names[2], ts, values))


def _estate() -> Estate:
    size = Resources(4, 8192, 0, 0)
    vms = [Vm("lab", uuid, f"vm{at}", "lab/h1", "running", size) for at, uuid in enumerate(UUIDS)]
    off = Vm("lab", "44444444-dddd", "{{ off }}", None, "off", size)
    host = Host("lab", "h1", "h1", "kvm", "up", Resources(32, 65536, 1000, 500))
    status = (EndpointStatus("lab", "simulated", True, NOW),)
    return Estate("s1", NOW, status, {host.key: host}, {vm.key: vm for vm in [*vms, off]})


def request(store: str) -> ForecastVmsRequest:
    return ForecastVmsRequest(store=store, metrics=("cpu", "memory"), horizon_hours=6, history_days=3)


def test_the_same_question_finds_the_stored_answer_and_changes_nothing(store: str) -> None:
    first = forecast_vms(request(store), Context())
    again = forecast_vms(request(store), Context())
    assert (first.changed, again.changed) == (True, False)
    assert first.result["forecast_id"] == again.result["forecast_id"]
    assert first.result["vms"] == again.result["vms"]
    assert again.diff is None


@pytest.mark.parametrize("option", [{"seed": 1}, {"model": "last_day"}, {"horizon_hours": 3}, {"step_minutes": 10}])
def test_another_question_gets_another_id(store: str, option: dict[str, object]) -> None:
    first = forecast_vms(request(store), Context(check_mode=True))
    other = forecast_vms(replace(request(store), **option), Context(check_mode=True))
    assert first.result["forecast_id"] != other.result["forecast_id"]


def test_check_mode_gives_the_true_figures_and_stores_nothing(store: str) -> None:
    checked = forecast_vms(request(store), Context(check_mode=True))
    assert checked.changed
    assert Workspace.open(store, writable=False).forecasts.latest() is None
    real = forecast_vms(request(store), Context())
    assert checked.result["vms"] == real.result["vms"]


def test_a_vm_without_history_is_named_or_taken_at_its_configured_size(store: str) -> None:
    abstained = forecast_vms(request(store), Context(check_mode=True)).result
    assert {(item["entity_id"], item["metric"]) for item in abstained["abstained"]} == {
        (UUIDS[2], "cpu"),
        (UUIDS[2], "memory"),
    }
    allocated = forecast_vms(replace(request(store), on_no_history="allocated"), Context()).result
    by_name = {vm["name"]: vm["resources"] for vm in allocated["vms"]}
    assert by_name["vm2"]["memory"]["peak"]["q95"] == pytest.approx(8192, rel=1e-3)
    assert by_name["vm2"]["cpu"]["model"] == "allocated"


def test_a_forecast_of_what_was_never_measured_is_stored_and_read_back_empty(tmp_path: Path) -> None:
    store = str(tmp_path / "new")
    Workspace.open(store).snapshots.write(_estate())
    first = forecast_vms(request(store), Context())
    assert {item["entity_id"] for item in first.result["abstained"]} >= set(UUIDS)
    forecasts = Workspace.open(store, writable=False).forecasts
    assert forecasts.scenarios(first.result["forecast_id"], None).keys == ()
    assert not forecast_vms(request(store), Context()).changed


def test_a_vm_that_is_off_has_no_demand_to_forecast_unless_it_is_named(store: str) -> None:
    shown = forecast_vms(request(store), Context(check_mode=True)).result["vms"]
    assert [vm["name"] for vm in shown] == ["vm0", "vm1", "vm2"]
    named = forecast_vms(replace(request(store), vms=["{{ off }}"]), Context(check_mode=True)).result
    assert [vm["name"] for vm in named["vms"]] == ["{{ off }}"]


def test_a_hosts_own_load_is_what_its_vms_do_not_explain(store: str) -> None:
    outcome = forecast_vms(request(store), Context())
    stored = Workspace.open(store, writable=False).forecasts.read(outcome.result["forecast_id"])
    own = stored.mean[stored.keys.index(SeriesKey("host", "lab/h1", "cpu"))]
    np.testing.assert_allclose(own, 0.25, rtol=0.02)


def test_a_move_changes_neither_a_hosts_past_own_load_nor_the_question(store: str) -> None:
    workspace = Workspace.open(store)
    before = forecast_vms(request(store), Context())
    estate = _estate()
    moved = {key: replace(vm, host_key=None) if vm.uuid == UUIDS[0] else vm for key, vm in estate.vms.items()}
    workspace.snapshots.write(replace(estate, snapshot_id="", taken_ts=NOW + 60, vms=moved))
    store_own_loads(workspace, replace(estate, taken_ts=NOW + 60, vms=moved))
    after = forecast_vms(request(store), Context())
    assert (after.changed, after.result["forecast_id"]) == (False, before.result["forecast_id"])


def test_a_hosts_figures_are_those_of_the_sum_not_the_sum_of_figures(store: str) -> None:
    result = forecast_vms(request(store), Context()).result
    (host,) = result["hosts"]
    demand = sum(vm["resources"]["cpu"]["mean"] for vm in result["vms"] if vm["resources"])
    assert host["resources"]["cpu"]["mean"] == pytest.approx(demand + 0.25, rel=0.1)
    assert host["resources"]["cpu"]["not_forecast"] == 1


def test_a_forecast_that_has_come_due_is_scored_once_and_shown(store: str) -> None:
    workspace = Workspace.open(store)
    forecast_vms(request(store), Context())
    ts = NOW + np.arange(2 * 288) * STEP + 1.0
    _append(workspace, "vm", UUIDS[0], "cpu", ts, 2 + np.sin(ts / 86_400 * 2 * np.pi))
    workspace.snapshots.write(replace(_estate(), snapshot_id="", taken_ts=NOW + 2 * 86_400))
    later = forecast_vms(request(store), Context()).result
    (score,) = [item for item in later["vms"] if item["uuid"] == UUIDS[0]]
    assert score["resources"]["cpu"]["track_record"]["forecasts"] == 1
    assert sum(model["forecasts"] for model in later["track_record"].values()) == 1
    again = forecast_vms(request(store), Context()).result
    assert again["track_record"] == later["track_record"]
    assert len(workspace.scores.ids()) == 1


def test_check_mode_tells_that_a_report_is_missing_though_the_forecast_is_there(store: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    asked = replace(request(store), report_paths=[str(page)])
    forecast_vms(request(store), Context())
    assert forecast_vms(asked, Context(check_mode=True)).changed
    assert not page.exists()
    assert forecast_vms(asked, Context()).changed
    assert not forecast_vms(asked, Context(check_mode=True)).changed


def test_a_damaged_forecast_is_told_of_once_and_stops_no_other(store: str) -> None:
    workspace = Workspace.open(store)
    damaged = forecast_vms(request(store), Context()).result["forecast_id"]
    (Path(store) / "forecasts" / damaged / "steps.parquet").write_bytes(b"PAR1")
    workspace.snapshots.write(replace(_estate(), snapshot_id="", taken_ts=NOW + 2 * 86_400))
    first = forecast_vms(request(store), Context())
    assert any(damaged in warning for warning in first.warnings)
    assert not any(damaged in warning for warning in forecast_vms(request(store), Context()).warnings)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("horizon_hours", 0.5),
        ("horizon_hours", 25),
        ("step_minutes", 7),
        ("history_days", 0),
        ("metrics", ["ram"]),
        ("on_no_history", "guess"),
        ("model", "oracle"),
        ("model", {"ram": "auto"}),
        ("model", ["auto"]),
        ("levels", [0.999]),
        ("levels", [0.5, float("nan")]),
        ("report_paths", ["report.pdf"]),
        ("seed", -1),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name_before_anything_is_done(
    store: str, option: str, value: object
) -> None:
    with pytest.raises(InvalidOption) as caught:
        forecast_vms(replace(request(store), **{option: value}), Context())
    assert caught.value.details["option"] == option
    assert Workspace.open(store, writable=False).forecasts.latest() is None

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bad input and trouble: each is answered with a clear error that names it, and nothing is changed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def collected(make_estate: Any, module: Any) -> Any:
    """A simulated estate of which a snapshot and history are in the store."""
    estate = make_estate()
    result = module("vm_metrics_facts", {"endpoints": [estate.endpoint], "store": str(estate.store)})
    assert not result.get("failed"), result
    return estate


def shared(estate: Any) -> dict[str, Any]:
    return {"endpoints": [estate.endpoint], "store": str(estate.store)}


def test_an_unknown_vm_is_named_with_where_it_was_looked_for(collected: Any, module: Any) -> None:
    forecast = module("vm_forecast", {**shared(collected), "vms": ["nobody"]})
    assert forecast["failed"]
    assert forecast["error"]["code"] == "vm_unknown"
    assert "nobody" in forecast["msg"]
    assert "lab" in forecast["msg"]


def test_an_unknown_endpoint_type_is_refused_with_the_known_ones(collected: Any, module: Any) -> None:
    result = module("vm_metrics_facts", {"endpoints": [{"name": "x", "type": "xen"}], "store": str(collected.store)})
    assert result["failed"]
    assert result["error"]["code"] == "invalid_option"
    assert "endpoints.type" in result["msg"]
    assert "simulated" in result["msg"]


def test_an_unreachable_endpoint_among_reachable_ones_gives_a_partial_result_that_says_so(
    collected: Any, module: Any, tmp_path: Path
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    scenario = Path(collected.endpoint["scenario"]).read_text(encoding="utf-8")
    (elsewhere / "scenario.yml").write_text(scenario + "\nfaults: [{kind: endpoint_unreachable}]\n", encoding="utf-8")
    dead = {
        "name": "dead",
        "type": "simulated",
        "scenario": str(elsewhere / "scenario.yml"),
        "state_path": str(elsewhere / "state.db"),
    }
    result = module("vm_metrics_facts", {"endpoints": [collected.endpoint, dead], "store": str(collected.store)})
    assert not result.get("failed"), result
    by_name = {endpoint["name"]: endpoint for endpoint in result["endpoints"]}
    assert by_name["lab"]["reachable"]
    assert not by_name["dead"]["reachable"]
    assert by_name["dead"]["error"]["code"] == "endpoint_unreachable"
    assert any("dead" in warning for warning in result["warnings_found"])


def test_a_store_that_cannot_be_written_is_refused(collected: Any, module: Any, tmp_path: Path) -> None:
    blocked = tmp_path / "a-file"
    blocked.write_text("", encoding="utf-8")
    result = module("vm_metrics_facts", {"endpoints": [collected.endpoint], "store": str(blocked / "store")})
    assert result["failed"]
    assert result["error"]["code"] == "store_not_writable"


def test_a_store_of_a_newer_version_is_refused(collected: Any, module: Any) -> None:
    (stamp,) = [path for path in collected.store.iterdir() if path.is_file() and "version" in path.read_text("utf-8")]
    data = json.loads(stamp.read_text(encoding="utf-8"))
    data["version"] = 999
    os.chmod(stamp, 0o600)
    stamp.write_text(json.dumps(data), encoding="utf-8")
    result = module("vm_forecast", shared(collected))
    assert result["failed"]
    assert result["error"]["code"] == "store_too_new"


def test_a_truncated_snapshot_is_named(collected: Any, module: Any) -> None:
    snapshots = [path for path in (collected.store / "estate").rglob("*") if path.is_file()]
    for path in snapshots:
        path.write_bytes(path.read_bytes()[:100])
    result = module("vm_forecast", shared(collected))
    assert result["failed"]
    assert result["error"]["code"] == "artefact_invalid"


@pytest.mark.parametrize("hours", [0, 25])
def test_a_horizon_out_of_range_names_the_option(collected: Any, module: Any, hours: int) -> None:
    result = module("vm_forecast", {**shared(collected), "horizon_hours": hours})
    assert result["failed"]
    assert "horizon_hours" in result["msg"]


def test_when_no_host_fits_every_reason_is_listed(make_estate: Any, module: Any) -> None:
    estate = make_estate()
    scenario = Path(estate.endpoint["scenario"])
    scenario.write_text(
        scenario.read_text(encoding="utf-8").replace("state: maintenance", "state: disconnected"), encoding="utf-8"
    )
    for name, options in (("vm_metrics_facts", {}), ("vm_forecast", {})):
        result = module(name, {**shared(estate), **options})
        assert not result.get("failed"), result
    result = module("host_select", {**shared(estate), "vm": "web01", "filter": "name == 'kvm4' || name == 'kvm3'"})
    assert result["failed"], result
    assert result["error"]["code"] == "no_host_fits"
    told = json.dumps(result["error"]["details"])
    for host in ("kvm2", "kvm3", "kvm4"):
        assert host in told

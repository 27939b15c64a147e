# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts use besides their VMs: forecast where it can be, else as now, and said so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.placement.explain import explain
from ansible_collections.foresight.migration.plugins.module_utils.placement.loads import HostLoads
from ansible_collections.foresight.migration.plugins.module_utils.placement.own_load import own_load
from ansible_collections.foresight.migration.plugins.module_utils.placement.selection import select_host
from ansible_collections.foresight.migration.plugins.module_utils.placement.verdict import Load
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.placement.estates import (
    estate,
    flat,
    host,
    question,
    scenarios,
    vm,
)

BUSY = Resources(10.0, 2048.0, 5.0, 5.0)
QUIET = Resources(0.5, 1024.0, 1.0, 1.0)


def load_on_b(demand: dict[str, dict[str, Any]], count: int = 1, used: Resources | None = BUSY) -> Load:
    """Return the load of host b, which uses ``used`` and carries one VM, with another VM on it."""
    resident = vm("r1", "b", used=QUIET)
    snapshot = estate([host("a"), host("b", used=used)], [vm("v1", "a", used=QUIET), resident])
    asked = question(snapshot, "v1", demand, count=count)
    return HostLoads(asked).judge(snapshot.hosts["lab/b"])


def test_the_forecast_of_the_own_load_takes_the_place_of_what_it_is_now() -> None:
    told = load_on_b({"lab/b": {"cpu": [1.0, 2.0, 20.0, 1.0], "memory": 0, "network": 0, "disk": 0}})
    assert told.peak_level["cpu"] == pytest.approx(20.0 + 2 * 0.5)
    assert told.own is not None
    assert told.own.mean["cpu"] == pytest.approx(6.0)
    assert (set(told.own.sources.values()), told.own.caution) == ({"forecast"}, "")


def test_own_load_and_vms_move_together_inside_each_scenario() -> None:
    day, night = np.array([[9.0], [1.0]]), np.array([[1.0], [9.0]])
    apart = load_on_b({"lab/b": flat("", 0) | {"cpu": day}, "r1": flat("", 0) | {"cpu": night}}, count=2)
    together = load_on_b({"lab/b": flat("", 0) | {"cpu": day}, "r1": flat("", 0) | {"cpu": day}}, count=2)
    assert (apart.peak_level["cpu"], together.peak_level["cpu"]) == (pytest.approx(10.5), pytest.approx(18.5))


def test_only_the_resources_without_a_forecast_count_as_now() -> None:
    told = load_on_b({"lab/b": {"cpu": 3.0}})
    assert told.own is not None
    assert told.own.sources == {"cpu": "forecast", "memory": "present", "network": "present", "disk": "present"}
    assert told.own.mean == pytest.approx({"cpu": 3.0, "memory": 1024.0, "network": 4.0, "disk": 4.0})
    assert told.own.caution == (
        "memory 1024 MiB, network 4 Mbit/s, disk 4 MiB/s as now (the forecast does not hold it)"
    )


def test_where_the_use_is_not_known_nothing_counts_and_the_answer_says_so() -> None:
    told = load_on_b({"lab/b": {"cpu": 3.0}}, used=None)
    assert told.own is not None
    assert told.own.mean == {"cpu": 3.0, "memory": 0.0, "network": 0.0, "disk": 0.0}
    assert "memory, network, disk as 0" in told.own.caution


def test_a_vm_that_is_off_neither_counts_nor_hides_the_own_load() -> None:
    off = vm("off", "b", power_state="off", used=None, allocated=Resources(30.0, 100_000.0))
    snapshot = estate([host("a"), host("b", used=BUSY)], [vm("v1", "a", used=QUIET), off])
    loads = HostLoads(question(snapshot, "v1", {"off": {}}))
    assert loads.judge(snapshot.hosts["lab/b"]).peak_level["cpu"] == pytest.approx(10.0 + 0.5)


def test_the_forecasts_own_reason_is_told() -> None:
    bare, key = host("b", used=BUSY), SeriesKey("host", "lab/b", "cpu")
    own = own_load(bare, (), scenarios({"lab/b": {"memory": 1.0, "network": 1.0, "disk": 1.0}}))
    assert own.caution({key: "no history"}) == "cpu 10 cores as now (no history)"


def test_the_host_whose_own_work_begins_tonight_loses_and_the_table_names_hosts_judged_by_the_present() -> None:
    hosts = [host("a", used=QUIET), host("b", used=QUIET), host("c", used=BUSY), host("d", used=BUSY)]
    snapshot = estate(hosts, [vm("v1", "a", used=QUIET)])
    backup = {"cpu": [0.0, 0.0, 31.0, 31.0], "memory": 0.0, "network": 0.0, "disk": 0.0}
    asked = question(snapshot, "v1", {"lab/b": backup, "lab/c": flat("", 0.0), "lab/a": flat("", 0.5)})
    selection = select_host(asked)
    assert [verdict.host_key for verdict in selection.ranking[:1]] == ["lab/c"]
    lines = explain(asked.vm, selection)
    assert [line for line in lines if line.startswith("own load of ")] == [
        "own load of d.example: cpu 10 cores, memory 2048 MiB, network 5 Mbit/s, disk 5 MiB/s as now "
        "(the forecast does not hold it)"
    ]
    assert any("1 of " in warning and "d.example" in warning for warning in selection.warnings)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A mistake in a scenario is named by its option; traces and entries mean what the documentation says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.demand import (
    Demand,
    DemandJump,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.scenario import load_scenario
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.traces import load_traces

if TYPE_CHECKING:
    from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate

MIDNIGHT_TS = 1767571200.0  # 2026-01-05T00:00:00Z


def load(estate: SimulatedEstate) -> Any:
    estate.endpoint()
    return load_scenario(str(estate.scenario_path))


@pytest.mark.parametrize(
    ("change", "option"),
    [
        (lambda s: s.update(version=2), "scenario.version"),
        (lambda s: s.pop("version"), "scenario.version"),
        (lambda s: s.update(hosts=[]), "scenario.hosts"),
        (lambda s: s.update(colour="red"), "scenario.colour"),
        (lambda s: s["hosts"][1].update(family="xen"), "scenario.hosts[1].family"),
        (lambda s: s["hosts"][0].update(capacity={"cpu_cores": "many"}), "scenario.hosts[0].capacity.cpu_cores"),
        (lambda s: s["hosts"][0].update(capacity={"cpu_cores": -1}), "scenario.hosts[0].capacity"),
        (lambda s: s["hosts"][0].update(capacity={"gpu": 1}), "scenario.hosts[0].capacity"),
        (lambda s: s["hosts"][0].update(links=["rack"]), "scenario.hosts.links"),
        (lambda s: s["hosts"][1].update(name="host-a"), "scenario.hosts.id"),
        (lambda s: s["vms"][2].update(host="nowhere"), "scenario.vms[2].host"),
        (lambda s: s["vms"][2].pop("host"), "scenario.vms[2].host"),
        (lambda s: s["vms"][0].update(count=3), "scenario.vms[0].name"),
        (lambda s: s["vms"][0].update(offset_hours="late"), "scenario.vms[0].offset_hours"),
        (lambda s: s["vms"][0].update(created="yesterday"), "scenario.vms[0].created"),
        (lambda s: s["vms"][0].update(networks="prod"), "scenario.vms[0].networks"),
        (lambda s: s["vms"][0].update(is_template="no"), "scenario.vms[0].is_template"),
        (lambda s: s["clock"].update(mode="running"), "scenario.clock.speed"),
        (lambda s: s.update(faults=[{"kind": "fire"}]), "scenario.faults[0].kind"),
        (lambda s: s.update(faults=[{"kind": "demand_jump", "vm": "web01"}]), "scenario.faults[0].factor"),
        (lambda s: s.update(rules=[{"name": "r", "kind": "vm_affinity", "vms": ["no"]}]), "scenario.rules[0].vms"),
        (lambda s: s.update(vms={"name": "web01"}), "scenario.vms"),
    ],
)
def test_a_mistake_is_named_by_its_option(simulated_estate: SimulatedEstate, change: Any, option: str) -> None:
    change(simulated_estate.scenario)
    with pytest.raises(InvalidOption) as caught:
        load(simulated_estate)
    assert caught.value.details["option"] == option


@pytest.mark.parametrize("text", ["a: [", "just text", "\x00", "!!python/object:os.system {}"])
def test_a_file_that_is_no_scenario_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "scenario.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidOption):
        load_scenario(str(path))


def test_a_missing_scenario_says_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match=str(tmp_path / "none.yml")):
        load_scenario(str(tmp_path / "none.yml"))


def test_an_entry_with_a_count_stands_for_many_in_turn(simulated_estate: SimulatedEstate) -> None:
    entry = simulated_estate.scenario["vms"][0]
    entry.pop("host")
    entry.update(name="web-{n}", count=12, hosts=["host-a", "host-b"], offset_hours=1, stagger_hours=-24)
    vms = load(simulated_estate).vms[:12]
    assert [vm.name for vm in vms[:2]] == ["web-01", "web-02"]
    assert [vm.host_id for vm in vms[:3]] == ["host-a", "host-b", "host-a"]
    assert [vm.offset_s for vm in vms[:2]] == [3600.0, 3600.0 - 86400.0]
    assert len({vm.uuid for vm in vms}) == 12


def write_trace(path: Path, ts: list[float], cpu: list[float]) -> None:
    zeros = [0.0] * len(ts)
    columns = {"vm": ["t"] * len(ts), "ts": ts, "cpu_cores": cpu, "memory_mib": zeros}
    pq.write_table(pa.table({**columns, "network_mbit_s": zeros, "disk_mib_s": zeros}), path)


def traced(estate: SimulatedEstate, **options: Any) -> Demand:
    """Return the demand of one VM whose trace counts the hours of its day in cores; hour 3 was not recorded."""
    hours = [hour for hour in range(24) if hour != 3]
    ts = [MIDNIGHT_TS + 3600 * hour + 300 * step for hour in hours for step in range(12)]
    write_trace(estate.folder / "t.parquet", ts, [float(hour) for hour in hours for _unused in range(12)])
    vm = {"name": "t", "host": "host-a", "trace": "t", "allocated": {"cpu_cores": 20, "memory_mib": 1024}}
    estate.scenario.update(vms=[{**vm, **options}], traces={"path": "t.parquet"})
    scenario = load(estate)
    return Demand(scenario.vms, load_traces(scenario.traces_path))


def test_a_trace_replays_for_ever_keeps_its_gaps_and_stays_within_the_vms_size(
    simulated_estate: SimulatedEstate,
) -> None:
    demand = traced(simulated_estate)
    assert demand.at(MIDNIGHT_TS + 5 * 3600)[0, 0] == 5.0
    assert demand.at(MIDNIGHT_TS + 40 * 86400 + 5 * 3600)[0, 0] == 5.0
    assert demand.at(MIDNIGHT_TS + 3.5 * 3600)[0, 0] == 2.0
    assert np.isnan(demand.recorded(MIDNIGHT_TS + 3 * 3600, 12)[0, 0]).all()
    assert demand.at(MIDNIGHT_TS + 23 * 3600)[0, 0] == 20.0


def test_offset_scale_and_jumps_change_what_is_replayed(simulated_estate: SimulatedEstate) -> None:
    demand = traced(simulated_estate, offset_hours=-3, scale={"cpu_cores": 0.5})
    assert demand.at(MIDNIGHT_TS + 13 * 3600)[0, 0] == 5.0
    jump = DemandJump(0, (0,), 3.0, MIDNIGHT_TS + 13 * 3600, MIDNIGHT_TS + 14 * 3600)
    assert demand.over(MIDNIGHT_TS + 12.5 * 3600, 24, [jump])[0, 0].tolist() == [4.5] * 6 + [15.0] * 12 + [5.5] * 6


def test_a_vm_has_no_history_from_before_it_was_created(simulated_estate: SimulatedEstate) -> None:
    demand = traced(simulated_estate, created="2026-01-05T06:00:00Z")
    recorded = demand.recorded(MIDNIGHT_TS + 5 * 3600, 24)[0, 0]
    assert np.isnan(recorded[:12]).all()
    assert recorded[12:].tolist() == [6.0] * 12


def test_a_traces_file_of_another_shape_is_refused(simulated_estate: SimulatedEstate) -> None:
    traced(simulated_estate)
    pq.write_table(pa.table({"vm": ["t"], "ts": [0]}), simulated_estate.folder / "t.parquet")
    with pytest.raises(InvalidOption, match="no column 'cpu_cores'"):
        load_traces(simulated_estate.folder / "t.parquet")
    (simulated_estate.folder / "t.parquet").write_bytes(b"PAR1 nonsense")
    with pytest.raises(InvalidOption, match="cannot be read"):
        load_traces(simulated_estate.folder / "t.parquet")


def test_history_shows_a_vm_on_the_host_it_came_from(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.scenario["vms"][2]["came_from"] = {"host": "host-c", "at": "2026-01-05T08:30:00Z"}
    driver = simulated_estate.driver()
    now_ts = driver.clock.now()
    used = {
        (entity, ts): value
        for batch in driver.history(now_ts - 3600, now_ts)
        for kind, entity, metric, ts, value in zip(
            batch.entity_kind, batch.entity_id, batch.metric, batch.ts, batch.value, strict=True
        )
        if (kind, metric) == ("host", "cpu")
    }
    assert [used["sim/host-c", now_ts - 3600 + 300 * step] for step in range(12)] == [3.0] * 6 + [0.0] * 6
    assert [used["sim/host-b", now_ts - 3600 + 300 * step] for step in range(12)] == [0.0] * 6 + [3.0] * 6

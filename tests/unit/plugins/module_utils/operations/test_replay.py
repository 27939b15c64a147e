# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A replay counts overload as it would have been, and tells clearly what it cannot replay."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import RESOURCES
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import (
    EndpointStatus,
    Estate,
    UnknownHost,
    UnknownVm,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.replay import ReplayRequest, replay
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate


@pytest.fixture
def crowded(simulated_estate: SimulatedEstate) -> SimulatedEstate:
    """host-a has 8 cores; from the second hour on db01 alone wants 9 and web01 one more."""
    simulated_estate.scenario["vms"][1].update(allocated={"cpu_cores": 9, "memory_mib": 8192})
    simulated_estate.scenario["faults"] = [
        {"kind": "demand_jump", "vm": "db01", "resource": "cpu", "factor": 4.5, "start": "2026-01-05T10:00:00Z"}
    ]
    return simulated_estate


def ask(estate: SimulatedEstate, **options: Any) -> dict[str, Any]:
    request = ReplayRequest(endpoints=[estate.endpoint()], store=str(estate.folder / "store"), hours=4.0)
    return dict(replay(replace(request, **options), Context()).result)


def test_a_move_away_from_a_crowded_host_saves_its_overload(crowded: SimulatedEstate) -> None:
    result = ask(crowded, moves=[{"vm": "web01", "host": "host-c"}, {"vm": "db01", "host": "host-b"}])
    assert result["as_is"]["overload_host_hours"]["cpu"] == pytest.approx(3.0)
    assert result["as_is"]["hosts"][0]["first_overload"] == "2026-01-05T10:00:00Z"
    assert result["as_is"]["hosts"][0]["unserved_hours"]["cpu_cores"] == pytest.approx(3 * 2.0)
    assert result["with_moves"]["overload_host_hours"]["cpu"] == pytest.approx(3.0)  # host-b wants 3 + 9 of 8 now
    alone = ask(crowded, moves=[{"vm": "web01", "host": "host-c"}], start="2026-01-05T09:30:00Z", hours=0.5)
    assert alone["saved_host_hours"]["any"] == 0.0


def test_a_move_counts_from_when_it_is_made(crowded: SimulatedEstate) -> None:
    moves = [{"vm": "web01", "host": "host-c", "at": "2026-01-05T12:00:00Z"}]
    crowded.scenario["vms"][1]["allocated"]["cpu_cores"] = 8
    result = ask(crowded, moves=moves)
    assert result["as_is"]["overload_host_hours"]["cpu"] == pytest.approx(3.0)
    assert result["with_moves"]["overload_host_hours"]["cpu"] == pytest.approx(2.0)


def test_the_first_placement_can_be_replayed_after_a_move(crowded: SimulatedEstate) -> None:
    driver = crowded.driver()
    driver.start_migration(MoveOrder(crowded.vm_uuid("db01"), "host-c", ""), driver)
    driver.clock.sleep(600.0)
    moved = ask(crowded, start="2026-01-05T09:00:00Z")["as_is"]["hosts"]
    first = ask(crowded, start="2026-01-05T09:00:00Z", placement="first")["as_is"]["hosts"]
    assert [host["name"] for host in moved] == ["host-c"]
    assert [host["name"] for host in first] == ["host-a"]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"hours": 0.0}, InvalidOption),
        ({"hours": 337.0}, InvalidOption),
        ({"start": "soon"}, InvalidOption),
        ({"moves": [{"vm": "none", "host": "host-b"}]}, UnknownVm),
        ({"moves": [{"vm": "web01", "host": "none"}]}, UnknownHost),
        ({"moves": [{"vm": "web01", "host": "host-b", "at": "then"}]}, InvalidOption),
    ],
)
def test_what_cannot_be_replayed_is_refused(
    simulated_estate: SimulatedEstate, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        ask(simulated_estate, **options)


def test_a_vm_is_not_replayed_on_a_host_of_another_family(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.scenario["hosts"][2]["family"] = "hyperv"
    with pytest.raises(InvalidOption, match="is a hyperv host"):
        ask(simulated_estate, moves=[{"vm": "web01", "host": "host-c"}])


def test_recorded_metrics_of_a_snapshot_are_replayed_and_gaps_are_told(simulated_estate: SimulatedEstate) -> None:
    driver = simulated_estate.driver()
    inventory, now_ts = driver.inventory(), driver.clock.now()
    workspace = Workspace.open(str(simulated_estate.folder / "store"))
    estate = Estate(
        snapshot_id="",
        taken_ts=now_ts,
        endpoints=(EndpointStatus("sim", "simulated", True, now_ts),),
        hosts={host.key: host for host in inventory.hosts},
        vms={vm.key: vm for vm in inventory.vms},
    )
    snapshot_id = workspace.snapshots.write(estate)
    workspace.metrics.append("sim", _samples([vm.uuid for vm in inventory.vms], now_ts - 3600, 12, 6.0))
    request = ReplayRequest(
        endpoints=[],
        store=str(simulated_estate.folder / "store"),
        snapshot_id=snapshot_id,
        hours=2.0,
        moves=[{"vm": "web01", "host": "host-c"}],
    )
    outcome = replay(request, Context())
    assert outcome.result["coverage"] == 0.5
    assert outcome.result["as_is"]["overload_host_hours"]["cpu"] == pytest.approx(1.0)  # 12 of 8 cores on host-a
    assert outcome.result["with_moves"]["overload_host_hours"]["cpu"] == 0.0
    assert "50%" in outcome.warnings[0]


def _samples(uuids: list[str], start_ts: float, steps: int, value: float) -> Samples:
    rows = [(uuid, metric, start_ts + 300 * step) for uuid in uuids for metric in RESOURCES for step in range(steps)]
    return Samples(
        entity_kind=np.full(len(rows), "vm", dtype=object),
        entity_id=np.array([row[0] for row in rows], dtype=object),
        metric=np.array([row[1] for row in rows], dtype=object),
        ts=np.array([row[2] for row in rows]),
        value=np.full(len(rows), value),
    )

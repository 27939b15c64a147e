# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The event source tells of hosts that a forecast sees in contention, once per forecast, heaviest VMs first."""

from __future__ import annotations

import asyncio
import runpy
from pathlib import Path
from typing import Any

from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate
from ansible_collections.foresight.migration.tests.unit.stores import take_stock

SOURCE = Path(__file__).resolve().parents[3] / "extensions/eda/plugins/event_source/predicted_contention.py"


async def _events(store: str, wanted: int) -> list[dict[str, Any]]:
    queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    source = asyncio.create_task(runpy.run_path(str(SOURCE))["main"](queue, {"store": store, "interval_s": 0.01}))
    events = [await asyncio.wait_for(queue.get(), 60) for _event in range(wanted)]
    source.cancel()
    return events + [queue.get_nowait() for _rest in range(queue.qsize())]


def test_a_host_that_will_be_full_is_told_with_its_heaviest_vm(
    simulated_estate: SimulatedEstate, tmp_path: Path
) -> None:
    take_stock(simulated_estate, str(tmp_path / "store"), {"db01": Resources(7.9, 2048, 10, 1)})
    (event,) = asyncio.run(_events(str(tmp_path / "store"), wanted=1))
    contention = event["contention"]
    assert (contention["host"], contention["resource"]) == ("sim/host-a", "cpu")
    assert contention["vms"][0]["name"] == "db01"
    assert contention["hours"] == 24.0
    assert event["forecast_id"]


def test_a_quiet_forecast_gives_no_event_and_a_new_one_is_noticed(
    simulated_estate: SimulatedEstate, tmp_path: Path
) -> None:
    store = str(tmp_path / "store")

    async def watch() -> dict[str, Any]:
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        source = asyncio.create_task(runpy.run_path(str(SOURCE))["main"](queue, {"store": store, "interval_s": 0.01}))
        await asyncio.to_thread(take_stock, simulated_estate, store, {"db01": Resources(7.9, 2048, 10, 1)})
        event = await asyncio.wait_for(queue.get(), 60)
        source.cancel()
        return event

    take_stock(simulated_estate, store, {vm: Resources(0.1, 128, 1, 0) for vm in ("web01", "db01", "batch01")})
    assert asyncio.run(watch())["contention"]["host"] == "sim/host-a"

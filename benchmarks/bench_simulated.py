# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long the simulated hypervisor takes for a large estate: 10,000 VMs on 500 hosts that replay the shipped demand.

usage: bench_simulated.py [HOSTS]
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes this checkout importable as the collection
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import (  # noqa: E402
    SimulatedDriver,
)

VMS_PER_HOST = 20


def scenario(hosts: int) -> dict[str, Any]:
    """Return an estate of so many hosts whose VMs take the shipped traces in turn."""
    demand = ROOT / "playbooks" / "files" / "demo" / "demand.parquet"
    capacity = {"cpu_cores": 64, "memory_mib": 524288, "network_mbit_s": 25000, "disk_mib_s": 2000}
    vms = {
        "name": "vm-{n}",
        "count": hosts * VMS_PER_HOST,
        "hosts": ["*"],
        "traces": ["rnd386", "rnd421", "rnd413", "rnd380", "rnd332", "rnd228", "rnd226", "rnd083", "rnd028", "rnd057"],
        "stagger_hours": 1,
        "allocated": {"cpu_cores": 8, "memory_mib": 32768},
    }
    return {
        "version": 1,
        "clock": {"start": "2013-07-23T14:00:00Z"},
        "traces": {"path": str(demand)},
        "hosts": [{"name": "host-{n}", "count": hosts, "family": "kvm", "capacity": capacity}],
        "vms": [vms],
    }


def timed(what: str, action: Callable[[], Any]) -> Any:
    """Run the action, print how long it took and return its result."""
    begun = time.perf_counter()
    result = action()
    print(f"{what:52} {time.perf_counter() - begun:8.2f} s")
    return result


def main(hosts: int) -> None:
    """Run the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.json"
        path.write_text(json.dumps(scenario(hosts)), encoding="utf-8")
        driver = SimulatedDriver("sim", {"scenario": str(path), "state_path": f"{folder}/state.sqlite"})
        timed("load scenario and traces, open the state", driver.connect)
        inventory = timed("inventory", driver.inventory)
        print(f"{len(inventory.hosts)} hosts, {len(inventory.vms)} VMs")
        reading = timed("read", lambda: driver.read({}))
        print(f"{len(reading.samples)} samples")
        now_ts = driver.clock.now()
        count = timed("history of a day", lambda: sum(len(part) for part in driver.history(now_ts - 86400, now_ts)))
        print(f"{count} samples")
        vm = inventory.vms[0]
        order = MoveOrder(vm.uuid, inventory.hosts[1].host_id, "")
        job = timed("start a migration (with preflight)", lambda: driver.start_migration(order, driver))
        driver.clock.sleep(5.0)
        timed("progress after 5 s of it", lambda: driver.progress(job))
        timed("observe a host", lambda: driver.observe_host(inventory.hosts[0].host_id))
        driver.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)

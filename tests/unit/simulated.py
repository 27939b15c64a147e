# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small simulated estates for tests of every room: `SimulatedEstate`, and the ``simulated_estate`` fixture."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver

#: Three KVM hosts of one cluster. ``web01`` and ``db01`` run on host-a, ``batch01`` on host-b, nothing on host-c.
THREE_HOSTS: dict[str, Any] = {
    "version": 1,
    "description": "three hosts for tests",
    "clock": {"start": "2026-01-05T09:00:00Z", "mode": "stepped", "speed": 0},
    "clusters": [{"name": "lab"}],
    "hosts": [
        {
            "name": f"host-{letter}",
            "family": "kvm",
            "cluster": "lab",
            "capacity": {"cpu_cores": 8, "memory_mib": 32768, "network_mbit_s": 10000, "disk_mib_s": 500},
            "migration_link_mbit_s": 10000,
            "networks": ["prod"],
            "storages": ["shared"],
        }
        for letter in "abc"
    ],
    "vms": [
        {
            "name": name,
            "host": host,
            "allocated": {"cpu_cores": 4, "memory_mib": 8192},
            "demand": {"cpu_cores": cpu, "memory_mib": memory, "network_mbit_s": 100, "disk_mib_s": 5},
            "networks": ["prod"],
            "storages": ["shared"],
        }
        for name, host, cpu, memory in (
            ("web01", "host-a", 1.0, 4096),
            ("db01", "host-a", 2.0, 6144),
            ("batch01", "host-b", 3.0, 2048),
        )
    ],
}


class SimulatedEstate:
    """A scenario written below ``folder`` with its own state; change ``scenario`` before the first `driver`."""

    def __init__(self, folder: Path, scenario: Mapping[str, Any] | None = None) -> None:
        self.folder = folder
        self.scenario: dict[str, Any] = copy.deepcopy(dict(THREE_HOSTS if scenario is None else scenario))
        self.scenario_path = folder / "scenario.yml"
        self.state_path = folder / "estate.sqlite"
        self._drivers: list[SimulatedDriver] = []

    def endpoint(self, name: str = "sim", **options: Any) -> dict[str, Any]:
        """Write the scenario and return endpoint options for modules, `Fleet` and drivers."""
        self.scenario_path.write_text(json.dumps(self.scenario), encoding="utf-8")
        return {
            "name": name,
            "type": "simulated",
            "timeout_s": 60.0,
            "scenario": str(self.scenario_path),
            "state_path": str(self.state_path),
            **options,
        }

    def driver(self, name: str = "sim", **options: Any) -> SimulatedDriver:
        """Return a new connected driver, as another process would have it; `close` closes it."""
        driver = SimulatedDriver(name, self.endpoint(name, **options))
        driver.connect()
        self._drivers.append(driver)
        return driver

    def vm_uuid(self, name: str) -> str:
        """Return the uuid of the VM of that name."""
        return next(vm.uuid for vm in self.driver().inventory().vms if vm.name == name)

    def close(self) -> None:
        """Close every driver that was handed out."""
        for driver in self._drivers:
            driver.close()

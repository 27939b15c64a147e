# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules as plays run them on the lab: the options that all share, a reservation to start from, a play."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.driver import LibvirtDriver
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

from .guests import GuestSpec

Module = Callable[..., dict[str, Any]]
#: Reserves for a guest and moves it there; what `Job.play_variables` returns is for it.
PLAY = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/foresight.migration.estate:
      endpoints: "{{ endpoints }}"
      store: "{{ store }}"
  tasks:
    - foresight.migration.host_reserve:
        vm: "{{ vm }}"
        host: labh2
        tier: hard
        amount: {cpu_cores: 1, memory_mib: 256, network_mbit_s: 10, disk_mib_s: 0}
        window_hours: 1
    - foresight.migration.vm_migrate:
        vm: "{{ vm }}"
        destination: labh2
        bandwidth_mib_s: "{{ bandwidth_mib_s | default(omit) }}"
        means: "{{ means | default(omit) }}"
        sla: "{{ sla | default(omit) }}"
        limits: "{{ limits | default(omit) }}"
"""


class Job:
    """The options that all modules share, and a reservation to start from."""

    #: A store with a snapshot and a forecast of the resident guest, made once and copied for each test.
    prepared: Path | None = None

    def __init__(self, endpoints: list[dict[str, Any]], module: Module, folder: Path) -> None:
        self.store = folder / "store"
        self.base = {"endpoints": endpoints, "store": str(self.store)}
        self._module = module

    def reserve(self, guest: GuestSpec, host: str = "labh2") -> str:
        """Reserve room for a guest on a host; returns the reservation's id."""
        self._prepare()
        amount = {"cpu_cores": 1.0, "memory_mib": 256, "network_mbit_s": 10, "disk_mib_s": 0}
        claim = {**self.base, "vm": guest.uuid, "host": host, "tier": "hard", "amount": amount}
        reserved = self._module("host_reserve", {**claim, "window_hours": 1})
        assert reserved.get("changed"), reserved
        return str(reserved["reservation_id"])

    def _prepare(self) -> None:
        """Collect and forecast."""
        if self.store.exists():
            return
        if Job.prepared is not None:
            shutil.copytree(Job.prepared, self.store)
            return
        facts = self._module("vm_metrics_facts", {**self.base, "history_hours": 0})
        assert not facts.get("failed"), facts
        forecast = self._module("vm_forecast", {**self.base, "horizon_hours": 2, "on_no_history": "allocated"})
        assert not forecast.get("failed"), forecast
        Job.prepared = self.store.with_name("prepared")
        shutil.copytree(self.store, Job.prepared)

    def migrate(self, guest: GuestSpec, reservation_id: str, *options: str, **arguments: Any) -> dict[str, Any]:
        """Run vm_migrate and return its result."""
        terms = {"vm": guest.uuid, "reservation_id": reservation_id, **arguments}
        return self._module("vm_migrate", {**self.base, **terms}, *options)

    def reservation_states(self, guest: GuestSpec) -> list[str]:
        """Return the states of all reservations of a guest."""
        info = self._module("host_reserve_info", {**self.base, "vms": [guest.uuid]})
        return [entry["state"] for entry in info["reservations"]]

    def write_play(self) -> Path:
        """Write `PLAY` beside the store, which is ready after this; returns its path."""
        self._prepare()
        path = self.store.with_name("play.yml")
        path.write_text(PLAY)
        return path

    def play_variables(self, guest: GuestSpec, **terms: Any) -> dict[str, Any]:
        """Return the variables with which `PLAY` reserves for and moves ``guest``."""
        return {**self.base, "vm": guest.uuid, **terms}

    def records(self) -> list[dict[str, Any]]:
        """Return what the store keeps of migrations."""
        return Workspace.open(str(self.store)).migrations.read()


def holds(drivers: Sequence[LibvirtDriver]) -> list[str]:
    """Return the ids of the reservations that the hosts hold something for."""
    return [hold.reservation_id for driver in drivers for hold in driver.list_holds()]

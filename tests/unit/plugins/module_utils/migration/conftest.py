# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small simulated estate with a ledger: two hosts, a VM worth moving, and room for faults."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.foresight.migration.plugins.module_utils.estate.reservation import Reservation
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.fleet import Fleet
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.migration.finding import take_inventory
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context, Outcome
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import MigrateRequest, migrate_vm
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate_outlook import present_room
from ansible_collections.foresight.migration.plugins.module_utils.reservations.claims import ClaimRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger

VM = "6f6b1f04-0000-4000-8000-000000000001"
NEIGHBOUR = "6f6b1f04-0000-4000-8000-000000000002"
FOREIGN = "6f6b1f04-0000-4000-8000-000000000003"
START = "2026-03-02T09:00:00Z"
START_TS = 1772442000.0
CAPACITY = {"cpu_cores": 16, "memory_mib": 65536, "network_mbit_s": 10000, "disk_mib_s": 500}
AMOUNT = Resources(4, 8192, 500, 50)


def scenario(**changes: Any) -> dict[str, Any]:
    """Return the estate: kvm hosts a, b, c on 1 Gbit/s links, one vmware host; ``changes`` replace parts of the VMs."""
    link = {"migration_link_mbit_s": 1000, "migration_shares_vm_network": False}
    kvm = {"family": "kvm", "capacity": CAPACITY, "networks": ["lan"], **link}
    vm = {
        "uuid": VM,
        "name": "web01",
        "host": "a",
        "allocated": {"cpu_cores": 4, "memory_mib": 8192},
        "demand": {"cpu_cores": 1, "memory_mib": 4096, "network_mbit_s": 100},
        "networks": ["lan"],
        **changes,
    }
    return {
        "version": 1,
        "clock": {"start": START, "mode": "stepped"},
        "hosts": [
            *({"name": name, **kvm} for name in "abc"),
            {"name": "esx", "family": "vmware", "capacity": CAPACITY, "networks": ["lan"]},
        ],
        "vms": [vm, {**vm, "uuid": NEIGHBOUR, "name": "db01"}],
    }


@dataclass
class Estate:
    """The estate under test, as a playbook would address it."""

    folder: Path
    names: tuple[str, ...] = ("sim",)
    lines: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    @property
    def endpoints(self) -> list[dict[str, Any]]:
        """The ``endpoints`` option."""
        place = {"scenario": str(self.folder / "estate.yml"), "state_path": str(self.folder / "state.sqlite")}
        return [{"name": name, "type": "simulated", **place} for name in self.names]

    @property
    def store(self) -> str:
        """The ``store`` option."""
        return str(self.folder / "store")

    @property
    def ledger_url(self) -> str:
        """Where the ledger is by default."""
        return f"sqlite:///{self.folder}/store/ledger.db"

    def endpoint_of(self, host: str) -> str:
        """Return the endpoint behind which the host is."""
        return self.names[0] if len(self.names) == 1 or host == "a" else self.names[1]

    def driver(self, name: str | None = None) -> SimulatedDriver:
        """Return a connected driver of its own, of the endpoint ``name`` (default: the first)."""
        driver = SimulatedDriver(name or self.names[0], self.endpoints[0])
        driver.connect()
        return driver

    def now_ts(self) -> float:
        """Return the estate's time."""
        with self.driver() as driver:
            return driver.clock.now()

    def run_clock(self, speed: float) -> None:
        """Let waiting take real time, ``speed`` estate seconds a second."""
        with self.driver():
            pass  # the state exists
        with sqlite3.connect(self.folder / "state.sqlite") as connection:
            connection.execute("UPDATE clock SET speed = ?", (speed,))

    def inject(self, **fault: Any) -> None:
        """Add a fault."""
        with self.driver() as driver:
            driver.inject(fault)

    def reserve(
        self, host: str = "b", vm: str = VM, amount: Resources = AMOUNT, tier: str = "hard", ttl_s: float = 7200.0
    ) -> Reservation:
        """Reserve as host_reserve does: claim, then hold."""
        (self.folder / "store").mkdir(exist_ok=True)
        with Fleet(self.endpoints) as fleet, open_ledger(self.ledger_url, actor="test") as ledger:
            now_ts = fleet.clock.now()
            estate = take_inventory(fleet, now_ts)
            endpoint = self.endpoint_of(host)
            host_key = f"{endpoint}/{host}"
            request = ClaimRequest(vm, host_key, amount, tier, now_ts, now_ts + 86400.0, "test", ttl_s)
            room = present_room(estate, estate.hosts[host_key], estate.find_vm(vm), now_ts)
            claimed = ledger.claim(request, room, now_ts).reservation
            hold = fleet.driver(endpoint).place_hold(Hold.of(claimed))
            return ledger.record_enforcement(claimed.reservation_id, hold.enforced_by, hold.tokens, now_ts)

    def request(self, **options: Any) -> MigrateRequest:
        """Return a request to move the VM to host b, with ``options`` changed."""
        given: dict[str, Any] = {"vm": "web01", "dirty_rate_s": 1.0}
        if "reservation_id" not in options and "destination" not in options:
            given["destination"] = "b"
        return MigrateRequest(endpoints=self.endpoints, store=self.store, **{**given, **options})

    def migrate(self, *, check_mode: bool = False, **options: Any) -> Outcome:
        """Run the operation, keeping what it reports."""
        return migrate_vm(self.request(**options), Context(check_mode, self._report))

    def _report(self, line: str, data: Mapping[str, Any]) -> None:
        self.lines.append(line)
        if "step" in data:
            self.steps.append(data["step"])

    def host_of(self, vm: str = VM) -> str:
        """Return the one host on which the VM runs."""
        with Fleet(self.endpoints) as fleet:
            sightings, errors = fleet.locate(vm)
        assert not errors
        running = [seen for where in sightings.values() for seen in where if seen.active]
        (place,) = running
        assert place.power_state == "running"
        return place.host_id

    def holds(self) -> list[str]:
        """Return the ids of the reservations that the hypervisors hold."""
        found = []
        for name in self.names:
            with self.driver(name) as driver:
                found += [hold.reservation_id for hold in driver.list_holds()]
        return sorted(found)

    def reservation(self, reservation_id: str) -> Reservation:
        """Return one reservation as the ledger has it."""
        with open_ledger(self.ledger_url, actor="test") as ledger:
            return ledger.get(reservation_id)

    def guarantee(self, vm: str = VM) -> Resources:
        """Return what the hypervisor guarantees the VM."""
        with self.driver() as driver:
            return next(found.guaranteed for found in driver.inventory().vms if found.uuid == vm)

    def reservations(self) -> dict[str, str]:
        """Return the state of every reservation."""
        with open_ledger(self.ledger_url, actor="test") as ledger:
            return {reservation.reservation_id: reservation.state for reservation in ledger.find()}


@pytest.fixture
def make_estate(tmp_path: Path) -> Callable[..., Estate]:
    """Return a function that makes an estate, with parts of its VM changed."""

    def make(**changes: Any) -> Estate:
        (tmp_path / "estate.yml").write_text(yaml.safe_dump(scenario(**changes)), encoding="utf-8")
        return Estate(tmp_path)

    return make


@pytest.fixture
def two_endpoints(tmp_path: Path) -> Estate:
    """The estate behind two endpoints, as lone hosts are: a VM that moves leaves one and appears at the other."""
    described = scenario()
    for host in described["hosts"]:
        host["endpoint"] = "left" if host["name"] == "a" else "right"
    (tmp_path / "estate.yml").write_text(yaml.safe_dump(described), encoding="utf-8")
    return Estate(tmp_path, ("left", "right"))


@pytest.fixture
def estate(make_estate: Callable[..., Estate]) -> Estate:
    """The estate as it stands."""
    return make_estate()

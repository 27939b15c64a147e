# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules and the main playbook, as users run them, on real KVM hosts."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.tests.integration.conftest import MAIN_JOB, Playbook

from .conftest import Site, endpoint_options
from .guests import GuestSpec
from .namespaces import wait_until

pytestmark = pytest.mark.lab

Module = Callable[..., dict[str, Any]]
BUSY = GuestSpec(1, rate_mib_s=40)


class Job:
    """The options that all modules share, and a reservation to start from."""

    #: A store with a snapshot and a forecast of the resident guest, made once and copied for each test.
    prepared: Path | None = None

    def __init__(self, site: Site, module: Module, folder: Path) -> None:
        endpoints = [
            {"name": host.name, "type": "libvirt", **endpoint_options(site.lab, host)} for host in site.lab.hosts
        ]
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


@pytest.fixture
def job(site: Site, module: Module, tmp_path: Path) -> Job:
    return Job(site, module, tmp_path)


def holds(site: Site) -> list[str]:
    return [hold.reservation_id for driver in site.drivers for hold in driver.list_holds()]


def test_the_main_playbook_moves_the_guest_from_the_crowded_host_and_then_leaves_it(
    site: Site, job: Job, playbook: Playbook
) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    site.start(GuestSpec(2))
    variables = {
        "foresight_vm": guest.name,
        "foresight_endpoints": job.base["endpoints"],
        "foresight_store": job.base["store"],
        "forecast_on_no_history": "allocated",
        "metrics_history_hours": 0,
    }
    code, output = playbook.run(MAIN_JOB, variables)
    assert code == 0, output
    (there,) = site.running_on(guest)
    assert there != 0, output
    site.assert_well(guest, on=there, since_s=since)
    assert holds(site) == []
    code, output = playbook.run(MAIN_JOB, variables)
    assert code == 0, output
    assert site.running_on(guest) == [there]


def test_reserve_and_migrate_are_checked_done_and_idempotent(site: Site, job: Job) -> None:
    guest, since = site.start(GuestSpec(1, rate_mib_s=4)), time.monotonic()
    reservation = job.reserve(guest)
    assert holds(site) == [reservation]
    sla = {"max_downtime_ms": 500, "max_duration_s": 60}
    foreseen = job.migrate(guest, reservation, "--check", sla=sla)
    assert foreseen["state"] == "would_move", foreseen
    assert site.running_on(guest) == [0]
    moved = job.migrate(guest, reservation, sla=sla)
    assert moved["state"] == "moved", moved
    site.assert_well(guest, on=1, since_s=since)
    assert holds(site) == []
    again = job.migrate(guest, reservation)
    assert (again["changed"], again["state"]) == (False, "already_there"), again
    assert job.reservation_states(guest) == ["consumed"]


def test_a_guest_no_allowed_means_can_move_is_refused_before_anything_is_touched(site: Site, job: Job) -> None:
    guest = site.start(BUSY)
    reservation = job.reserve(guest)
    sla = {"max_downtime_ms": 100, "max_duration_s": 60}
    refused = job.migrate(guest, reservation, sla=sla, bandwidth_mib_s=16, means=[])
    assert refused["failed"]
    assert refused["error"]["code"] == "strategy_refused", refused
    assert site.running_on(guest) == [0]
    moved = job.migrate(guest, reservation, sla=sla, bandwidth_mib_s=16, means=["post_copy"])
    assert moved.get("state") == "moved", moved
    assert site.running_on(guest) == [1]


def test_a_killed_controller_is_replaced_by_the_next_run_which_adopts_and_settles(
    site: Site, job: Job, playbook: Playbook, tmp_path: Path
) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    reservation = job.reserve(guest)
    play = tmp_path / "migrate.yml"
    play.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - foresight.migration.vm_migrate:\n"
        "        endpoints: '{{ endpoints }}'\n        store: '{{ store }}'\n        vm: '{{ vm }}'\n"
        "        reservation_id: '{{ reservation }}'\n        bandwidth_mib_s: 2\n"
    )
    process = playbook.start(str(play), {**job.base, "vm": guest.uuid, "reservation": reservation})
    wait_until(lambda: site.drivers[0].find_migration(guest.uuid), 90.0, "the move has not begun", step_s=0.1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    adopted = job.migrate(guest, reservation)
    assert (adopted.get("state"), adopted.get("adopted")) == ("moved", True), adopted
    site.assert_well(guest, on=1, since_s=since)
    assert holds(site) == []
    assert job.reservation_states(guest) == ["consumed"]


def test_a_destination_that_loses_power_fails_the_move_and_frees_the_reservation(
    site: Site, job: Job, playbook: Playbook, tmp_path: Path
) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    reservation = job.reserve(guest)
    play = tmp_path / "migrate.yml"
    play.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n    - foresight.migration.vm_migrate:\n"
        "        endpoints: '{{ endpoints }}'\n        store: '{{ store }}'\n        vm: '{{ vm }}'\n"
        "        reservation_id: '{{ reservation }}'\n        bandwidth_mib_s: 8\n"
    )
    process = playbook.start(str(play), {**job.base, "vm": guest.uuid, "reservation": reservation})
    wait_until(lambda: site.drivers[0].find_migration(guest.uuid), 90.0, "the move has not begun", step_s=0.1)
    site.lab.hosts[1].power_off()
    output = process.communicate(timeout=200)[0]
    assert process.returncode != 0, output
    assert "migration_failed" in output, output
    site.lab.hosts[1].boot()
    site.assert_well(guest, on=0, since_s=since)
    assert job.reservation_states(guest) == ["released"]

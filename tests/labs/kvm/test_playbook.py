# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules and the main playbook, as users run them, on real KVM hosts."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from ansible_collections.foresight.migration.tests.integration.conftest import MAIN_JOB, Playbook

from .conftest import Site
from .guests import GuestSpec
from .namespaces import wait_until
from .plays import Job, holds

pytestmark = pytest.mark.lab

BUSY = GuestSpec(1, rate_mib_s=40)


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
    assert holds(site.drivers) == []
    code, output = playbook.run(MAIN_JOB, variables)
    assert code == 0, output
    assert site.running_on(guest) == [there]


def test_reserve_and_migrate_are_checked_done_and_idempotent(site: Site, job: Job) -> None:
    guest, since = site.start(GuestSpec(1, rate_mib_s=4)), time.monotonic()
    reservation = job.reserve(guest)
    assert holds(site.drivers) == [reservation]
    sla = {"max_downtime_ms": 500, "max_duration_s": 60}
    foreseen = job.migrate(guest, reservation, "--check", sla=sla)
    assert foreseen["state"] == "would_move", foreseen
    assert site.running_on(guest) == [0]
    moved = job.migrate(guest, reservation, sla=sla)
    assert moved["state"] == "moved", moved
    site.assert_well(guest, on=1, since_s=since)
    assert holds(site.drivers) == []
    again = job.migrate(guest, reservation)
    assert (again["changed"], again["state"]) == (False, "already_there"), again
    assert job.reservation_states(guest) == ["consumed"]


def test_a_guest_no_allowed_means_can_move_is_refused_before_anything_is_touched(site: Site, job: Job) -> None:
    guest = site.start(BUSY)  # a sample of a second sees at most its 16 MiB: twice what the link may carry
    reservation = job.reserve(guest)
    sla = {"max_downtime_ms": 250, "max_duration_s": 60}
    refused = job.migrate(guest, reservation, sla=sla, bandwidth_mib_s=8, means=[])
    assert refused["failed"]
    assert refused["error"]["code"] == "strategy_refused", refused
    assert site.running_on(guest) == [0]
    moved = job.migrate(guest, reservation, sla=sla, bandwidth_mib_s=8, means=["post_copy"])
    assert moved.get("state") == "moved", moved
    assert site.running_on(guest) == [1]


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

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One lab for all tests of a run, and empty hosts for each of them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.driver import LibvirtDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    Job,
    MoveOrder,
    Progress,
    Tuning,
)
from ansible_collections.foresight.migration.tests.integration.conftest import collections, module, playbook

from .guests import GuestSpec, Heartbeats, clear_guests, discard_guest, start_guest
from .lab import Lab, LabHost
from .namespaces import wait_until
from .packages import LabUnavailable
from .plays import Job as PlayedJob
from .plays import Module

__all__ = ["collections", "module", "playbook"]

MOVE_TIMEOUT_S = 90.0
#: How long libvirt may take to remove what is left of a guest on a host that it does not run on.
CLEANUP_TIMEOUT_S = 30.0


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Three hosts that are up; skips where this machine cannot run them, and says why."""
    lab = Lab(f"t{os.getpid()}", host_memory_mib=1024)
    try:
        lab.up()
    except LabUnavailable as exc:
        lab.down()
        pytest.skip(f"KVM lab: {exc}")
    yield lab
    lab.down()
    assert not lab.state.exists()


@pytest.fixture(scope="session")
def all_beats(lab: Lab) -> Iterator[Heartbeats]:
    with Heartbeats(lab) as heartbeats:
        yield heartbeats


#: The guest that most tests use stays from one to the next while it runs on the first host, for booting takes longest.
RESIDENT = GuestSpec(1)


def endpoint_options(lab: Lab, host: LabHost, **options: object) -> dict[str, object]:
    """Return the options by which a driver reaches a host of the lab."""
    return {
        "uri": host.uri,
        "migration_uri": host.peer_uri,
        "timeout_s": 20.0,
        "shared_storage": [str(lab.shared)],
        **options,
    }


@dataclass
class Site:
    """The lab as a test sees it: guests to start, drivers to ask, heartbeats to listen to."""

    lab: Lab
    beats: Heartbeats
    drivers: list[LibvirtDriver]

    def start(self, spec: GuestSpec, host: int = 0) -> GuestSpec:
        """Start a guest and wait for its heartbeat. The resident guest is only told its work anew."""
        resident = replace(spec, rate_mib_s=RESIDENT.rate_mib_s, spin=RESIDENT.spin) == RESIDENT and host == 0
        if resident and self.running_on(spec) == [0] and self.beats.heard(spec.name):
            self.beats.tell(spec, f"rate {spec.rate_mib_s} spin {spec.spin} cpu 0 hb {spec.heartbeat_ms}")
            self.beats.next_beat(spec.name)
            return spec
        discard_guest(self.lab, spec)
        self.beats.forget(spec.name)
        start_guest(self.lab, self.lab.hosts[host], spec)
        self.beats.next_beat(spec.name)
        return spec

    def order(self, spec: GuestSpec, to: int = 1, **options: object) -> MoveOrder:
        """Return an order to move a guest to a host."""
        terms: dict[str, Any] = {"max_downtime_ms": 300.0}
        terms |= {name: options.pop(name) for name in ("bandwidth_mib_s", "max_downtime_ms") if name in options}
        tuning = Tuning(**terms)
        return MoveOrder(spec.uuid, self.lab.hosts[to].uuid, "reservation-1", tuning, **options)  # type: ignore[arg-type]

    def await_phase(self, job: Job, *phases: str, source: int = 0, timeout_s: float = MOVE_TIMEOUT_S) -> Progress:
        """Follow a job until it is in one of the phases; endpoints that are away for a moment are asked again."""
        deadline = time.monotonic() + timeout_s
        last: object = None
        while time.monotonic() < deadline:
            try:
                last = progress = self.drivers[source].progress(job)
                if progress.phase in phases:
                    return progress
                assert not progress.finished, progress
            except EndpointUnreachable as exc:
                last = exc
            time.sleep(0.1)
        raise AssertionError(f"not {' or '.join(phases)} after {timeout_s:g} s: {last}")

    def await_round(self, job: Job, number: int) -> None:
        """Follow a job's pre-copy until its round of that number has begun."""
        wait_until(
            lambda: (self.await_phase(job, "precopy").iteration or 0) >= number,
            MOVE_TIMEOUT_S,
            f"round {number} has not begun",
            step_s=0.1,
        )

    def running_on(self, spec: GuestSpec) -> list[int]:
        """Return the numbers (0...) of the hosts on which the guest runs."""
        found = []
        for number, driver in enumerate(self.drivers):
            if any(seen.active and seen.power_state == "running" for seen in driver.locate(spec.uuid)):
                found.append(number)
        return found

    def assert_well(self, spec: GuestSpec, on: int, since_s: float) -> None:
        """Check from outside that one intact copy of the guest runs, and that it runs on host ``on``."""
        self.beats.next_beat(spec.name)
        life = self.beats.life(spec.name, since_s)
        assert (life.reruns, life.bad_pages, life.io_errors) == (0, 0, 0)
        assert self.running_on(spec) == [on]

    def assert_alone(self, spec: GuestSpec, on: int, since_s: float) -> None:
        """Check `assert_well`, and that the other hosts keep nothing of the guest once libvirt has cleaned up."""
        self.assert_well(spec, on, since_s)
        for number, driver in enumerate(self.drivers):
            if number != on:
                left = f"something of {spec.name} is left on {driver.name}"
                wait_until(lambda driver=driver: driver.locate(spec.uuid) == (), CLEANUP_TIMEOUT_S, left)  # type: ignore[misc]
        self.assert_well(spec, on, since_s)


@pytest.fixture
def site(lab: Lab, all_beats: Heartbeats) -> Iterator[Site]:
    """The lab with all hosts up and no guest but the resident one, for one test."""
    keep = (lab.hosts[0], RESIDENT.uuid)
    for host in lab.hosts:
        host.boot()
        host.restore_link()
        host.shape_link(None)
    clear_guests(lab, keep)
    drivers = [LibvirtDriver(host.name, endpoint_options(lab, host)) for host in lab.hosts]
    for driver in drivers:
        driver.connect()
    yield Site(lab, all_beats, drivers)
    for driver in drivers:
        driver.close()


@pytest.fixture
def job(site: Site, module: Module, tmp_path: Path) -> PlayedJob:
    """The modules, on the lab's hosts and a store of the test's own."""
    endpoints = [{"name": host.name, "type": "libvirt", **endpoint_options(site.lab, host)} for host in site.lab.hosts]
    return PlayedJob(endpoints, module, tmp_path)

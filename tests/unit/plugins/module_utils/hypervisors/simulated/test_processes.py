# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Several processes on one simulated estate, some of them killed: nothing is lost, doubled or over-promised."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated import clock

if TYPE_CHECKING:
    from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate

PACKAGE = "ansible_collections.foresight.migration.plugins.module_utils"
PREAMBLE = f"""
import json, sys
from {PACKAGE}.errors import ForesightError
from {PACKAGE}.estate.resources import Resources
from {PACKAGE}.hypervisors.protocol import Hold, MoveOrder
from {PACKAGE}.hypervisors.simulated.driver import SimulatedDriver
options, number = json.loads(sys.argv[1]), int(sys.argv[2])
driver = SimulatedDriver("sim", options)
driver.connect()
vms = sorted(driver.inventory().vms, key=lambda vm: vm.name)
"""
HOLD = """
try:
    driver.place_hold(Hold(f"r{number}", "host-c", vms[number % 3].uuid, Resources(cpu_cores=3.0), "hard"))
    print("held")
except ForesightError as error:
    print(error.code)
"""
START = """
try:
    driver.start_migration(MoveOrder(vms[0].uuid, "host-c", "r"), driver)
    print("started")
except ForesightError as error:
    print(error.details["fault"])
"""
CHURN = """
while True:
    for vm in vms:
        hold = Hold(f"{number}-{vm.name}", "host-c", vm.uuid, Resources(cpu_cores=0.5), "hard")
        driver.place_hold(hold)
        driver.clock.sleep(1.0)
        driver.release_hold(hold.reservation_id, {})
        job = driver.find_migration(vm.uuid)
        if job is None:
            target = "host-c" if driver.locate(vm.uuid)[0].host_id != "host-c" else "host-b"
            driver.start_migration(MoveOrder(vm.uuid, target, ""), driver)
        print("turn", flush=True)
"""


def run(estate: SimulatedEstate, program: str, number: int) -> subprocess.Popen[str]:
    """Start a process of its own on the estate."""
    return subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + program, json.dumps(estate.endpoint()), str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answers(processes: Sequence[subprocess.Popen[str]]) -> list[str]:
    found = []
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        found.append(out.strip())
    return sorted(found)


def test_parallel_holds_never_promise_more_than_the_host_has(simulated_estate: SimulatedEstate) -> None:
    found = answers([run(simulated_estate, HOLD, number) for number in range(5)])
    assert found == ["held", "held", "hold_refused", "hold_refused", "hold_refused"]
    assert sum(hold.amount.cpu_cores for hold in simulated_estate.driver().list_holds()) == 6.0


def test_only_one_of_several_processes_starts_a_vms_migration(simulated_estate: SimulatedEstate) -> None:
    found = answers([run(simulated_estate, START, number) for number in range(4)])
    assert found == ["migration_in_progress"] * 3 + ["started"]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_killed_process_leaves_a_readable_state_with_every_vm_in_one_place(
    simulated_estate: SimulatedEstate, seed: int
) -> None:
    process = run(simulated_estate, CHURN, seed)
    assert process.stdout is not None
    for _unused in range(2):
        assert process.stdout.readline() == "turn\n"
    time.sleep(random.Random(seed).uniform(0.0, 0.2))  # anywhere in the middle of its work
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)

    driver = simulated_estate.driver()
    driver.clock.sleep(600.0)
    for vm in driver.inventory().vms:
        seen = driver.locate(vm.uuid)
        assert [place.active for place in seen] == [True]
        assert driver.find_migration(vm.uuid) is None
        assert f"sim/{seen[0].host_id}" == next(v.host_key for v in driver.inventory().vms if v.uuid == vm.uuid)
    for hold in driver.list_holds():
        assert driver.release_hold(hold.reservation_id, hold.tokens)
    assert simulated_estate.driver().list_holds() == ()


def test_a_running_clock_goes_on_between_processes_at_its_speed(simulated_estate: SimulatedEstate) -> None:
    simulated_estate.scenario["clock"].update(mode="running", speed=100_000.0)
    first = simulated_estate.driver()
    before_ts = first.clock.now()
    first.close()
    second = simulated_estate.driver()
    second.clock.sleep(1000.0)
    assert second.clock.now() >= before_ts + 1000.0


def test_those_who_wait_at_the_same_time_wait_together(
    simulated_estate: SimulatedEstate, monkeypatch: pytest.MonkeyPatch
) -> None:
    simulated_estate.scenario["clock"]["speed"] = 20.0
    first, second = simulated_estate.driver().clock, simulated_estate.driver().clock
    begun_ts, waits = first.now(), []

    def meanwhile(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 1:
            second.sleep(30.0)

    monkeypatch.setattr(clock.time, "sleep", meanwhile)
    first.sleep(40.0)
    assert first.now() == begun_ts + 40.0
    assert waits == [2.0, 1.5]

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A play that is killed with SIGKILL leaves nothing that running it again does not settle."""

from __future__ import annotations

import random
import subprocess
from contextlib import suppress
from typing import Any

import pytest

MAIN_JOB = "foresight.migration.preallocate_and_migrate"
#: What the play shows, in order, when it is about to do the next thing; it is killed a random while after one of them.
MARKS = (
    "TASK [foresight.migration.metrics : Collect",
    "TASK [Look for what an earlier run left]",
    "TASK [foresight.migration.forecast : Forecast demand]",
    "TASK [foresight.migration.preallocate : Select",
    "TASK [foresight.migration.preallocate : Hold the capacity",
    "hard claim on",
    "TASK [foresight.migration.migrate : Move",
    "started: ",
    "web01  ",
    "verified: ",
)


def kill_after(playbook: Any, process: Any, mark: str, delay_s: float) -> bool:
    """Kill the play ``delay_s`` after its output shows ``mark``; return whether it was still running."""
    for line in process.stdout:
        if mark in line:
            break
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=delay_s)
    running = process.poll() is None
    if running:
        playbook.kill(process)
    process.communicate(timeout=60)
    return running


@pytest.mark.parametrize("seed", range(len(MARKS)))
def test_a_killed_play_is_settled_by_running_it_again(
    make_estate: Any, playbook: Any, read_truth: Any, seed: int
) -> None:
    estate = make_estate({"clock": {"start": "2026-03-02T20:00:30Z", "mode": "stepped", "speed": 4}})
    delay_s = random.Random(seed).uniform(0.0, 1.5)
    process = playbook.start(MAIN_JOB, estate.variables(foresight_vm="web01"))
    killed = kill_after(playbook, process, MARKS[seed], delay_s)
    print(f"killed {delay_s:.2f} s after {MARKS[seed]!r}: {killed}")
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="web01"))
    assert code == 0, output
    after = read_truth(estate)
    assert (after.moves, after.active_moves, after.holds, after.active_reservations) == (1, 0, 0, 0), output
    (hosts,) = after.hosts_of.values()
    assert hosts == ("kvm2",)

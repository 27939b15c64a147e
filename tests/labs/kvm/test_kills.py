# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A play that is killed with SIGKILL in any phase of a real move: the same play, run again, ends it well."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.tests.integration.conftest import Playbook

from .conftest import Site
from .guests import GuestSpec
from .namespaces import wait_until
from .plays import Job, holds

pytestmark = pytest.mark.lab

HALT = Path(__file__).resolve().parent / "halt"
IDLE = GuestSpec(1)
#: Writes round its 16 MiB faster than the move may send them, so that they are left for post-copy.
BUSY = GuestSpec(1, rate_mib_s=60)


@dataclass(frozen=True)
class Phase:
    """Where the play is killed (as ``halt`` takes it), what moves how, and what must be true right after the kill.

    ``running_on`` is the host, ``flying`` whether the move is under way (None: it may end before one has looked),
    ``held`` whether the hosts hold something (None: that depends on how much has arrived).
    """

    place: str
    guest: GuestSpec
    terms: dict[str, Any]
    running_on: int
    flying: bool | None
    held: bool | None = None


PHASES = {
    "after the claim": Phase("reservations/ledger.py:claim:return", IDLE, {}, 0, flying=False, held=False),
    "in pre-copy": Phase(
        "migration/following.py:_one_look:call:precopy", IDLE, {"bandwidth_mib_s": 6}, 0, flying=True, held=True
    ),
    "in post-copy": Phase(
        "libvirt/driver.py:switch_to_post_copy:return",
        BUSY,
        {"bandwidth_mib_s": 5, "means": ["post_copy"], "sla": {"max_downtime_ms": 400}},
        1,
        flying=None,
    ),
    "between the switch-over and the settlement": Phase(
        "migration/verification.py:verify:call", IDLE, {}, 1, flying=False
    ),
    "in the settlement": Phase("libvirt/driver.py:settle_hold:return", IDLE, {}, 1, flying=False, held=False),
}


def kill_in(phase: Phase, job: Job, playbook: Playbook, folder: Path) -> None:
    """Start the play, wait until it stops in that phase, and kill it with all its processes."""
    mark, usual = folder / "halted", playbook.environment
    path = os.pathsep.join([str(HALT), usual.get("PYTHONPATH", "")])
    playbook.environment = {**usual, "PYTHONPATH": path, "LAB_HALT_AT": phase.place, "LAB_HALT_MARK": str(mark)}
    process = playbook.start(str(job.write_play()), job.play_variables(phase.guest, **phase.terms))
    wait_until(lambda: mark.exists() or process.poll() is not None, 240.0, "the play did not come to that phase")
    ended = process.poll()
    assert ended is None, process.communicate()[0]
    playbook.kill(process)
    playbook.environment = usual


@pytest.mark.parametrize("name", PHASES)
def test_a_play_killed_in_any_phase_is_brought_to_its_end_by_the_next_run(
    site: Site, job: Job, playbook: Playbook, tmp_path: Path, name: str
) -> None:
    phase = PHASES[name]
    guest, since = site.start(phase.guest), time.monotonic()
    kill_in(phase, job, playbook, tmp_path)
    assert phase.flying in (None, site.drivers[0].find_migration(guest.uuid) is not None)
    wait_until(lambda: site.running_on(guest) == [phase.running_on], 10.0, "the guest does not run where it should")
    assert phase.held in (None, bool(holds(site.drivers)))
    assert job.reservation_states(guest) == ["active"]
    code, output = playbook.run(str(job.write_play()), job.play_variables(guest, **phase.terms))
    assert code == 0, output
    site.assert_alone(guest, on=1, since_s=since)
    assert holds(site.drivers) == []
    assert job.reservation_states(guest) == ["consumed"]

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Migration jobs of Hyper-V: started, told apart from stale ones, followed, found again, cancelled."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.migration import (
    APPEAR_LIMIT_S,
    STOP_LIMIT_S,
    Migrations,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    HypervisorFault,
    Job,
    MoveOrder,
    Tuning,
)
from ansible_collections.foresight.migration.tests.stepped_clock import SteppedClock
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_hosts import (
    VM,
    PlayedHosts,
    error_xml,
    job,
    poll,
    settings_of,
    vm_for_move,
)

STARTED = {"found": True, "return_value": 4096, "job_id": "job-1"}
LEFT = poll(job(state=7, percent=100), found=False, enabled_state=None)


def migrations(polls: Any, **answers: Any) -> Migrations:
    clustered = bool(answers.pop("clustered", False))
    hosts = PlayedHosts(
        "hv",
        {
            "hv1": {
                "vm_for_move": vm_for_move(clustered=clustered),
                "migration_settings": settings_of("hv1"),
                "poll_move": polls,
                "start_move": STARTED,
                "cancel_move": {"cancelled": True, "return_value": 0},
                **answers,
            },
            "hv2": {"migration_settings": settings_of("hv2"), "poll_move": poll(found=False, enabled_state=None)},
        },
        at="hv1",
        cluster="C1" if clustered else None,
    )
    return Migrations(hosts, SteppedClock(5000.0))


def hosts_of(moves: Migrations) -> PlayedHosts:
    assert isinstance(moves.nodes, PlayedHosts)
    return moves.nodes


def start(moves: Migrations) -> Job:
    return moves.start(MoveOrder(VM, "hv2", "r1"), moves.nodes)


def handle(**changes: Any) -> Job:
    return Job(VM, "hv1", "hv2", {"job_id": "job-1", "since_ts": 1000.0, "stale": [], "clustered": False, **changes})


def test_a_start_returns_a_handle_that_another_process_can_use() -> None:
    moves = migrations([poll(job(id="old", state=7)), poll(job())])
    started = start(moves)
    assert (started.source_host_id, started.destination_host_id, started.reservation_id) == ("hv1", "hv2", "r1")
    assert json.loads(json.dumps(dict(started.handle))) == {
        "job_id": "job-1", "since_ts": 1012.0, "stale": ["old"], "clustered": False
    }  # fmt: skip
    assert hosts_of(moves).sent("start_move") == [
        {
            "vm_id": VM, "clustered": False, "destination": "hv2.example.com", "addresses": ["10.0.0.2"],
            "smb": False, "storage_path": None,
        }
    ]  # fmt: skip
    assert moves.progress(started).percent == 40


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ({**STARTED, "return_value": 32769}, "permission_denied"),
        ({**STARTED, "return_value": 32775}, "hypervisor_fault"),
        ({"found": False}, "vm_unknown"),
    ],
)
def test_a_refused_start_says_why(answer: dict[str, Any], code: str) -> None:
    with pytest.raises(ForesightError) as raised:
        start(migrations(poll(), start_move=answer))
    assert raised.value.code == code


@pytest.mark.parametrize(
    ("state", "errors", "phase"),
    [
        (2, [], "starting"),
        (3, [], "starting"),
        (4, [], "precopy"),
        (6, [], "precopy"),
        (7, [], "done"),
        (32768, [], "done"),
        (8, [], "aborted"),
        (9, [], "aborted"),
        (10, [error_xml(1, "voll (0x8007000E)")], "failed"),
        (10, [error_xml(1, "abgebrochen (0x800704c7)")], "aborted"),
    ],
)
def test_the_state_of_a_job_is_a_phase(state: int, errors: list[str], phase: str) -> None:
    progress = migrations(poll(job(state=state, errors=errors, error="summary"))).progress(handle())
    assert progress.phase == phase
    assert bool(progress.error) == (phase in ("failed", "aborted"))


def test_a_failure_is_told_in_the_hosts_own_words() -> None:
    failed = job(state=10, error="Fehler", errors=[error_xml(33012, "Kein Switch 'véma-日本'"), error_xml(2, "Rest")])
    assert migrations(poll(failed)).progress(handle()).error == "Kein Switch 'véma-日本'; Rest"
    assert migrations(poll(job(state=10, error="Fehler"))).progress(handle()).error == "Fehler"


def test_jobs_that_are_stale_or_only_checks_are_not_taken_for_the_move() -> None:
    stale = [
        job(id="done before", state=7),
        job(id="too old", started_ts=10.0),
        job(id="check", job_type=301),
        job(id="disks", migration_type=32769, job_type=307),
    ]
    clustered = handle(job_id="", stale=["done before"], clustered=True)
    assert migrations(poll(*stale)).progress(clustered).phase == "starting"
    ours = job(id="new", started_ts=1001.0, percent=55)
    assert migrations(poll(*stale, ours)).progress(clustered).percent == 55


def test_a_job_that_never_appears_or_vanishes_is_gone() -> None:
    clustered = handle(job_id="", clustered=True)
    late = poll(ts=1000.0 + APPEAR_LIMIT_S + 1)
    assert migrations(late).progress(clustered).phase == "gone"
    assert migrations(poll(found=False, enabled_state=None)).progress(clustered).phase == "gone"
    assert migrations(poll(job(id="another"))).progress(handle()).phase == "gone"


def test_time_is_counted_from_the_start_where_the_host_does_not_count_it() -> None:
    assert migrations(poll(job(elapsed_s=None))).progress(handle()).elapsed_s == 12.0
    assert migrations(poll(job(elapsed_s=None, started_ts=None))).progress(handle()).elapsed_s == 0.0


def test_a_move_in_flight_is_found_by_another_process() -> None:
    moves = migrations(poll(job(id="old", state=10), job(destination="HV2.example.com")), clustered=True)
    found = moves.find(VM)
    assert found is not None
    assert (found.source_host_id, found.destination_host_id) == ("hv1", "hv2")
    assert found.handle == {"job_id": "job-1", "since_ts": 1000.0, "stale": ["old"], "clustered": True}
    assert moves.progress(found).phase == "precopy"


@pytest.mark.parametrize("seen", [job(state=7), job(job_type=301), job(destination="HV1"), job(destination="")])
def test_what_is_no_move_in_flight_from_here_is_not_found(seen: dict[str, Any]) -> None:
    assert migrations(poll(seen)).find(VM) is None


def test_a_host_that_does_not_answer_hides_no_job_silently() -> None:
    with pytest.raises(EndpointUnreachable):
        migrations(EndpointUnreachable("mute")).find(VM)


def test_an_abort_returns_when_the_job_has_ended_on_the_source() -> None:
    moves = migrations([poll(job()), poll(job(state=6)), poll(job(state=8))])
    moves.abort(handle())
    assert hosts_of(moves).sent("cancel_move") == [{"vm_id": VM, "clustered": False, "job_id": "job-1"}]


def test_an_abort_waits_for_the_clusters_job_and_cancels_that() -> None:
    moves = migrations([poll(), poll(job()), poll(job(state=10))], clustered=True)
    moves.abort(handle(job_id="", clustered=True))
    assert hosts_of(moves).sent("cancel_move") == [{"vm_id": VM, "clustered": True, "job_id": "job-1"}]


def test_a_cancel_that_is_not_taken_is_tried_again() -> None:
    refused = {"cancelled": False, "return_value": 32775}
    moves = migrations(
        [poll(job()), poll(job()), poll(job(state=8))], cancel_move=[refused, {"cancelled": True, "return_value": 0}]
    )
    moves.abort(handle())
    assert len(hosts_of(moves).sent("cancel_move")) == 2


def test_a_cancel_that_fails_as_the_move_ends_is_no_failure_of_its_own() -> None:
    moves = migrations([poll(job()), poll(job(state=10))], cancel_move=HypervisorFault("no migration is running"))
    moves.abort(handle())
    stuck = migrations(poll(job()), cancel_move=HypervisorFault("not now"))
    with pytest.raises(HypervisorFault) as raised:
        stuck.abort(handle())
    assert str(raised.value.__cause__) == "not now"


def test_an_abort_of_what_is_over_cancels_nothing() -> None:
    moves = migrations(poll(job(state=10)))
    moves.abort(handle())
    assert not hosts_of(moves).sent("cancel_move")


def test_an_abort_that_came_too_late_says_that_the_vm_has_left() -> None:
    with pytest.raises(HypervisorFault) as raised:
        migrations([poll(job()), LEFT]).abort(handle())
    assert raised.value.details["fault"] == "AlreadyCompleted"


def test_an_abort_that_does_not_work_ends_all_the_same() -> None:
    moves = migrations(poll(job()))
    with pytest.raises(HypervisorFault) as raised:
        moves.abort(handle())
    assert raised.value.details["fault"] == "NotStopped"
    assert moves.clock.now() == pytest.approx(5000.0 + STOP_LIMIT_S, abs=1.0)


def test_a_running_migration_cannot_be_tuned() -> None:
    moves = migrations(poll())
    moves.tune(handle(), Tuning())
    with pytest.raises(HypervisorFault):
        moves.tune(handle(), Tuning(bandwidth_mib_s=10))

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The main job as an operator runs it: once, again, in check mode, twice at a time, and in trouble."""

from __future__ import annotations

import re
from typing import Any

import pytest

MAIN_JOB = "foresight.migration.preallocate_and_migrate"


def recap(output: str) -> dict[str, int]:
    """Return the counts of the play recap."""
    line = next(line for line in output.splitlines() if line.startswith("localhost ") and "changed=" in line)
    return {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", line)}


def test_a_vm_on_a_crowded_host_is_moved_and_settled_and_a_second_run_changes_nothing(
    make_estate: Any, playbook: Any, read_truth: Any
) -> None:
    estate = make_estate()
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="web01"))
    assert code == 0, output
    after = read_truth(estate)
    assert (after.moves, after.active_moves, after.holds) == (1, 0, 0)
    assert after.reservation_states == ("consumed",)
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="web01"))
    assert code == 0, output
    assert recap(output)["changed"] == 0, output
    assert read_truth(estate) == after


def test_check_mode_reserves_and_moves_nothing_and_says_what_would_be(
    make_estate: Any, playbook: Any, read_truth: Any
) -> None:
    estate = make_estate()
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="web01"), "--check", "--diff")
    assert code == 0, output
    would_be = read_truth(estate)
    assert (would_be.moves, would_be.holds, would_be.reservation_states) == (0, 0, ())
    foretold = re.search(r"web01: move to (kvm\d)", output)
    assert foretold, output
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="web01"))
    assert code == 0, output
    (hosts,) = read_truth(estate).hosts_of.values()
    assert hosts[-1] == foretold[1]


def test_a_vm_that_is_well_where_it_is_stays(make_estate: Any, playbook: Any, read_truth: Any) -> None:
    estate = make_estate()
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="idle1"))
    assert code == 0, output
    assert "stay" in output
    assert read_truth(estate).moves == 0


def test_a_newer_forecast_of_a_few_vms_is_not_what_the_job_decides_by(
    make_estate: Any, module: Any, playbook: Any, read_truth: Any
) -> None:
    estate = make_estate()
    common = {"endpoints": [dict(estate.endpoint)], "store": str(estate.store)}
    for name, options in (("vm_metrics_facts", {}), ("vm_forecast", {}), ("vm_forecast", {"vms": ["idle1"]})):
        assert not module(name, {**common, **options}).get("failed")
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="web01"))
    assert code == 0, output
    assert read_truth(estate).moves == 1


def test_two_runs_at_once_move_the_vm_once(make_estate: Any, playbook: Any, read_truth: Any) -> None:
    estate = make_estate()
    both = [playbook.start(MAIN_JOB, estate.variables(foresight_vm="web01")) for number in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in both]
    assert 0 in [process.returncode for process in both], outputs
    after = read_truth(estate)
    assert (after.moves, after.active_moves, after.holds, after.active_reservations) == (1, 0, 0, 0), outputs


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "migration_failure", "at_percent": 60},
        {"kind": "host_state", "host": "kvm2", "state": "off", "start": "2026-03-02T20:00:33Z"},
        {"kind": "hold_refused"},
    ],
    ids=lambda fault: fault["kind"],
)
def test_when_a_step_fails_the_vm_runs_on_and_nothing_stays_held(
    make_estate: Any, playbook: Any, read_truth: Any, fault: dict[str, Any]
) -> None:
    estate = make_estate({"faults": [fault]})
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="web01"))
    assert code != 0, output
    after = read_truth(estate)
    assert after.hosts_of == {}, "the VM left its source"
    assert (after.active_moves, after.holds, after.active_reservations) == (0, 0, 0), output
    assert "The VM is running on lab/kvm1. Nothing is held for it any more." in " ".join(output.split())


def test_a_name_that_two_vms_share_is_refused_with_the_candidates(
    make_estate: Any, playbook: Any, read_truth: Any
) -> None:
    twin = {"allocated": {"cpu_cores": 1, "memory_mib": 512}, "demand": {"cpu_cores": 0.1, "memory_mib": 200}}
    estate = make_estate({"vms": [{"name": "twin", "host": host, **twin} for host in ("kvm1", "kvm2")]})
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="twin"))
    assert code != 0
    assert "2 VMs are called 'twin'" in output
    assert read_truth(estate).moves == 0


HOSTILE_NAMES = [
    "{{ 7 * 7 }}",
    "a'b\"c`d",
    "two\nlines",
    "$(touch /tmp/foresight-was-here); x",
    "../../etc/passwd",
    "名前" * 100,
]


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_a_hostile_vm_name_passes_unharmed_through_the_whole_job(
    make_estate: Any, playbook: Any, read_truth: Any, name: str
) -> None:
    crowd = {"allocated": {"cpu_cores": 6, "memory_mib": 8192}, "demand": {"cpu_cores": 5, "memory_mib": 2000}}
    vms = [
        {"name": name, "host": "kvm1", "uuid": "00000000-0000-4000-8000-000000000001", **crowd},
        {"name": "neighbour", "host": "kvm1", **crowd},
    ]
    estate = make_estate({"vms": vms})
    code, output = playbook.run(MAIN_JOB, estate.variables(foresight_vm="00000000-0000-4000-8000-000000000001"))
    assert code == 0, output
    assert "49" not in [line.strip() for line in output.splitlines()]
    assert read_truth(estate).moves == 1

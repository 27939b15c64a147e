# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The model itself: demand adds up, counters only rise, and whatever moves, a VM is on one host."""

from __future__ import annotations

from itertools import pairwise

import pytest
from ansible_collections.foresight.migration.tests.labs.hyperv import sites
from ansible_collections.foresight.migration.tests.labs.hyperv.model import reads
from ansible_collections.foresight.migration.tests.labs.hyperv.model.demand import Demand
from ansible_collections.foresight.migration.tests.labs.hyperv.model.jobs import COMPLETED, EXCEPTION, TERMINATED
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import MovePlan, Site
from ansible_collections.foresight.migration.tests.stepped_clock import SteppedClock
from hypothesis import given, settings
from hypothesis import strategies as st

amounts = st.lists(st.floats(0, 100), min_size=1, max_size=5)
steps = st.lists(st.floats(0.01, 5.0), min_size=1, max_size=12)
choices = st.lists(st.sampled_from(["start", "cancel", "wait", "fail"]), min_size=1, max_size=25)


@given(amounts, st.floats(0, 1e5), st.lists(st.floats(0, 700), min_size=2, max_size=6))
def test_demand_adds_up_over_any_division_of_time(values: list[float], start_ts: float, spans: list[float]) -> None:
    demand = Demand(values, step_s=60.0)
    edges = [start_ts + sum(spans[:count]) for count in range(len(spans) + 1)]
    parts = [demand.used("cpu_cores", one, other) for one, other in pairwise(edges)]
    assert sum(parts) == pytest.approx(demand.used("cpu_cores", edges[0], edges[-1]), abs=1e-3)
    assert all(part >= -1e-6 for part in parts)


@given(amounts, st.integers(0, 1000))
def test_within_a_step_demand_is_its_value(values: list[float], step: int) -> None:
    demand = Demand(values, step_s=60.0)
    start_ts = step * 60.0
    assert demand.used("cpu_cores", start_ts + 10, start_ts + 50) == pytest.approx(
        40 * demand.at("cpu_cores", start_ts + 30), abs=1e-3
    )


def moved_about(site: Site, clock: SteppedClock, what: list[str], pauses_s: list[float]) -> None:
    vm_id = sites.vm_id(sites.WEB)
    for number, choice in enumerate(what):
        site.advance()
        active = site.active_jobs(vm_id)
        if choice in ("start", "fail") and not active:
            site.plan = MovePlan(duration_s=3.0, fails_after_s=1.0 if choice == "fail" else None)
            others = [host for host in site.hosts.values() if vm_id not in host.vms]
            site.start(site.vm(vm_id), site.host_of(vm_id), others[number % len(others)])
        elif choice == "cancel" and active:
            active[0].cancel(clock.now())
        clock.sleep(pauses_s[number % len(pauses_s)])


@settings(max_examples=50)
@given(choices, steps)
def test_a_vm_is_on_one_host_whatever_is_started_cancelled_or_fails(what: list[str], pauses_s: list[float]) -> None:
    clock = SteppedClock(1e6)
    site = sites.lone_hosts()
    site.live_by(clock.now)
    moved_about(site, clock, what, pauses_s)
    clock.sleep(10)
    site.advance()
    vm_id = sites.vm_id(sites.WEB)
    assert [vm_id in host.vms for host in site.hosts.values()].count(True) == 1
    assert {job.state for job in site.jobs} <= {COMPLETED, TERMINATED, EXCEPTION}
    assert [job.state for job in site.jobs].count(COMPLETED) == len(site.moves)


@settings(max_examples=25)
@given(steps)
def test_counters_of_a_vm_that_stays_never_fall(pauses_s: list[float]) -> None:
    clock = SteppedClock(1e6)
    site = sites.lone_hosts()
    site.live_by(clock.now)
    host = site.hosts["hv1"]
    last: dict[str, float] = {}
    for pause_s in pauses_s:
        clock.sleep(pause_s)
        rows = reads.counters(site, host, {})["virtual_processors"]
        now = {row["instance"]: row["run_100ns"] for row in rows}
        assert all(now[name] >= value for name, value in last.items())
        last = now

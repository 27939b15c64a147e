# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""When counters are read, and over which time the use of a host is told."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.meter import (
    OBSERVATION_S,
    SECOND_READING_S,
    Meter,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.usage import MAX_INTERVAL_S
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import EndpointUnreachable
from ansible_collections.foresight.migration.tests.stepped_clock import SteppedClock
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_counters import (
    VM,
    counters,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_hosts import (
    PlayedHosts,
)


@pytest.fixture
def clock() -> SteppedClock:
    """The time of the meter, and of the hosts' counters too."""
    return SteppedClock(1000.0)


def hosts(clock: SteppedClock, **broken: Any) -> PlayedHosts:
    answers = {host: {"counters": lambda _sent: counters(clock.ts)} for host in ("hv1", "hv2")}
    return PlayedHosts("lab", {**answers, **{host: {"counters": error} for host, error in broken.items()}})


def test_a_look_right_after_a_reading_waits_until_rates_can_be_told(clock: SteppedClock) -> None:
    meter = Meter(hosts(clock), clock)
    meter.read(["hv1"])
    clock.sleep(0.1)
    assert meter.observe("hv1").host["cpu"] == pytest.approx(2.0)
    assert clock.ts == 1000.0 + SECOND_READING_S


def test_looks_in_quick_succession_cost_one_reading(clock: SteppedClock) -> None:
    nodes = hosts(clock)
    meter = Meter(nodes, clock)
    first = meter.observe("hv1")
    asked = len(nodes.calls)
    clock.sleep(OBSERVATION_S / 2)
    assert meter.observe("hv1") is first
    assert len(nodes.calls) == asked
    clock.sleep(OBSERVATION_S)
    assert meter.observe("hv1").ts > first.ts


def test_a_look_does_not_go_back_beyond_what_can_be_compared(clock: SteppedClock) -> None:
    meter = Meter(hosts(clock), clock)
    meter.read(["hv1"])
    clock.sleep(MAX_INTERVAL_S + 1)
    assert meter.observe("hv1").vms[VM]["cpu"] == pytest.approx(1.5)


def test_use_is_told_since_the_last_collection_without_a_second_reading(clock: SteppedClock) -> None:
    nodes = hosts(clock)
    earlier = Meter(nodes, clock)
    earlier.read(["hv1", "hv2"])
    clock.sleep(300.0)
    asked = len(nodes.calls)
    usage, errors = Meter(nodes, clock).usage_since(earlier.to_data(), ("hv1", "hv2"))
    assert (len(nodes.calls) - asked, clock.ts, errors) == (2, 1300.0, {})
    assert usage["hv2"].host["cpu"] == pytest.approx(2.0)


@pytest.mark.parametrize("previous", [{}, {"hv1": {"ts": 1.0}}, {"hv1": "junk"}])
def test_without_an_earlier_collection_it_is_measured_over_a_moment(clock: SteppedClock, previous: Any) -> None:
    usage, _errors = Meter(hosts(clock), clock).usage_since(previous, ("hv1",))
    assert usage["hv1"].host["cpu"] == pytest.approx(2.0)
    assert clock.ts == 1000.0 + SECOND_READING_S


def test_a_host_that_does_not_answer_does_not_keep_the_others_from_being_read(clock: SteppedClock) -> None:
    meter = Meter(hosts(clock, hv2=EndpointUnreachable("down")), clock)
    usage, errors = meter.usage_since({}, ("hv1", "hv2"))
    assert (set(usage), set(errors)) == ({"hv1"}, {"hv2"})
    with pytest.raises(EndpointUnreachable):
        meter.observe("hv2")


def test_a_host_without_a_hypervisor_is_an_error_of_that_host(clock: SteppedClock) -> None:
    nodes = PlayedHosts("lab", {"hv1": {"counters": counters(100, perf_frequency=0.0)}})
    usage, errors = Meter(nodes, clock).usage_since({}, ("hv1",))
    assert (usage, errors["hv1"].code) == ({}, "hypervisor_fault")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The physics of a migration: no page is lost, none appears, and it ends when it can."""

from __future__ import annotations

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated import precopy
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.links import fair_shares
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.precopy import Precopy, Rates
from hypothesis import given, settings
from hypothesis import strategies as st

RATES = st.builds(
    Rates,
    memory_mib_s=st.floats(0.0, 2000.0),
    wire_mib_s=st.floats(0.1, 2000.0),
    dirty_mib_s=st.floats(0.0, 5000.0),
    working_set_mib=st.floats(0.0, 60000.0),
)


def go_on(copy: Precopy, rates: Rates, seconds: float, max_downtime_ms: float = 300.0, throttle: bool = False) -> None:
    """Let time pass event by event, as the mover does."""
    while seconds > 0 and copy.phase != "done":
        due_s = precopy.seconds_to_event(copy, rates)
        precopy.advance(copy, rates, min(due_s, seconds))
        if due_s <= seconds:
            precopy.end_phase(copy, rates, max_downtime_ms, throttle)
        seconds -= due_s


@given(
    total_mib=st.floats(16.0, 1e6),
    steps=st.lists(st.tuples(RATES, st.floats(0.01, 60.0)), min_size=1, max_size=8),
    switch=st.booleans(),
)
@settings(max_examples=150, deadline=None)
def test_every_page_to_send_is_sent_or_waits_at_any_time(
    total_mib: float, steps: list[tuple[Rates, float]], switch: bool
) -> None:
    copy = Precopy.begin(total_mib)
    for index, (rates, seconds) in enumerate(steps):
        go_on(copy, rates, seconds)
        if switch and index == len(steps) // 2 and copy.phase == "precopy":
            precopy.switch_to_post_copy(copy)
        to_send = copy.total_mib + copy.redirtied_mib
        assert copy.sent_mib + copy.pending_mib == pytest.approx(to_send, rel=1e-6)
        assert min(copy.remaining_mib, copy.dirtied_mib, copy.sent_mib) >= 0
        if copy.phase == "done":
            assert copy.pending_mib == pytest.approx(0.0, abs=1e-6)


@given(dirty=st.floats(0.0, 400.0), working_set=st.floats(1.0, 4096.0))
@settings(max_examples=60, deadline=None)
def test_what_dirties_slower_than_the_link_arrives_within_the_allowed_downtime(
    dirty: float, working_set: float
) -> None:
    copy = Precopy.begin(8192.0)
    go_on(copy, Rates(500.0, 500.0, dirty, working_set), 3600.0, max_downtime_ms=250.0)
    assert copy.phase == "done"
    assert copy.downtime_ms is not None
    assert precopy.SWITCH_OVER_MS <= copy.downtime_ms <= 250.0 + precopy.SWITCH_OVER_MS


def test_a_round_never_dirties_more_than_the_working_set() -> None:
    copy = Precopy.begin(8192.0)
    go_on(copy, Rates(10.0, 10.0, 5000.0, 1000.0), 500.0)
    assert copy.dirtied_mib <= 1000.0


def test_throttling_waits_for_two_bad_rounds_and_has_a_ceiling() -> None:
    copy = Precopy.begin(1000.0)
    hopeless = Rates(10.0, 10.0, 1e6, 900.0)
    seen = []
    for _unused in range(60):
        due_s = precopy.seconds_to_event(copy, hopeless)
        precopy.advance(copy, hopeless, due_s)
        precopy.end_phase(copy, hopeless, 1.0, True)
        seen.append(round(copy.throttle, 2))
    assert seen[:6] == [0.0, 0.0, 0.2, 0.2, 0.3, 0.3]
    assert seen[-1] == precopy.THROTTLE_MAX


@given(
    capacity=st.lists(st.floats(1.0, 1000.0), min_size=1, max_size=5),
    flows=st.lists(st.tuples(st.sets(st.integers(0, 4), min_size=1), st.floats(0.0, 2000.0)), max_size=8),
)
@settings(max_examples=150, deadline=None)
def test_shares_never_overfill_a_link_and_nobody_could_have_more_for_nothing(
    capacity: list[float], flows: list[tuple[set[int], float]]
) -> None:
    links = {number: capacity[number % len(capacity)] for number in range(5)}
    routes = [sorted(route) for route, _unused in flows]
    limits = [limit for _unused, limit in flows]
    rates = fair_shares(links, routes, limits)
    load = {link: sum(rate for rate, route in zip(rates, routes, strict=True) if link in route) for link in links}
    assert all(load[link] <= links[link] * (1 + 1e-6) for link in links)
    for rate, route, limit in zip(rates, routes, limits, strict=True):
        full = any(load[link] >= links[link] * (1 - 1e-6) for link in route)
        assert full or rate == pytest.approx(limit, rel=1e-6, abs=1e-9)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which way of moving is chosen, and when none is."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Sla
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Capabilities
from ansible_collections.foresight.migration.plugins.module_utils.migration.strategy import (
    DEFAULT_MEANS,
    MEANS,
    SINGLE_CONNECTION_MIB_S,
    Choice,
    choose_strategy,
    wait_for_quiet,
)
from ansible_collections.foresight.migration.plugins.module_utils.placement.migration_cost import (
    MigrationDemand,
    predict_precopy,
)
from hypothesis import given
from hypothesis import strategies as st

ABLE = Capabilities(
    post_copy=True, auto_converge=True, compression=True, parallel_connections=True, downtime_limit=True
)
QUIET = MigrationDemand(4096, 5, 100, 512)
BUSY = MigrationDemand(4096, 300, 100, 2048)

demands = st.builds(
    MigrationDemand,
    memory_mib=st.floats(16, 1e5),
    dirty_mib_s=st.floats(0, 1e4),
    bandwidth_mib_s=st.floats(1, 5000),
    working_set_mib=st.none() | st.floats(1, 1e5),
)
slas = st.builds(
    Sla,
    max_downtime_ms=st.none() | st.floats(50, 1000),
    max_duration_s=st.none() | st.floats(1, 1e5),
    soft=st.frozensets(st.sampled_from(["max_downtime_ms", "max_duration_s"])),
)
means = st.frozensets(st.sampled_from(MEANS))
capabilities = st.builds(Capabilities, **dict.fromkeys(MEANS, st.booleans()))


@given(demands, capabilities, slas, means)
def test_only_what_the_platform_can_and_the_user_allows_is_used(
    demand: MigrationDemand, able: Capabilities, sla: Sla, allowed: frozenset[str]
) -> None:
    strategy = choose_strategy(demand, able, sla, allowed).strategy
    if strategy is None:
        return
    used = {
        "parallel_connections": strategy.parallel_connections > 0,
        "compression": strategy.compression,
        "auto_converge": strategy.auto_converge,
        "post_copy": strategy.post_copy or strategy.post_copy_armed,
    }
    for name, is_used in used.items():
        assert not is_used or (name in allowed and getattr(able, name))


@given(demands, capabilities, slas, means)
def test_post_copy_and_several_connections_are_never_ordered_together(
    demand: MigrationDemand, able: Capabilities, sla: Sla, allowed: frozenset[str]
) -> None:
    strategy = choose_strategy(demand, able, sla, allowed).strategy
    if strategy is not None and strategy.parallel_connections:
        assert (strategy.post_copy, strategy.post_copy_armed) == (False, False)


def test_a_vm_that_outruns_a_fast_link_is_moved_by_post_copy_over_one_connection() -> None:
    demand = MigrationDemand(200_000, 9000, 5000, 100_000)
    strategy = choose_strategy(demand, ABLE, Sla(), frozenset({"parallel_connections", "post_copy"})).strategy
    assert strategy is not None
    assert (strategy.name, strategy.parallel_connections) == ("plain+post_copy", 0)
    assert strategy.prediction.duration_s > demand.memory_mib / SINGLE_CONNECTION_MIB_S


@given(demands, capabilities, slas, means)
def test_what_is_chosen_keeps_every_hard_limit_and_nothing_gentler_would(
    demand: MigrationDemand, able: Capabilities, sla: Sla, allowed: frozenset[str]
) -> None:
    choice = choose_strategy(demand, able, sla, allowed)
    if choice.strategy is None:
        assert choice.verdict == "refuse"
        assert all(set(other.violations) - sla.soft for other in choice.considered)
        return
    assert not set(choice.strategy.violations) - sla.soft
    best = len(choice.strategy.violations)
    chosen_harm = next(other.harm for other in choice.considered if other.name == choice.strategy.name)
    gentler = [other for other in choice.considered if other.harm < chosen_harm and len(other.violations) <= best]
    assert all(set(other.violations) - sla.soft for other in gentler)


@given(demands, slas)
def test_post_copy_is_never_used_unless_asked_for(demand: MigrationDemand, sla: Sla) -> None:
    strategy = choose_strategy(demand, ABLE, sla).strategy
    assert strategy is None or not (strategy.post_copy or strategy.post_copy_armed)


def test_a_quiet_vm_is_moved_plainly_whatever_is_allowed() -> None:
    strategy = choose_strategy(QUIET, ABLE, Sla(max_downtime_ms=400), frozenset(MEANS)).strategy
    assert strategy is not None
    assert strategy.name == "plain"
    assert not strategy.auto_converge


def test_as_little_downtime_is_asked_for_as_costs_hardly_more_time() -> None:
    demand = MigrationDemand(16_000, 50, 300, 4000, max_downtime_ms=500)
    strategy = choose_strategy(demand, ABLE, Sla(max_downtime_ms=600)).strategy
    at_the_limit = predict_precopy(demand)
    assert strategy is not None
    assert strategy.max_downtime_ms < 500
    assert strategy.prediction.downtime_ms < at_the_limit.downtime_ms
    assert strategy.prediction.duration_s <= 1.05 * at_the_limit.duration_s


def test_several_connections_are_used_where_one_cannot_fill_the_link() -> None:
    strategy = choose_strategy(MigrationDemand(200_000, 500, 5000, 20_000), ABLE, Sla()).strategy
    assert strategy is not None
    assert strategy.name == "parallel"


def test_without_limits_a_vm_that_would_never_end_is_slowed_not_refused() -> None:
    choice = choose_strategy(BUSY, ABLE, Sla(), DEFAULT_MEANS)
    assert choice.strategy is not None
    assert choice.strategy.auto_converge
    assert "convergence" in choice.why


def test_throttling_is_armed_for_a_vm_that_only_just_converges() -> None:
    strategy = choose_strategy(MigrationDemand(4096, 90, 100, 60), ABLE, Sla(), frozenset({"auto_converge"})).strategy
    assert strategy is not None
    assert strategy.name == "plain"
    assert strategy.auto_converge


def test_a_refusal_names_what_each_way_would_break() -> None:
    choice = choose_strategy(BUSY, Capabilities(), Sla(max_downtime_ms=100))
    assert choice.verdict == "refuse"
    assert "convergence" in choice.why
    assert "max_downtime_ms" in choice.why


def test_an_assumed_dirty_rate_alone_refuses_nothing() -> None:
    sla = Sla(max_downtime_ms=300)
    choice = choose_strategy(BUSY, Capabilities(), sla, assumed=True)
    assert choice.verdict == "go"
    assert "assumptions" in choice.why
    too_long = Sla(max_duration_s=BUSY.memory_mib / BUSY.bandwidth_mib_s / 2)
    assert choose_strategy(BUSY, Capabilities(), too_long, assumed=True).verdict == "refuse"


def test_the_first_hour_that_is_quiet_enough_is_named() -> None:
    nothing: frozenset[str] = frozenset()
    refused = choose_strategy(BUSY, ABLE, Sla(), nothing)
    ahead = [(1000.0, 0.9), (2000.0, 1.2), (3000.0, 0.05), (4000.0, 0.01)]
    choice = wait_for_quiet(refused, BUSY, ABLE, Sla(), nothing, ahead)
    assert (choice.verdict, choice.wait_until_ts) == ("wait", 3000.0)
    assert wait_for_quiet(refused, BUSY, ABLE, Sla(), nothing, ahead[:2]) is refused


def test_a_downtime_that_would_do_only_if_the_measurement_is_exact_is_not_begun_with() -> None:
    sure = MigrationDemand(80, 20, 22, working_set_mib=8, max_downtime_ms=640)
    limits = [choose_strategy(replace(sure, error_share=share), ABLE, Sla()).strategy for share in (0.0, 0.4)]
    assert [limit.max_downtime_ms for limit in limits if limit] == [320, 640]


def test_a_throttle_is_armed_when_the_measurement_leaves_open_that_it_is_needed() -> None:
    demand = MigrationDemand(80, 15, 22, working_set_mib=8, max_downtime_ms=640)
    armed = [choose_strategy(replace(demand, error_share=share), ABLE, Sla()).strategy for share in (0.0, 0.3)]
    assert [strategy.auto_converge for strategy in armed if strategy] == [False, True]


def test_a_compression_that_spares_the_first_round_nothing_is_not_predicted_to() -> None:
    late = replace(ABLE, compresses_first_pass=False)
    durations = []
    for able in (ABLE, late):
        considered = choose_strategy(QUIET, able, Sla()).considered
        durations.append(next(s.prediction.duration_s for s in considered if s.name == "plain+compression"))
    assert durations[1] > durations[0] + 10


def test_a_way_that_ends_however_fast_the_vm_writes_goes_before_one_that_may_not() -> None:
    demand = MigrationDemand(80, 15, 22, working_set_mib=14, max_downtime_ms=640)
    assert _name(choose_strategy(demand, ABLE, Sla(), frozenset({"compression"}))) == "plain"
    unsure = replace(demand, error_share=0.15)
    assert _name(choose_strategy(unsure, ABLE, Sla(), frozenset({"compression"}))) == "plain+compression"
    assert _name(choose_strategy(unsure, ABLE, Sla(), frozenset())) == "plain"


def test_a_way_that_ends_by_its_measurement_alone_goes_after_one_that_leaves_it_room() -> None:
    means = frozenset({"compression"})
    fits_as_measured = MigrationDemand(80, 11, 22, working_set_mib=11.3, max_downtime_ms=640, error_share=0.17)
    assert _name(choose_strategy(fits_as_measured, ABLE, Sla(), means)) == "plain+compression"
    assert _name(choose_strategy(replace(fits_as_measured, error_share=0.05), ABLE, Sla(), means)) == "plain"
    neither_is_sure = MigrationDemand(80, 18, 22, working_set_mib=18, max_downtime_ms=640, error_share=0.12)
    assert _name(choose_strategy(neither_is_sure, ABLE, Sla(), means)) == "plain+compression"


def test_a_way_that_hurts_no_vm_goes_before_a_throttle_when_it_very_likely_ends() -> None:
    demand = MigrationDemand(80, 18, 22, working_set_mib=18, max_downtime_ms=640, error_share=0.12)
    choice = choose_strategy(demand, ABLE, Sla())
    assert {s.name: s.doubt for s in choice.considered}["plain+compression"] == 1
    assert _name(choice) == "plain+compression"
    assert _name(choose_strategy(replace(demand, error_share=0.3), ABLE, Sla())) != "plain+compression"


def _name(choice: Choice) -> str | None:
    return choice.strategy.name if choice.strategy is not None else None

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cost model against closed forms, and against what must hold for every move."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.placement.migration_cost import (
    ASSUMED_DIRTY_MIB_S_PER_CORE,
    MAX_ROUNDS,
    THROTTLE_MAX_PERCENT,
    MigrationDemand,
    memory_activity,
    predict_post_copy,
    predict_precopy,
)
from hypothesis import given
from hypothesis import strategies as st

DEMANDS = st.builds(
    MigrationDemand,
    memory_mib=st.floats(0, 1e6),
    dirty_mib_s=st.floats(0, 1e5),
    bandwidth_mib_s=st.floats(0.1, 1e4),
    working_set_mib=st.none() | st.floats(0, 1e6),
    max_downtime_ms=st.floats(0, 1e5),
    switchover_ms=st.floats(0, 1e3),
    setup_s=st.floats(0, 10),
    compression_ratio=st.floats(0.5, 10),
    first_pass_ratio=st.none() | st.floats(0.5, 10),
    disk_mib=st.floats(0, 1e6),
)


def test_an_idle_vm_is_sent_once() -> None:
    cost = predict_precopy(MigrationDemand(1000, 0, 100, switchover_ms=100, setup_s=0.5))
    assert (cost.rounds, cost.converges, cost.transferred_mib, cost.downtime_ms) == (1, True, 1000, 100)
    assert cost.duration_s == pytest.approx(0.5 + 10 + 0.1)


def test_rounds_shrink_by_the_ratio_of_dirty_rate_to_bandwidth() -> None:
    # each round lasts as long as what it sends: 1000 MiB leave W(1-exp(-1/2)), and so on until 300 ms suffice
    left, sent, rounds = 1000.0, 0.0, 0
    while left > 30:
        sent, rounds, left = sent + left, rounds + 1, 1000 * (1 - math.exp(-0.5 * left / 1000))
    cost = predict_precopy(MigrationDemand(1000, 50, 100, max_downtime_ms=300, switchover_ms=0, setup_s=0))
    assert cost.rounds == rounds
    assert cost.transferred_mib == pytest.approx(sent + left)
    assert cost.downtime_ms == pytest.approx(left * 10)


def test_the_working_set_bounds_what_a_round_leaves() -> None:
    cost = predict_precopy(
        MigrationDemand(1000, 500, 100, working_set_mib=20, max_downtime_ms=300, switchover_ms=0, setup_s=0)
    )
    assert cost.converges
    assert cost.transferred_mib == pytest.approx(1020)
    assert cost.downtime_ms == pytest.approx(200)


def test_a_vm_that_dirties_faster_than_the_link_does_not_converge() -> None:
    cost = predict_precopy(MigrationDemand(1000, 250, 100))
    assert not cost.converges
    assert cost.downtime_ms > 300


def test_slowing_the_vm_makes_such_a_move_end() -> None:
    cost = predict_precopy(MigrationDemand(1000, 250, 100), auto_converge=True)
    assert cost.converges
    assert 0 < cost.throttle_percent <= THROTTLE_MAX_PERCENT
    assert cost.degraded_s > 0


def test_the_stop_may_run_at_another_rate_than_the_rounds() -> None:
    capped = MigrationDemand(1000, 5, 10, switchover_ms=0, max_downtime_ms=1000)
    assert predict_precopy(replace(capped, switchover_mib_s=100)).downtime_ms == pytest.approx(
        predict_precopy(capped).downtime_ms / 10
    )


@pytest.mark.parametrize("wrong", [{"bandwidth_mib_s": 0}, {"memory_mib": -1}, {"compression_ratio": 0}])
def test_impossible_amounts_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="migration's"):
        MigrationDemand(**{"memory_mib": 1, "dirty_mib_s": 1, "bandwidth_mib_s": 1, **wrong})


@given(DEMANDS, st.booleans())
def test_a_move_sends_at_least_its_memory_and_ends_within_the_round_limit(demand: MigrationDemand, slow: bool) -> None:
    cost = predict_precopy(demand, auto_converge=slow)
    first_mib = demand.memory_mib / demand.first_ratio
    assert cost.transferred_mib >= (demand.disk_mib + first_mib) * (1 - 1e-9)
    assert 1 <= cost.rounds <= MAX_ROUNDS
    assert cost.duration_s >= demand.setup_s + first_mib / demand.bandwidth_mib_s - 1e-6


@given(DEMANDS, st.booleans())
def test_a_converging_move_keeps_its_downtime_limit(demand: MigrationDemand, slow: bool) -> None:
    cost = predict_precopy(demand, auto_converge=slow)
    if cost.converges:
        assert cost.downtime_ms <= demand.max_downtime_ms + demand.switchover_ms + 1e-6


@given(DEMANDS, st.floats(0, 1))
def test_a_vm_that_writes_less_never_costs_more_bytes_once_it_converges(demand: MigrationDemand, share: float) -> None:
    busy = predict_precopy(demand)
    quiet = predict_precopy(replace(demand, dirty_mib_s=demand.dirty_mib_s * share))
    if busy.converges:
        assert quiet.converges
        assert quiet.transferred_mib <= busy.transferred_mib * (1 + 1e-9)


@given(DEMANDS)
def test_post_copy_always_ends_and_never_stops_longer_than_pre_copy(demand: MigrationDemand) -> None:
    post = predict_post_copy(demand)
    assert post.converges
    assert post.downtime_ms <= predict_precopy(demand).downtime_ms + 1e-6
    memory_mib = demand.memory_mib / demand.first_ratio + demand.memory_mib / demand.compression_ratio
    assert post.transferred_mib <= (demand.disk_mib + memory_mib) * (1 + 1e-9)


def test_a_compression_of_what_was_sent_before_leaves_the_first_round_as_long_as_it_is() -> None:
    demand = MigrationDemand(1000, 50, 100, working_set_mib=60, max_downtime_ms=1, compression_ratio=2.0, setup_s=0)
    plain_first = replace(demand, first_pass_ratio=1.0)
    assert predict_precopy(plain_first).duration_s == pytest.approx(predict_precopy(demand).duration_s + 5, abs=0.5)
    assert predict_precopy(plain_first).transferred_mib > 1000


def test_the_busiest_vm_that_a_measurement_leaves_open_writes_more_by_its_error() -> None:
    busiest = MigrationDemand(1000, 50, 100, working_set_mib=60, error_share=0.5).busiest
    assert (busiest.dirty_mib_s, busiest.working_set_mib) == (75, 90)


def test_the_fastest_vm_that_a_sample_leaves_open_rewrites_its_larger_working_set_in_any_round() -> None:
    demand = MigrationDemand(1000, 50, 100, working_set_mib=60, error_share=0.25)
    assert (demand.fastest(2).dirty_mib_s, demand.fastest(2).working_set_mib) == (math.inf, 90)
    exact = replace(demand, error_share=0.0)
    assert (exact.fastest(2).dirty_mib_s, exact.fastest(2).working_set_mib) == (50, 60)


@given(DEMANDS, st.floats(0, 1e6))
def test_disks_copied_along_cost_their_bytes_and_the_time_for_them_and_no_downtime(
    demand: MigrationDemand, disk_mib: float
) -> None:
    without, with_disks = replace(demand, disk_mib=0.0), replace(demand, disk_mib=disk_mib)
    for predict in (predict_precopy, predict_post_copy):
        bare, laden = predict(without), predict(with_disks)
        assert laden.transferred_mib == pytest.approx(bare.transferred_mib + disk_mib)
        assert laden.duration_s == pytest.approx(bare.duration_s + disk_mib / demand.bandwidth_mib_s)
        assert (laden.downtime_ms, laden.rounds, laden.converges) == (bare.downtime_ms, bare.rounds, bare.converges)


def _vm(**facts: float) -> Vm:
    return Vm("lab", "u", "n", "lab/h", "running", Resources(4, 4096), used=Resources(2, 1024), facts=dict(facts))


def test_the_platforms_own_figures_win_over_assumptions() -> None:
    told = memory_activity(_vm(dirty_mib_s=7, working_set_mib=99))
    assert (told.dirty_mib_s, told.working_set_mib, told.method) == (7, 99, "platform")
    assumed = memory_activity(_vm())
    assert (assumed.dirty_mib_s, assumed.method) == (2 * ASSUMED_DIRTY_MIB_S_PER_CORE, "assumed")
    assert 0 < assumed.working_set_mib < 1024

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard's decision: laws that hold for whatever it may see, and the order of its ladder."""

from __future__ import annotations

from dataclasses import replace

from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Sla
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import PHASES, Progress
from ansible_collections.foresight.migration.plugins.module_utils.migration import guard
from ansible_collections.foresight.migration.plugins.module_utils.migration.guard import after, after_refusal, decide
from ansible_collections.foresight.migration.plugins.module_utils.migration.guard_state import Ladder, Observations
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_000_000.0
figures = st.none() | st.floats(0, 1e5)
amounts = st.builds(Resources, *[st.floats(0, 1e4)] * 4)
flags = st.booleans()

ladders = st.builds(
    Ladder,
    cap_mib_s=st.just(100.0),
    bandwidth_mib_s=st.floats(5, 100),
    max_downtime_ms=st.floats(1, 500),
    downtime_ceiling_ms=st.just(500.0),
    can_set_bandwidth=flags,
    can_set_downtime=flags,
    can_throttle=flags,
    can_post_copy=flags,
    post_copy_planned=flags,
    throttled=flags,
    post_copy=flags,
    moved_ts=st.floats(NOW - 400, NOW),
    iteration=st.none() | st.integers(1, 30),
    round_start_mib=figures,
    stalled_rounds=st.integers(0, 40),
    stalled_rounds_at_rung=st.integers(0, 5),
    tuned_ts=st.floats(NOW - 100, NOW),
    recovered_ts=st.floats(NOW - 100, NOW),
    strained_ts=st.none() | st.floats(NOW - 100, NOW),
    calm_since_ts=st.floats(NOW - 100, NOW),
    growth_refused=st.none() | amounts,
)
seen = st.builds(
    Observations,
    now_ts=st.just(NOW),
    ladder=ladders,
    latency_ms=figures,
    source_used=st.none() | amounts,
    source_capacity=st.none() | amounts,
    target_used=st.none() | amounts,
    target_capacity=st.none() | amounts,
    vm_used=st.none() | amounts,
    reserved=st.none() | amounts,
    tier=st.sampled_from(["soft", "hard"]),
    lease_left_s=st.none() | st.floats(-100, 1800),
    lease_ttl_s=st.just(1800.0),
    reservation_lost=st.sampled_from(["", "its lease ran out"]),
)
progresses = st.builds(
    Progress,
    phase=st.sampled_from(PHASES),
    elapsed_s=st.floats(0, 1e4),
    transferred_mib=figures,
    total_mib=figures,
    remaining_mib=figures,
    throughput_mib_s=figures,
    dirty_mib_s=figures,
    iteration=st.none() | st.integers(1, 30),
    expected_downtime_ms=figures,
)
slas = st.builds(
    Sla,
    max_downtime_ms=st.none() | st.floats(1, 1000),
    max_duration_s=st.none() | st.floats(1, 1e4),
    max_latency_ms=st.none() | st.floats(1, 1e3),
    blackout=st.sampled_from([(), ((NOW - 10, NOW + 10),)]),
    soft=st.frozensets(st.sampled_from(["max_duration_s", "max_latency_ms", "blackout"])),
)


@given(progresses, seen, slas)
def test_once_the_vm_runs_on_the_destination_nothing_stops_or_tunes_the_move(
    progress: Progress, observations: Observations, sla: Sla
) -> None:
    if progress.phase == "postcopy" or observations.ladder.post_copy:
        assert decide(progress, observations, sla).kind in ("none", "renew", "recover")


@given(progresses, seen, slas)
def test_a_finished_job_is_left_alone(progress: Progress, observations: Observations, sla: Sla) -> None:
    if progress.finished:
        assert decide(progress, observations, sla) == guard.NOTHING


@given(progresses, seen, slas)
def test_every_action_is_allowed_bounded_and_says_why(progress: Progress, observations: Observations, sla: Sla) -> None:
    action, ladder = decide(progress, observations, sla), observations.ladder
    assert action.kind in guard.KINDS
    assert action.kind == "none" or (action.code and action.reason)
    tuning = action.tuning
    if tuning.bandwidth_mib_s is not None:
        assert ladder.can_set_bandwidth
        assert guard.FLOOR_SHARE * ladder.cap_mib_s <= tuning.bandwidth_mib_s <= ladder.cap_mib_s
    if tuning.max_downtime_ms is not None:
        assert ladder.can_set_downtime
        assert ladder.max_downtime_ms < tuning.max_downtime_ms <= ladder.downtime_ceiling_ms
    if tuning.throttle:
        assert ladder.can_throttle
        assert not ladder.throttled
    if action.kind == "post_copy":
        assert ladder.can_post_copy
    if action.kind == "grow":
        assert action.amount is not None
        assert observations.reserved is not None
        assert all(new >= old for new, old in zip(action.amount, observations.reserved, strict=True))


@given(progresses, seen, slas)
def test_soft_limits_alone_never_abort(progress: Progress, observations: Observations, sla: Sla) -> None:
    soft = replace(sla, soft=frozenset({"max_duration_s", "max_latency_ms", "blackout"}))
    assert decide(progress, observations, soft).code not in ("sla_duration", "sla_latency", "sla_blackout")


@given(progresses, seen, slas, st.booleans())
def test_a_move_that_never_converges_comes_to_an_end(
    progress: Progress, observations: Observations, sla: Sla, refuses: bool
) -> None:
    """With a job that only ever dirties as much as it sends, the ladder ends in an abort or in post-copy."""
    now_ts, iteration = NOW, 2
    ladder = replace(observations.ladder, iteration=None, post_copy=False, stalled_rounds=0, growth_refused=None)
    stuck = Progress("precopy", 10.0, remaining_mib=1e4, throughput_mib_s=100.0, dirty_mib_s=200.0)
    quiet = Observations(now_ts, ladder)
    for look in range(2000):
        iteration += look % 5 == 0
        job = replace(stuck, iteration=iteration, elapsed_s=float(look), transferred_mib=100.0 * look)
        ladder = ladder.looked(job, now_ts, strained=False)
        action = decide(job, replace(quiet, now_ts=now_ts, ladder=ladder), Sla())
        if action.kind in ("abort", "post_copy") and not (refuses and action.kind == "post_copy"):
            return
        ladder = after_refusal(ladder, action, now_ts) if refuses else after(ladder, action, now_ts)
        now_ts += 1.0
    raise AssertionError(f"still going: {ladder}")


def _ladder(**changes: object) -> Ladder:
    means = {"can_set_bandwidth": True, "can_set_downtime": True, "can_throttle": True, "can_post_copy": True}
    base = Ladder(100.0, 100.0, 50.0, 400.0, **means, iteration=5, moved_ts=NOW, tuned_ts=NOW - 5)  # type: ignore[arg-type]  # flags
    return replace(base, **changes)  # type: ignore[arg-type]  # any field


def _stuck(**changes: object) -> Progress:
    base = Progress("precopy", 60.0, remaining_mib=1000, throughput_mib_s=100, dirty_mib_s=80, iteration=5)
    return replace(base, **changes)  # type: ignore[arg-type]  # any field


def _decide(ladder: Ladder, progress: Progress | None = None, sla: Sla | None = None, **look: object) -> guard.Action:
    observations = Observations(NOW, ladder, **look)  # type: ignore[arg-type]  # any field
    return decide(progress or _stuck(), observations, sla or Sla())


def test_rounds_that_shrink_are_left_alone() -> None:
    assert _decide(_ladder()) == guard.NOTHING


def test_bandwidth_comes_before_everything_else() -> None:
    action = _decide(_ladder(stalled_rounds=1, bandwidth_mib_s=50.0))
    assert (action.code, action.tuning.bandwidth_mib_s) == ("raise_bandwidth", 100.0)


def test_downtime_is_raised_when_that_would_end_the_move() -> None:
    action = _decide(_ladder(stalled_rounds=1, round_start_mib=30.0))
    assert action.code == "raise_downtime"
    assert action.tuning.max_downtime_ms is not None
    assert 300 <= action.tuning.max_downtime_ms <= 400


def test_a_look_late_in_a_round_does_not_belittle_the_downtime_that_it_takes() -> None:
    late = _stuck(throughput_mib_s=100.0, expected_downtime_ms=280.0)
    action = _decide(_ladder(stalled_rounds=1, round_start_mib=2.0), late)
    assert action.code == "raise_downtime"
    assert action.tuning.max_downtime_ms is not None
    assert action.tuning.max_downtime_ms >= 280


def test_a_vm_that_dirties_nearly_as_much_as_is_sent_gets_a_rung_though_no_round_was_seen_to_stall() -> None:
    assert _decide(_ladder(round_start_mib=30.0), _stuck(dirty_mib_s=95.0)).code == "raise_downtime"
    assert _decide(_ladder(round_start_mib=30.0), _stuck(dirty_mib_s=85.0)) == guard.NOTHING


def test_the_vm_is_slowed_when_no_allowed_downtime_would_do() -> None:
    assert _decide(_ladder(stalled_rounds=1, round_start_mib=5000.0)).code == "throttle"


def test_post_copy_is_the_last_means() -> None:
    spent = {"stalled_rounds": 1, "round_start_mib": 5000.0, "throttled": True, "max_downtime_ms": 400.0}
    assert _decide(_ladder(**spent)).kind == "post_copy"
    given_up = _ladder(**{**spent, "stalled_rounds": guard.GIVE_UP_ROUNDS_THROTTLED}, can_post_copy=False)
    assert _decide(given_up).code == "not_converging"


def test_a_rung_gets_a_round_to_show_its_effect() -> None:
    stuck = _ladder(stalled_rounds=2, stalled_rounds_at_rung=2, round_start_mib=5000.0, rung_iteration=4)
    assert _decide(stuck) == guard.NOTHING
    assert _decide(replace(stuck, rung_iteration=3)).code == "throttle"


def test_bandwidth_is_halved_while_the_application_suffers_and_comes_back_slowly() -> None:
    sla = Sla(max_latency_ms=20)
    action = _decide(_ladder(), sla=sla, latency_ms=50.0)
    assert (action.code, action.tuning.bandwidth_mib_s) == ("back_off", 50.0)
    calm = _ladder(bandwidth_mib_s=50.0, calm_since_ts=NOW - 60, tuned_ts=NOW - 60)
    action = _decide(calm, sla=sla, latency_ms=5.0)
    assert (action.code, action.tuning.bandwidth_mib_s) == ("speed_up", 60.0)


def test_a_latency_that_no_backing_off_cures_aborts_only_after_a_while() -> None:
    sla, floor = Sla(max_latency_ms=20), guard.FLOOR_SHARE * 100.0
    assert _decide(_ladder(bandwidth_mib_s=floor, strained_ts=NOW - 5), sla=sla, latency_ms=50.0) == guard.NOTHING
    action = _decide(_ladder(bandwidth_mib_s=floor, strained_ts=NOW - 60), sla=sla, latency_ms=50.0)
    assert action.code == "sla_latency"


def test_other_traffic_on_a_full_network_gets_its_room() -> None:
    capacity, used = Resources(network_mbit_s=1000), Resources(network_mbit_s=1000)
    action = _decide(_ladder(), _stuck(throughput_mib_s=100), source_used=used, source_capacity=capacity)
    assert action.code == "back_off"
    assert action.tuning.bandwidth_mib_s is not None
    assert 90 < action.tuning.bandwidth_mib_s < 95


def test_a_full_network_without_other_traffic_is_no_reason_to_slow_down() -> None:
    capacity, used = Resources(network_mbit_s=840), Resources(network_mbit_s=840)
    assert _decide(_ladder(), source_used=used, source_capacity=capacity) == guard.NOTHING


def test_a_broken_post_copy_is_resumed_again_and_again_but_not_at_every_look() -> None:
    broken = _stuck(phase="stalled")
    assert _decide(_ladder(post_copy=True), broken).kind == "recover"
    assert _decide(_ladder(post_copy=True, recovered_ts=NOW - 1), broken) == guard.NOTHING


def test_planned_post_copy_begins_after_the_first_round() -> None:
    planned = _ladder(post_copy_planned=True)
    assert _decide(planned, _stuck(iteration=1)) == guard.NOTHING
    assert _decide(planned, _stuck(iteration=2)).code == "post_copy_planned"


def test_rounds_count_as_stalled_only_when_they_begin_with_as_much_as_the_one_before() -> None:
    ladder = replace(_ladder(), iteration=None)
    sizes = [(1, 1000.0), (2, 500.0), (3, 490.0), (4, 485.0), (5, 100.0)]
    counts = []
    for iteration, begins in sizes:
        ladder = ladder.looked(_stuck(iteration=iteration, remaining_mib=begins), NOW, strained=False)
        ladder = ladder.looked(_stuck(iteration=iteration, remaining_mib=begins / 2), NOW, strained=False)
        counts.append(ladder.stalled_rounds)
    assert counts == [0, 0, 1, 2, 0]


def test_a_refused_means_is_not_tried_again() -> None:
    ladder = _ladder(stalled_rounds=1, round_start_mib=5000.0)
    action = _decide(ladder)
    assert action.code == "throttle"
    assert _decide(after_refusal(ladder, action, NOW)).code != "throttle"

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What to do next about a migration in flight: one pure decision per look, and the state that it rests on.

A ladder in the manner of Nova's and oVirt's convergence schedules: while rounds shrink nothing is done; when they do
not, first what costs nobody anything (bandwidth), then downtime within the SLA, then slowing the VM, then post-copy
where that was allowed, then giving up, which leaves the VM on its source. Bandwidth follows the application and
the hosts' other traffic by additive increase and multiplicative decrease (Chiu and Jain, 1989).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..estate.nouns import Sla
from ..estate.resources import RESOURCES, Resources
from ..hypervisors.protocol import Progress, Tuning
from ..placement.link import MIB_S_PER_MBIT_S
from .guard_state import SHRINK_SHARE, Ladder, Observations

#: A lease is renewed when less than this share of its time to live is left.
RENEW_SHARE = 0.5
#: Seconds between two changes of one job, so that each can take effect.
RUNG_INTERVAL_S = 2.0
#: Rounds after which a rung has shown its effect: the one in which it was taken was under way already.
RUNG_ROUNDS = 2
#: Seconds without a new round after which the next rung is taken all the same.
PATIENCE_S = 10.0
#: Once nothing is left to try: rounds that do not shrink before giving up. A throttle goes on tightening by itself:
#: QEMU's takes two rounds for each of the nine steps from 20 to 99 percent.
GIVE_UP_ROUNDS = 6
GIVE_UP_ROUNDS_THROTTLED = 24
#: The same in seconds where the platform does not count rounds.
GIVE_UP_S = 60.0
GIVE_UP_THROTTLED_S = 300.0
#: Seconds without one byte moved after which pre-copy is given up.
STALL_LIMIT_S = 60.0
#: The same while the platform still prepares the move; it may queue it behind others.
START_LIMIT_S = 300.0
#: Seconds until a ledger that failed is asked for the same again.
DEFER_S = 10.0
#: Seconds between attempts to resume a broken post-copy.
RECOVER_INTERVAL_S = 10.0
#: Seconds that a violated latency limit may last at the lowest bandwidth.
STRAIN_LIMIT_S = 30.0

#: Multiplicative decrease and additive increase (share of its cap) of the bandwidth, and its floor.
DECREASE = 0.5
INCREASE_SHARE = 0.1
FLOOR_SHARE = 0.05
#: Seconds without strain before bandwidth is raised again.
CALM_S = 5.0
#: A host's network is full above this share; where other traffic is at least the second share, it gets the room.
NETWORK_LIMIT = 0.95
OTHER_TRAFFIC_SHARE = 0.05
#: A latency below this share of its limit counts as calm.
CALM_LATENCY_SHARE = 0.8

#: The reservation grows when use passes the reserved amount by this factor, to use times the second.
OUTGROWN_FACTOR = 1.02
GROWTH_FACTOR = 1.1
#: Smallest relative change of bandwidth or downtime worth a call.
WORTH_A_CALL = 0.05

#: What an `Action` can be.
KINDS = ("none", "renew", "grow", "tune", "post_copy", "recover", "abort")


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do. ``code`` is stable and says why, ``reason`` says it in words with figures.

    ``tuning`` belongs to ``tune``, ``amount`` (the new reservation) to ``grow``.
    """

    kind: str
    code: str = ""
    reason: str = ""
    tuning: Tuning = Tuning()
    amount: Resources | None = None


NOTHING = Action("none")


def decide(progress: Progress, observations: Observations, sla: Sla) -> Action:
    """Return the one thing to do now; pure, and never an abort once the VM runs on the destination.

    ``sla`` limits named in its ``soft`` make the guard try harder but never abort.
    """
    if progress.finished:
        return NOTHING
    handed_over = progress.phase == "postcopy" or observations.ladder.post_copy
    look = _Look(progress, observations, sla)
    for rule in _AFTER_HAND_OVER if handed_over else _BEFORE_HAND_OVER:
        action = rule(look)
        if action is not None:
            return action
    return NOTHING


@dataclass(frozen=True, slots=True)
class _Look:
    """What one decision rests on."""

    progress: Progress
    seen: Observations
    sla: Sla


def _resume(look: _Look) -> Action | None:
    """Only forwards: a post-copy that stands is resumed, nothing else is touched."""
    if look.progress.phase != "stalled" or look.seen.now_ts - look.seen.ladder.recovered_ts < RECOVER_INTERVAL_S:
        return None
    return Action("recover", "post_copy_broken", "the connection broke after the VM was handed over")


def _keep_lease(look: _Look) -> Action | None:
    if look.seen.lease_left_s is None or look.seen.lease_left_s >= RENEW_SHARE * look.seen.lease_ttl_s:
        return None
    if look.seen.now_ts - look.seen.ladder.deferred_ts < DEFER_S:
        return None
    return Action("renew", "lease_ends", f"the reservation's lease ends in {look.seen.lease_left_s:.0f} s")


def _lost_reservation(look: _Look) -> Action | None:
    if not look.seen.reservation_lost or look.seen.tier == "soft":
        return None  # what was never guaranteed is no reason to turn back
    return Action("abort", "reservation_lost", f"the capacity is no longer reserved: {look.seen.reservation_lost}")


def _duration(look: _Look) -> Action | None:
    limit_s = look.sla.max_duration_s
    if limit_s is None or "max_duration_s" in look.sla.soft or look.progress.elapsed_s <= limit_s:
        return None
    return Action("abort", "sla_duration", f"{look.progress.elapsed_s:.0f} s have passed of {limit_s:.0f} s allowed")


def _blackout(look: _Look) -> Action | None:
    if "blackout" in look.sla.soft or not any(start <= look.seen.now_ts < end for start, end in look.sla.blackout):
        return None
    return Action("abort", "sla_blackout", "a blackout has begun in which no move may run")


def _stall(look: _Look) -> Action | None:
    still_s = look.seen.now_ts - look.seen.ladder.moved_ts
    if still_s <= (START_LIMIT_S if look.progress.phase == "starting" else STALL_LIMIT_S):
        return None
    return Action("abort", "stalled", f"not one byte has moved for {still_s:.0f} s")


def _outgrown(look: _Look) -> Action | None:
    if look.seen.vm_used is None or look.seen.reserved is None:
        return None
    if look.seen.now_ts - look.seen.ladder.deferred_ts < DEFER_S:
        return None
    reserved, used = look.seen.reserved, look.seen.vm_used
    outgrown = [r for r in RESOURCES if reserved[r] > 0 and used[r] > reserved[r] * OUTGROWN_FACTOR]
    if not outgrown:
        return None
    refused = look.seen.ladder.growth_refused
    if refused is not None and all(used[r] <= refused[r] for r in outgrown):
        if look.seen.tier != "hard":
            return None
        return Action("abort", "growth_refused", f"{', '.join(outgrown)} in use cannot be guaranteed there any more")
    wanted = Resources(*(u * GROWTH_FACTOR if r in outgrown else 0.0 for r, u in zip(RESOURCES, used, strict=True)))
    return Action(
        "grow", "demand_outgrew_reservation", f"{', '.join(outgrown)} in use exceed what is reserved",
        amount=reserved.maximum(wanted),
    )  # fmt: skip


def _relieve(look: _Look) -> Action | None:
    """Back off when the application or other traffic suffers; give up when backing off does not help."""
    cause, target_mib_s = _strain(look)
    if cause is None:
        return None
    ladder = look.seen.ladder
    if ladder.can_set_bandwidth and target_mib_s < ladder.bandwidth_mib_s * (1 - WORTH_A_CALL):
        if look.seen.now_ts - ladder.tuned_ts < RUNG_INTERVAL_S:
            return None
        return Action(
            "tune", "back_off", f"{cause}; bandwidth to {target_mib_s:.0f} MiB/s",
            Tuning(bandwidth_mib_s=target_mib_s),
        )  # fmt: skip
    strained_s = look.seen.now_ts - (look.seen.now_ts if ladder.strained_ts is None else ladder.strained_ts)
    hard = _latency_over(look) and "max_latency_ms" not in look.sla.soft
    if hard and strained_s > STRAIN_LIMIT_S:
        return Action("abort", "sla_latency", f"{cause} for {strained_s:.0f} s at the lowest bandwidth")
    return None


def _recover_bandwidth(look: _Look) -> Action | None:
    """Take back, step by step, bandwidth that was given up."""
    ladder = look.seen.ladder
    if not ladder.can_set_bandwidth or not ladder.backed_off or not _calm(look):
        return None
    target_mib_s = min(ladder.cap_mib_s, ladder.bandwidth_mib_s + INCREASE_SHARE * ladder.cap_mib_s)
    room_mib_s = _room_beside_others(look)
    if room_mib_s is not None:
        target_mib_s = min(target_mib_s, room_mib_s)
    if target_mib_s <= ladder.bandwidth_mib_s * (1 + WORTH_A_CALL):
        return None
    return Action(
        "tune", "speed_up", f"nobody suffers any more; bandwidth to {target_mib_s:.0f} MiB/s",
        Tuning(bandwidth_mib_s=target_mib_s),
    )  # fmt: skip


def _planned_switch(look: _Look) -> Action | None:
    """Switch to post-copy after the first round when that is the strategy: waiting would only send pages twice."""
    if not look.seen.ladder.post_copy_planned or not look.seen.ladder.can_post_copy:
        return None
    if (look.progress.iteration or 0) < 2:
        return None
    return Action("post_copy", "post_copy_planned", "the first round is over; switching to post-copy as planned")


def _climb(look: _Look) -> Action | None:
    """Take the next rung when the move would not end, or not in time; give up when it would never end."""
    ladder = look.seen.ladder
    endless = _endless(look)
    trouble = endless or _too_slow(look)
    waited_s = look.seen.now_ts - ladder.tuned_ts
    if trouble is None or waited_s < RUNG_INTERVAL_S:
        return None
    rounds = (ladder.iteration or 0) - ladder.rung_iteration
    if ladder.stalled_rounds <= ladder.stalled_rounds_at_rung and rounds < RUNG_ROUNDS and waited_s < PATIENCE_S:
        return None  # the last rung has not had a round to show its effect
    rung = _next_rung(look, trouble)
    if rung is not None:
        return rung
    if endless and _hopeless(ladder, waited_s):
        return Action("abort", "not_converging", f"{trouble}, and every allowed means is in use")
    return None


def _hopeless(ladder: Ladder, waited_s: float) -> bool:
    """Return whether the last rung has had all the time that it may need."""
    if ladder.iteration is None:
        return waited_s >= (GIVE_UP_THROTTLED_S if ladder.throttled else GIVE_UP_S)
    rounds = ladder.stalled_rounds - ladder.stalled_rounds_at_rung
    return rounds >= (GIVE_UP_ROUNDS_THROTTLED if ladder.throttled else GIVE_UP_ROUNDS)


def _next_rung(look: _Look, trouble: str) -> Action | None:
    ladder = look.seen.ladder
    if ladder.can_set_bandwidth and ladder.strained_ts is None:
        room_mib_s = _room_beside_others(look)
        target_mib_s = ladder.cap_mib_s if room_mib_s is None else min(ladder.cap_mib_s, room_mib_s)
        if target_mib_s > ladder.bandwidth_mib_s * (1 + WORTH_A_CALL):
            return Action(
                "tune", "raise_bandwidth", f"{trouble}; bandwidth to {target_mib_s:.0f} MiB/s",
                Tuning(bandwidth_mib_s=target_mib_s),
            )  # fmt: skip
    downtime_ms = _downtime_that_would_end_it(look.progress, ladder)
    if downtime_ms is not None:
        return Action(
            "tune", "raise_downtime", f"{trouble}; allowed downtime to {downtime_ms:.0f} ms",
            Tuning(max_downtime_ms=downtime_ms),
        )  # fmt: skip
    if ladder.can_throttle and not ladder.throttled:
        return Action("tune", "throttle", f"{trouble}; slowing the VM", Tuning(throttle=True))
    if ladder.can_post_copy:
        return Action("post_copy", "post_copy", f"{trouble}; switching to post-copy")
    return None


def _downtime_that_would_end_it(progress: Progress, ladder: Ladder) -> float | None:
    """Return the next allowed downtime, ms, or None when it cannot be raised or raising it would not end the move."""
    ceiling_ms = ladder.downtime_ceiling_ms
    if not ladder.can_set_downtime or ladder.max_downtime_ms * (1 + WORTH_A_CALL) >= ceiling_ms:
        return None
    # a look comes at some point of a round, when part of what it began with has been sent; the platform's own figure,
    # where it has one, is of the round's beginning
    known_ms = (ladder.round_start_ms(progress.throughput_mib_s), progress.expected_downtime_ms)
    needed_ms = max((ms for ms in known_ms if ms is not None), default=None)
    if needed_ms is None:
        return min(ceiling_ms, 2 * ladder.max_downtime_ms)
    if needed_ms > ceiling_ms and (ladder.can_throttle and not ladder.throttled):
        return None  # slow the VM first; the longest allowed stop would not do
    return min(ceiling_ms, max(2 * ladder.max_downtime_ms, 1.1 * needed_ms))


def _endless(look: _Look) -> str | None:
    """Return why the move would never end by itself, or None."""
    ladder = look.seen.ladder
    if ladder.stalled_rounds > 0:
        return f"{ladder.stalled_rounds} rounds in a row did not shrink"
    throughput, dirty = look.progress.throughput_mib_s, look.progress.dirty_mib_s
    if throughput and dirty is not None and (look.progress.iteration or 0) >= 2 and dirty >= SHRINK_SHARE * throughput:
        return f"the VM dirties {dirty:.0f} MiB/s and {throughput:.0f} MiB/s are sent"
    return None


def _too_slow(look: _Look) -> str | None:
    """Return why the move would break a hard limit on its duration, or None."""
    limit_s, throughput = look.sla.max_duration_s, look.progress.throughput_mib_s
    if limit_s is None or "max_duration_s" in look.sla.soft or not throughput or look.progress.remaining_mib is None:
        return None
    end_s = look.progress.elapsed_s + look.progress.remaining_mib / throughput
    return f"at this rate it would take {end_s:.0f} s of {limit_s:.0f} s allowed" if end_s > limit_s else None


def _strain(look: _Look) -> tuple[str | None, float]:
    """Return who suffers from the transfer (None: nobody) and the bandwidth, MiB/s, that should help."""
    ladder = look.seen.ladder
    floor_mib_s = FLOOR_SHARE * ladder.cap_mib_s
    if _latency_over(look):
        cause = f"the application answers in {look.seen.latency_ms:.0f} ms"
        return cause, max(floor_mib_s, DECREASE * ladder.bandwidth_mib_s)
    room_mib_s = _room_beside_others(look)
    sending_mib_s = look.progress.throughput_mib_s or 0.0
    if room_mib_s is not None and sending_mib_s > room_mib_s * (1 + WORTH_A_CALL):
        return "a host's network is full", max(floor_mib_s, room_mib_s)
    return None, ladder.bandwidth_mib_s


def _latency_over(look: _Look) -> bool:
    return (
        look.sla.max_latency_ms is not None
        and look.seen.latency_ms is not None
        and look.seen.latency_ms > look.sla.max_latency_ms
    )


def _calm(look: _Look) -> bool:
    ladder = look.seen.ladder
    if ladder.strained_ts is not None or look.seen.now_ts - max(ladder.tuned_ts, ladder.calm_since_ts) < CALM_S:
        return False
    if look.sla.max_latency_ms is None or look.seen.latency_ms is None:
        return True
    return look.seen.latency_ms <= CALM_LATENCY_SHARE * look.sla.max_latency_ms


def _room_beside_others(look: _Look) -> float | None:
    """Return the MiB/s that the hosts' other traffic leaves to this move; None when there is no other to speak of."""
    own_mbit_s = (look.progress.throughput_mib_s or 0.0) / MIB_S_PER_MBIT_S
    rooms = []
    for used, capacity in (
        (look.seen.source_used, look.seen.source_capacity),
        (look.seen.target_used, look.seen.target_capacity),
    ):
        if used is None or capacity is None or not capacity.network_mbit_s:
            continue
        others = max(0.0, used.network_mbit_s - own_mbit_s)
        if others >= OTHER_TRAFFIC_SHARE * capacity.network_mbit_s:
            rooms.append(max(0.0, NETWORK_LIMIT * capacity.network_mbit_s - others) * MIB_S_PER_MBIT_S)
    return min(rooms, default=None)


def strained(progress: Progress, observations: Observations, sla: Sla) -> bool:
    """Return whether somebody suffers from the transfer right now, for `Ladder.looked`."""
    return _strain(_Look(progress, observations, sla))[0] is not None


def after(ladder: Ladder, action: Action, now_ts: float) -> Ladder:
    """Return the ladder once ``action`` was carried out."""
    if action.kind == "recover":
        return replace(ladder, recovered_ts=now_ts)
    if action.kind == "post_copy":
        return replace(ladder, post_copy=True, can_post_copy=False, tuned_ts=now_ts)
    if action.kind != "tune":
        return ladder
    tuning = action.tuning
    return replace(
        ladder,
        tuned_ts=now_ts,
        stalled_rounds_at_rung=ladder.stalled_rounds,
        rung_iteration=ladder.iteration or 1,
        bandwidth_mib_s=ladder.bandwidth_mib_s if tuning.bandwidth_mib_s is None else tuning.bandwidth_mib_s,
        max_downtime_ms=ladder.max_downtime_ms if tuning.max_downtime_ms is None else tuning.max_downtime_ms,
        throttled=ladder.throttled or bool(tuning.throttle),
    )


def after_refusal(ladder: Ladder, action: Action, now_ts: float) -> Ladder:
    """Return the ladder without the means that the platform just refused, so that the next one is tried."""
    if action.kind == "recover":
        return replace(ladder, recovered_ts=now_ts)
    if action.kind == "post_copy":
        return replace(ladder, can_post_copy=False)
    if action.kind == "grow":
        return replace(ladder, growth_refused=action.amount)
    if action.kind == "renew":
        return replace(ladder, deferred_ts=now_ts)
    if action.kind != "tune":
        return ladder
    tuning = action.tuning
    return replace(
        ladder,
        can_set_bandwidth=ladder.can_set_bandwidth and tuning.bandwidth_mib_s is None,
        can_set_downtime=ladder.can_set_downtime and tuning.max_downtime_ms is None,
        can_throttle=ladder.can_throttle and tuning.throttle is None,
    )


#: Rules in the order in which they are asked; the first that wants something is followed.
_AFTER_HAND_OVER = (_resume, _keep_lease)
_BEFORE_HAND_OVER = (
    _lost_reservation,
    _duration,
    _blackout,
    _stall,
    _keep_lease,
    _outgrown,
    _planned_switch,
    _relieve,
    _climb,
    _recover_bandwidth,
)

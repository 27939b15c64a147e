# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the guard has seen and done so far: values that one look after the other is folded into."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..estate.resources import Resources
from ..hypervisors.protocol import Progress

#: A round that begins with more than this share of what the one before began with has not shrunk.
SHRINK_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Ladder:
    """The means that a move may use, how far each is used, and whether the move makes progress.

    ``cap_mib_s`` is the bandwidth that the move may use at most, ``bandwidth_mib_s`` what is set now.
    ``max_downtime_ms`` is set now and may rise to ``downtime_ceiling_ms``. ``moved`` is how much had been sent (MiB, or
    percent where only that is told) when it last grew, at ``moved_ts``. The ``can_*`` say which means the platform has
    and the user allows; ``post_copy_planned`` that the strategy counts on it. ``rung_iteration`` is the round in which
    the last rung was taken. Times are Unix seconds of the estate's clock; at ``deferred_ts`` the ledger last failed to
    renew or to grow the reservation.
    """

    cap_mib_s: float
    bandwidth_mib_s: float
    max_downtime_ms: float
    downtime_ceiling_ms: float
    can_set_bandwidth: bool = False
    can_set_downtime: bool = False
    can_throttle: bool = False
    can_post_copy: bool = False
    post_copy_planned: bool = False
    throttled: bool = False
    post_copy: bool = False
    moved: float = 0.0
    moved_ts: float = 0.0
    iteration: int | None = None
    round_start_mib: float | None = None
    stalled_rounds: int = 0
    stalled_rounds_at_rung: int = 0
    rung_iteration: int = 1
    tuned_ts: float = 0.0
    recovered_ts: float = float("-inf")
    strained_ts: float | None = None
    calm_since_ts: float = 0.0
    growth_refused: Resources | None = None
    deferred_ts: float = float("-inf")

    @property
    def backed_off(self) -> bool:
        """Whether less bandwidth is set than the move may use."""
        return self.bandwidth_mib_s < self.cap_mib_s

    def round_start_ms(self, throughput_mib_s: float | None) -> float | None:
        """Return how long the VM would have to stand to send what the current round began with; None: unknown."""
        if self.round_start_mib is None or not throughput_mib_s or (self.iteration or 0) < 2:
            return None
        return self.round_start_mib / throughput_mib_s * 1000.0

    def looked(self, progress: Progress, now_ts: float, strained: bool) -> Ladder:
        """Return the ladder after one more look at the job."""
        ladder = self
        moved = progress.percent if progress.transferred_mib is None else progress.transferred_mib
        if moved is None or moved > self.moved:
            ladder = replace(ladder, moved=moved or 0.0, moved_ts=now_ts)
        if progress.phase == "postcopy":
            ladder = replace(ladder, post_copy=True)
        if progress.iteration is not None and progress.iteration != self.iteration:
            ladder = _new_round(ladder, progress)
        if strained:
            return replace(ladder, strained_ts=now_ts if ladder.strained_ts is None else ladder.strained_ts)
        if ladder.strained_ts is not None:
            return replace(ladder, strained_ts=None, calm_since_ts=now_ts)
        return ladder


def _new_round(ladder: Ladder, progress: Progress) -> Ladder:
    """Compare what this round begins with to what the last one began with."""
    begins_mib, before_mib = progress.remaining_mib, ladder.round_start_mib
    if begins_mib is None or before_mib is None:
        return replace(ladder, iteration=progress.iteration, round_start_mib=begins_mib)
    stalled = begins_mib > SHRINK_SHARE * before_mib
    return replace(
        ladder,
        iteration=progress.iteration,
        round_start_mib=begins_mib,
        stalled_rounds=ladder.stalled_rounds + 1 if stalled else 0,
        stalled_rounds_at_rung=ladder.stalled_rounds_at_rung if stalled else 0,
    )


@dataclass(frozen=True, slots=True)
class Observations:
    """What is seen beside the job itself at ``now_ts``; None means not known.

    ``latency_ms`` is the application's; ``vm_used`` what the VM uses, ``reserved`` what is held for it and in which
    ``tier``; ``lease_left_s`` how long the reservation still stands by itself, of ``lease_ttl_s``;
    ``reservation_lost`` says why it no longer holds (empty: it does).
    """

    now_ts: float
    ladder: Ladder
    latency_ms: float | None = None
    source_used: Resources | None = None
    source_capacity: Resources | None = None
    target_used: Resources | None = None
    target_capacity: Resources | None = None
    vm_used: Resources | None = None
    reserved: Resources | None = None
    tier: str = "soft"
    lease_left_s: float | None = None
    lease_ttl_s: float = 0.0
    reservation_lost: str = ""

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The control loop over a migration in flight: look, decide, act, until the job has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..clock import Clock
from ..errors import ForesightError
from ..estate.nouns import Host, Vm
from ..estate.reservation import Reservation
from ..estate.resources import Resources
from ..hypervisors.protocol import Driver, Hold, HoldRefused, Job, Progress
from ..reservations.claims import ClaimRequest
from ..reservations.host_calendar import is_lapsed
from ..reservations.ledger import Ledger
from ..reservations.ledger_errors import ClaimRefused
from . import guard
from .guard import Action
from .guard_state import Ladder, Observations
from .latency import LatencyProbe
from .move import Move
from .progress_line import progress_line

#: Seconds between two looks at the job.
LOOK_INTERVAL_S = 1.0
#: Seconds between two looks at what costs more: the VM's use and the reservation in the ledger.
SLOW_LOOK_INTERVAL_S = 10.0
#: MiB that have to arrive before the hold on the destination is asked to give way again.
GIVE_WAY_STEP_MIB = 64.0
#: How long the source may leave the question after the job unanswered before the VM itself is looked for.
BLIND_LIMIT_S = 120.0
#: Refused attempts to abort after which that is given up, and the job is left to end by itself.
ABORT_ATTEMPTS = 5
#: A host that does not tell its use is left alone for this many times as long as it kept the guard waiting.
SILENCE_FACTOR = 10.0
#: A progress line is shown when this many percent more are done or this many seconds have passed.
LINE_PERCENT = 5.0
LINE_INTERVAL_S = 10.0

Note = Callable[[str, str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Ending:
    """How the job ended as its source tells it. ``aborted_for`` is the guard's action if it was aborted by us.

    ``last`` is the last progress that was seen before the end, for figures that platforms drop afterwards.
    ``blind``: the source did not answer for too long; ``handed_over``: the VM was seen in post-copy.
    """

    final: Progress | None
    last: Progress | None
    reservation: Reservation | None
    aborted_for: Action | None = None
    blind: bool = False
    handed_over: bool = False


class Follower:
    """Follows one job. Trouble on the wire is taken as passing until `BLIND_LIMIT_S`; nothing is raised for it."""

    def __init__(
        self,
        move: Move,
        source: Driver,
        destination: Driver,
        ledger: Ledger,
        clock: Clock,
        report: Callable[[str, Mapping[str, Any]], None],
        note: Note,
        probe: LatencyProbe | None,
    ) -> None:
        self._move = move
        self._reservation = move.reservation
        self._source = source
        self._destination = destination
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self._note = note
        self._probe = probe
        self._vm_used: Resources | None = None
        self._lost = ""
        self._slow_look_ts = float("-inf")
        self._line_ts = float("-inf")
        self._line_percent = float("-inf")
        self._aborted_for: Action | None = None
        self._abort_attempts = 0
        self._given_mib = 0.0
        self._unseen: set[tuple[str, str]] = set()
        self._silent_until_ts: dict[str, float] = {}
        self._last: Progress | None = None

    def follow(self, job: Job, ladder: Ladder) -> Ending:
        """Return when the job has ended or could not be seen for too long."""
        answered_ts = self._clock.now()
        while True:
            try:
                progress = self._source.progress(job)
            except ForesightError as error:
                if self._clock.now() - answered_ts > BLIND_LIMIT_S:
                    return self._ending(None, ladder, blind=True)
                self._unanswered("the source does not tell how far the move is", error)
            else:
                answered_ts = self._clock.now()
                if progress.finished:
                    return self._ending(progress, ladder)
                ladder = self._one_look(job, progress, ladder)
            self._clock.sleep(LOOK_INTERVAL_S)

    def _ending(self, final: Progress | None, ladder: Ladder, blind: bool = False) -> Ending:
        return Ending(final, self._last, self._reservation, self._aborted_for, blind, ladder.post_copy)

    def _unanswered(self, what: str, error: ForesightError) -> None:
        """Note that somebody did not answer, once for each kind of trouble."""
        if (what, error.code) not in self._unseen:
            self._unseen.add((what, error.code))
            self._note("unseen", f"{what}: {error.message}", {"code": error.code})

    def _one_look(self, job: Job, progress: Progress, ladder: Ladder) -> Ladder:
        now_ts = self._clock.now()
        self._last = progress
        self._show(progress, now_ts)
        self._slow_look(now_ts)
        self._give_way(progress)
        seen = self._observe(ladder, now_ts)
        ladder = ladder.looked(progress, now_ts, guard.strained(progress, seen, self._move.terms.sla))
        action = guard.decide(progress, replace(seen, ladder=ladder), self._move.terms.sla)
        if action.kind == "none" or (action.kind == "abort" and self._abort_attempts >= ABORT_ATTEMPTS):
            return ladder
        return self._act(job, action, ladder, now_ts)

    def _observe(self, ladder: Ladder, now_ts: float) -> Observations:
        move, held = self._move, self._reservation
        return Observations(
            now_ts=now_ts,
            ladder=ladder,
            latency_ms=self._probe.latency_ms() if self._probe else None,
            source_used=self._use_of(self._source, move.source),
            source_capacity=move.source.capacity,
            target_used=self._use_of(self._destination, move.destination),
            target_capacity=move.destination.capacity,
            vm_used=self._vm_used,
            reserved=held.amount if held is not None and move.room is not None else None,
            tier=held.tier if held is not None else "soft",
            lease_left_s=held.lease_expires_ts - now_ts if held is not None and not self._lost else None,
            lease_ttl_s=move.terms.lease_ttl_s,
            reservation_lost=self._lost,
        )

    def _use_of(self, driver: Driver, host: Host) -> Resources | None:
        """Return what a host uses; None where it does not tell, which must not keep the guard from the job."""
        if self._is_silent(host):
            return None
        asked_ts = self._clock.now()
        try:
            return driver.observe_host(host.host_id)
        except ForesightError:
            self._leave_alone(host, asked_ts)
            return None  # the guard works without; whether the endpoint is gone shows in the job's own progress

    def _is_silent(self, host: Host) -> bool:
        return self._clock.now() < self._silent_until_ts.get(host.key, float("-inf"))

    def _leave_alone(self, host: Host, asked_ts: float) -> None:
        now_ts = self._clock.now()
        self._silent_until_ts[host.key] = now_ts + SILENCE_FACTOR * (now_ts - asked_ts)

    def _slow_look(self, now_ts: float) -> None:
        """Refresh what the VM uses and what the ledger says."""
        if now_ts - self._slow_look_ts < SLOW_LOOK_INTERVAL_S:
            return
        self._slow_look_ts = now_ts
        try:
            self._vm_used = self._source.observe_vm(self._move.vm.uuid)
        except ForesightError as error:
            self._vm_used = None
            self._unanswered("the source does not tell what the VM uses", error)
        if self._reservation is not None:
            self._look_up(self._reservation, now_ts)

    def _give_way(self, progress: Progress) -> None:
        """Let the hold on the destination shrink by what has arrived of the VM's memory."""
        held, sent_mib = self._reservation, progress.transferred_mib
        if held is None or sent_mib is None or sent_mib - self._given_mib < GIVE_WAY_STEP_MIB:
            return
        if self._is_silent(self._move.destination):
            return
        self._given_mib, asked_ts = sent_mib, self._clock.now()
        arrived_mib = sent_mib if progress.total_mib is None else min(sent_mib, progress.total_mib)
        try:
            self._destination.give_way(held.reservation_id, arrived_mib)
        except ForesightError as error:
            self._leave_alone(self._move.destination, asked_ts)
            self._unanswered("the hold on the destination did not give way", error)

    def _look_up(self, held: Reservation, now_ts: float) -> None:
        """Ask the ledger whether the reservation still holds."""
        try:
            held = self._ledger.get(held.reservation_id)
        except ForesightError as error:
            self._unanswered("the ledger does not answer", error)
            return
        self._reservation = held
        if is_lapsed(held, now_ts):
            self._lost = "its lease ran out"
        else:
            self._lost = f"it is {held.state}" if held.state in ("released", "expired") else ""

    def _act(self, job: Job, action: Action, ladder: Ladder, now_ts: float) -> Ladder:
        try:
            self._carry_out(job, action, now_ts)
        except ForesightError as error:
            self._note("refused", f"{action.kind} ({action.code}): {error.message}", {"code": error.code})
            self._abort_attempts += action.kind == "abort"
            if action.kind == "grow" and not isinstance(error, ClaimRefused | HoldRefused):
                return replace(ladder, deferred_ts=now_ts)
            return guard.after_refusal(ladder, action, now_ts)
        self._note(action.kind, action.reason, {"code": action.code})
        return guard.after(ladder, action, now_ts)

    def _carry_out(self, job: Job, action: Action, now_ts: float) -> None:
        held = self._reservation
        if action.kind == "renew" and held is not None:
            self._reservation = self._ledger.renew(held.reservation_id, self._move.terms.lease_ttl_s, now_ts)
        elif action.kind == "grow" and held is not None and action.amount is not None:
            self._grow(held, action.amount, now_ts)
        elif action.kind == "tune":
            self._source.tune(job, action.tuning)
        elif action.kind == "post_copy":
            self._source.switch_to_post_copy(job)
        elif action.kind == "recover":
            self._source.recover_post_copy(job, self._destination)
        elif action.kind == "abort":
            self._source.abort(job)
            self._aborted_for = action

    def _grow(self, held: Reservation, amount: Resources, now_ts: float) -> None:
        """Claim more in the ledger first, then have it enforced."""
        room = self._move.room
        if room is None:
            return
        grown = self._ledger.claim(claim_for(held, amount, self._move.vm, self._move.terms.lease_ttl_s), room, now_ts)
        self._reservation = grown.reservation
        hold = self._destination.place_hold(Hold.of(grown.reservation))
        self._reservation = self._ledger.record_enforcement(held.reservation_id, hold.enforced_by, hold.tokens, now_ts)

    def _show(self, progress: Progress, now_ts: float) -> None:
        percent = progress.percent or 0.0
        if percent - self._line_percent < LINE_PERCENT and now_ts - self._line_ts < LINE_INTERVAL_S:
            return
        self._line_percent, self._line_ts = percent, now_ts
        self._report(*progress_line(self._move.vm, progress))


def claim_for(held: Reservation, amount: Resources, vm: Vm, ttl_s: float) -> ClaimRequest:
    """Return the claim that changes ``held`` to ``amount``."""
    return ClaimRequest(
        vm_uuid=held.vm_uuid,
        host_key=held.host_key,
        amount=amount,
        tier=held.tier,
        start_ts=held.start_ts,
        end_ts=held.end_ts,
        owner=held.owner,
        ttl_s=ttl_s,
        purpose=held.purpose,
        vm_name=held.vm_name or vm.name,
    )

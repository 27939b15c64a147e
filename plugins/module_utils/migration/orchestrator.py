# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One migration from finding the VM to settling its reservation.

Nothing is remembered between runs: a run asks the hypervisors and the ledger what is true, and goes on from there.
So a controller may be killed at any point; the next run finds the move not begun, in flight, or finished.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

from ..clock import Clock, to_iso
from ..errors import ForesightError
from ..estate.reservation import Reservation
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Job, MoveOrder, Progress
from ..reservations.ledger import Ledger
from ..reservations.ledger_errors import ReservationNotActive, ReservationUnknown
from .errors import MigrationFailed, MigrationUnsettled, PrecheckFailed, StrategyRefused, VmBusy, VmLost, VmOnTwoHosts
from .finding import Flight, find_flight
from .following import Ending, Follower
from .guard import Action
from .guard_state import Ladder
from .latency import LatencyProbe
from .move import Check, Move, Timeline
from .planning import Plan, ladder_for, make_plan, measure_basis
from .progress_line import printable, shown_name
from .settlement import Settlement, settle_arrival, settle_return
from .verification import Place, Verdict, look, verify

#: After a start that came back with an error: how long, and how often, a job is looked for all the same, seconds.
FLIGHT_LIMIT_S = 3.0
FLIGHT_INTERVAL_S = 1.0


@dataclass(frozen=True, slots=True)
class Moved:
    """A VM that has arrived. ``adopted``: the move had been started before; ``final`` is the job's last word.

    ``silence_ms`` is the longest time for which the application did not answer, where it was asked.
    """

    adopted: bool
    final: Progress | None
    last: Progress | None
    duration_s: float
    verdict: Verdict
    settlement: Settlement | None
    downtime_ms: float | None
    downtime_by: str | None
    silence_ms: float | None
    ended_ts: float
    timeline: Timeline


@dataclass(frozen=True, slots=True)
class Broken:
    """A move that was begun, or taken over, and did not end as it should: with the VM there and all settled.

    ``final`` is the job's last word, ``last`` the last progress seen before it, ``plan`` None for an adopted move.
    """

    adopted: bool
    plan: Plan | None
    final: Progress | None
    last: Progress | None
    duration_s: float
    silence_ms: float | None
    ended_ts: float


class Orchestrator:
    """Carries out moves. ``report`` takes every step and the progress, as a line and as data.

    ``broken`` is set before `run` raises for a move that was begun.
    """

    def __init__(
        self,
        fleet: Fleet,
        ledger: Ledger,
        clock: Clock,
        report: Callable[[str, Mapping[str, Any]], None],
        probe_url: str | None = None,
    ) -> None:
        self._fleet = fleet
        self._ledger = ledger
        self._clock = clock
        self._report = report
        self._probe_url = probe_url
        self._started_ts = clock.now()
        self._plan: Plan | None = None
        self.timeline = Timeline()
        self.broken: Broken | None = None

    # ---- the three ways in ----------------------------------------------------------------------------------------

    def plan(self, move: Move) -> Plan:
        """Make all checks and choose the strategy; changes nothing."""
        return make_plan(move, self._fleet, self._ledger, self._clock.now())

    def settle_there(self, move: Move, endpoints: Collection[str]) -> Settlement | None:
        """Settle the reservation of a VM that already runs on the destination; None: there was none.

        What a move has left of it at ``endpoints`` (those that answer) is removed.
        """
        others = [name for name in endpoints if name != move.destination.endpoint]
        if move.vm.power_state == "running":
            self._drop_definitions(move, others)
        if move.reservation is None:
            return None
        self._note("already_there", f"{shown_name(move.vm)} runs on {move.destination.key}", {})
        return self._settle_arrival(move, move.reservation)

    def run(self, move: Move, flight: Flight | None) -> tuple[Moved, Plan | None]:
        """Move the VM, or see the move in ``flight`` to its end; returns what was done once the VM has arrived.

        Raises `PrecheckFailed`, `StrategyRefused` and `VmBusy` with nothing touched; `MigrationFailed` when the VM
        stays on its source, everything undone; `MigrationUnsettled`, `VmOnTwoHosts`, `VmLost` when only a later run
        or a person can tell.
        """
        if flight is not None:
            return self._adopt(move, flight), None
        plan = self.plan(move)
        if plan.forbidding:
            overtaken = self._overtaken(move)
            if overtaken is not None:
                return overtaken, None
        order, ladder = required(plan)
        self._plan = plan
        self._note("planned", plan.choice.why, {"basis": plan.basis.as_dict()})
        ended = self._renew_lease(move)
        if ended is not None:  # by a parallel run that has moved the VM, or given back
            overtaken = self._overtaken(move)
            if overtaken is not None:
                return overtaken, None
            raise _forbidden([Check("reservation_active", False, ended.message)])
        self._note("starting", f"{shown_name(move.vm)}: {move.source.key} -> {move.destination.key}", {})
        source = self._fleet.driver(move.source.endpoint)
        try:
            job = source.start_migration(order, self._fleet.driver(move.destination.endpoint))
        except ForesightError as error:
            return self._after_failed_start(move, error), plan
        self._note("started", "the platform has taken the order", {})
        return self._see_to_the_end(move, job, ladder, adopted=False), plan

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _adopt(self, move: Move, flight: Flight) -> Moved:
        """Take over a move in flight, whoever started it."""
        require_same_target(move, flight)
        self._note("adopted", f"a move from {flight.source_key} is in flight; taking it over", {})
        self._renew_lease(move)
        source = self._fleet.driver(flight.endpoint)
        basis = measure_basis(move, self._fleet, measure=False)
        ladder = ladder_for(move, basis, source.capabilities(), self._clock.now())
        return self._see_to_the_end(move, flight.job, ladder, adopted=True)

    def _overtaken(self, move: Move) -> Moved | None:
        """See to the end what a parallel run has begun, or has finished, while this one was checking; None: nothing."""
        flight = self._look_for_flight(move)
        if flight is not None:
            return self._adopt(move, flight)
        if look(move.vm.uuid, *self._ends(move)).verdict != "arrived":
            return None
        ending = Ending(None, None, move.reservation)
        return self._conclude(move, ending, self._clock.now(), None, adopted=True)

    def _ends(self, move: Move) -> tuple[Place, Place]:
        """Return source and destination."""
        return (
            Place(self._fleet.driver(move.source.endpoint), move.source.host_id),
            Place(self._fleet.driver(move.destination.endpoint), move.destination.host_id),
        )

    def _after_failed_start(self, move: Move, error: ForesightError) -> Moved:
        """Find out what an order that came back with an error has done: it may run, ours or a parallel run's."""
        self._note("refused", f"starting: {error.message}", {"code": error.code})
        deadline_ts = self._clock.now() + FLIGHT_LIMIT_S
        while True:
            flight = self._look_for_flight(move)
            if flight is not None:
                return self._adopt(move, flight)
            if self._clock.now() >= deadline_ts:
                break
            self._clock.sleep(FLIGHT_INTERVAL_S)
        final = Progress("failed", 0.0, error=error.message)
        ending = Ending(final, None, move.reservation, blind=True)
        return self._conclude(move, ending, self._clock.now(), None, adopted=False)

    def _look_for_flight(self, move: Move) -> Flight | None:
        try:
            return find_flight(self._fleet, move.vm.uuid, [move.source.endpoint])
        except ForesightError as error:
            self._note("unseen", f"the source does not tell whether a move runs: {error.message}", {})
            return None

    def _see_to_the_end(self, move: Move, job: Job, ladder: Ladder, *, adopted: bool) -> Moved:
        started_ts = self._clock.now()
        source = self._fleet.driver(move.source.endpoint)
        destination = self._fleet.driver(move.destination.endpoint)
        with self._probe() as probe:
            follower = Follower(move, source, destination, self._ledger, self._clock, self._report, self._note, probe)
            ending = follower.follow(job, ladder)
            self._note("ended", _ending_in_words(ending), {})
            if probe:
                probe.await_answer()
            silence_ms = probe.longest_silence_ms() if probe else None
        return self._conclude(move, ending, started_ts, silence_ms, adopted=adopted)

    def _conclude(
        self, move: Move, ending: Ending, started_ts: float, silence_ms: float | None, *, adopted: bool
    ) -> Moved:
        """Establish where the VM is, and settle accordingly."""
        ended_ts = self._clock.now()
        verdict = verify(move.vm.uuid, *self._ends(move), self._clock)
        self._note("verified", verdict.verdict, {"evidence": list(verdict.evidence)})
        if verdict.verdict == "arrived" and ending.blind and ending.handed_over:
            verdict = replace(verdict, verdict="unknown")  # it runs there, perhaps with part of its memory still here
        if verdict.verdict == "stayed" and ending.blind and self._may_be_moving(move):
            verdict = replace(verdict, verdict="unknown")  # it runs here, and may yet arrive there
        elapsed_s = ending.final.elapsed_s if ending.final is not None else 0.0
        duration_s = elapsed_s or ended_ts - started_ts
        plan = None if adopted else self._plan
        self.broken = Broken(adopted, plan, ending.final, ending.last, duration_s, silence_ms, ended_ts)
        if verdict.verdict != "arrived":
            raise self._not_arrived(move, ending, verdict)
        self._drop_definitions(move, [move.source.endpoint])
        settlement = None if ending.reservation is None else self._settle_arrival(move, ending.reservation)
        self.broken = None
        downtime_ms, downtime_by = _downtime(ending, silence_ms)
        return Moved(
            adopted=adopted,
            final=ending.final,
            last=ending.last,
            duration_s=duration_s,
            verdict=verdict,
            settlement=settlement,
            downtime_ms=downtime_ms,
            downtime_by=downtime_by,
            silence_ms=silence_ms,
            ended_ts=ended_ts,
            timeline=self.timeline,
        )

    def _may_be_moving(self, move: Move) -> bool:
        """Return whether the source has a migration of the VM in flight, or does not tell."""
        try:
            flight = find_flight(self._fleet, move.vm.uuid, [move.source.endpoint])
        except ForesightError:
            return True
        return flight is not None

    def _drop_definitions(self, move: Move, endpoints: Collection[str]) -> None:
        """Have what is left of the arrived VM removed elsewhere, so that nobody starts it a second time."""
        answers = self._fleet.ask(lambda driver: driver.drop_definition(move.vm.uuid), endpoints)
        for name, dropped in answers.items():
            if isinstance(dropped, ForesightError):
                self._note(
                    "left", f"whether {name} still has the VM defined: {dropped.message}", {"code": dropped.code}
                )
            elif dropped:
                self._note("cleared", f"{name} still had the VM defined; that is removed", {})

    def _settle_arrival(self, move: Move, reservation: Reservation) -> Settlement:
        """Settle the reservation of a VM that has arrived; raises `MigrationUnsettled` where that fails."""
        try:
            destination = self._fleet.driver(move.destination.endpoint)
            settlement = settle_arrival(reservation, destination, self._ledger, self._clock.now())
        except ForesightError as error:
            raise MigrationUnsettled(
                f"The VM runs on {move.destination.key}, but its reservation could not be settled: {error.message}",
                advice="The VM needs nothing. Run again: that settles the reservation, which is kept until then.",
                details={
                    "cause": {"code": error.code, "message": error.message},
                    "timeline": self.timeline.summary(),
                },
            ) from error
        self._note("settled", f"reservation {reservation.reservation_id} is {settlement.state}", {})
        return settlement

    def _not_arrived(self, move: Move, ending: Ending, verdict: Verdict) -> ForesightError:
        """Return the error for a VM that is not where it should be; undo what can be undone."""
        details = {"evidence": list(verdict.evidence), "timeline": self.timeline.summary()}
        if verdict.verdict == "stayed":
            return self._undo(move, *_cause(ending), ending.reservation)
        if verdict.verdict == "elsewhere":
            return self._undo(
                move, "moved_elsewhere", f"the VM runs on {verdict.elsewhere}", ending.reservation, stayed=False
            )
        if verdict.verdict == "both":
            return VmOnTwoHosts(
                f"The VM is said to run on {move.source.key} and on {move.destination.key}",
                advice="Look at both before anything else. The reservation is kept.",
                details=details,
            )
        if verdict.verdict == "lost":
            return VmLost(
                f"Neither {move.source.key} nor {move.destination.key} knows the VM any more",
                advice="Look for it before anything else. The reservation is kept.",
                details=details,
            )
        if verdict.verdict == "between":
            return MigrationUnsettled(
                f"The VM does not run as a whole on either side: {'; '.join(verdict.evidence)}",
                advice="Look at both. Run again once it runs on one of them. The reservation is kept until then.",
                details=details,
            )
        return MigrationUnsettled(
            f"Where the VM runs could not be established yet: {'; '.join(verdict.evidence)}",
            advice="Run again once both endpoints answer; that settles it. The reservation is kept until then.",
            details=details,
        )

    def _undo(
        self, move: Move, code: str, message: str, reservation: Reservation | None, *, stayed: bool = True
    ) -> MigrationFailed:
        """Release what was held for a VM that did not come, and return the error that says so."""
        settlement = None
        if reservation is not None:
            destination = self._fleet.driver(move.destination.endpoint)
            settlement = settle_return(reservation, destination, self._ledger, self._clock.now(), f"{code}: {message}")
        begun = any(entry["step"] in ("started", "adopted") for entry in self.timeline.entries)
        self._note("undone", f"{shown_name(move.vm)} runs on; {code}: {message}", {})
        return MigrationFailed(
            f"The move failed ({code}): {message}" + (f". The VM runs on {move.source.key}" if stayed else ""),
            advice="The reservation was released. Remove the cause, reserve again and move again.",
            details={
                "step": "move" if begun else "start",
                "cause": {"code": code, "message": message},
                "undone": list(settlement.undone) if settlement else [],
                "left": list(settlement.left) if settlement else [],
                "timeline": self.timeline.summary(),
            },
        )

    def _renew_lease(self, move: Move) -> ForesightError | None:
        """Make the lease last as long as a move may take without a sign of life from us.

        Returns the ledger's word when the reservation has ended since the move's checks began.
        """
        reservation = move.reservation
        if reservation is None or reservation.state != "active":
            return None
        try:
            self._ledger.renew(reservation.reservation_id, move.terms.lease_ttl_s, self._clock.now())
        except ForesightError as error:
            self._note("refused", f"the lease was not renewed: {error.message}", {"code": error.code})
            return error if isinstance(error, ReservationNotActive | ReservationUnknown) else None
        return None

    def _probe(self) -> AbstractContextManager[LatencyProbe | None]:
        return nullcontext() if self._probe_url is None else LatencyProbe(self._probe_url)

    def _note(self, step: str, message: str, data: Mapping[str, Any]) -> None:
        """Put one step into the timeline and show it."""
        now_ts = self._clock.now()
        entry = {"at": to_iso(now_ts), "elapsed_s": round(now_ts - self._started_ts, 3), "step": step}
        self.timeline.add({**entry, "message": message, **data})
        self._report(printable(f"{step}: {message}"), {"step": step, **data})


def required(plan: Plan, without: Collection[str] = ()) -> tuple[MoveOrder, Ladder]:
    """Return order and ladder of a plan that may be carried out; raises `PrecheckFailed` or `StrategyRefused`.

    Checks whose code is in ``without`` are not required to pass.
    """
    forbidding = [check for check in plan.forbidding if check.code not in without]
    if forbidding:
        raise _forbidden(forbidding)
    if plan.order is None or plan.ladder is None:
        quiet_ts = plan.choice.wait_until_ts
        raise StrategyRefused(
            f"No allowed way of moving would keep the SLA now: {plan.choice.why}",
            advice="Nothing was touched. Allow more means or a longer downtime, or move at a quieter hour.",
            details={"basis": plan.basis.as_dict(), "wait_until": None if quiet_ts is None else to_iso(quiet_ts)},
        )
    return plan.order, plan.ladder


def _forbidden(checks: Sequence[Check]) -> PrecheckFailed:
    first = checks[0]
    return PrecheckFailed(
        f"{len(checks)} checks forbid the move, first {first.code}: {first.message}",
        advice="Nothing was touched. See details.failed for every reason.",
        details={
            "failed": [
                {"code": check.code, "message": check.message, "details": dict(check.details)} for check in checks
            ]
        },
    )


def require_same_target(move: Move, flight: Flight) -> None:
    """Raise `VmBusy` when the move in flight goes elsewhere, or nobody can tell where to."""
    target = flight.job.destination_host_id
    if target != move.destination.host_id:
        raise VmBusy(
            f"The VM is being moved to {target or 'a host that the platform does not name'} already",
            advice="Wait until that has ended; nothing was touched.",
            details={"destination": target},
        )


def _ending_in_words(ending: Ending) -> str:
    if ending.blind or ending.final is None:
        return "the source has not answered for too long; asking both sides where the VM is"
    return f"the source says {ending.final.phase}{': ' + ending.final.error if ending.final.error else ''}"


def _cause(ending: Ending) -> tuple[str, str]:
    """Return code and sentence of why the VM did not arrive."""
    action: Action | None = ending.aborted_for
    if action is not None:
        return action.code, action.reason
    if ending.final is not None and ending.final.phase == "failed":
        return "hypervisor_fault", ending.final.error or "the platform gave no reason"
    if ending.final is not None and ending.final.phase == "aborted":
        return "aborted_elsewhere", "somebody else aborted it"
    return "job_vanished", "the job disappeared without the VM arriving"


def _downtime(ending: Ending, silence_ms: float | None) -> tuple[float | None, str | None]:
    """Return the measured downtime, ms, and who measured it; never the configured one."""
    if ending.final is not None and ending.final.downtime_ms is not None:
        return ending.final.downtime_ms, "platform"
    return (None, None) if silence_ms is None else (silence_ms, "probe")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One migration from finding the VM to settling its reservation.

Nothing is remembered between runs: a run asks the hypervisors and the ledger what is true, and goes on from there.
So a controller may be killed at any point; the next run finds the move not begun, in flight, or finished.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from ..clock import Clock, to_iso
from ..errors import ForesightError
from ..estate.reservation import Reservation
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import HypervisorFault, Job, Progress
from ..reservations.ledger import Ledger
from .errors import MigrationFailed, MigrationUnsettled, PrecheckFailed, StrategyRefused, VmBusy, VmLost, VmOnTwoHosts
from .finding import Flight, find_flight
from .following import Ending, Follower
from .guard import Action
from .guard_state import Ladder
from .latency import LatencyProbe
from .move import Move, Timeline
from .planning import Plan, ladder_for, make_plan, measure_basis
from .progress_line import shown_name
from .settlement import Settlement, settle_arrival, settle_return
from .verification import Place, Verdict, verify

#: A job that is starting may not be found yet: seconds to wait for one after the platform said that there is one.
FLIGHT_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Moved:
    """A VM that has arrived. ``adopted`` says that the move had been started before; ``final`` is the job's last word."""

    adopted: bool
    final: Progress | None
    last: Progress | None
    duration_s: float
    verdict: Verdict
    settlement: Settlement | None
    downtime_ms: float | None
    downtime_by: str | None
    timeline: Timeline


class Orchestrator:
    """Carries out moves. ``report`` takes every step and the progress, as a line and as data."""

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
        self.timeline = Timeline()

    # ---- the three ways in ----------------------------------------------------------------------------------------

    def plan(self, move: Move) -> Plan:
        """Make all checks and choose the strategy; changes nothing."""
        return make_plan(move, self._fleet, self._ledger, self._clock.now())

    def settle_there(self, move: Move) -> Settlement | None:
        """Settle the reservation of a VM that already runs on the destination; None: there was none."""
        if move.reservation is None:
            return None
        self._note("already_there", f"{shown_name(move.vm)} runs on {move.destination.key}", {})
        return self._settle_arrival(move, move.reservation)

    def run(self, move: Move, flight: Flight | None) -> tuple[Moved, Plan | None]:
        """Move the VM, or see the move in ``flight`` to its end; returns what was done once the VM has arrived.

        Raises `PrecheckFailed`, `StrategyRefused` and `VmBusy` with nothing touched; `MigrationFailed` when the VM stays
        on its source, everything undone; `MigrationUnsettled`, `VmOnTwoHosts`, `VmLost` when only a later run or a
        person can tell.
        """
        if flight is not None:
            return self._adopt(move, flight), None
        plan = self.plan(move)
        self._require(plan)
        assert plan.order is not None
        assert plan.ladder is not None
        self._note("planned", plan.choice.why, {"basis": plan.basis.as_dict()})
        source = self._fleet.driver(move.source.endpoint)
        self._renew_lease(move)
        self._note("starting", f"{shown_name(move.vm)}: {move.source.key} -> {move.destination.key}", {})
        try:
            job = source.start_migration(plan.order, self._fleet.driver(move.destination.endpoint))
        except ForesightError as error:
            flight = self._somebody_elses(move, error)
            if flight is None:
                raise self._undo(move, "start", error.code, error.message, None) from error
            return self._adopt(move, flight), plan
        self._note("started", "the platform has taken the order", {})
        return self._see_to_the_end(move, job, plan.ladder, adopted=False), plan

    # ---- inside ---------------------------------------------------------------------------------------------------

    def _require(self, plan: Plan) -> None:
        if plan.forbidding:
            first = plan.forbidding[0]
            raise PrecheckFailed(
                f"{len(plan.forbidding)} checks forbid the move, first {first.code}: {first.message}",
                advice="Nothing was touched. See details.failed for every reason.",
                details={
                    "failed": [
                        {"code": check.code, "message": check.message, "details": dict(check.details)}
                        for check in plan.forbidding
                    ]
                },
            )
        if plan.order is None:
            raise StrategyRefused(
                f"No allowed way of moving would keep the SLA: {plan.choice.why}",
                advice="Nothing was touched. Allow more means or a longer downtime, or move at a quieter hour.",
                details={"basis": plan.basis.as_dict()},
            )

    def _adopt(self, move: Move, flight: Flight) -> Moved:
        """Take over a move in flight, whoever started it."""
        target = flight.job.destination_host_id
        if target and target != move.destination.host_id:
            raise VmBusy(
                f"The VM is being moved to {target} already",
                advice="Wait until that has ended; nothing was touched.",
                details={"destination": target},
            )
        self._note("adopted", f"a move from {flight.source_key} is in flight; taking it over", {})
        self._renew_lease(move)
        source = self._fleet.driver(flight.endpoint)
        basis = measure_basis(move, self._fleet, measure=False)
        ladder = ladder_for(move, basis, source.capabilities(), None, self._clock.now())
        return self._see_to_the_end(move, flight.job, ladder, adopted=True)

    def _somebody_elses(self, move: Move, error: ForesightError) -> Flight | None:
        """Return the move that a parallel run has started in the meantime, if that is why ours was refused."""
        if not isinstance(error, HypervisorFault):
            return None
        deadline_ts = self._clock.now() + FLIGHT_LIMIT_S
        while self._clock.now() < deadline_ts:
            flight = find_flight(self._fleet, move.vm.uuid, [move.source.endpoint])
            if flight is not None or "busy" not in error.details:
                return flight
            self._clock.sleep(0.5)
        return None

    def _see_to_the_end(self, move: Move, job: Job, ladder: Ladder, *, adopted: bool) -> Moved:
        started_ts = self._clock.now()
        source = self._fleet.driver(move.source.endpoint)
        destination = self._fleet.driver(move.destination.endpoint)
        with self._probe() as probe:
            follower = Follower(
                move, source, destination, self._ledger, self._clock, self._report, self._note, probe
            )
            ending = follower.follow(job, ladder)
            self._note("ended", _ending_in_words(ending), {})
            verdict = verify(
                move.vm.uuid, Place(source, move.source.host_id), Place(destination, move.destination.host_id), self._clock
            )
            silence_ms = probe.longest_silence_ms() if probe else None
        self._note("verified", verdict.verdict, {"evidence": list(verdict.evidence)})
        reservation = ending.reservation
        if verdict.verdict != "arrived":
            raise self._not_arrived(move, ending, verdict, reservation)
        settlement = self._settle_arrival(move, reservation) if reservation is not None else None
        downtime_ms, downtime_by = _downtime(ending, silence_ms)
        duration_s = ending.final.elapsed_s if ending.final and ending.final.elapsed_s else self._clock.now() - started_ts
        return Moved(
            adopted, ending.final, ending.last, duration_s, verdict, settlement, downtime_ms, downtime_by, self.timeline
        )

    def _settle_arrival(self, move: Move, reservation: Reservation) -> Settlement:
        destination = self._fleet.driver(move.destination.endpoint)
        settlement = settle_arrival(reservation, destination, self._ledger, self._clock.now())
        self._note("settled", f"reservation {reservation.reservation_id} is {settlement.state}", {})
        return settlement

    def _not_arrived(
        self, move: Move, ending: Ending, verdict: Verdict, reservation: Reservation | None
    ) -> ForesightError:
        """Return the error for a VM that is not where it should be; undo what can be undone."""
        details = {"evidence": list(verdict.evidence), "timeline": self.timeline.summary()}
        if verdict.verdict == "stayed":
            code, message = _cause(ending)
            return self._undo(move, "move", code, message, reservation)
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
        return MigrationUnsettled(
            "Where the VM runs could not be established yet",
            advice="Run again once both endpoints answer; the move is then settled. The reservation is kept until then.",
            details=details,
        )

    def _undo(
        self, move: Move, step: str, code: str, message: str, reservation: Reservation | None
    ) -> MigrationFailed:
        """Release what was held for a VM that runs on its source, and return the error that says so."""
        reservation = reservation or move.reservation
        settlement = None
        if reservation is not None:
            destination = self._fleet.driver(move.destination.endpoint)
            settlement = settle_return(reservation, destination, self._ledger, self._clock.now(), f"{code}: {message}")
        self._note("undone", f"{shown_name(move.vm)} runs on {move.source.key}; {code}: {message}", {})
        return MigrationFailed(
            f"The move failed ({code}): {message}. The VM runs on {move.source.key}",
            advice="The reservation was released. Remove the cause, reserve again and move again.",
            details={
                "step": step,
                "cause": {"code": code, "message": message},
                "undone": list(settlement.undone) if settlement else [],
                "left": list(settlement.left) if settlement else [],
                "timeline": self.timeline.summary(),
            },
        )

    def _renew_lease(self, move: Move) -> None:
        """Make the lease last as long as a move may take without a sign of life from us."""
        reservation = move.reservation
        if reservation is None or reservation.state != "active":
            return
        try:
            self._ledger.renew(reservation.reservation_id, move.terms.lease_ttl_s, self._clock.now())
        except ForesightError as error:
            self._note("refused", f"the lease was not renewed: {error.message}", {"code": error.code})

    def _probe(self) -> AbstractContextManager[LatencyProbe | None]:
        return nullcontext() if self._probe_url is None else LatencyProbe(self._probe_url)

    def _note(self, step: str, message: str, data: Mapping[str, Any]) -> None:
        """Put one step into the timeline and show it."""
        now_ts = self._clock.now()
        entry = {"at": to_iso(now_ts), "elapsed_s": round(now_ts - self._started_ts, 3), "step": step}
        self.timeline.add({**entry, "message": message, **data})
        self._report(f"{step}: {message}", {"step": step, **data})


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
    if silence_ms is not None:
        return silence_ms, "probe"
    if ending.final is not None and ending.final.downtime_ms is not None:
        return ending.final.downtime_ms, "platform"
    return None, None

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The results of vm_migrate, each with its diff, and the record that a migration leaves in the store."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ..errors import ForesightError
from ..hypervisors.protocol import MoveOrder, Progress
from ..migration.move import Check, Move
from ..migration.orchestrator import Broken, Moved
from ..migration.planning import Plan
from ..migration.settlement import Settlement
from ..migration.strategy import Strategy
from ..workspace.records import ARRIVED

Answer = tuple[dict[str, Any], dict[str, Any]]


def already_there(move: Move, settlement: Settlement | None) -> Answer:
    """Return result and diff for a VM that already runs on its destination; ``settlement`` None: nothing to settle."""
    result = {**_common(move, "already_there"), "source": None, "settlement": _settlement(settlement)}
    diff = _diff(move.destination.key, move.destination.key)
    if settlement is not None and settlement.changed and move.reservation is not None:
        diff["before"]["reservation"] = move.reservation.state
        diff["after"]["reservation"] = settlement.state
    return result, diff


def in_flight(move: Move) -> Answer:
    """Return result and diff, in check mode, for a move that a run would adopt."""
    return _common(move, "in_flight"), _diff(move.source.key, move.destination.key)


def would_move(move: Move, plan: Plan) -> Answer:
    """Return result and diff, in check mode, for a move that would be started."""
    return {**_common(move, "would_move"), **_planned(plan)}, _diff(move.source.key, move.destination.key)


def moved(move: Move, arrived: Moved, plan: Plan | None) -> Answer:
    """Return result and diff of a move that was carried out."""
    result = {
        **_common(move, "moved"),
        **(_planned(plan) if plan is not None else {}),
        "adopted": arrived.adopted,
        "actual": actual(arrived),
        "verification": {"verdict": arrived.verdict.verdict, "evidence": list(arrived.verdict.evidence)},
        "settlement": _settlement(arrived.settlement),
        "timeline": arrived.timeline.summary(),
    }
    return result, _diff(move.source.key, move.destination.key)


def migration_record(move: Move, arrived: Moved, plan: Plan | None) -> dict[str, Any]:
    """Return what the store keeps of a migration: predicted and actual."""
    return {**_record(move, plan, arrived), "outcome": ARRIVED, "cause": None, "actual": actual(arrived)}


def broken_record(move: Move, broken: Broken, error: ForesightError) -> dict[str, Any]:
    """Return what the store keeps of a move that did not bring the VM to its destination; bytes are those sent in vain.

    ``cause`` is the code of what broke it, where that is known.
    """
    cause = error.details.get("cause", {}).get("code")
    figures = _figures(broken.final, broken.last)
    return {
        **_record(move, broken.plan, broken),
        "outcome": error.code,
        "cause": cause,
        "actual": {
            "duration_s": broken.duration_s,
            "transferred_mib": figures.transferred_mib if figures is not None else None,
            "downtime_ms": None,
            "downtime_measured_by": None,
            "application_silence_ms": broken.silence_ms,
            "rounds": figures.iteration if figures is not None else None,
        },
    }


def _record(move: Move, plan: Plan | None, ended: Moved | Broken) -> dict[str, Any]:
    strategy = plan.choice.strategy if plan is not None else None
    return {
        "vm_uuid": move.vm.uuid,
        "vm_name": move.vm.name,
        "source": move.source.key,
        "destination": move.destination.key,
        "reservation_id": move.reservation.reservation_id if move.reservation is not None else None,
        "ended_ts": ended.ended_ts,
        "adopted": ended.adopted,
        "strategy": strategy.name if strategy is not None else None,
        "basis": plan.basis.as_dict() if plan is not None else None,
        "predicted": asdict(strategy.prediction) if strategy is not None else None,
    }


def actual(arrived: Moved) -> dict[str, Any]:
    """Return what was measured; None where nobody could."""
    figures = _figures(arrived.final, arrived.last)
    return {
        "duration_s": arrived.duration_s,
        "transferred_mib": figures.transferred_mib if figures is not None else None,
        "downtime_ms": arrived.downtime_ms,
        "downtime_measured_by": arrived.downtime_by,
        "application_silence_ms": arrived.silence_ms,
        "rounds": figures.iteration if figures is not None else None,
    }


def _figures(final: Progress | None, last: Progress | None) -> Progress | None:
    """Return the last progress that told how much was sent."""
    return final if final is not None and final.transferred_mib is not None else last


def _common(move: Move, state: str) -> dict[str, Any]:
    return {
        "state": state,
        "vm": {"name": move.vm.name, "uuid": move.vm.uuid},
        "source": move.source.key,
        "destination": move.destination.key,
        "reservation_id": move.reservation.reservation_id if move.reservation is not None else None,
    }


def _planned(plan: Plan) -> dict[str, Any]:
    strategy = plan.choice.strategy
    return {
        "checks": [_check(check) for check in plan.checks],
        "strategy": {
            "name": strategy.name if strategy is not None else None,
            "why": plan.choice.why,
            "considered": [_considered(other) for other in plan.choice.considered],
            "order": _order(plan.order),
        },
        "basis": plan.basis.as_dict(),
        "predicted": asdict(strategy.prediction) if strategy is not None else None,
    }


def _check(check: Check) -> dict[str, Any]:
    return {"code": check.code, "passed": check.passed, "blocking": check.blocking, "message": check.message}


def _considered(strategy: Strategy) -> dict[str, Any]:
    cost = strategy.prediction
    return {
        "name": strategy.name,
        "downtime_ms": cost.downtime_ms,
        "duration_s": cost.duration_s,
        "transferred_mib": cost.transferred_mib,
        "violations": list(strategy.violations),
    }


def _order(order: MoveOrder | None) -> dict[str, Any] | None:
    if order is None:
        return None
    return {
        "bandwidth_mib_s": order.tuning.bandwidth_mib_s,
        "max_downtime_ms": order.tuning.max_downtime_ms,
        "auto_converge": order.auto_converge,
        "post_copy_allowed": order.post_copy,
        "compression": order.compression,
        "parallel_connections": order.parallel_connections,
        "storage_copy": order.storage_copy,
    }


def _settlement(settlement: Settlement | None) -> dict[str, Any] | None:
    if settlement is None:
        return None
    return {"state": settlement.state, "changed": settlement.changed, "guaranteed_by": dict(settlement.guaranteed_by)}


def _diff(before: str, after: str) -> dict[str, Any]:
    return {"before": {"host": before}, "after": {"host": after}}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A selection as the result of a task: the answer, the best hosts, and what is needed to ask further. Bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..clock import to_iso
from ..estate.nouns import Vm
from ..estate.resources import FIELD_OF
from ..placement.explain import why_not
from ..placement.question import Question
from ..placement.verdict import Cost, HostVerdict, Load, Reason, Selection

#: Ranked hosts given in full without being asked for.
RANKED_IN_FULL = 10
#: Rejected hosts named with their reasons without being asked for.
REJECTED_NAMED = 25


def result_of(question: Question, selection: Selection) -> dict[str, Any]:
    """Return the JSON-able result; at most some 100 hosts are named, whatever the estate's size."""
    chosen = selection.chosen
    asked = [found for key in sorted(question.asked_hosts) if (found := selection.verdict(key)) is not None]
    return {
        "vm": _vm(question.vm),
        "decision": selection.decision,
        "destination": chosen.host_key if chosen else None,
        "destination_name": chosen.host_name if chosen else None,
        "score": _round(chosen.score) if chosen else None,
        "reasons": [_reason(reason) for reason in selection.reasons],
        "must_leave": [_reason(reason) for reason in selection.must_leave],
        "policy": question.policy.name,
        "weights": dict(question.policy.weights),
        "window": {"start": to_iso(question.now_ts), "end": to_iso(question.now_ts + question.window_s)},
        "migration_cost": _cost(chosen.cost) if chosen and chosen.cost else None,
        "staying": _verdict(selection.staying, selection) if selection.staying else None,
        "ranking": [_verdict(verdict, selection) for verdict in selection.ranking[:RANKED_IN_FULL]],
        "rejected": [_rejection(verdict) for verdict in selection.rejected[:REJECTED_NAMED]],
        "rejected_by_reason": _by_reason(selection),
        "asked": [_verdict(verdict, selection) for verdict in asked],
        "counts": {
            "ranked": len(selection.ranking),
            "outscored": len(selection.outscored),
            "rejected": len(selection.rejected),
        },
    }


def _vm(vm: Vm) -> dict[str, Any]:
    return {"name": vm.name, "uuid": vm.uuid, "endpoint": vm.endpoint, "host": vm.host_key}


def _by_reason(selection: Selection) -> dict[str, int]:
    return dict(sorted(Counter(r.code for verdict in selection.rejected for r in verdict.reasons).items()))


def _reason(reason: Reason) -> dict[str, Any]:
    return {"code": reason.code, "message": reason.message, "details": dict(reason.details)}


def _rejection(verdict: HostVerdict) -> dict[str, Any]:
    return {
        "host": verdict.host_key,
        "name": verdict.host_name,
        "reasons": [{"code": reason.code, "message": reason.message} for reason in verdict.reasons],
    }


def _verdict(verdict: HostVerdict, selection: Selection) -> dict[str, Any]:
    """Return everything that is known of one host."""
    return {
        "host": verdict.host_key,
        "name": verdict.host_name,
        "status": verdict.status,
        "score": _round(verdict.score),
        "bound": _round(verdict.bound),
        "components": _rounded(verdict.components),
        "why": why_not(verdict, selection),
        "reasons": [_reason(reason) for reason in verdict.reasons],
        "load": _load(verdict.load) if verdict.load else None,
        "migration_cost": _cost(verdict.cost) if verdict.cost else None,
        "available": verdict.available.as_dict() if verdict.available else None,
    }


def _load(load: Load) -> dict[str, Any]:
    return {
        "overload_probability": _round(load.overload_probability, 4),
        "overload_probability_by_resource": _rounded(load.overload_by_resource, 4),
        "expected_overload_h": _round(load.expected_overload_h, 4),
        "added_overload_h": _round(load.added_overload_h, 4),
        "level_95": {FIELD_OF[name]: _round(value) for name, value in load.peak_level.items()},
        "headroom_95": _rounded(load.headroom, 4),
        "mean_use": _rounded(load.mean_use, 4),
        "own_load": {FIELD_OF[name]: _round(value) for name, value in load.own.mean.items()} if load.own else None,
        "own_load_from": dict(load.own.sources) if load.own else None,
    }


def _cost(cost: Cost) -> dict[str, Any]:
    return {
        "duration_s": _round(cost.duration_s, 1),
        "transferred_mib": _round(cost.transferred_mib, 1),
        "downtime_ms": _round(cost.downtime_ms, 1),
        "converges": cost.converges,
        "strategy": cost.strategy,
        "throttle_percent": _round(cost.throttle_percent, 0),
        "bandwidth_mib_s": _round(cost.bandwidth_mib_s, 1),
        "link_share_source": _round(cost.link_share_source, 3),
        "link_share_destination": _round(cost.link_share_destination, 3),
    }


def _round(value: float | None, digits: int = 2) -> float | None:
    return None if value is None else round(value, digits)


def _rounded(values: Mapping[str, float], digits: int = 2) -> dict[str, float]:
    return {name: round(value, digits) for name, value in values.items()}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The score of a host: five components of 0-100 points each, weighed by the policy.

Every component is monotone: more free capacity never lowers it, more predicted load never raises it. The one
exception is the balance under ``pack``, which prefers fuller hosts on purpose.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..estate.nouns import Host, Sla
from .filters.blackout import overlapped_blackout
from .policies import COMPONENTS, Policy
from .question import Question
from .rules import keeps_rule
from .verdict import Cost, Load

#: Parts of the risk component: staying within limits at all, how deep and long beyond them, and room left below.
RISK_PARTS = {"probability": 0.6, "overload": 0.25, "headroom": 0.15}
#: Expected overload (hours x share of the limit) at which the points of overload and impact are halved: six minutes
#: at twice the limit, or an hour at 10 % over it.
HALF_OVERLOAD_H = 0.1
#: Duration and downtime of a move at which their points are halved: a move of 5 minutes, and a pause of 300 ms, the
#: downtime limit that QEMU sets by default.
HALF_DURATION_S = 300.0
HALF_DOWNTIME_MS = 300.0


def risk(load: Load) -> float:
    """Return the points for staying within the limits over the whole window, all resources together."""
    headroom = min(load.headroom.values(), default=1.0)
    return 100.0 * (
        RISK_PARTS["probability"] * (1.0 - load.overload_probability)
        + RISK_PARTS["overload"] * _halving(load.expected_overload_h, HALF_OVERLOAD_H)
        + RISK_PARTS["headroom"] * min(max(headroom, 0.0), 1.0)
    )


def impact(added_overload_h: float) -> float:
    """Return the points for sparing the residents: overload that they suffer only because of the VM."""
    return 100.0 * _halving(added_overload_h, HALF_OVERLOAD_H)


def migration(cost: Cost) -> float:
    """Return the points for a short move with a short pause; a move that does not converge gets none."""
    if not cost.converges:
        return 0.0
    return 50.0 * (_halving(cost.duration_s, HALF_DURATION_S) + _halving(cost.downtime_ms, HALF_DOWNTIME_MS))


def sla(load: Load | None, cost: Cost | None, host: Host, question: Question) -> float:
    """Return the points for keeping soft limits and soft rules, 100 when there are none.

    Each counts the same; a violated limit keeps points in the measure that it is missed by less than its own size.
    ``load`` None leaves the overload limit as kept; ``cost`` None (staying) leaves out what concerns the move.
    """
    kept = [*_kept_limits(question.sla, load, cost), *_kept_rules(host, question)]
    if cost is not None and "blackout" in question.sla.soft and question.sla.blackout:
        kept.append(0.0 if overlapped_blackout(cost, question) else 1.0)
    return 100.0 * sum(kept) / len(kept) if kept else 100.0


def balance(policy: Policy, mean_use: Mapping[str, float]) -> float:
    """Return the points for where the load goes: to emptier hosts, or under ``pack`` to fuller ones.

    ``balanced`` looks at the mean over the resources, ``spread`` and ``pack`` at the fullest one. ``mean_use`` is the
    expected use with the VM, as a share of capacity.
    """
    uses = [min(max(use, 0.0), 1.0) for use in mean_use.values()]
    if not uses:
        return 50.0
    if policy.name == "pack":
        return 100.0 * max(uses)
    return 100.0 * (1.0 - (max(uses) if policy.name == "spread" else sum(uses) / len(uses)))


def components(load: Load, cost: Cost | None, host: Host, question: Question) -> dict[str, float]:
    """Return every component's points; ``cost`` None means staying, which costs nothing."""
    return {
        "risk": risk(load),
        "impact": impact(load.added_overload_h),
        "migration": 100.0 if cost is None else migration(cost),
        "sla": sla(load, cost, host, question),
        "balance": balance(question.policy, load.mean_use),
    }


def total(points: Mapping[str, float], policy: Policy) -> float:
    """Return the mean of the components, weighed by the policy, 0-100."""
    return sum(policy.weights[name] * points[name] for name in COMPONENTS) / sum(policy.weights.values())


def _kept_limits(sla_limits: Sla, load: Load | None, cost: Cost | None) -> list[float]:
    found = {
        "max_downtime_ms": cost.downtime_ms if cost else None,
        "max_duration_s": cost.duration_s if cost else None,
        "max_overload_probability": load.overload_probability if load else 0.0,
    }
    return [
        _kept(value, limit)
        for name, value in found.items()
        if name in sla_limits.soft and value is not None and (limit := getattr(sla_limits, name)) is not None
    ]


def _kept_rules(host: Host, question: Question) -> list[float]:
    return [float(keeps_rule(rule, host, question)) for rule in question.rules if not rule.mandatory]


def _kept(value: float, limit: float) -> float:
    if value <= limit:
        return 1.0
    return max(0.0, 1.0 - (value - limit) / limit) if limit > 0 else 0.0


def _halving(amount: float, half: float) -> float:
    """Return 1 for nothing, 1/2 at ``half``, 1/4 at twice that."""
    return float(2.0 ** (-amount / half))

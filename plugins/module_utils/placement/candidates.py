# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The first stage of a selection: which hosts may take the VM at all, and how well each could do at best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..estate.nouns import Host
from ..estate.resources import Resources
from ..libraries import library
from .filters.registry import COST_FILTERS, HOST_FILTERS
from .link import MIB_S_PER_MBIT_S, bandwidth_mib_s, link_mbit_s
from .loads import HostLoads, capacities, ceilings, named
from .question import Question
from .score import components, total
from .threshold import available, threshold_score
from .verdict import Cost, HostVerdict, Load, Reason

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A host that passed every filter on facts and cost. ``bound`` is a score that it cannot exceed."""

    host: Host
    cost: Cost
    bound: float
    available: Resources | None = None


def sift(question: Question) -> tuple[list[tuple[Host, Cost]], list[HostVerdict]]:
    """Put every host of the estate, in the order of keys, through the filters on facts and on the cost of the move.

    Returns (hosts left with the cost of moving there, verdicts on rejected hosts with all reasons).
    """
    left: list[tuple[Host, Cost]] = []
    rejected: list[HostVerdict] = []
    for key in sorted(question.estate.hosts):
        host = question.estate.hosts[key]
        reasons = _given(check.reject(host, question) for check in HOST_FILTERS)
        if reasons:
            rejected.append(HostVerdict(key, host.name, "rejected", reasons=reasons))
            continue
        cost = cost_of_move(host, question)
        reasons = _given(check.reject(cost, question) for check in COST_FILTERS)
        if reasons:
            rejected.append(HostVerdict(key, host.name, "rejected", reasons=reasons, cost=cost))
        else:
            left.append((host, cost))
    return left, rejected


def cost_of_move(host: Host, question: Question) -> Cost:
    """Return what moving the VM to ``host`` now costs, at the bandwidth that the links of both ends leave."""
    bandwidth = bandwidth_mib_s(question.source, host)
    move = question.predict_move(bandwidth)
    return Cost(
        duration_s=move.cost.duration_s,
        transferred_mib=move.cost.transferred_mib,
        downtime_ms=move.cost.downtime_ms,
        converges=move.cost.converges,
        bandwidth_mib_s=bandwidth,
        link_share_source=_share(bandwidth, question.source),
        link_share_destination=_share(bandwidth, host),
        throttle_percent=move.cost.throttle_percent,
        strategy=move.strategy,
        firm=move.firm,
    )


def bounded(question: Question, left: Sequence[tuple[Host, Cost]], loads: HostLoads) -> list[Candidate]:
    """Return the candidates, the one with the highest bound first; equal bounds in the order of keys.

    The threshold rule is exact. For the score, the bound is what the host would earn under a load that is everywhere
    its mean: by Jensen's inequality the expected overload cannot be less, peaks cannot be lower, and use is the same.
    """
    if question.policy.is_threshold:
        candidates = []
        for host, cost in left:
            free = available(host, question)
            points = threshold_score(free, question.threshold_need, question.policy)
            candidates.append(Candidate(host, cost, points, free))
    else:
        kindest = kindest_loads([host for host, _cost in left], question, loads)
        candidates = [
            Candidate(host, cost, total(components(load, cost, host, question), question.policy))
            for (host, cost), load in zip(left, kindest, strict=True)
        ]
    return sorted(candidates, key=lambda candidate: (-candidate.bound, candidate.host.key))


def kindest_loads(hosts: Sequence[Host], question: Question, loads: HostLoads) -> list[Load]:
    """Return per host a `Load` that no full distribution with the same mean can be kinder than."""
    if not hosts:
        return []
    mean = loads.means(hosts).astype(np.float64)
    ceiling, capacity = ceilings(hosts, question), capacities(hosts)
    overload_h = (np.maximum(mean - ceiling[..., None], 0).sum(axis=-1) * loads.step_h / ceiling).sum(axis=-1)
    peak = mean.max(axis=-1)
    headroom, use, peak_use = 1 - peak / ceiling, mean.mean(axis=-1) / capacity, peak / capacity
    known = np.isfinite(ceiling)
    return [
        Load(
            overload_probability=0.0,
            overload_by_resource={},
            expected_overload_h=float(overload_h[row]),
            added_overload_h=0.0,
            peak_level=named(peak[row], known[row]),
            headroom=named(headroom[row], known[row]),
            mean_use=named(use[row], known[row]),
            mean_peak_use=named(peak_use[row], known[row]),
        )
        for row in range(len(hosts))
    ]


def _given(answers: Iterable[Reason | None]) -> tuple[Reason, ...]:
    return tuple(answer for answer in answers if answer is not None)


def _share(bandwidth: float, host: Host | None) -> float:
    return bandwidth / (link_mbit_s(host) * MIB_S_PER_MBIT_S) if host is not None else 0.0

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choosing the host for one VM: sift all hosts, bound the rest cheaply, judge the promising ones in full, decide."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from ..estate.nouns import Host
from ..estate.resources import RESOURCES
from .candidates import Candidate, bounded, sift
from .filters.affinity import Affinity
from .filters.anti_affinity import AntiAffinity
from .filters.host_affinity import HostAffinity
from .filters.host_anti_affinity import HostAntiAffinity
from .filters.host_state import HostState
from .filters.registry import LOAD_FILTERS
from .filters.sla_overload import SlaOverload
from .loads import HostLoads
from .question import Question
from .score import components, total
from .threshold import available, threshold_score
from .verdict import HostVerdict, Load, NoHostFits, Reason, RivalBalancerActive, Selection, VmNotMovable

#: Hosts that are judged in full at the least, if there are as many: enough for a ranking that people can compare.
LEAST_JUDGED = 10
#: Rounding between a bound and a full score, in points.
SLACK = 0.01
#: Rejected hosts named in the error when nothing fits.
NAMED_REJECTIONS = 50
#: Overload probability of the chosen host from which the answer carries a warning.
RISKY = 0.05
#: What makes staying no option.
STAY_FILTERS = (HostState(), AntiAffinity(), Affinity(), HostAffinity(), HostAntiAffinity())


def select_host(question: Question) -> Selection:
    """Return which host should take the VM, or that it should stay, with the verdict on every host.

    The chosen host is the best of all that pass the filters: hosts are judged in full, most promising first,
    until none that is left could reach the best score. Deterministic; ties go to the lesser host key.

    Raises `NoHostFits`, `VmNotMovable`, `VmNotForecast`, `ForecastTooShort`, `RivalBalancerActive`.
    """
    source = _check_movable(question)
    left, rejected = sift(question)
    loads = HostLoads(question)
    staying, must_leave = _judge_staying(question, source, loads)
    ranking, outscored, overloaded = _judge(question, bounded(question, left, loads), loads)
    rejected = sorted([*rejected, *overloaded], key=lambda verdict: verdict.host_key)
    selection = Selection(
        decision="move",
        reasons=(),
        chosen=ranking[0] if ranking else None,
        ranking=tuple(ranking),
        outscored=tuple(outscored),
        rejected=tuple(verdict for verdict in rejected if verdict.host_key != question.vm.host_key),
        staying=staying,
        must_leave=must_leave,
    )
    return _decide(question, selection, loads)


def _check_movable(question: Question) -> Host:
    """Return the host that the VM would leave; raises `VmNotMovable` or `RivalBalancerActive`."""
    vm = question.vm
    if vm.power_state != "running" or vm.is_template:
        state = "a template" if vm.is_template else vm.power_state
        raise VmNotMovable(
            f"VM {vm.name!r} is {state}; only a running VM can be live-migrated",
            advice="Start it, or leave it out.",
            details={"vm": vm.key, "power_state": vm.power_state},
        )
    if question.source is None:
        raise VmNotMovable(
            f"The snapshot does not hold the host of VM {vm.name!r}",
            advice="Collect a fresh snapshot and check that the endpoint was reachable.",
            details={"vm": vm.key, "host": vm.host_key},
        )
    rival = question.rival_of.get(question.source.key)
    if rival is not None and question.refuse_rivals:
        raise RivalBalancerActive(
            f"{rival} moves VMs in the cluster of host {question.source.name!r} by itself and would undo this choice",
            advice="Set it to manual or advisory, exclude the VM from it, or set rival_balancer to warn.",
            details={"balancer": rival, "host": question.source.key},
        )
    return question.source


def _judge_staying(question: Question, host: Host, loads: HostLoads) -> tuple[HostVerdict, tuple[Reason, ...]]:
    """Return the verdict on leaving the VM where it is, and why that is no option (empty: it is one)."""
    load = loads.judge(host)
    points = components(load, None, host, question)
    reasons = [check.reject(host, question) for check in STAY_FILTERS]
    reasons.append(SlaOverload().reject(load, question))
    must_leave = tuple(reason for reason in reasons if reason is not None)
    free = available(host, question) if question.policy.is_threshold else None
    score = (
        threshold_score(free, question.threshold_need, question.policy)
        if free is not None
        else total(points, question.policy)
    )
    return HostVerdict(host.key, host.name, "source", score, score, points, must_leave, load, None, free), must_leave


def _judge(
    question: Question, candidates: Sequence[Candidate], loads: HostLoads
) -> tuple[list[HostVerdict], list[HostVerdict], list[HostVerdict]]:
    """Return (hosts judged in full, best first; hosts that cannot reach the best; hosts rejected by their load)."""
    slack = 0.0 if question.policy.is_threshold else SLACK
    ranked: list[HostVerdict] = []
    outscored: list[HostVerdict] = []
    rejected: list[HostVerdict] = []
    best = (float("inf"), "")
    for candidate in candidates:
        host = candidate.host
        in_reach = (-candidate.bound - slack, host.key) <= best or len(ranked) < LEAST_JUDGED
        if not in_reach and host.key not in question.asked_hosts:
            outscored.append(HostVerdict(host.key, host.name, "outscored", bound=candidate.bound, cost=candidate.cost))
            continue
        verdict = _verdict(question, candidate, loads.judge(host))
        if verdict.status == "rejected":
            rejected.append(verdict)
        else:
            ranked.append(verdict)
            best = min(best, _order(verdict))
    return sorted(ranked, key=_order), sorted(outscored, key=lambda verdict: verdict.host_key), rejected


def _order(verdict: HostVerdict) -> tuple[float, str]:
    """Sort key: the higher score first, then the lesser key."""
    return -(verdict.score or 0.0), verdict.host_key


def _verdict(question: Question, candidate: Candidate, load: Load) -> HostVerdict:
    host, cost = candidate.host, candidate.cost
    reasons = tuple(reason for check in LOAD_FILTERS if (reason := check.reject(load, question)) is not None)
    points = components(load, cost, host, question)
    score = candidate.bound if question.policy.is_threshold else total(points, question.policy)
    status = "rejected" if reasons else "ranked"
    return HostVerdict(
        host.key, host.name, status, score, candidate.bound, points, reasons, load, cost, candidate.available
    )


def _decide(question: Question, selection: Selection, loads: HostLoads) -> Selection:
    """Return ``selection`` with the decision, its reasons and its warnings; raises `NoHostFits`."""
    cooling = _cooldown(question) if not selection.must_leave else None
    if cooling is not None:
        return replace(
            selection, decision="stay", chosen=None, reasons=(cooling,), warnings=_warnings(question, selection, loads)
        )
    if selection.chosen is None:
        raise _no_host_fits(question, selection)
    staying = _too_little_gain(question, selection)
    if staying is not None:
        return replace(
            selection, decision="stay", chosen=None, reasons=(staying,), warnings=_warnings(question, selection, loads)
        )
    chosen = replace(selection.chosen, status="chosen")
    return replace(
        selection,
        chosen=chosen,
        ranking=(chosen, *selection.ranking[1:]),
        reasons=(_why_move(chosen, selection),),
        warnings=(*_warnings(question, selection, loads), *_cautions(chosen)),
    )


def _cooldown(question: Question) -> Reason | None:
    if question.last_move_ts is None:
        return None
    since_s = question.now_ts - question.last_move_ts
    if not 0 <= since_s < question.cooldown_s:
        return None
    return Reason(
        "cooldown",
        f"the VM was moved {since_s / 60:.0f} min ago; it stays for {question.cooldown_s / 60:.0f} min after a move",
        {"since_s": since_s, "cooldown_s": question.cooldown_s},
    )


def _too_little_gain(question: Question, selection: Selection) -> Reason | None:
    """Return why the best move is not worth it; the threshold rule knows no staying."""
    if question.policy.is_threshold or selection.must_leave or selection.staying is None or selection.chosen is None:
        return None
    best, present = selection.chosen.score or 0.0, selection.staying.score or 0.0
    if best - present >= question.min_gain:
        return None
    return Reason(
        "gain_too_small",
        f"the best host scores {best:.1f}, staying {present:.1f}; a move must gain {question.min_gain:g}",
        {"best": best, "stay": present, "min_gain": question.min_gain, "best_host": selection.chosen.host_key},
    )


def _why_move(chosen: HostVerdict, selection: Selection) -> Reason:
    if selection.must_leave:
        causes = "; ".join(reason.message for reason in selection.must_leave)
        return Reason(
            "must_leave", f"staying is no option: {causes}", {"codes": [r.code for r in selection.must_leave]}
        )
    present = selection.staying.score if selection.staying is not None else None
    return Reason("gain", f"scores {chosen.score or 0.0:.1f}, staying {present or 0.0:.1f}", {"stay": present})


def _warnings(question: Question, selection: Selection, loads: HostLoads) -> tuple[str, ...]:
    found = []
    if loads.assumed:
        found.append(
            f"{len(loads.assumed)} resident VMs have no complete forecast; their present use, else their configured "
            "size, was taken as constant demand"
        )
    rivals = sorted(set(question.rival_of.values())) if not question.refuse_rivals else []
    if rivals:
        found.append(f"{', '.join(rivals)} also moves VMs on this estate by itself and may undo the choice")
    judged = [v for v in (selection.staying, *selection.ranking) if v is not None and v.load is not None]
    told = [f"{v.host_name}: {v.load.own.caution}" for v in judged if v.load and v.load.own and v.load.own.caution]
    if told:
        found.append(
            f"{len(told)} of {len(judged)} hosts judged have no full forecast of their own load, which counts as on "
            + told[0]
        )
    return tuple(found)


def _cautions(chosen: HostVerdict) -> tuple[str, ...]:
    found = []
    if chosen.load is not None and chosen.load.overload_probability > RISKY:
        found.append(
            f"the best host passes a limit with probability {chosen.load.overload_probability:.0%} in the window; "
            "a hard reservation there may be refused"
        )
    unknown = [name for name in RESOURCES if chosen.load is not None and name not in chosen.load.headroom]
    if unknown:
        found.append(f"the capacity of the chosen host is unknown for {', '.join(unknown)} and was not judged")
    if chosen.cost is not None and not chosen.cost.converges:
        found.append("the migration is predicted not to converge by any means that the platform has")
    if chosen.cost is not None and chosen.cost.throttle_percent > 0:
        found.append(f"the migration is predicted to slow the VM by up to {chosen.cost.throttle_percent:.0f} %")
    return tuple(found)


def _no_host_fits(question: Question, selection: Selection) -> NoHostFits:
    counts = Counter(reason.code for verdict in selection.rejected for reason in verdict.reasons)
    told = ", ".join(f"{code} ({count})" for code, count in sorted(counts.items())) or "there is no other host"
    named = selection.rejected[:NAMED_REJECTIONS]
    return NoHostFits(
        f"None of {len(selection.rejected)} hosts can take VM {question.vm.name!r}: {told}",
        advice="details.hosts gives every host's reasons; lift the limit or rule that is in the way.",
        details={
            "decision": "none",
            "vm": question.vm.key,
            "reasons": dict(sorted(counts.items())),
            "hosts": {v.host_key: [{"code": r.code, "message": r.message} for r in v.reasons] for v in named},
            "hosts_unnamed": len(selection.rejected) - len(named),
            "may_stay": not selection.must_leave,
        },
    )

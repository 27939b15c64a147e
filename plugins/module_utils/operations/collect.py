# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collects the estate as it is, and the samples since the last time, from all endpoints and sources at once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ..clock import to_iso
from ..errors import ForesightError, InvalidOption
from ..estate.event import Event
from ..estate.series import Samples
from ..estate.snapshot import Estate
from ..hypervisors.fleet import Fleet
from ..hypervisors.parallel import answer_all
from ..workspace.errors import StoreNotWritable
from ..workspace.lease import lease
from ..workspace.metrics import AppendReport, check_samples
from ..workspace.retention import tidy
from ..workspace.snapshots import snapshot_id_of
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .estate_summary import build_estate, details_of, summary_of, with_others
from .event_options import events_summary, read_events
from .gathering import Answer, Memory, Question, SourceAnswer, ask_endpoint, ask_source
from .own_load import store_own_loads
from .quality import endpoint_warnings, estate_warnings, source_warnings

#: What can be gathered beside the inventory, which everything needs.
SUBSETS = ("usage", "history", "sources")
EVERYTHING = "all"
#: What to do while another collection into the same store runs.
RUN, SKIP = "run", "skip"
#: How long an object store believes in a collection that does not end.
_LEASE_S = 1800.0
#: Most scheduled events in a result.
MOST_EVENTS = 100
#: Option, its least and its greatest value: some 11 years of history, a century of retention.
RANGES = (("history_hours", 0.0, 1e5), ("keep_others_minutes", 0.0, 1e6), ("retention_days", 1.0, 36_500.0))


class NothingAnswered(ForesightError):
    """No endpoint gave its inventory; ``details`` has the error of each."""

    code = "no_endpoint_answered"


@dataclass(frozen=True, slots=True)
class CollectRequest:
    """What to collect.

    ``gather_subset`` names `SUBSETS`, ``all``, or with ``!`` what not to gather. ``history_hours`` is how far back to
    go where nothing was collected yet. ``events`` take the place of the stored scheduled events; None leaves those.
    ``vms`` and ``hosts`` are those whose details are wanted. ``deadline_s`` bounds the answer of each endpoint and
    source. ``if_running`` says what to do while another collection into the store runs: `RUN` or `SKIP`. Endpoints
    not asked now stay in the snapshot when they were seen in the last ``keep_others_minutes``.
    """

    endpoints: Sequence[Mapping[str, Any]]
    store: str
    sources: Sequence[Mapping[str, Any]] = ()
    events: Sequence[Mapping[str, Any]] | None = None
    gather_subset: Sequence[str] = (EVERYTHING,)
    history_hours: float = 336.0
    vms: Sequence[str] = ()
    hosts: Sequence[str] = ()
    deadline_s: float = 240.0
    if_running: str = RUN
    retention_days: float = 35.0
    keep_others_minutes: float = 0.0


def collect(request: CollectRequest, context: Context) -> Outcome:
    """Collect once and store samples and snapshot; in check mode ask the same and store nothing.

    Endpoints and sources that fail are in the result with their error. Raises `NothingAnswered` when every endpoint
    does, `InvalidOption`, and what `Workspace.open` and its writes raise.
    """
    _check_numbers(request)
    _check_names(request)
    events = None if request.events is None else read_events(request.events)
    workspace = Workspace.open(request.store, writable=not context.check_mode)
    if context.check_mode or request.if_running == RUN:
        return _collect(request, events, workspace, context)
    with lease(workspace.files, "collect", _LEASE_S) as held:
        return _collect(request, events, workspace, context) if held else _skipped(workspace)


def _collect(
    request: CollectRequest, events: Sequence[Event] | None, workspace: Workspace, context: Context
) -> Outcome:
    with Fleet(request.endpoints) as fleet:
        question = _question(request, context, workspace, fleet.clock.now())
        context.report(f"Asking {len(fleet.names)} endpoints", {"endpoints": list(fleet.names)})
        answers = fleet.ask(partial(ask_endpoint, question=question), deadline_s=request.deadline_s)
    _check_stored(answers)
    estate = build_estate(answers, {str(one["name"]): str(one["type"]) for one in request.endpoints}, question.now_ts)
    _check_any_answered(estate)
    estate = _with_others(request, workspace, estate)
    details = details_of(estate, request.vms, request.hosts)
    sources = _ask_sources(request, question, estate)
    _check_stored(sources)
    estate = _store(workspace, estate, answers, sources, context)
    if events is not None and not context.check_mode:
        workspace.events.put(events, replace=True)
    known_events = workspace.events.all() if events is None else events
    told_events = events_summary(known_events[:MOST_EVENTS], estate, question.now_ts)
    if not context.check_mode:
        tidy(workspace, question.now_ts, request.retention_days)
    outcome = _outcome(workspace, request, estate, answers, sources, {**details, "events": told_events})
    return replace(outcome, warnings=(*outcome.warnings, *_left_out(len(known_events))))


def _left_out(events: int) -> tuple[str, ...]:
    return (f"{events} events are stored; the first {MOST_EVENTS} are shown",) if events > MOST_EVENTS else ()


def _skipped(workspace: Workspace) -> Outcome:
    """Return the answer while another collection runs: nothing was asked or stored."""
    ids = workspace.snapshots.ids()
    result: dict[str, Any] = {
        "collected": False,
        "snapshot_id": ids[-1] if ids else None,
        "endpoints": [],
        "sources": [],
    }
    return Outcome(changed=False, result=result, warnings=("Another collection into this store is running",))


def gathered_subsets(gather: Sequence[str]) -> frozenset[str]:
    """Return which of `SUBSETS` to gather; raises `InvalidOption` for another name."""
    wanted = {name for name in gather if not name.startswith("!")}
    unwanted = {name.removeprefix("!") for name in gather if name.startswith("!")}
    unknown = sorted((wanted | unwanted) - {EVERYTHING, "min", *SUBSETS})
    if unknown:
        raise InvalidOption("gather_subset", f"unknown subset {unknown[0]!r}; known are all, min, {', '.join(SUBSETS)}")
    if EVERYTHING in unwanted:
        return frozenset(wanted) & frozenset(SUBSETS)
    return frozenset(SUBSETS if EVERYTHING in wanted or not wanted else wanted & set(SUBSETS)) - unwanted


def _check_numbers(request: CollectRequest) -> None:
    """Raise `InvalidOption` for times that cannot be meant; a retention of less than a day would forget it all."""
    if not 0 < request.deadline_s < math.inf:
        raise InvalidOption("deadline_s", f"{request.deadline_s!r} is not a number above 0")
    for option, lowest, highest in RANGES:
        value = getattr(request, option)
        if not lowest <= value <= highest:
            raise InvalidOption(option, f"{value!r} is not between {lowest:g} and {highest:g}")


def _check_names(request: CollectRequest) -> None:
    """Endpoints and sources share the names under which samples are stored."""
    names = [str(one["name"]) for one in (*request.endpoints, *request.sources)]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise InvalidOption("sources.name", f"two endpoints or sources are called {doubled[0]!r}")


def _question(request: CollectRequest, context: Context, workspace: Workspace, now_ts: float) -> Question:
    subsets = gathered_subsets(request.gather_subset)
    return Question(
        now_ts=now_ts,
        usage="usage" in subsets,
        history="history" in subsets,
        sources="sources" in subsets,
        history_s=request.history_hours * 3600.0,
        memory_of=lambda name: Memory.from_data(workspace.counters.read(name)),
        append=_count_only if context.check_mode else workspace.metrics.append,
    )


def _count_only(_name: str, samples: Samples) -> AppendReport:
    return check_samples(samples)


def _check_any_answered(estate: Estate) -> None:
    if not any(status.reachable for status in estate.endpoints):
        errors = {status.name: dict(status.error or {}) for status in estate.endpoints}
        first = next(iter(errors.values()), {})
        raise NothingAnswered(
            f"None of {len(errors)} endpoints answered; the first says: {first.get('message', '')}",
            advice=str(first.get("advice", "")),
            details={"endpoints": errors},
        )


def _check_stored(answers: Mapping[str, Answer | SourceAnswer | ForesightError]) -> None:
    """A store that takes nothing more is no fault of the endpoint whose samples it refused."""
    for answer in answers.values():
        if isinstance(answer, StoreNotWritable):
            raise answer


def _with_others(request: CollectRequest, workspace: Workspace, estate: Estate) -> Estate:
    if not request.keep_others_minutes or not workspace.snapshots.ids():
        return estate
    return with_others(estate, workspace.snapshots.latest(), estate.taken_ts - request.keep_others_minutes * 60.0)


def _ask_sources(
    request: CollectRequest, question: Question, estate: Estate
) -> Mapping[str, SourceAnswer | ForesightError]:
    if not question.sources:
        return {}
    questions = {str(one["name"]): partial(ask_source, one, estate, question) for one in request.sources}
    return answer_all(questions, request.deadline_s)


def _store(
    workspace: Workspace,
    estate: Estate,
    answers: Mapping[str, Answer | ForesightError],
    sources: Mapping[str, SourceAnswer | ForesightError],
    context: Context,
) -> Estate:
    """Store snapshot and memories (samples were stored as they came); return the estate with its id."""
    if context.check_mode:
        return replace(estate, snapshot_id=snapshot_id_of(estate))
    for name, answer in (*answers.items(), *sources.items()):
        if not isinstance(answer, ForesightError):
            workspace.counters.write(name, answer.memory.as_data())
    store_own_loads(workspace, estate)
    return replace(estate, snapshot_id=workspace.snapshots.write(estate))


def _outcome(
    workspace: Workspace,
    request: CollectRequest,
    estate: Estate,
    answers: Mapping[str, Answer | ForesightError],
    sources: Mapping[str, SourceAnswer | ForesightError],
    details: Mapping[str, Any],
) -> Outcome:
    now_ts = estate.taken_ts
    warnings = [*estate_warnings(estate), *workspace.metrics.warnings]
    for name, answer in answers.items():
        if isinstance(answer, ForesightError):
            warnings.append(f"{name}: {answer.message}")
        else:
            warnings += endpoint_warnings(name, answer, now_ts)
    for name, source in sources.items():
        if isinstance(source, ForesightError):
            warnings.append(f"{name}: {source.message}")
        else:
            warnings += source_warnings(name, source, now_ts)
    endpoints = [_told(name, answer) for name, answer in answers.items()]
    told_sources = [_told(name, answer) for name, answer in sources.items()]
    summary = summary_of(estate)
    summary["samples_written"] = sum(one["samples_written"] for one in (*endpoints, *told_sources))
    result = {
        "collected": True,
        "snapshot_id": estate.snapshot_id,
        "taken": to_iso(estate.taken_ts),
        "summary": summary,
        "endpoints": endpoints,
        "sources": told_sources,
        **details,
    }
    facts = {name: result[name] for name in ("snapshot_id", "taken", "summary", "endpoints")}
    return Outcome(changed=False, result=result, warnings=tuple(warnings), facts={**facts, "store": request.store})


def _told(name: str, answer: Answer | SourceAnswer | ForesightError) -> dict[str, Any]:
    """Return one endpoint's or source's line of the result."""
    if isinstance(answer, ForesightError):
        return {"name": name, "reachable": False, "samples_written": 0, "error": answer.as_dict()}
    told: dict[str, Any] = {
        "name": name,
        "reachable": True,
        "samples_written": answer.tally.written,
        "samples_left_out": dict(answer.tally.left_out),
        "newest_sample": None if answer.tally.last_ts is None else to_iso(answer.tally.last_ts),
        "error": None,
    }
    if isinstance(answer, SourceAnswer):
        return {**told, "unchanged": answer.unchanged}
    server_ts = answer.inventory.server_ts
    return {
        **told,
        "hosts": len(answer.inventory.hosts),
        "vms": len(answer.inventory.vms),
        "history_until": None if answer.memory.history_until_ts is None else to_iso(answer.memory.history_until_ts),
        "clock_skew_s": None if server_ts is None else round(server_ts - answer.asked_ts, 1),
    }

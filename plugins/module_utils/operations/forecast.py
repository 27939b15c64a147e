# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forecast the demand of the fleet from the workspace's metrics, and leave the forecast there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..errors import InvalidOption
from ..estate.forecast import LEVELS, Forecast
from ..estate.nouns import Host, Vm
from ..estate.resources import RESOURCES
from ..estate.series import SeriesKey, SeriesSet
from ..estate.snapshot import Estate
from ..forecasting.forecast import forecast
from ..forecasting.request import ForecastRequest, KnownEvent
from ..forecasting.scoring import demoted
from ..libraries import library
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .forecast_report import check_report_path, pictures, write_report
from .forecast_result import add_records, result_of
from .forecast_scores import keep_score, track_record, track_records
from .own_load import read_own_loads

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: What is done with a VM that has no usable history.
ON_NO_HISTORY = ("abstain", "allocated")
#: Power states in which a VM has demand.
WITH_DEMAND = ("running", "paused")
#: Part of the id: a change of what forecasts contain must not find older ones.
FORMAT = "3"
#: Paths are stored at this resolution, holding maxima, to keep them within reach of one read.
SCENARIO_STEP_S = 300
#: Series from which local processes save time.
WORTH_PROCESSES = 1_000


@dataclass(frozen=True)
class ForecastVmsRequest:
    """The options of vm_forecast. ``vms`` and ``hosts`` are names (empty: all); ``model`` a name or one per metric."""

    store: str
    snapshot_id: str = "latest"
    vms: Sequence[str] = ()
    hosts: Sequence[str] = ()
    metrics: Sequence[str] = RESOURCES
    horizon_hours: float = 24.0
    step_minutes: int = 5
    history_days: int = 14
    model: str | Mapping[str, str] = "auto"
    levels: Sequence[float] = (0.5, 0.9, 0.95)
    seed: int = 0
    workers: int = 0
    dask_scheduler: str | None = None
    on_no_history: str = "abstain"
    report_paths: Sequence[str] = ()


def forecast_vms(request: ForecastVmsRequest, context: Context) -> Outcome:
    """Forecast the asked VMs and hosts' own load from the snapshot's time on, and store the forecast.

    The id is a digest of the history, the options and the code's format: the same question finds the stored answer
    and changes nothing. Raises `InvalidOption` for options that cannot be, and what reading the store raises.
    """
    _check(request)
    workspace = Workspace.open(request.store, writable=not context.check_mode)
    estate = workspace.snapshots.read(request.snapshot_id)
    vms, hosts = _asked(request, estate)
    series = _history(request, workspace, estate, vms, hosts)
    history, unscored = keep_score(workspace, estate.taken_ts, check_mode=context.check_mode)
    question = replace(_question(request, workspace, series, estate, vms), demoted=demoted(history))
    forecast_id = _identify(series, request, question)
    exists = workspace.forecasts.exists(forecast_id)
    if exists:
        answer = workspace.forecasts.read(forecast_id)
    else:
        context.report(f"Forecasting {len(series.keys)} series of {len(vms)} VMs", {"series": len(series.keys)})
        answer = forecast(series, question, _reporter(context))
        if not context.check_mode:
            workspace.forecasts.write(forecast_id, answer)
    result, warnings = result_of(answer, forecast_id, estate, vms, hosts, request.levels, bool(request.vms))
    result["track_record"] = track_record(history)
    add_records(result, track_records(history))
    drawn = _draw(request, answer, series, question, estate, vms, hosts, check_mode=context.check_mode)
    result["reports"] = list(request.report_paths)
    diff = None if exists else {"before": {"forecast_id": None}, "after": {"forecast_id": forecast_id}}
    return Outcome(changed=not exists or any(drawn), result=result, diff=diff, warnings=(*warnings, *unscored))


def _draw(
    request: ForecastVmsRequest,
    answer: Forecast,
    series: SeriesSet,
    question: ForecastRequest,
    estate: Estate,
    vms: Sequence[Vm],
    hosts: Sequence[Host],
    *,
    check_mode: bool,
) -> list[bool]:
    """Write the reports (not in check mode); return for each whether its file is another than before."""
    if not request.report_paths:
        return []
    shown = pictures(answer, series, estate, hosts, vms, question.events)
    title = f"Demand forecast from {to_iso(answer.origin_ts)}"
    return [write_report(path, shown, title, check_mode=check_mode) for path in request.report_paths]


def _check(request: ForecastVmsRequest) -> None:
    """Raise `InvalidOption` for values that the argument spec cannot refuse."""
    if not 1 <= request.horizon_hours <= 24:
        raise InvalidOption("horizon_hours", f"{request.horizon_hours!r} is not between 1 and 24")
    if request.step_minutes < 1 or 1440 % request.step_minutes:
        raise InvalidOption("step_minutes", f"{request.step_minutes!r} does not divide a day")
    if not 1 <= request.history_days <= 90:
        raise InvalidOption("history_days", f"{request.history_days!r} is not between 1 and 90")
    unknown = sorted(set(request.metrics) - set(RESOURCES))
    if unknown or not request.metrics:
        raise InvalidOption("metrics", f"unknown metric {unknown[:1]}; known are {', '.join(RESOURCES)}")
    if request.seed < 0:
        raise InvalidOption("seed", f"{request.seed!r} is negative")
    _check_model(request.model)
    for level in request.levels:
        if not LEVELS[0] <= level <= LEVELS[-1]:
            raise InvalidOption("levels", f"{level!r} is not between {LEVELS[0]} and {LEVELS[-1]}")
    for path in request.report_paths:
        check_report_path(path)
    if request.on_no_history not in ON_NO_HISTORY:
        raise InvalidOption("on_no_history", f"{request.on_no_history!r} is none of {', '.join(ON_NO_HISTORY)}")


def _check_model(model: Any) -> None:
    names = list(model.values()) if isinstance(model, Mapping) else [model]
    if not all(isinstance(name, str) for name in names):
        raise InvalidOption("model", f"{model!r} is neither a model's name nor a dictionary of names by metric")
    unknown = sorted(set(model) - set(RESOURCES)) if isinstance(model, Mapping) else []
    if unknown:
        raise InvalidOption("model", f"unknown metric {unknown[0]!r}; known are {', '.join(RESOURCES)}")


def _asked(request: ForecastVmsRequest, estate: Estate) -> tuple[tuple[Vm, ...], tuple[Host, ...]]:
    """Return the VMs and hosts asked for; without names, every VM that has demand and every host."""
    if request.vms:
        vms = tuple(estate.find_vm(name) for name in request.vms)
    else:
        vms = tuple(vm for vm in estate.vms.values() if vm.power_state in WITH_DEMAND and not vm.is_template)
    if request.hosts:
        hosts = tuple(estate.find_host(name) for name in request.hosts)
    else:
        hosts = () if request.vms else tuple(estate.hosts.values())
    return tuple({vm.uuid: vm for vm in vms}.values()), tuple({host.key: host for host in hosts}.values())


def _history(
    request: ForecastVmsRequest, workspace: Workspace, estate: Estate, vms: Sequence[Vm], hosts: Sequence[Host]
) -> SeriesSet:
    """Return the measured history up to the snapshot, on the asked grid; hosts stand for their own load only."""
    step_s = request.step_minutes * 60
    end_ts = float(estate.taken_ts // step_s * step_s)
    start_ts = end_ts - request.history_days * 86_400
    keys = [SeriesKey("vm", vm.uuid, metric) for vm in vms for metric in request.metrics]
    found = workspace.metrics.read(keys, start_ts, end_ts, step_s)
    own = read_own_loads(workspace.metrics, hosts, request.metrics, start_ts, end_ts, step_s)
    return SeriesSet(
        keys=(*found.keys, *own.keys),
        start_ts=start_ts,
        step_s=step_s,
        values=np.concatenate([found.values, own.values]) if own.keys else found.values,
    )


def _question(
    request: ForecastVmsRequest, workspace: Workspace, series: SeriesSet, estate: Estate, vms: Sequence[Vm]
) -> ForecastRequest:
    sizes: dict[SeriesKey, float] = {}
    if request.on_no_history == "allocated":
        sizes = {
            SeriesKey("vm", vm.uuid, metric): vm.allocated[metric]
            for vm in vms
            for metric in request.metrics
            if vm.allocated[metric] > 0
        }
    horizon_s = round(request.horizon_hours * 3600)
    return ForecastRequest(
        horizon_s=horizon_s,
        model=request.model,
        seed=request.seed,
        companions=_companions(workspace, series),
        events=_events(workspace, estate, series, horizon_s),
        no_history_values=sizes,
        workers=request.workers or _workers_for(len(series.keys)),
        dask_scheduler=request.dask_scheduler,
        scenario_step_s=max(series.step_s, SCENARIO_STEP_S),
    )


def _companions(workspace: Workspace, series: SeriesSet) -> SeriesSet | None:
    """Return what applications in the VMs measured (latency, throughput) over the same time; None without any."""
    found = workspace.metrics.read(None, series.start_ts, series.end_ts, series.step_s, entity_kind="app")
    return found if found.keys else None


def _workers_for(series: int) -> int:
    """Return how many processes are worth their start: one for each CPU this process may use, none for little work."""
    return len(os.sched_getaffinity(0)) if series >= WORTH_PROCESSES else 0


def _events(workspace: Workspace, estate: Estate, series: SeriesSet, horizon_s: int) -> tuple[KnownEvent, ...]:
    """Return the stored events as the series see them: which VMs, when in the history and ahead, and how much."""
    known = []
    for event in workspace.events.all():
        effects = {name: event.effect[name] for name in RESOURCES} if event.effect is not None else {}
        known.append(
            KnownEvent(
                name=event.name,
                entity_ids=frozenset(vm.uuid for vm in event.vms.matching(estate.vms.values())),
                spans=event.occurrences(series.start_ts, series.end_ts + horizon_s),
                effects={name: amount for name, amount in effects.items() if amount},
            )
        )
    return tuple(event for event in known if event.spans)


def _identify(series: SeriesSet, request: ForecastVmsRequest, question: ForecastRequest) -> str:
    """Return the id of this question: a digest of the history and of every option that changes the answer."""
    digest = hashlib.sha256()
    options = {
        "format": FORMAT,
        "keys": [list(key) for key in series.keys],
        "start_ts": series.start_ts,
        "step_s": series.step_s,
        "horizon_s": question.horizon_s,
        "model": request.model,
        "seed": request.seed,
        "no_history": sorted([*key, value] for key, value in question.no_history_values.items()),
        "events": [[e.name, sorted(e.entity_ids), e.spans, sorted(e.effects.items())] for e in question.events],
        "demoted": sorted([*key, sorted(names)] for key, names in question.demoted.items()),
    }
    digest.update(json.dumps(options, sort_keys=True, default=list).encode("utf-8", "surrogatepass"))
    digest.update(np.ascontiguousarray(series.values).data)
    if question.companions is not None:
        digest.update(repr(question.companions.keys).encode("utf-8", "surrogatepass"))
        digest.update(np.ascontiguousarray(question.companions.values).data)
    return f"f-{to_iso(series.end_ts)[:16].replace(':', '').replace('-', '').lower()}-{digest.hexdigest()[:16]}"


def _reporter(context: Context) -> Any:
    """Return what tells people how far a long forecast is, about every tenth of the way."""

    def report(done: int, total: int) -> None:
        if done == total or done % max(1, total // 10) == 0:
            context.report(f"Forecast {done} of {total} parts", {"done": done, "total": total})

    return report

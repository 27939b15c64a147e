# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What vSphere has recorded: which of its intervals to ask for which time, in batches it accepts, as `Samples`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ...estate.resources import Resources
from ...estate.series import Samples
from ...libraries import library
from ..protocol import HypervisorFault, PermissionDenied
from .counters import REALTIME_S, Catalogue, factor, series_of
from .faults import GoneFromInventory
from .properties import moid_of, read_everywhere, read_one
from .sdk import pyvmomi
from .session import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: How long hosts keep real-time samples (vSphere Monitoring and Performance, "Statistics Collection Intervals").
REALTIME_KEPT_S = 3600
#: Real-time samples are averaged to this before they leave the driver: three in one, and steps are never shorter.
MINUTE_S = 60
#: What a vCenter answers that cannot reach the host which alone has the real-time samples.
HOST_AWAY = frozenset({"HostCommunication", "HostNotConnected", "HostNotReachable"})
#: A latest sample older than this says nothing of now.
LATEST_WITHIN_S = 300
#: Metrics per call where vCenter sets no lower limit of its own.
METRICS_PER_CALL = 1000
#: The option that limits a call for rolled-up figures, and its default where it is not set.
LIMIT_OPTION = "config.vpxd.stats.maxQueryMetrics"
DEFAULT_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Entity:
    """Something with figures: its reference, its name in the series, and the clock of its host's cores in MHz."""

    reference: Any
    kind: str
    entity_id: str
    core_mhz: float


@dataclass(frozen=True, slots=True)
class Span:
    """Ask for samples of ``interval_s`` that end after ``start_ts`` and not after ``end_ts``."""

    interval_s: int
    start_ts: float
    end_ts: float


@dataclass(frozen=True, slots=True)
class Column:
    """One entity's samples of one metric, in its unit, with the times at which they begin."""

    entity: Entity
    metric: str
    starts: NDArray[np.float64]
    values: NDArray[np.float64]


def entities(session: Session) -> list[Entity]:
    """Return all hosts and all VMs with a readable configuration."""
    records = read_everywhere(
        session,
        {"HostSystem": ["summary.hardware.cpuMhz"], "VirtualMachine": ["config.instanceUuid", "runtime.host"]},
    )
    mhz = {r.moid: float(r.get("summary.hardware.cpuMhz") or 1) for r in records if r.kind == "HostSystem"}
    found = []
    for record in records:
        if record.kind == "HostSystem":
            found.append(Entity(record.reference, "host", f"{session.endpoint}/{record.moid}", mhz[record.moid]))
        elif record.get("config.instanceUuid"):
            clock = mhz.get(moid_of(record.get("runtime.host")) or "", 1.0)
            found.append(Entity(record.reference, "vm", str(record.get("config.instanceUuid")), clock))
    return found


def read_history(
    session: Session, catalogue: Catalogue, everyone: Sequence[Entity], since_ts: float, until_ts: float
) -> Iterator[Samples]:
    """Yield what was recorded of ``everyone`` between the two times, a batch of entities at a time; each moment once.

    Samples carry the time at which they begin; those that begin after ``since_ts`` are returned, so that the time of
    the last one is where the next call goes on.
    """
    rolled_up_limit = query_limit(session)
    until_ts = math.floor(until_ts / MINUTE_S) * MINUTE_S
    for span in spans(session.server_now_ts(), since_ts, until_ts, _kept_intervals(session)):
        metrics = METRICS_PER_CALL if span.interval_s == REALTIME_S else rolled_up_limit
        for batch in _batches(everyone, max(1, metrics // max(1, len(catalogue.ids)))):
            samples = _samples(catalogue, query(session, batch, catalogue, span), since_ts)
            if len(samples):
                yield samples


def read_latest(session: Session, catalogue: Catalogue, wanted: Sequence[Entity]) -> Samples:
    """Return the latest real-time sample of each entity, not older than five minutes."""
    answers: list[tuple[Entity, Any]] = []
    for batch in _batches(wanted, max(1, METRICS_PER_CALL // max(1, len(catalogue.ids)))):
        answers += query(session, batch, catalogue, None)
    return _samples(catalogue, answers, session.server_now_ts() - LATEST_WITHIN_S)


def latest_use(session: Session, catalogue: Catalogue, entity: Entity) -> Resources | None:
    """Return what one entity used in the last 20 seconds; None when the platform has no figure for CPU or memory."""
    samples = read_latest(session, catalogue, [entity])
    use = {str(metric): float(value) for metric, value in zip(samples.metric, samples.value, strict=True)}
    if "cpu" not in use or "memory" not in use:
        return None
    return Resources(use["cpu"], use["memory"], use.get("network", 0.0), use.get("disk", 0.0))


def spans(now_ts: float, since_ts: float, until_ts: float, kept: Sequence[tuple[int, int]]) -> list[Span]:
    """Return which interval to ask for which part of (``since_ts``, ``until_ts``], newest part first.

    ``kept`` is (interval, how long it is kept) in seconds, finest first. Every part is asked from the finest interval
    that still has it; borders lie on whole samples of the coarser side, so that no moment is counted twice.
    """
    found: list[Span] = []
    end = until_ts
    for position, (interval, length) in enumerate(kept):
        oldest = now_ts - length
        start = since_ts
        if oldest > since_ts:
            coarser = kept[position + 1][0] if position + 1 < len(kept) else interval
            start = math.ceil(oldest / coarser) * coarser
        if start < end:
            found.append(Span(interval, start, end))
            end = start
        if oldest <= since_ts:
            break
    return found


def query_limit(session: Session) -> int:
    """Return how many metrics a call for rolled-up figures may name, by the server's own setting."""
    manager = session.content.setting
    if manager is None:
        return METRICS_PER_CALL
    try:
        found = session.read("read its limit on queries", lambda: manager.QueryOptions(LIMIT_OPTION))
        limit = int(found[0].value) if found else DEFAULT_LIMIT
    except (PermissionDenied, HypervisorFault):  # not set, or not ours to see: the default holds
        limit = DEFAULT_LIMIT
    return limit if 0 < limit < METRICS_PER_CALL else METRICS_PER_CALL


def query(
    session: Session, batch: Sequence[Entity], catalogue: Catalogue, span: Span | None
) -> list[tuple[Entity, Any]]:
    """Return the answers of one QueryPerf for the batch: the samples of ``span``, or without one the latest of each.

    A batch that the server refuses is halved, so that an entity that has just been deleted, or whose host has just
    gone from its vCenter, costs only itself.
    """
    if not catalogue.ids or not batch:
        return []
    specs = [_spec(entity, catalogue, span) for entity in batch]
    manager = session.content.perfManager
    try:
        answers = session.read("read its performance figures", lambda: manager.QueryPerf(specs))
    except HypervisorFault as fault:
        if len(batch) == 1 and (isinstance(fault, GoneFromInventory) or fault.details.get("fault") in HOST_AWAY):
            return []
        if len(batch) == 1:
            raise
        half = len(batch) // 2
        halves = (batch[:half], batch[half:])
        return [answer for part in halves for answer in query(session, part, catalogue, span)]
    by_moid = {moid_of(answer.entity): answer for answer in answers or ()}
    found = ((entity, by_moid.get(moid_of(entity.reference))) for entity in batch)
    return [(entity, answer) for entity, answer in found if answer is not None]


def _spec(entity: Entity, catalogue: Catalogue, span: Span | None) -> Any:
    """Return what asks for the samples of one entity.

    The latest is asked for without times: only then is the one sample the most recent (vSphere Web Services API,
    PerfQuerySpec.maxSample: "... unless a time range is specified").
    """
    manager = pyvmomi.vim.PerformanceManager
    spec = manager.QuerySpec(
        entity=entity.reference,
        metricId=[manager.MetricId(counterId=counter, instance="") for counter in catalogue.ids],
        intervalId=REALTIME_S,
        maxSample=1,
        format="csv",
    )
    if span is not None:
        spec.startTime = datetime.fromtimestamp(span.start_ts, UTC)
        spec.endTime = datetime.fromtimestamp(span.end_ts, UTC)
        spec.intervalId = span.interval_s
        spec.maxSample = math.ceil((span.end_ts - span.start_ts) / span.interval_s) + 1
    return spec


def _kept_intervals(session: Session) -> list[tuple[int, int]]:
    """Return (interval, how long it is kept) in seconds of all that the server records, finest first."""
    record = read_one(session, session.content.perfManager, ["historicalInterval"])
    recorded = record.get("historicalInterval", ()) if record else ()
    kept = [(int(item.samplingPeriod), int(item.length)) for item in recorded if item.enabled]
    return [(REALTIME_S, REALTIME_KEPT_S), *sorted(kept)]


def _batches(items: Sequence[Entity], size: int) -> Iterator[Sequence[Entity]]:
    return (items[start : start + size] for start in range(0, len(items), size))


def _samples(catalogue: Catalogue, answers: Sequence[tuple[Entity, Any]], since_ts: float) -> Samples:
    columns = [column for entity, answer in answers for column in _columns(entity, catalogue, answer, since_ts)]
    counts = [len(column.starts) for column in columns]
    return Samples(
        entity_kind=_repeated([column.entity.kind for column in columns], counts),
        entity_id=_repeated([column.entity.entity_id for column in columns], counts),
        metric=_repeated([column.metric for column in columns], counts),
        ts=_joined([column.starts for column in columns]),
        value=_joined([column.values for column in columns]),
    )


def _columns(entity: Entity, catalogue: Catalogue, answer: Any, since_ts: float) -> Iterator[Column]:
    """Yield each series whose unit is known, without samples up to ``since_ts``."""
    interval = _interval_of(answer)
    for counter_id, ends, values in series_of(answer):
        known = catalogue.metric_of(counter_id)
        scale = factor(*known, entity.core_mhz) if known else None
        if known is None or scale is None:
            continue
        starts = ends - interval
        if interval == REALTIME_S:
            starts, values = _per_minute(starts, values)
        fresh = starts > since_ts
        yield Column(entity, known[0], starts[fresh], values[fresh] * scale)


def _interval_of(answer: Any) -> int:
    first = str(answer.sampleInfoCSV or "").partition(",")[0]
    return int(first) if first else REALTIME_S


def _per_minute(
    starts: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean of each minute that has samples."""
    if not len(starts):
        return starts, values
    minutes, positions = np.unique(np.floor(starts / MINUTE_S) * MINUTE_S, return_inverse=True)
    sums = np.bincount(positions, weights=values)
    return minutes, sums / np.bincount(positions)


def _repeated(texts: Sequence[str], counts: Sequence[int]) -> NDArray[np.object_]:
    return np.repeat(np.array(texts, dtype=object), np.array(counts, dtype=np.int64))


def _joined(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float64)

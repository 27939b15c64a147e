# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metric history out of Prometheus: presets for common exporters, and the user's own queries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption
from ..estate.series import ENTITY_KINDS, Samples
from ..libraries import library
from .entities import Entities
from .prometheus_client import AnswerTooLarge, LabelledSeries, PrometheusClient
from .prometheus_presets import PRESETS, MetricQuery
from .source import Source, SourceFailed

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

_DEFAULT_STEP_S = 300
#: Prometheus refuses more points per series in one answer.
_MOST_POINTS = 11_000
#: Windows begin with so many steps, and double while answers stay below so many values.
_FIRST_STEPS = 72
_SMALL_ANSWER_VALUES = 200_000
_LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN = 3


class PrometheusSource(Source):
    """Queries of one Prometheus server; each value is the mean, or rate, over one step, stamped with its begin."""

    def __init__(self, options: Mapping[str, Any], entities: Entities) -> None:
        super().__init__(options, entities)
        self._client = PrometheusClient(options)
        self._step_s = int(options.get("step_s") or _DEFAULT_STEP_S)
        if self._step_s < 1:
            raise InvalidOption("sources.step_s", f"{self._step_s} is no step")
        where = _matchers(options.get("matchers") or {})
        self._queries = [_rendered(query, where, self._step_s) for query in _wanted_queries(options)]

    def samples(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        """Yield the samples of every whole step between the times; raises `SourceFailed` or `InvalidOption`."""
        first, end = int(since_ts // self._step_s), int(until_ts // self._step_s)
        for query in self._queries:
            found = False
            for samples in self._query(query, first, end):
                found = found or len(samples) > 0
                yield samples
            if not found and end > first:
                self.warnings.append(f"{self.name}: the query for {query.metric} of {query.entity_kind}s found nothing")
        self.warnings.extend(self.entities.take_warnings(self.name))

    def _query(self, query: MetricQuery, first: int, end: int) -> Iterator[Samples]:
        """Ask for the steps from ``first`` until before ``end`` in windows that suit server and memory."""
        steps = _FIRST_STEPS
        while first < end:
            size = min(steps, end - first, _MOST_POINTS)
            try:
                series, warnings = self._window(query, first, size)
            except AnswerTooLarge:
                if size == 1:
                    raise SourceFailed(
                        f"{self.name}: even a single step of the query {query.query!r} is too large",
                        advice="Narrow it with matchers, or aggregate in the query.",
                    ) from None
                steps = max(1, size // 4)
                continue
            self.warnings.extend(f"{self.name}: {text}" for text in warnings if text not in self.warnings)
            yield self._matched(query, series)
            first += size
            if sum(len(one.ts) for one in series) < _SMALL_ANSWER_VALUES:
                steps = min(_MOST_POINTS, size * 2)

    def _window(self, query: MetricQuery, first: int, size: int) -> tuple[list[LabelledSeries], list[str]]:
        """Evaluate just before the end of each step, so that a range of one step is exactly that step.

        A range reaches back from the evaluation time and includes its far end up to Prometheus 2; a millisecond
        (Prometheus' resolution) before the step's end it holds no sample of the next.
        """
        start_ts = (first + 1) * self._step_s - 0.001
        return self._client.query_range(query.query, start_ts, start_ts + (size - 1) * self._step_s, self._step_s)

    def _matched(self, query: MetricQuery, series: Sequence[LabelledSeries]) -> Samples:
        """Return the samples of the series that belong to exactly one entity of the estate."""
        by_entity: dict[str, list[LabelledSeries]] = {}
        for one in series:
            entity = self.entities.find(query.entity_kind, one.labels.get(query.label, ""))
            if entity is not None:
                by_entity.setdefault(entity, []).append(one)
        self._warn_of_several(query, [entity for entity, found in by_entity.items() if len(found) > 1])
        single = {entity: found[0] for entity, found in by_entity.items() if len(found) == 1}
        lengths = [len(one.ts) for one in single.values()]
        total = sum(lengths)
        ends = np.concatenate([one.ts for one in single.values()]) if single else np.empty(0)
        return Samples(
            entity_kind=np.full(total, query.entity_kind, object),
            entity_id=np.repeat(np.array(list(single), object), lengths),
            metric=np.full(total, query.metric, object),
            ts=np.rint(ends + 0.001 - self._step_s),
            value=np.concatenate([one.value for one in single.values()]) if single else np.empty(0),
        )

    def _warn_of_several(self, query: MetricQuery, entities: Sequence[str]) -> None:
        if entities:
            self.warnings.append(
                f"{self.name}: the query for {query.metric} gives several series each for {len(entities)} entities;"
                f" they were left out; aggregate it by {query.label!r}: {', '.join(sorted(entities)[:_SHOWN])}"
            )


def _wanted_queries(options: Mapping[str, Any]) -> list[MetricQuery]:
    preset = options.get("preset")
    if preset and preset not in PRESETS:
        raise InvalidOption("sources.preset", f"unknown preset {preset!r}; known are {', '.join(PRESETS)}")
    queries = list(PRESETS[preset]) if preset else []
    queries += [_user_query(item) for item in options.get("queries") or ()]
    if not queries:
        raise InvalidOption("sources", f"source {options['name']!r} needs a preset or queries")
    return queries


def _user_query(item: Mapping[str, Any]) -> MetricQuery:
    kind, label = str(item.get("entity_kind") or "vm"), str(item.get("label") or "")
    if kind not in ENTITY_KINDS:
        raise InvalidOption("sources.queries.entity_kind", f"{kind!r} is none of {', '.join(ENTITY_KINDS)}")
    if not _LABEL_NAME.fullmatch(label):
        raise InvalidOption("sources.queries.label", f"{label!r} is not the name of a label")
    if not item.get("metric") or not item.get("query"):
        raise InvalidOption("sources.queries", "a query needs metric and query")
    return MetricQuery(str(item["metric"]), kind, label, str(item["query"]))


def _rendered(query: MetricQuery, where: str, step_s: int) -> MetricQuery:
    text = query.query.replace("$where,", f"{where}," if where else "").replace("$where", where)
    return MetricQuery(query.metric, query.entity_kind, query.label, text.replace("$range", f"{step_s}s"))


def _matchers(labels: Mapping[str, Any]) -> str:
    """Return label matchers as PromQL text; the values may be anything."""
    for name in labels:
        if not _LABEL_NAME.fullmatch(name):
            raise InvalidOption("sources.matchers", f"{name!r} is not the name of a label")
    return ",".join(f'{name}="{escaped(str(value))}"' for name, value in sorted(labels.items()))


def escaped(text: str) -> str:
    """Return ``text`` as it stands between the double quotes of a PromQL string."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

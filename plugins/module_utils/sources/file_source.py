# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Metric history out of CSV and Parquet files, by a mapping of their columns."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption
from ..estate.rates import rate_between
from ..estate.series import ENTITY_KINDS, Samples
from ..libraries import library
from .entities import Entities
from .local_times import TimeReader
from .source import Source, SourceFailed
from .table_file import FORMATS, Chunk, read_table

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: How many bad lines an error names.
_SHOWN = 10


class BadLines(SourceFailed):
    """Lines of a file cannot be understood. ``details`` has the file and the first of them with the cause."""

    code = "file_invalid"


@dataclass(frozen=True, slots=True)
class MetricColumns:
    """A metric that is the sum of some columns times ``scale``; of ``counter`` columns the growth per second.

    A counter that falls was reset, unless it ``wraps_at`` a known value; see `rate_between`.
    """

    metric: str
    columns: tuple[str, ...]
    scale: float
    counter: bool = False
    wraps_at: float | None = None


#: The last (Unix seconds, value) of each counter, by entity and column.
Totals = dict[tuple[str, str], tuple[float, float]]


class FileSource(Source):
    """One CSV or Parquet file: a column that names the entity, one with the time, and the metrics.

    Metrics are either columns of their own (``metrics``: wide) or named in one column with the value in another
    (``metric_column``, ``value_column``: long). An empty field is a gap.
    """

    def __init__(self, options: Mapping[str, Any], entities: Entities) -> None:
        super().__init__(options, entities)
        self._options = options
        self._path = Path(_needed(options, "path"))
        self._kind = _file_kind(options, self._path)
        self._entity_column, self._time_column = _needed(options, "entity_column"), _needed(options, "time_column")
        self._entity_kind = str(options.get("entity_kind") or "vm")
        if self._entity_kind not in ENTITY_KINDS:
            raise InvalidOption("sources.entity_kind", f"{self._entity_kind!r} is none of {', '.join(ENTITY_KINDS)}")
        self._as_given = options.get("entity_match") == "as_given"
        self._skip_bad = options.get("on_bad_line") == "skip"
        self._metrics = [_metric_columns(item) for item in options.get("metrics") or ()]
        self._metric_column = str(options.get("metric_column") or "")
        self._value_column = str(options.get("value_column") or "")
        if bool(self._metrics) == bool(self._metric_column and self._value_column):
            raise InvalidOption("sources", "either metrics, or metric_column and value_column, are needed")
        self._time_reader()

    def fingerprint(self) -> str | None:
        """Return what changes when the file or the options for it do."""
        try:
            status = os.stat(self._path)
        except OSError as exc:
            raise SourceFailed(f"{self._path} cannot be read: {exc.strerror}", advice="Check the path.") from exc
        mapping = json.dumps(self._options, sort_keys=True, default=str)
        text = f"{status.st_size} {status.st_mtime_ns} {status.st_ino} {mapping}"
        return hashlib.sha256(text.encode()).hexdigest()

    def samples(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        """Yield all samples of the file, whatever their time; raises `BadLines` before any, unless they are skipped."""
        if not self._skip_bad:
            bad = [problem for _samples, problems in self._read() for problem in problems]
            if bad:
                raise self._refusal(bad)
            self.entities.take_warnings(self.name)
        skipped: list[tuple[int, str]] = []
        for samples, problems in self._read():
            skipped += problems
            yield samples
        if skipped:
            self.warnings.append(f"{self.name}: {len(skipped)} bad lines were left out: {_told(skipped)}")
        self.warnings.extend(self.entities.take_warnings(self.name))

    def _read(self) -> Iterator[tuple[Samples, list[tuple[int, str]]]]:
        columns = [self._entity_column, self._time_column]
        columns += [name for metric in self._metrics for name in metric.columns]
        columns += [name for name in (self._metric_column, self._value_column) if not self._metrics]
        times, totals = self._time_reader(), Totals()
        for chunk in read_table(self._path, self._kind, str(self._options.get("delimiter") or ","), _once(columns)):
            yield self._understand(chunk, times, totals)

    def _understand(self, chunk: Chunk, times: TimeReader, totals: Totals) -> tuple[Samples, list[tuple[int, str]]]:
        """Return the samples of a chunk, and its bad lines."""
        bad = dict(chunk.bad)
        entities = [self._entity(value) for value in chunk.columns[self._entity_column]]
        ts = np.full(len(chunk.lines), np.nan)
        for at, value in enumerate(chunk.columns[self._time_column]):
            try:
                ts[at] = times.read(value, entities[at] or "")
            except ValueError as problem:
                bad[chunk.lines[at]] = f"column {self._time_column!r}: {problem}"
        parts = self._wide(chunk, bad, (entities, ts, totals)) if self._metrics else self._long(chunk, bad)
        entity_ids = np.array(entities, object)
        good = ~np.isnan(ts) & np.array([entity is not None for entity in entities], bool)
        rows = [(metric, values, good & ~np.isnan(values)) for metric, values in parts]
        samples = Samples(
            entity_kind=np.full(sum(int(mask.sum()) for _name, _values, mask in rows), self._entity_kind, object),
            entity_id=_joined([entity_ids[mask] for _name, _values, mask in rows], object),
            metric=_joined([metric[mask] for metric, _values, mask in rows], object),
            ts=_joined([ts[mask] for _name, _values, mask in rows], float),
            value=_joined([values[mask] for _name, values, mask in rows], float),
        )
        return samples, sorted(bad.items())

    def _entity(self, value: Any) -> str | None:
        text = str(value)
        return text if self._as_given else self.entities.find(self._entity_kind, text)

    def _wide(
        self, chunk: Chunk, bad: dict[int, str], place: tuple[Sequence[str | None], Any, Totals]
    ) -> list[tuple[Any, Any]]:
        """Return name and values of each metric; ``place`` is the entity and time of each row, and the counters."""
        parts = []
        for metric in self._metrics:
            columns = [_numbers(chunk, name, bad) for name in metric.columns]
            if metric.counter:
                columns = [
                    _growth(values, name, place, metric.wraps_at)
                    for name, values in zip(metric.columns, columns, strict=True)
                ]
            parts.append((np.full(len(chunk.lines), metric.metric, object), sum(columns) * metric.scale))
        return parts

    def _long(self, chunk: Chunk, bad: dict[int, str]) -> list[tuple[Any, Any]]:
        metrics = np.array([str(value) for value in chunk.columns[self._metric_column]], object)
        return [(metrics, _numbers(chunk, self._value_column, bad))]

    def _time_reader(self) -> TimeReader:
        return TimeReader(str(self._options.get("time_format") or "iso"), str(self._options.get("timezone") or "UTC"))

    def _refusal(self, bad: Sequence[tuple[int, str]]) -> BadLines:
        return BadLines(
            f"{self._path} has {len(bad)} bad lines: {_told(bad)}",
            advice="Correct them, or set on_bad_line to skip.",
            details={"path": str(self._path), "bad_lines": len(bad), "first": dict(bad[:_SHOWN])},
        )


def _needed(options: Mapping[str, Any], name: str) -> str:
    if not options.get(name):
        raise InvalidOption(f"sources.{name}", f"source {options['name']!r} of type file needs it")
    return str(options[name])


def _file_kind(options: Mapping[str, Any], path: Path) -> str:
    kind = str(options.get("format") or "")
    if not kind:
        kind = "parquet" if path.suffix in (".parquet", ".pq") else "csv"
    if kind not in FORMATS:
        raise InvalidOption("sources.format", f"{kind!r} is none of {', '.join(FORMATS)}")
    return kind


def _metric_columns(item: Mapping[str, Any]) -> MetricColumns:
    columns = tuple(str(name) for name in item.get("columns") or ())
    if not item.get("metric") or not columns:
        raise InvalidOption("sources.metrics", "each needs metric and columns")
    scale = item.get("scale")
    return MetricColumns(
        metric=str(item["metric"]),
        columns=columns,
        scale=1.0 if scale is None else float(scale),
        counter=bool(item.get("counter")),
        wraps_at=item.get("wraps_at"),
    )


def _growth(values: Any, column: str, place: tuple[Sequence[str | None], Any, Totals], wraps_at: float | None) -> Any:
    """Return per row the growth per second since the entity's row before, NaN where it cannot be known."""
    entities, times, totals = place
    rates = np.full(len(values), np.nan)
    for at, (entity, ts, value) in enumerate(zip(entities, times.tolist(), values.tolist(), strict=True)):
        if entity is None or math.isnan(ts) or math.isnan(value):
            continue
        before = totals.get((entity, column))
        totals[entity, column] = (ts, value)
        rate = None if before is None else rate_between(before[1], before[0], value, ts, wraps_at=wraps_at)
        rates[at] = np.nan if rate is None else rate
    return rates


def _numbers(chunk: Chunk, name: str, bad: dict[int, str]) -> Any:
    """Return a column as numbers, NaN where there is none; lines with something else go to ``bad``."""
    column = ["nan" if value is None or value == "" else value for value in chunk.columns[name]]
    try:
        return np.array(column, np.float64)
    except (TypeError, ValueError):
        return np.array([_number(value, line, name, bad) for value, line in zip(column, chunk.lines, strict=True)])


def _number(value: Any, line: int, name: str, bad: dict[int, str]) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        bad[line] = f"column {name!r}: {str(value)[:40]!r} is not a number"
        return float("nan")


def _joined(parts: Sequence[Any], dtype: type) -> Any:
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def _once(names: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _told(bad: Sequence[tuple[int, str]]) -> str:
    more = f"; and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
    return "; ".join(f"line {line}: {problem}" for line, problem in bad[:_SHOWN]) + more

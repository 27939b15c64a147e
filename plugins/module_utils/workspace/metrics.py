# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The metrics dataset: samples in, aligned arrays out."""

from __future__ import annotations

import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InvalidOption
from ..estate.series import Samples, SeriesKey, SeriesSet
from ..libraries import library
from .errors import StoreNotReadable
from .files import Files
from .grid import Grid
from .metric_file import MS_PER_DAY, DamagedFile, Rows, encode_rows, find_series, newest_ms, read_rows
from .names import decode_part, encode_part
from .series_index import SeriesIndex

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
else:
    np = library("numpy")
    pa = library("pyarrow")

T = TypeVar("T")

FOLDER = "metrics"
DAMAGED_FOLDER = "damaged"
_PARTITION = re.compile(r"(?P<folder>metrics/endpoint=[^/]+/date=(?P<date>\d{4}-\d\d-\d\d))/[^/]+\.parquet")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: Days whose samples are stored, 1970 to 2100; a clock beyond that is broken.
_DAYS = 47_482
#: How often a listing is repeated when another process is merging files meanwhile.
_LISTINGS = 10


@dataclass(frozen=True, slots=True)
class AppendReport:
    """What became of appended samples: ``written`` of them stored, ``left_out`` counted by reason.

    Reasons: ``not_finite``, ``negative``, ``impossible_time``, ``duplicate`` (same series and time in one call).
    """

    written: int
    left_out: Mapping[str, int] = field(default_factory=dict)
    first_ts: float | None = None
    last_ts: float | None = None


class MetricsDataset:
    """Samples of all endpoints, in Parquet files by endpoint and UTC date.

    Any number of processes may append and read at once. A sample that is stored twice counts once: of samples with
    the same entity, metric and time the last written one is read. ``warnings`` names files that were damaged.
    """

    def __init__(self, files: Files, *, writable: bool) -> None:
        self._files = files
        self._writable = writable
        self.warnings: list[str] = []

    def append(self, endpoint: str, samples: Samples) -> AppendReport:
        """Store ``samples`` under the name of the endpoint or source they come from.

        Values that are NaN, infinite or negative and impossible times are left out and counted. Raises
        `InvalidOption` for an unusable endpoint name, `StoreNotWritable` (`StoreFull`) when nothing more can be
        written; a file is seen whole or not at all.
        """
        folder = f"{FOLDER}/endpoint={encode_part(endpoint, 'endpoints.name')}"
        keys, by_day, report = _checked(samples)
        for day, rows in by_day.items():
            self._files.write(f"{folder}/date={date_of(day)}/{new_file_name('c')}", encode_rows(keys, rows, day))
        return report

    def read(
        self,
        keys: Sequence[SeriesKey] | None,
        start_ts: float,
        end_ts: float,
        step_s: int,
        *,
        entity_kind: str | None = None,
        metrics: Iterable[str] | None = None,
    ) -> SeriesSet:
        """Return the mean of each series per step from ``start_ts`` until ``end_ts``, NaN where nothing is stored.

        ``keys`` in the order wanted (one without samples is a row of NaN), or None for every series with samples in
        the window, sorted. ``entity_kind`` and ``metrics`` narrow either. Only the days, files and row groups that
        can hold them are read. Raises `InvalidOption` for an empty window or a step below 1 s.
        """
        start_ms, step_ms, steps = _window(start_ts, end_ts, step_s)
        end_ms = start_ms + steps * step_ms
        if keys is None:
            keys = self.keys(start_ts, start_ts + steps * step_s, entity_kind=entity_kind, metrics=metrics)
        else:
            keys = _narrowed(keys, entity_kind, metrics)
        index = SeriesIndex(keys)
        grid = Grid(len(index.keys), start_ms, step_ms, steps)
        for day, paths in self._listed(start_ms, end_ms):
            first, end = max(0, start_ms - day * MS_PER_DAY), min(MS_PER_DAY, end_ms - day * MS_PER_DAY)
            parts = self._read_day(day, paths, partial(read_rows, day=day, index=index, first_ms=first, end_ms=end))
            grid.add_day(day, _each_once(parts, len(index.keys)))
        return SeriesSet(tuple(keys), start_ms / 1000.0, step_s, _in_order(grid.means(), index.keys, keys))

    def keys(
        self,
        start_ts: float,
        end_ts: float,
        *,
        entity_kind: str | None = None,
        metrics: Iterable[str] | None = None,
    ) -> list[SeriesKey]:
        """Return every series with samples on the days from ``start_ts`` to ``end_ts``, sorted."""
        index = SeriesIndex(entity_kind=entity_kind, metrics=metrics)
        for day, paths in self._listed(int(start_ts * 1000), int(end_ts * 1000)):
            self._read_day(day, paths, partial(find_series, index=index))
        return sorted(index.keys)

    def last_ts(self, endpoint: str) -> float | None:
        """Return the time of the newest sample of that endpoint or source; None when there is none."""
        folder = f"{FOLDER}/endpoint={encode_part(endpoint, 'endpoints.name')}"
        for day, paths in reversed(self._listed(0, _DAYS * MS_PER_DAY)):
            found = self._read_day(day, paths, newest_ms, folder)
            if found:
                return max(found) / 1000.0
        return None

    def endpoints(self) -> list[str]:
        """Return the names of the endpoints and sources that have samples."""
        return [decode_part(name.removeprefix("endpoint=")) for name in self._files.folders(FOLDER)]

    def partitions(self) -> dict[tuple[str, int], list[str]]:
        """Return the paths of the files of every (endpoint folder, day since 1970), in the order of writing.

        It lists until nothing disappears: a single listing could miss both a merged file and those it replaced.
        """
        found = self._files.tree(FOLDER)
        for _attempt in range(_LISTINGS):
            before, found = found, self._files.tree(FOLDER)
            if set(before) <= set(found):
                break
        partitions: dict[tuple[str, int], list[str]] = {}
        for path in found:
            match = _PARTITION.fullmatch(path)
            if match and _is_date(match["date"]):
                partitions.setdefault((match["folder"], day_of(match["date"])), []).append(path)
        return partitions

    def read_paths(self, paths: Iterable[str], action: Callable[[Any], T]) -> list[T]:
        """Return what ``action`` makes of each open file; damaged ones are set aside and named in ``warnings``.

        Raises FileNotFoundError for one that is gone.
        """
        results: list[T] = []
        for path in paths:
            try:
                results.append(self._read_file(path, action))
            except DamagedFile as problem:
                self._set_aside(path, problem)
        return results

    def _read_day(self, day: int, paths: Sequence[str], action: Callable[[Any], T], folder: str = FOLDER) -> list[T]:
        """Return what ``action`` makes of each file of that day below ``folder``, in the order of writing."""
        for _attempt in range(_LISTINGS):
            try:
                return self.read_paths([path for path in paths if path.startswith(f"{folder}/")], action)
            except FileNotFoundError:  # merged into another file since the listing
                paths = dict(self._listed(day * MS_PER_DAY, (day + 1) * MS_PER_DAY)).get(day, [])
        raise StoreNotReadable(
            f"The files of {date_of(day)} in {self._files.location} kept changing while they were read",
            advice="Let fewer processes compact the store at the same time.",
        )

    def _read_file(self, path: str, action: Callable[[Any], T]) -> T:
        try:
            with self._files.open(path) as source:
                return action(source)
        except DamagedFile:
            # reading all of it raises when it was the storage that failed, not the file
            return action(pa.BufferReader(self._files.read(path)))

    def _set_aside(self, path: str, problem: DamagedFile) -> None:
        if not self._writable:
            self.warnings.append(f"{path} is damaged and was left out: {problem}")
            return
        kept = f"{DAMAGED_FOLDER}/{path}"
        self._files.write(kept, self._files.read(path))
        self._files.delete(path)
        self.warnings.append(f"{path} is damaged, was left out and is kept as {kept}: {problem}")

    def _listed(self, start_ms: int, end_ms: int) -> list[tuple[int, list[str]]]:
        """Return the days that touch the window, in order, each with its files of all endpoints as written."""
        by_day: dict[int, list[str]] = {}
        for (_folder, day), paths in self.partitions().items():
            if start_ms < (day + 1) * MS_PER_DAY and day * MS_PER_DAY < end_ms:
                by_day.setdefault(day, []).extend(paths)
        return [(day, sorted(paths, key=file_name)) for day, paths in sorted(by_day.items())]


def check_samples(samples: Samples) -> AppendReport:
    """Return the report that `MetricsDataset.append` would give, without storing anything."""
    return _checked(samples)[2]


def _checked(samples: Samples) -> tuple[list[SeriesKey], dict[int, Rows], AppendReport]:
    """Return the series, the usable rows by day, each series and time once, and the report on them."""
    usable, left_out = _usable(samples)
    ts_ms = np.rint(samples.ts[usable] * 1000.0).astype(np.int64)
    series, keys = _number_series(samples, usable)
    value = samples.value[usable].astype(np.float32)
    days = ts_ms // MS_PER_DAY
    by_day: dict[int, Rows] = {}
    for day in np.unique(days).tolist():
        at = days == day
        by_day[day] = Rows(series[at], (ts_ms[at] - day * MS_PER_DAY).astype(np.int32), value[at]).sorted_once()
    written = sum(map(len, by_day.values()))
    if not written:
        return keys, by_day, AppendReport(0, left_out)
    if written < len(ts_ms):
        left_out["duplicate"] = len(ts_ms) - written
    return keys, by_day, AppendReport(written, left_out, float(ts_ms.min()) / 1000.0, float(ts_ms.max()) / 1000.0)


def new_file_name(kind: str, written_us: int | None = None) -> str:
    """Return an unused name that sorts by the time of writing; ``kind`` is c (collected) or m (merged).

    A merged file takes the time ``written_us`` (Unix microseconds) of the newest that it replaces.
    """
    stamp = time.time_ns() // 1000 if written_us is None else written_us
    return f"{stamp:017d}-{kind}-{uuid.uuid4().hex[:12]}.parquet"


def file_name(path: str) -> str:
    """Return the last part of a path in the store."""
    return path.rpartition("/")[2]


def date_of(day: int) -> str:
    """Return the date of the day so many days after 1970-01-01, as in ``2026-03-01``."""
    return (_EPOCH + timedelta(days=day)).strftime("%Y-%m-%d")


def day_of(date: str) -> int:
    """Return the days from 1970-01-01 to a date as `date_of` gives it."""
    return (datetime.strptime(date, "%Y-%m-%d").replace(tzinfo=UTC) - _EPOCH).days


def _is_date(text: str) -> bool:
    try:
        day_of(text)
    except ValueError:
        return False  # a folder of someone else's
    return True


def _usable(samples: Samples) -> tuple[NDArray[np.bool_], Counter[str]]:
    """Return the mask of samples that can be stored, and how many cannot be by reason."""
    with np.errstate(over="ignore"):
        finite = np.isfinite(samples.value.astype(np.float32))
    not_negative = ~(samples.value < 0)
    possible = (samples.ts >= 0) & (samples.ts < _DAYS * MS_PER_DAY / 1000.0)
    left_out = Counter(
        not_finite=int((~finite).sum()),
        negative=int((finite & ~not_negative).sum()),
        impossible_time=int((finite & not_negative & ~possible).sum()),
    )
    return finite & not_negative & possible, +left_out


def _number_series(samples: Samples, usable: NDArray[np.bool_]) -> tuple[NDArray[np.int32], list[SeriesKey]]:
    """Return the series number of each usable sample, and the keys that the numbers index."""
    kinds, entities, metrics = (
        pa.array(column[usable], pa.string()).dictionary_encode()
        for column in (samples.entity_kind, samples.entity_id, samples.metric)
    )
    kind, entity, metric = (
        column.indices.to_numpy(zero_copy_only=False).astype(np.int64) for column in (kinds, entities, metrics)
    )
    columns = len(kinds.dictionary) * len(metrics.dictionary)
    combined = entity * columns + kind * len(metrics.dictionary) + metric
    distinct, numbers = np.unique(combined, return_inverse=True)
    kind_names, entity_names, metric_names = (column.dictionary.to_pylist() for column in (kinds, entities, metrics))
    per_kind = len(metric_names)
    keys = [
        SeriesKey(kind_names[at % columns // per_kind], entity_names[at // columns], metric_names[at % per_kind])
        for at in distinct.tolist()
    ]
    return numbers.astype(np.int32), keys


def _window(start_ts: float, end_ts: float, step_s: int) -> tuple[int, int, int]:
    """Return start and step in milliseconds and the number of steps that cover the window."""
    if step_s < 1:
        raise InvalidOption("step", f"a step of {step_s} s is too short")
    start_ms, end_ms, step_ms = round(start_ts * 1000), round(end_ts * 1000), round(step_s * 1000)
    if end_ms <= start_ms:
        raise InvalidOption("window", "it ends before it begins")
    return start_ms, step_ms, -(-(end_ms - start_ms) // step_ms)


def _narrowed(keys: Sequence[SeriesKey], entity_kind: str | None, metrics: Iterable[str] | None) -> Sequence[SeriesKey]:
    wanted = None if metrics is None else frozenset(metrics)
    return [key for key in keys if entity_kind in (None, key.entity_kind) and (wanted is None or key.metric in wanted)]


def _each_once(parts: Sequence[Rows], series: int) -> Rows:
    """Return the rows of a day's files, those that several files hold only as last written."""
    in_files = np.zeros(series, np.int32)
    for part in parts:
        in_files += np.bincount(part.series, minlength=series) > 0
    rows = Rows.joined(parts)
    shared = (in_files > 1)[rows.series]
    if not shared.any():
        return rows
    return Rows.joined([rows.take(~shared), rows.take(shared).sorted_once()])


def _in_order(
    means: NDArray[np.float32], stored: Sequence[SeriesKey], wanted: Sequence[SeriesKey]
) -> NDArray[np.float32]:
    if len(stored) == len(wanted):
        return means
    at = {key: number for number, key in enumerate(stored)}
    return means[[at[key] for key in wanted]]

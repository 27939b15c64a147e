# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One Parquet file of the metrics dataset: what is in it, how it is written, and reading only what is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from ..estate.series import SeriesKey
from ..libraries import library
from .arrow_numbers import numbers
from .series_index import NAMES, CodedNames, SeriesIndex

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray
else:
    np = library("numpy")
    pa = library("pyarrow")
    pq = library("pyarrow.parquet")

MS_PER_DAY = 86_400_000
#: Columns in the order they are stored. Rows are sorted by entity_kind, metric, entity_id, ts, without duplicates.
COLUMNS = ("entity_kind", "entity_id", "metric", "ts", "value")
#: Rows of one row group: what has to be read at least to get one series of a day.
_ROWS_PER_GROUP = 1 << 14
_ROWS_OF_SMALL_FILE = 1 << 16
_COMPRESSION_LEVEL = 3


class DamagedFile(Exception):
    """The bytes of a file are not what was written. Never leaves the workspace room."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Samples of one day with their series as numbers; columns of equal length.

    ``series`` (int32) indexes a list of `SeriesKey` that goes with it, ``ms`` (int32) counts milliseconds since the
    day began in UTC, ``value`` is float32.
    """

    series: NDArray[np.int32]
    ms: NDArray[np.int32]
    value: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.ms)

    def take(self, which: NDArray[Any] | slice) -> Rows:
        """Return the rows at these positions, or where this mask is true."""
        return Rows(self.series[which], self.ms[which], self.value[which])

    @staticmethod
    def joined(parts: Sequence[Rows]) -> Rows:
        """Return all rows of ``parts`` one after the other."""
        if not parts:
            return Rows(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.float32))
        return Rows(
            np.concatenate([part.series for part in parts]),
            np.concatenate([part.ms for part in parts]),
            np.concatenate([part.value for part in parts]),
        )

    def sorted_once(self) -> Rows:
        """Return the rows by series and time, of rows with the same series and time only the last."""
        moment = self.series.astype(np.int64) * MS_PER_DAY + self.ms
        order = np.argsort(moment, kind="stable")
        moment = moment[order]
        is_last = np.empty(len(moment), bool)
        is_last[-1:] = True
        np.not_equal(moment[1:], moment[:-1], out=is_last[:-1])
        return self.take(order[is_last])


def coded_names(batch: Any) -> tuple[CodedNames, CodedNames, CodedNames]:
    """Return entity_kind, entity_id and metric of a batch of rows."""
    kinds, entities, metrics = (CodedNames.of(batch.column(name)) for name in NAMES)
    return kinds, entities, metrics


def encode_rows(keys: Sequence[SeriesKey], rows: Rows, day: int) -> memoryview:
    """Return a Parquet file of ``rows``, whose series index ``keys``; ``day`` counts days since 1970 in UTC."""
    file = MetricFile(day)
    file.add(keys, rows)
    return file.content()


class MetricFile:
    """A file of one day in the making. What is added must come in the order of entity_kind and metric."""

    def __init__(self, day: int) -> None:
        self._day = day
        self._sink = pa.BufferOutputStream()
        self._writer = _writer(self._sink)

    def add(self, keys: Sequence[SeriesKey], rows: Rows) -> None:
        """Add ``rows``, whose series index ``keys``, sorted and each series and time once (the last of them)."""
        ranks = np.empty(len(keys), np.int32)
        order = sorted(range(len(keys)), key=lambda at: (keys[at].entity_kind, keys[at].metric, keys[at].entity_id))
        ranks[order] = np.arange(len(keys), dtype=np.int32)
        ordered = Rows(ranks[rows.series], rows.ms, rows.value).sorted_once()
        names = [keys[at] for at in order]
        for start, end in _blocks(names, ordered.series):
            table = _table(names, ordered.take(slice(start, end)), self._day)
            self._writer.write_table(table)

    def content(self) -> memoryview:
        """Return the finished file."""
        self._writer.close()
        return memoryview(self._sink.getvalue())


def _writer(sink: Any) -> Any:
    return pq.ParquetWriter(
        sink,
        _schema(),
        compression="zstd",
        compression_level=_COMPRESSION_LEVEL,
        use_dictionary=NAMES,
        column_encoding={"ts": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
        write_page_checksum=True,
        store_schema=False,
    )


def _schema() -> Any:
    name = pa.dictionary(pa.int32(), pa.string())
    stamp = pa.timestamp("ms", tz="UTC")
    return pa.schema(list(zip(COLUMNS, (name, name, name, stamp, pa.float32()), strict=True)))


def _blocks(names: Sequence[SeriesKey], series: NDArray[np.int32]) -> Iterator[tuple[int, int]]:
    """Yield the ranges of rows that become row groups: of one entity_kind and metric, and not too many.

    A small file is one row group: each repeats its entities' ids, which take more room than a few values.
    """
    if len(series) <= _ROWS_OF_SMALL_FILE:
        return iter([(0, len(series))] if len(series) else [])
    families = [(key.entity_kind, key.metric) for key in names]
    firsts = [at for at, family in enumerate(families) if at == 0 or family != families[at - 1]]
    edges = [*np.searchsorted(series, firsts).tolist(), len(series)]
    return (
        (begin, min(begin + _ROWS_PER_GROUP, end))
        for start, end in pairwise(edges)
        for begin in range(start, end, _ROWS_PER_GROUP)
    )


def _table(names: Sequence[SeriesKey], rows: Rows, day: int) -> Any:
    stamps = pa.array(rows.ms.astype(np.int64) + day * MS_PER_DAY, pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
    first, last = int(rows.series[0]), int(rows.series[-1])
    parts = [_name_column(names[first : last + 1], part, rows.series - first) for part in range(len(NAMES))]
    return pa.table([*parts, stamps, pa.array(rows.value, pa.float32())], schema=_schema())


def _name_column(names: Sequence[SeriesKey], part: int, series: NDArray[np.int32]) -> Any:
    """Return one part of the names of each row's series."""
    codes: dict[str, int] = {}
    code_of = np.array([codes.setdefault(key[part], len(codes)) for key in names], np.int32)
    return pa.DictionaryArray.from_arrays(code_of[series], pa.array(list(codes), pa.string()))


def read_rows(source: Any, day: int, index: SeriesIndex, first_ms: int = 0, end_ms: int = MS_PER_DAY) -> Rows:
    """Return the rows of the series that ``index`` wants with ``first_ms <= ms < end_ms``, in the file's order.

    ``source`` is an open binary file. Row groups that cannot hold such rows are not read. Raises `DamagedFile` when
    the file is not one of this dataset or fails its checksums; errors of the storage pass through.
    """
    parts: list[Rows] = []
    for batch in _batches(source, index, COLUMNS):
        series = index.numbers(*coded_names(batch))
        ms = numbers(batch.column("ts").cast(pa.int64())) - day * MS_PER_DAY
        wanted = (series >= 0) & (ms >= first_ms) & (ms < end_ms)
        value = numbers(batch.column("value"))
        parts.append(Rows(series[wanted], ms[wanted].astype(np.int32), value[wanted].astype(np.float32, copy=False)))
    return Rows.joined(parts)


def find_series(source: Any, index: SeriesIndex) -> None:
    """Let an ``index`` without keys meet every series of the file; raises `DamagedFile` as `read_rows` does."""
    for batch in _batches(source, index, NAMES):
        index.numbers(*coded_names(batch))


def newest_ms(source: Any) -> int:
    """Return the latest ``ts`` in the file in Unix milliseconds; raises `DamagedFile` as `read_rows` does."""
    with noticing_damage():
        metadata = pq.ParquetFile(source).metadata
        column = metadata.schema.names.index("ts")
        groups = [metadata.row_group(at).column(column).statistics for at in range(metadata.num_row_groups)]
        return max(int(statistics.max_raw) for statistics in groups)


def _batches(source: Any, index: SeriesIndex, columns: Sequence[str]) -> Iterator[Any]:
    with noticing_damage():
        file = pq.ParquetFile(source, read_dictionary=NAMES, page_checksum_verification=True)
        if not set(COLUMNS) <= set(file.schema_arrow.names):
            raise DamagedFile("it does not have the columns of the metrics dataset")
        groups = [at for at in range(file.metadata.num_row_groups) if index.may_hold(*group_bounds(file.metadata, at))]
        yield from file.iter_batches(_ROWS_OF_SMALL_FILE, row_groups=groups, columns=list(columns)) if groups else ()


@contextmanager
def noticing_damage() -> Iterator[None]:
    """Turn what Arrow raises for bytes that cannot be decoded into `DamagedFile`; errors of the storage pass."""
    try:
        yield
    except (pa.ArrowException, ValueError, EOFError) as exc:
        raise DamagedFile(str(exc)) from exc
    except OSError as exc:
        if exc.errno is not None:
            raise
        raise DamagedFile(str(exc)) from exc  # how Arrow reports pages that cannot be decompressed


def group_bounds(metadata: Any, group: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the smallest and largest value of each name column in a row group, where its statistics tell."""
    smallest, largest = {}, {}
    for at, name in enumerate(metadata.schema.names):
        statistics = metadata.row_group(group).column(at).statistics if name in NAMES else None
        if statistics is not None and statistics.has_min_max:
            smallest[name], largest[name] = statistics.min, statistics.max
    return smallest, largest

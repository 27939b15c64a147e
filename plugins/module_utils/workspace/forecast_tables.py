# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bands and peaks of a forecast as Parquet, written in blocks and read only where wanted series are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..estate.forecast import Forecast
from ..estate.series import SeriesKey
from ..libraries import library
from .arrow_numbers import numbers
from .metric_file import coded_names, group_bounds, noticing_damage
from .series_index import NAMES, SeriesIndex

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray
else:
    np = library("numpy")
    pa = library("pyarrow")
    pq = library("pyarrow.parquet")

#: Rows of one row group of bands: about 200 series of a day at 5 minutes.
_ROWS_PER_GROUP = 1 << 16


def level_name(level: float) -> str:
    """Return the column of a quantile: 0.025 -> ``q02_5``, 0.5 -> ``q50``, 0.99 -> ``q99``."""
    percent = f"{level * 100:.6f}".rstrip("0").rstrip(".")
    whole, _point, part = percent.partition(".")
    return f"q{whole:0>2}" + (f"_{part}" if part else "")


def write_bands(forecast: Forecast, order: Sequence[int]) -> memoryview:
    """Return ``steps.parquet``: one row per series and step, series in ``order``."""
    columns = ["mean", "sd", *map(level_name, forecast.levels)]
    schema = _schema(columns, with_ts=True)
    sink = pa.BufferOutputStream()
    steps = forecast.horizon_steps
    origin_ms = round(forecast.origin_ts * 1000)
    ts = origin_ms + np.arange(steps, dtype=np.int64) * (forecast.step_s * 1000)
    with _writer(sink, schema, columns) as writer:
        for block in _blocks(order, max(1, _ROWS_PER_GROUP // max(1, steps))):
            values = [forecast.mean[block], forecast.sd[block], *np.moveaxis(forecast.quantiles[block], 2, 0)]
            names = _name_columns([forecast.keys[at] for at in block], steps)
            stamps = pa.array(np.tile(ts, len(block)), pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
            arrays = [pa.array(np.ascontiguousarray(value, np.float32).ravel()) for value in values]
            writer.write_table(pa.table([*names, stamps, *arrays], schema=schema))
    return memoryview(sink.getvalue())


def write_peaks(forecast: Forecast, order: Sequence[int]) -> memoryview:
    """Return ``peaks.parquet``: one row per series, series in ``order``."""
    columns = ["mean", "sd", *map(level_name, forecast.peak_levels)]
    schema = _schema(columns, with_ts=False)
    rows = list(order)
    values = [forecast.peak_mean[rows], forecast.peak_sd[rows], *forecast.peak_quantiles[rows].T]
    names = _name_columns([forecast.keys[at] for at in rows], 1)
    sink = pa.BufferOutputStream()
    with _writer(sink, schema, columns) as writer:
        arrays = [pa.array(np.ascontiguousarray(value, np.float32)) for value in values]
        writer.write_table(pa.table([*names, *arrays], schema=schema), row_group_size=_ROWS_PER_GROUP)
    return memoryview(sink.getvalue())


def read_bands(
    source: Any, keys: Sequence[SeriesKey], origin_ts: float, step_s: int, steps: int, levels: Sequence[float]
) -> NDArray[np.float32]:
    """Return mean, sd and quantiles of ``keys``, shape (series, steps, 2 + levels); NaN where a row is absent."""
    columns = ["mean", "sd", *map(level_name, levels)]
    bands = np.full((len(keys), steps, len(columns)), np.nan, np.float32)
    origin_ms = round(origin_ts * 1000)
    for batch, series, wanted in _wanted_batches(source, keys, ["ts", *columns]):
        ms = numbers(batch.column("ts").cast(pa.int64()))[wanted]
        step = (ms - origin_ms) // (step_s * 1000)
        for at, name in enumerate(columns):
            bands[series, step, at] = numbers(batch.column(name))[wanted]
    return bands


def read_peaks(source: Any, keys: Sequence[SeriesKey], levels: Sequence[float]) -> NDArray[np.float32]:
    """Return mean, sd and quantiles of the maximum for ``keys``, shape (series, 2 + levels)."""
    columns = ["mean", "sd", *map(level_name, levels)]
    peaks = np.full((len(keys), len(columns)), np.nan, np.float32)
    for batch, series, wanted in _wanted_batches(source, keys, columns):
        for at, name in enumerate(columns):
            peaks[series, at] = numbers(batch.column(name))[wanted]
    return peaks


def _wanted_batches(
    source: Any, keys: Sequence[SeriesKey], columns: Sequence[str]
) -> Iterator[tuple[Any, NDArray[np.int32], NDArray[np.bool_]]]:
    """Yield batches with the series number of their wanted rows and the mask of those rows."""
    index = SeriesIndex(keys)
    with noticing_damage():
        file = pq.ParquetFile(source, read_dictionary=NAMES, page_checksum_verification=True)
        metadata = file.metadata
        groups = [at for at in range(metadata.num_row_groups) if index.may_hold(*group_bounds(metadata, at))]
        for batch in (
            file.iter_batches(_ROWS_PER_GROUP, row_groups=groups, columns=[*NAMES, *columns]) if groups else ()
        ):
            series = index.numbers(*coded_names(batch))
            wanted = series >= 0
            yield batch, series[wanted], wanted


def _schema(columns: Sequence[str], *, with_ts: bool) -> Any:
    name = pa.dictionary(pa.int32(), pa.string())
    stamps = [("ts", pa.timestamp("ms", tz="UTC"))] if with_ts else []
    return pa.schema([*((column, name) for column in NAMES), *stamps, *((column, pa.float32()) for column in columns)])


def _writer(sink: Any, schema: Any, columns: Sequence[str]) -> Any:
    encoding = dict.fromkeys(columns, "BYTE_STREAM_SPLIT")
    if "ts" in schema.names:
        encoding["ts"] = "DELTA_BINARY_PACKED"
    return pq.ParquetWriter(
        sink,
        schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=NAMES,
        column_encoding=encoding,
        write_page_checksum=True,
        store_schema=False,
    )


def _blocks(order: Sequence[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(order), size):
        yield list(order[start : start + size])


def _name_columns(keys: Sequence[SeriesKey], repeats: int) -> list[Any]:
    columns = []
    for part in range(3):
        distinct = {name: at for at, name in enumerate(dict.fromkeys(key[part] for key in keys))}
        codes = np.repeat(np.array([distinct[key[part]] for key in keys], np.int32), repeats)
        columns.append(pa.DictionaryArray.from_arrays(codes, pa.array(list(distinct), pa.string())))
    return columns

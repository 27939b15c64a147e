# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recorded demand: a Parquet file read into one dense array that replays for ever."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption
from ...estate.resources import FIELD_OF, RESOURCES
from ...libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from pyarrow import parquet
else:
    np = library("numpy")
    parquet = library("pyarrow.parquet", "pyarrow")

#: Seconds per step of recorded demand.
STEP_S = 300
#: Seconds per day: traces repeat in whole days, so that their time of day is kept.
DAY_S = 86_400


@dataclass(frozen=True)
class Traces:
    """Recorded demand of ``names``.

    ``recorded`` is float32, shape (traces, resources, steps), NaN where nothing was recorded; ``filled`` is the same
    with every gap filled by the last value before it. Step 0 begins at ``start_ts``, midnight UTC; whole days.
    """

    names: tuple[str, ...]
    start_ts: float
    recorded: NDArray[np.float32]
    filled: NDArray[np.float32]

    @property
    def steps(self) -> int:
        """Steps until the traces begin again."""
        return int(self.recorded.shape[2])

    @property
    def end_ts(self) -> float:
        """Unix seconds at which the last step ends."""
        return self.start_ts + self.steps * STEP_S


def no_traces() -> Traces:
    """Return traces for a scenario that has none."""
    empty = np.zeros((0, len(RESOURCES), DAY_S // STEP_S), dtype=np.float32)
    return Traces((), 0.0, empty, empty)


def load_traces(path: Path) -> Traces:
    """Read columns ``vm``, ``ts`` (Unix seconds) and one per resource (`FIELD_OF`) from the Parquet file at ``path``.

    Raises `InvalidOption` when the file cannot be read or is not of that shape.
    """
    option = "scenario.traces.path"
    wanted = ["vm", "ts", *FIELD_OF.values()]
    try:
        source = parquet.ParquetFile(path)
        missing = [name for name in wanted if name not in source.schema_arrow.names]
        if missing:
            raise InvalidOption(option, f"{path} has no column {missing[0]!r}; needed are {', '.join(wanted)}")
        table = source.read(columns=wanted)
    except (OSError, _arrow_error()) as exc:
        raise InvalidOption(option, f"{path} cannot be read as Parquet: {exc}") from exc
    if table.num_rows == 0:
        raise InvalidOption(option, f"{path} holds no rows")
    return _dense(table)


def _arrow_error() -> type[Exception]:
    """Return pyarrow's own base error, imported only when a file is read."""
    error: type[Exception] = library("pyarrow").ArrowException
    return error


def _dense(table: Any) -> Traces:
    codes = table.column("vm").combine_chunks().dictionary_encode()
    names = tuple(str(name) for name in codes.dictionary.to_pylist())
    rows = codes.indices.to_numpy(zero_copy_only=False)
    ts = table.column("ts").to_numpy().astype(np.float64)
    start_ts = float(np.floor(ts.min() / DAY_S) * DAY_S)
    days = int(np.floor((ts.max() - start_ts) / DAY_S)) + 1
    columns = ((ts - start_ts) // STEP_S).astype(np.int64)
    recorded = np.full((len(names), len(RESOURCES), days * DAY_S // STEP_S), np.nan, dtype=np.float32)
    for index, column in enumerate(FIELD_OF.values()):
        recorded[rows, index, columns] = np.maximum(table.column(column).to_numpy().astype(np.float32), 0.0)
    recorded[~np.isfinite(recorded)] = np.nan
    return Traces(names, start_ts, recorded, _filled(recorded))


def _filled(recorded: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return ``recorded`` with each gap holding the last value before it; the first value before the first."""
    steps = np.arange(recorded.shape[2])
    present = ~np.isnan(recorded)
    last = np.maximum.accumulate(np.where(present, steps, -1), axis=2)
    first = np.argmax(present, axis=2)[:, :, None]
    filled = np.take_along_axis(recorded, np.where(last < 0, first, last), axis=2)
    return np.nan_to_num(filled, nan=0.0)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scenarios of a forecast: the joint past as one array, the index of its rows, and how windows replay it.

What the replay amounts to on average is stored with them, a tenth of the size of the past: it is all that a first look
at a thousand hosts needs.
"""

from __future__ import annotations

import io
from collections.abc import Container, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..estate.forecast import Scenarios
from ..estate.scenarios import WindowScenarios
from ..estate.series import SeriesKey
from ..libraries import library
from .arrow_numbers import numbers
from .files import Files
from .records import read_json, write_json

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray
else:
    np = library("numpy")
    pa = library("pyarrow")
    pq = library("pyarrow.parquet")

#: The file that says how windows replay the history.
_PLAN = "scenarios.json"
#: The largest number that a half float holds.
_LARGEST = 65504.0
_NAMES = ["entity_kind", "entity_id", "metric"]


def write_scenarios(files: Files, folder: str, scenarios: Scenarios) -> None:
    """Store ``scenarios.npy`` (history, series x steps), its rows, its means, and ``scenarios.json``.

    The history is stored as half floats: in units of its scale they are exact to 0.05 %, and ten thousand VMs fit
    into a third of a gigabyte.
    """
    if not isinstance(scenarios, WindowScenarios):
        raise TypeError(f"scenarios of type {type(scenarios).__name__} have no stored form")
    order = sorted(range(len(scenarios.keys)), key=scenarios.keys.__getitem__)
    in_order = order == list(range(len(order)))
    history = scenarios.history if in_order else scenarios.history[order]
    history = np.ascontiguousarray(np.minimum(history, _LARGEST), np.float16)
    _write_array(files, f"{folder}/scenarios.npy", history)
    # Of the history as it will be read, rounding included, so that no mean is above what its own paths amount to.
    stored = replace(
        scenarios,
        history=history,
        keys=tuple(scenarios.keys[at] for at in order),
        scale=scenarios.scale[order],
        replayed_means=None,
    )
    _write_array(files, f"{folder}/scenario_means.npy", stored.mean_replays)
    files.write(f"{folder}/scenarios.parquet", _index_table(order, scenarios))
    plan = {
        "metrics": scenarios.metrics,
        "history_step_s": scenarios.history_step_s,
        "steps": scenarios.steps,
        "coarsen": scenarios.coarsen,
        "starts": scenarios.starts.tolist(),
        "multipliers": scenarios.multipliers.tolist(),
    }
    write_json(files, f"{folder}/{_PLAN}", plan)


def read_scenarios(files: Files, folder: str, wanted: Container[SeriesKey] | None) -> WindowScenarios:
    """Return the scenarios with the paths of the ``wanted`` series (None: all)."""
    plan = read_json(files, f"{folder}/{_PLAN}")
    with files.open(f"{folder}/scenarios.parquet") as source:
        table = pq.ParquetFile(source, read_dictionary=_NAMES, page_checksum_verification=True).read()
    keys = list(map(SeriesKey, *(_texts(table.column(name)) for name in _NAMES)))
    history = np.asarray(files.open_array(f"{folder}/scenarios.npy"))
    means = np.asarray(files.open_array(f"{folder}/scenario_means.npy"))
    scale = numbers(table.column("scale"))
    rows: Sequence[int] = range(len(keys))
    if wanted is not None:
        rows = [at for at in rows if keys[at] in wanted]
        history, means, scale = history[rows], means[rows], scale[rows]
    return WindowScenarios(
        keys=tuple(keys[at] for at in rows),
        metrics=tuple(plan["metrics"]),
        history=history,
        scale=scale,
        history_step_s=plan["history_step_s"],
        steps=plan["steps"],
        starts=np.array(plan["starts"], np.int32),
        multipliers=np.array(plan["multipliers"], np.float32).reshape(len(plan["starts"]), len(plan["metrics"])),
        coarsen=plan["coarsen"],
        additions=_additions(table, keys, rows),
        replayed_means=means,
    )


def _texts(column: Any) -> list[str]:
    """Return a column of texts; equal ones are the same object, which makes tens of thousands of keys cheap."""
    array = column.combine_chunks()
    distinct = array.dictionary.to_pylist()
    return [distinct[code] for code in numbers(array.indices).tolist()]


def _write_array(files: Files, path: str, array: NDArray[np.generic]) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    files.write(path, header.getvalue(), array.reshape(-1).data.cast("B"))  # only one dimension may be empty


def _index_table(order: Sequence[int], scenarios: WindowScenarios) -> memoryview:
    """Return the Parquet file whose row n tells what row n of the history is."""
    keys = [scenarios.keys[at] for at in order]
    additions = [scenarios.additions.get(key) for key in keys]
    table = pa.table(
        {
            **{name: pa.array([key[at] for key in keys], pa.string()) for at, name in enumerate(_NAMES)},
            "scale": pa.array(scenarios.scale[order], pa.float64()),
            "addition": pa.array([None if one is None else one.tolist() for one in additions], pa.list_(pa.float32())),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    return memoryview(sink.getvalue())


def _additions(table: Any, keys: list[SeriesKey], rows: Sequence[int]) -> dict[SeriesKey, Any]:
    column = table.column("addition")
    if column.null_count == len(column):
        return {}
    wanted = set(rows)
    present = [at for at, there in enumerate(column.is_valid().to_pylist()) if there and at in wanted]
    return {keys[at]: np.array(column[at].as_py(), np.float32) for at in present}

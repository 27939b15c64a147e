# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tables in CSV and Parquet files, read in chunks, with the line of everything."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption
from ..libraries import library
from .source import SourceFailed

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq
else:
    pa = library("pyarrow")
    pq = library("pyarrow.parquet")

FORMATS = ("csv", "parquet")
_ROWS_PER_CHUNK = 100_000


@dataclass(slots=True)
class Chunk:
    """Some rows: ``lines[n]`` is the line (CSV, the header being 1) or row (Parquet, from 1) of row n.

    ``columns`` hold what the file holds: text for CSV, values of any type for Parquet, None where there is none.
    ``bad`` are lines that are no rows, with the cause.
    """

    columns: dict[str, list[Any]]
    lines: list[int] = field(default_factory=list)
    bad: list[tuple[int, str]] = field(default_factory=list)


def read_table(path: Path, kind: str, delimiter: str, wanted: Sequence[str]) -> Iterator[Chunk]:
    """Yield the ``wanted`` columns of a file of ``kind`` `FORMATS`.

    Raises `InvalidOption` when a column is not there (naming those that are) and `SourceFailed` when the file cannot
    be read.
    """
    try:
        yield from _read_csv(path, delimiter, wanted) if kind == "csv" else _read_parquet(path, wanted)
    except OSError as exc:
        raise SourceFailed(f"{path} cannot be read: {exc.strerror or exc}", advice="Check the path.") from exc
    except (UnicodeDecodeError, csv.Error) as exc:
        raise SourceFailed(f"{path} is not a CSV file in UTF-8: {exc}") from exc
    except pa.ArrowException as exc:
        raise SourceFailed(f"{path} is not a readable Parquet file: {exc}") from exc


def _read_csv(path: Path, delimiter: str, wanted: Sequence[str]) -> Iterator[Chunk]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, delimiter=delimiter, strict=True)
        header = next(reader, [])
        _check_columns(path, header, wanted)
        positions = [(name, header.index(name)) for name in wanted]
        chunk = Chunk({name: [] for name in wanted})
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                chunk.bad.append((reader.line_num, f"{len(row)} fields instead of {len(header)}"))
                continue
            chunk.lines.append(reader.line_num)
            for name, at in positions:
                chunk.columns[name].append(row[at])
            if len(chunk.lines) == _ROWS_PER_CHUNK:
                yield chunk
                chunk = Chunk({name: [] for name in wanted})
        yield chunk


def _read_parquet(path: Path, wanted: Sequence[str]) -> Iterator[Chunk]:
    with pq.ParquetFile(path) as file:
        _check_columns(path, file.schema_arrow.names, wanted)
        line = 1
        for batch in file.iter_batches(_ROWS_PER_CHUNK, columns=list(wanted)):
            columns = {name: batch.column(name).to_pylist() for name in wanted}
            yield Chunk(columns, list(range(line, line + batch.num_rows)))
            line += batch.num_rows


def _check_columns(path: Path, present: Sequence[str], wanted: Sequence[str]) -> None:
    absent = [name for name in wanted if name not in present]
    if absent:
        raise InvalidOption(
            "sources", f"{path} has no column {absent[0]!r}; its columns are {', '.join(map(repr, present)) or 'none'}"
        )
    doubled = [name for name in wanted if list(present).count(name) > 1]
    if doubled:
        raise InvalidOption("sources", f"{path} has two columns {doubled[0]!r}")

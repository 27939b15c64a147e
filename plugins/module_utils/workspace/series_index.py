# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which series are wanted from a Parquet file, and the number of each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..estate.series import SeriesKey
from ..libraries import library
from .arrow_numbers import numbers

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray
else:
    np = library("numpy")
    pa = library("pyarrow")

#: The columns that name a series.
NAMES = ["entity_kind", "entity_id", "metric"]


class SeriesIndex:
    """Which series are wanted, and the number of each. Without ``keys`` it takes what it meets and numbers that."""

    def __init__(
        self,
        keys: Iterable[SeriesKey] | None = None,
        *,
        entity_kind: str | None = None,
        metrics: Iterable[str] | None = None,
    ) -> None:
        self._open = keys is None
        self._kind = entity_kind
        self._metrics = None if metrics is None else frozenset(metrics)
        self._entities: dict[str, int] = {}
        self._columns: dict[tuple[str, str], int] = {}
        self._table = np.full((0, 0), -1, np.int32)
        self.keys: list[SeriesKey] = []
        for key in keys or ():
            self._add(key)
        self._wanted_entities = None if self._open else sorted({key.entity_id for key in self.keys})

    def numbers(self, kinds: CodedNames, entities: CodedNames, metrics: CodedNames) -> NDArray[np.int32]:
        """Return the series number of each row, -1 for a series that is not wanted."""
        entity_numbers = np.array([self._entity(name) for name in entities.names], np.int64)[entities.codes]
        columns = np.array(
            [[self._column(kind, metric) for metric in metrics.names] for kind in kinds.names], np.int64
        ).reshape(len(kinds.names), len(metrics.names))[kinds.codes, metrics.codes]
        wanted = (entity_numbers >= 0) & (columns >= 0)
        if self._open:
            self._learn(entity_numbers[wanted], columns[wanted])
        found = np.full(len(wanted), -1, np.int32)
        found[wanted] = self._table[entity_numbers[wanted], columns[wanted]]
        return found

    def may_hold(self, smallest: dict[str, Any], largest: dict[str, Any]) -> bool:
        """Whether rows between these values of the name columns may be wanted; a column may be absent."""
        if not self._open and not self.keys:
            return False
        kinds = {kind for kind, _metric in self._columns} if not self._open else {self._kind} - {None}
        metrics = {metric for _kind, metric in self._columns} if not self._open else self._metrics
        return (
            _may_overlap("entity_kind", sorted(filter(None, kinds)) or None, smallest, largest)
            and _may_overlap("metric", None if metrics is None else sorted(metrics), smallest, largest)
            and _may_overlap("entity_id", self._wanted_entities, smallest, largest)
        )

    def _add(self, key: SeriesKey) -> None:
        entity = self._entities.setdefault(key.entity_id, len(self._entities))
        column = self._columns.setdefault((key.entity_kind, key.metric), len(self._columns))
        self._grow()
        if self._table[entity, column] < 0:
            self._table[entity, column] = len(self.keys)
            self.keys.append(key)

    def _learn(self, entities: NDArray[np.int64], columns: NDArray[np.int64]) -> None:
        self._grow()
        new = self._table[entities, columns] < 0
        if not new.any():
            return
        entity_names, column_names = list(self._entities), list(self._columns)
        for entity, column in np.unique(np.stack([entities[new], columns[new]], axis=1), axis=0):
            kind, metric = column_names[column]
            self._table[entity, column] = len(self.keys)
            self.keys.append(SeriesKey(kind, entity_names[entity], metric))

    def _grow(self) -> None:
        rows, columns = self._table.shape
        if rows < len(self._entities) or columns < len(self._columns):
            grown = np.full((max(2 * rows, len(self._entities)), max(2 * columns, len(self._columns))), -1, np.int32)
            grown[:rows, :columns] = self._table
            self._table = grown

    def _entity(self, name: str) -> int:
        return self._entities.setdefault(name, len(self._entities)) if self._open else self._entities.get(name, -1)

    def _column(self, kind: str, metric: str) -> int:
        if not self._open:
            return self._columns.get((kind, metric), -1)
        if self._kind not in (None, kind) or (self._metrics is not None and metric not in self._metrics):
            return -1
        return self._columns.setdefault((kind, metric), len(self._columns))


@dataclass(frozen=True, slots=True)
class CodedNames:
    """A column of few distinct names: ``names[codes[row]]``."""

    codes: NDArray[np.int64]
    names: list[str]

    @classmethod
    def of(cls, column: Any) -> CodedNames:
        """Take an Arrow column of strings, dictionary-encoded or not."""
        coded = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
        return cls(numbers(coded.indices), coded.dictionary.to_pylist())


def _may_overlap(name: str, wanted: Sequence[str] | None, smallest: dict[str, Any], largest: dict[str, Any]) -> bool:
    """Whether one of the sorted ``wanted`` (None: any) lies between the smallest and largest value of a column."""
    if wanted is None or name not in smallest:
        return True
    at = bisect_left(wanted, smallest[name])
    return at < len(wanted) and wanted[at] <= largest[name]

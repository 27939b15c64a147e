# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What one endpoint or source is asked in a collection, and storing its samples as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import ForesightError
from ..estate.series import Samples
from ..estate.snapshot import Estate
from ..hypervisors.protocol import Driver, Inventory, Reading
from ..libraries import library
from ..sources.entities import Entities
from ..sources.source import open_source
from ..workspace.errors import StoreNotWritable
from ..workspace.metrics import AppendReport

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: Stores samples under a name.
Append = Callable[[str, Samples], AppendReport]

#: Samples that are stored together, to keep files few.
_BUFFERED_SAMPLES = 1_000_000
#: History is asked for again from so long before the end of the last, as platforms deliver late.
_OVERLAP_S = 1800.0


@dataclass
class Tally:
    """What became of the samples of one endpoint or source. Times are Unix seconds, None when there was none."""

    written: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first_ts: float | None = None
    last_ts: float | None = None

    def add(self, report: AppendReport) -> None:
        """Count in what one append did."""
        self.written += report.written
        self.left_out.update(report.left_out)
        if report.first_ts is not None and report.last_ts is not None:
            self.first_ts = report.first_ts if self.first_ts is None else min(self.first_ts, report.first_ts)
            self.last_ts = report.last_ts if self.last_ts is None else max(self.last_ts, report.last_ts)


@dataclass(frozen=True, slots=True)
class Memory:
    """What a collection leaves for the next from the same endpoint or source."""

    counters: Mapping[str, Any] = field(default_factory=dict)
    taken_ts: float | None = None
    history_until_ts: float | None = None

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Memory:
        """Take what `Counters.read` returned; empty for an endpoint never seen."""
        counters = data.get("counters")
        return cls(
            counters=counters if isinstance(counters, dict) else {},
            taken_ts=data.get("taken_ts"),
            history_until_ts=data.get("history_until_ts"),
        )

    def as_data(self) -> dict[str, Any]:
        """Return what `Counters.write` stores."""
        return {"counters": self.counters, "taken_ts": self.taken_ts, "history_until_ts": self.history_until_ts}


@dataclass(frozen=True, slots=True)
class Question:
    """What to ask of every endpoint and source. ``now_ts`` is the estate's time at the start of the collection."""

    now_ts: float
    usage: bool
    history: bool
    sources: bool
    history_s: float
    memory_of: Callable[[str], Memory]
    append: Append

    def since_ts(self, previous: Memory) -> float:
        """Return from when on history is wanted: since the last complete one, or ``history_s`` back."""
        earliest_ts = self.now_ts - self.history_s
        last_ts = previous.history_until_ts
        return earliest_ts if last_ts is None else max(earliest_ts, last_ts - _OVERLAP_S)


@dataclass
class Answer:
    """What one endpoint answered. ``reading`` is None when use was not asked for or could not be read."""

    inventory: Inventory
    asked_ts: float
    memory: Memory
    previous: Memory
    reading: Reading | None = None
    tally: Tally = field(default_factory=Tally)
    warnings: list[str] = field(default_factory=list)


def ask_endpoint(driver: Driver, question: Question) -> Answer:
    """Ask one endpoint; raises `ForesightError` when it does not even give its inventory."""
    previous = question.memory_of(driver.name)
    asked_ts = driver.clock.now()
    inventory = driver.inventory()
    asked_ts = (asked_ts + driver.clock.now()) / 2.0
    answer = Answer(inventory, asked_ts, previous, previous, warnings=list(inventory.warnings))
    counters, history_until_ts = previous.counters, previous.history_until_ts
    if question.usage:
        answer.reading = _read_usage(driver, question, answer)
        counters = answer.reading.counters if answer.reading else counters
    if question.history and driver.capabilities().history:
        history_until_ts = _read_history(driver, question, answer)
    answer.memory = Memory(counters, question.now_ts, history_until_ts)
    return answer


@dataclass
class SourceAnswer:
    """What one source answered. ``unchanged``: nothing new since the last reading, so nothing was read."""

    memory: Memory
    unchanged: bool = False
    tally: Tally = field(default_factory=Tally)
    warnings: list[str] = field(default_factory=list)


def ask_source(options: Mapping[str, Any], estate: Estate, question: Question) -> SourceAnswer:
    """Read one source and store its samples; raises `ForesightError` when it fails (what came before is stored)."""
    source = open_source(options, Entities(estate))
    previous = question.memory_of(source.name)
    fingerprint = source.fingerprint()
    if fingerprint is not None and fingerprint == previous.counters.get("fingerprint"):
        return SourceAnswer(previous, unchanged=True)
    tally = Tally()
    store_batches(source.name, source.samples(question.since_ts(previous), question.now_ts), question.append, tally)
    remembered = {} if source.warnings else {"fingerprint": fingerprint}  # what was left out may fit the next time
    return SourceAnswer(
        Memory(remembered, question.now_ts, question.now_ts), tally=tally, warnings=list(source.warnings)
    )


def store_batches(name: str, batches: Iterable[Samples], append: Append, tally: Tally) -> None:
    """Store the batches under ``name`` in few large pieces; what was stored before an error stays stored."""
    waiting: list[Samples] = []
    for batch in batches:
        waiting.append(batch)
        if sum(map(len, waiting)) >= _BUFFERED_SAMPLES:
            tally.add(append(name, joined(waiting)))
            waiting = []
    if any(map(len, waiting)):
        tally.add(append(name, joined(waiting)))


def joined(batches: list[Samples]) -> Samples:
    """Return all samples of the batches (at least one) as one."""
    return Samples(
        np.concatenate([batch.entity_kind for batch in batches]),
        np.concatenate([batch.entity_id for batch in batches]),
        np.concatenate([batch.metric for batch in batches]),
        np.concatenate([batch.ts for batch in batches]),
        np.concatenate([batch.value for batch in batches]),
    )


def _read_usage(driver: Driver, question: Question, answer: Answer) -> Reading | None:
    try:
        reading = driver.read(answer.previous.counters)
    except ForesightError as error:
        answer.warnings.append(f"{driver.name}: current use could not be read: {error.message}")
        return None
    answer.warnings.extend(reading.warnings)
    store_batches(driver.name, [reading.samples], question.append, answer.tally)
    return reading


def _read_history(driver: Driver, question: Question, answer: Answer) -> float | None:
    """Store the platform's history since the last complete one; returns until when it is complete now."""
    batches = driver.history(question.since_ts(answer.previous), question.now_ts)
    try:
        store_batches(driver.name, batches, question.append, answer.tally)
    except StoreNotWritable:
        raise
    except ForesightError as error:
        answer.warnings.append(f"{driver.name}: its history could not be read completely: {error.message}")
        return answer.previous.history_until_ts  # so that the next collection asks for the same again
    return question.now_ts

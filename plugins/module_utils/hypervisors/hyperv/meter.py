# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Samples of the use of an endpoint's hosts and VMs, and the last look at each host."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ...clock import Clock
from ...errors import ForesightError
from ...estate.resources import Resources
from ...estate.series import Samples
from ...libraries import library
from ..usage import Usage
from .nodes import Nodes
from .scripts.reads import COUNTERS
from .usage import MAX_INTERVAL_S, MIN_INTERVAL_S, Counters, as_resources, counters_of, usage_between

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: Between two readings when there is no earlier one to compare with.
SECOND_READING_S = 2.0
#: What the guard asks for several times a second is measured anew only so often: every reading starts a PowerShell.
OBSERVATION_S = 3.0

Row = tuple[str, str, str, float, float]


class Meter:
    """Reads the counters of an endpoint's hosts and remembers the last reading of each."""

    def __init__(self, nodes: Nodes, clock: Clock) -> None:
        self._nodes = nodes
        self._clock = clock
        self._lock = threading.Lock()
        self._last: dict[str, Counters] = {}
        self._observed: dict[str, Usage] = {}

    def read(self, host_ids: Iterable[str]) -> tuple[dict[str, Counters], dict[str, ForesightError]]:
        """Return the counters of the hosts now, and what those answered that could not be read."""
        answers = self._nodes.run_on_all(COUNTERS, host_ids=tuple(host_ids))
        now_ts = self._clock.now()
        read: dict[str, Counters] = {}
        errors: dict[str, ForesightError] = {}
        for host_id, answer in answers.items():
            try:
                read[host_id] = counters_of(_answered(answer), now_ts)
            except ForesightError as error:
                errors[host_id] = error
        with self._lock:
            self._last.update(read)
        return read, errors

    def usage_since(
        self, previous: Mapping[str, Any], host_ids: tuple[str, ...]
    ) -> tuple[dict[str, Usage], dict[str, ForesightError]]:
        """Return the use of the hosts since ``previous`` (what `to_data` gave), where that is not too long ago.

        Otherwise it is measured over a short time from now.
        """
        earlier = {host_id: Counters.from_data(previous.get(host_id) or {}) for host_id in host_ids}
        now_ts = self._clock.now()
        fresh = {
            host_id: counters
            for host_id, counters in earlier.items()
            if counters is not None and MIN_INTERVAL_S <= now_ts - counters.ts <= MAX_INTERVAL_S
        }
        first, _errors = self.read(host_id for host_id in host_ids if host_id not in fresh)
        before = {**fresh, **first}
        if first:
            self._clock.sleep(SECOND_READING_S)
        after, errors = self.read(host_ids)
        return {host_id: usage_between(before.get(host_id), counters) for host_id, counters in after.items()}, errors

    def to_data(self) -> dict[str, Any]:
        """Return the last reading of every host as JSON-able data."""
        with self._lock:
            return {host_id: counters.to_data() for host_id, counters in self._last.items()}

    def observe(self, host_id: str) -> Usage:
        """Return the use of the host since the last look, or the last look's where that is only a moment ago.

        Raises what the host answered when it could not be read.
        """
        with self._lock:
            seen, before = self._observed.get(host_id), self._last.get(host_id)
        if seen is not None and self._clock.now() - seen.ts < OBSERVATION_S:
            return seen
        if before is None or self._clock.now() - before.ts > MAX_INTERVAL_S:
            before = self._read_one(host_id)
        self._clock.sleep(max(0.0, before.ts + SECOND_READING_S - self._clock.now()))
        usage = usage_between(before, self._read_one(host_id))
        with self._lock:
            self._observed[host_id] = usage
        return usage

    def observed(self) -> tuple[Usage, ...]:
        """Return the last looks of `observe`."""
        with self._lock:
            return tuple(self._observed.values())

    def _read_one(self, host_id: str) -> Counters:
        read, errors = self.read([host_id])
        if errors:
            raise errors[host_id]
        return read[host_id]


def _answered(answer: dict[str, Any] | ForesightError) -> dict[str, Any]:
    if isinstance(answer, ForesightError):
        raise answer
    return answer


def host_rows(host_key: str, usage: Usage) -> Iterator[Row]:
    """Yield the rows of one host and its VMs: kind, id, metric, time and value."""
    for metric, value in usage.host.items():
        yield "host", host_key, metric, usage.ts, value
    for uuid, use in usage.vms.items():
        for metric, value in use.items():
            yield "vm", uuid, metric, usage.ts, value


def samples_of(rows: Iterable[Row]) -> Samples:
    """Return rows as columns for the metrics dataset."""
    kinds, ids, metrics, times, values = zip(*rows, strict=True) if (rows := list(rows)) else ((),) * 5
    return Samples(
        entity_kind=np.array(kinds, dtype=object),
        entity_id=np.array(ids, dtype=object),
        metric=np.array(metrics, dtype=object),
        ts=np.array(times, dtype=np.float64),
        value=np.array(values, dtype=np.float64),
    )


def used_by(usage: Usage, vm_uuid: str) -> Resources | None:
    """Return what the VM used; None when it was not there."""
    use = usage.vms.get(vm_uuid)
    return None if use is None else as_resources(use)

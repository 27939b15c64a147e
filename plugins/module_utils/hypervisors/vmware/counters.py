# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vSphere's performance counters: which are asked for, and what their figures mean in this project's units."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ...estate.resources import RESOURCES
from ...libraries import library
from .properties import read_one
from .session import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Metric -> the counter it comes from, for VMs and hosts alike. All are of statistics level 1, which every vCenter
#: keeps (vSphere Monitoring and Performance, "Data Counters").
COUNTERS: Mapping[str, str] = {
    "cpu": "cpu.usagemhz.average",
    "memory": "mem.consumed.average",
    "network": "net.usage.average",
    "disk": "disk.usage.average",
}
#: Seconds of vSphere's real-time interval.
REALTIME_S = 20


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The server's counters of `COUNTERS`: metric -> (counter id, unit). A counter the server lacks is absent."""

    counters: Mapping[str, tuple[int, str]]

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids to ask for."""
        return tuple(counter_id for counter_id, unit in self.counters.values())

    def metric_of(self, counter_id: int) -> tuple[str, str] | None:
        """Return (metric, unit) of a counter id."""
        for metric, (known_id, unit) in self.counters.items():
            if known_id == counter_id:
                return metric, unit
        return None


def read_catalogue(session: Session) -> Catalogue:
    """Return where the server has the counters of `COUNTERS`."""
    found = counter_keys(session, tuple(COUNTERS.values()))
    return Catalogue({metric: found[COUNTERS[metric]] for metric in RESOURCES if COUNTERS[metric] in found})


def counter_keys(session: Session, names: Collection[str]) -> dict[str, tuple[int, str]]:
    """Return (id, unit) of the counters that the server has of ``names``. Ids differ between servers, names do not."""
    record = read_one(session, session.content.perfManager, ["perfCounter"])
    found: dict[str, tuple[int, str]] = {}
    for counter in record.get("perfCounter", ()) if record else ():
        name = f"{counter.groupInfo.key}.{counter.nameInfo.key}.{counter.rollupType}"
        if name in names:
            found[name] = (int(counter.key), str(counter.unitInfo.key))
    return found


def factor(metric: str, unit: str, core_mhz: float) -> float | None:
    """Return what a figure in vSphere's ``unit`` is multiplied with to be in the metric's; None for a foreign unit.

    vSphere's kilobytes are 1024 bytes. ``core_mhz`` is the clock of a core of the host in question.
    """
    factors = {
        ("cpu", "megaHertz"): 1.0 / core_mhz,
        ("memory", "kiloBytes"): 1.0 / 1024,
        ("network", "kiloBytesPerSecond"): 1024 * 8 / 1e6,
        ("disk", "kiloBytesPerSecond"): 1.0 / 1024,
    }
    return factors.get((metric, unit))


def series_of(answer: Any) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Yield (counter id, end times in Unix seconds ascending, values) of each series in a CSV answer of QueryPerf.

    Missing values (empty or -1) are left out, and the order that the server chose does not matter.
    """
    ends = sample_ends(answer.sampleInfoCSV or "")
    for series in answer.value or ():
        values = _numbers((series.value or "").split(","))
        count = min(len(ends), len(values))
        kept = np.flatnonzero(np.isfinite(values[:count]) & (values[:count] >= 0))
        order = kept[np.argsort(ends[kept], kind="stable")]
        yield int(series.id.counterId), ends[order], values[order]


@lru_cache(maxsize=64)
def sample_ends(csv: str) -> NDArray[np.float64]:
    """Return the end of each sample in Unix seconds from ``interval,time,interval,time,...``.

    The entities of one answer mostly have the same text.
    """
    times = csv.split(",")[1::2]
    return np.array([datetime.fromisoformat(time).timestamp() for time in times], dtype=np.float64)


def mean_of(series: Any) -> float | None:
    """Return the mean of a series in a CSV answer of QueryPerf, missing values left out; None without any."""
    values = _numbers((series.value or "").split(","))
    known = values[np.isfinite(values) & (values >= 0)]
    return float(known.mean()) if len(known) else None


def _numbers(texts: Sequence[str]) -> NDArray[np.float64]:
    return np.array([text or "nan" for text in texts], dtype=np.float64)

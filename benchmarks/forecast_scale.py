# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forecasts a large fleet on local processes and on a Dask cluster, and holds the two against each other bit for bit.

Usage: forecast_scale.py [--vms N] [--workers N] [--on local|dask] [--traces FOLDER] [--digest FILE]

The fleet is recorded demand under new names, each VM at its own level and with its own noise. One run does one way of
working, so that the memory told is that way's own; ``--digest`` is written by the first run and compared by the next.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import numpy as np

importlib.import_module("forecast_cases")  # makes this checkout importable as the collection
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import Forecast  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey, SeriesSet  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest  # noqa: E402
from forecast_cases import DAY, HERE, HISTORY_DAYS, METRICS, STEP_S  # noqa: E402
from traces import Traces, read_bitbrains  # noqa: E402

SEED = 0
END_TS = 1_770_000_000 // 86_400 * 86_400.0
#: How often memory is looked at.
LOOK_S = 0.5


def fleet(traces: Traces, vms: int) -> SeriesSet:
    """Return ``vms`` VMs x 4 metrics x 14 days: recorded VMs in turn, at other levels, with noise of 5 %."""
    steps = HISTORY_DAYS * DAY
    recorded = len(traces.entities)
    values = np.empty((vms * len(METRICS), steps), np.float32)
    keys = []
    rng = np.random.default_rng(SEED)
    for place, metric in enumerate(METRICS):
        level = rng.lognormal(0, 0.5, vms).astype(np.float32)
        for vm in range(vms):
            noise = rng.standard_normal(steps, np.float32) * 0.05 + 1
            values[place * vms + vm] = traces.values[place * recorded + vm % recorded, :steps] * level[vm] * noise
            keys.append(SeriesKey("vm", f"vm-{vm:06d}", metric))
    return SeriesSet(tuple(keys), END_TS - steps * STEP_S, STEP_S, values)


def digest(answer: Forecast) -> str:
    """Return a digest of every number that the forecast states, and of the sums of some groups' scenarios."""
    found = hashlib.sha256()
    for array in (answer.mean, answer.sd, answer.quantiles, answer.peak_mean, answer.peak_sd, answer.peak_quantiles):
        found.update(np.ascontiguousarray(array).data)
    groups = [list(answer.keys[first : first + 20]) for first in range(0, len(answer.keys), 4_000)]
    found.update(np.ascontiguousarray(answer.scenarios.totals(groups)).data)
    found.update(repr(answer.reports).encode())
    return found.hexdigest()


class Watch(Thread):
    """Notes the most memory that this process and its descendants hold together, shared pages counted once."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most_mib = 0
        self.over = Event()

    def run(self) -> None:
        while not self.over.wait(LOOK_S):
            self.most_mib = max(self.most_mib, sum(map(held_mib, family(os.getpid()))))

    def __enter__(self) -> Watch:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.over.set()
        self.join()


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    found = [pid]
    for one in found:
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                found += [int(child) for child in task.read_text(encoding="ascii").split()]
            except OSError:
                continue  # it has ended meanwhile
    return found


def held_mib(pid: int) -> int:
    """Return the process's proportional set size; 0 for one that has ended meanwhile."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return int(rollup.partition("\nPss:")[2].split(maxsplit=1)[0]) // 1024 if "\nPss:" in rollup else 0


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """Keep a Dask cluster of worker processes on this machine; give its scheduler's address."""
    from distributed import LocalCluster

    options = {"threads_per_worker": 1, "processes": True, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(n_workers=workers, **options) as dask:
        yield dask.scheduler_address


def run(series: SeriesSet, on: str, workers: int) -> Forecast:
    """Forecast a day ahead on local processes or on a cluster, telling time and CPU time."""
    started = time.monotonic()
    if on == "dask":
        with cluster(workers) as address:
            answer = forecast(series, ForecastRequest(seed=SEED, dask_scheduler=address))
    else:
        answer = forecast(series, ForecastRequest(seed=SEED, workers=workers))
    used = os.times()
    cpu_s = used.user + used.system + used.children_user + used.children_system
    print(f"{on}: {time.monotonic() - started:.0f} s on {workers} workers; {cpu_s:.0f} s of CPU in all")
    return answer


def main() -> None:
    """Forecast once, and compare with the run before."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--on", choices=("local", "dask"), default="local")
    parser.add_argument("--traces", type=Path, default=HERE / "data")
    parser.add_argument("--digest", type=Path)
    given = parser.parse_args()
    series = fleet(read_bitbrains(given.traces), given.vms)
    print(f"{given.vms} VMs x {len(METRICS)} metrics x {HISTORY_DAYS} days; load {os.getloadavg()[0]:.1f}", flush=True)
    with Watch() as watch:
        answer = run(series, given.on, given.workers)
    print(f"peak memory of all processes: {watch.most_mib} MiB, of it {series.values.nbytes >> 20} MiB of input")
    print(f"load {os.getloadavg()[0]:.1f}; digest {(numbers := digest(answer))}")
    if given.digest and given.digest.exists():
        same = given.digest.read_text(encoding="ascii") == numbers
        print("the same numbers as before" if same else "OTHER NUMBERS THAN BEFORE")
        raise SystemExit(0 if same else 1)
    if given.digest:
        given.digest.write_text(numbers, encoding="ascii")


if __name__ == "__main__":
    main()

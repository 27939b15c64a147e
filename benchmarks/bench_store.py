# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How the store keeps up with 10,000 VMs: time to write a collection, time and memory to read, bytes a sample.

Run it as ``python benchmarks/store.py``; it prints one JSON object. The demand is recorded demand that ships with the
demo, repeated under new names with a little noise, so that sizes are those of real values.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes this checkout importable as the collection
import numpy as np  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import (  # noqa: E402
    Samples,
    SeriesKey,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import (  # noqa: E402
    CollectRequest,
    collect,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.workspace.compaction import compact  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace  # noqa: E402

TRACE = ROOT / "playbooks" / "files" / "demo" / "demand.parquet"
METRICS = {"cpu": "cpu_cores", "memory": "memory_mib", "network": "network_mbit_s", "disk": "disk_mib_s"}
STEP_S = 300
DAY_S = 86_400
START = 1_770_000_000 // DAY_S * DAY_S
DAYS = 14


def recorded() -> dict[str, np.ndarray]:
    """Return 14 days of each metric of the recorded VMs, shape (VMs, steps), 0 where nothing was recorded."""
    table = pq.read_table(TRACE).to_pydict()
    names, rows = np.unique(np.array(table["vm"], object), return_inverse=True)
    steps = (np.array(table["ts"]) - min(table["ts"])) // STEP_S
    chosen = steps < DAYS * DAY_S // STEP_S
    demand = {}
    for metric, column in METRICS.items():
        values = np.zeros((len(names), DAYS * DAY_S // STEP_S), np.float32)
        values[rows[chosen], steps[chosen]] = np.array(table[column], np.float32)[chosen]
        demand[metric] = values
    return demand


def entity_ids(count: int) -> np.ndarray:
    """Return uuids, the same in every run."""
    rng = np.random.default_rng(1)
    return np.array([str(uuid.UUID(bytes=rng.bytes(16))) for _unused in range(count)], object)


def day_of_samples(demand: dict[str, np.ndarray], vms: int, day: int) -> Samples:
    """Return one day of every metric of ``vms`` VMs, each a recorded one with some noise on top."""
    ids, rng = entity_ids(vms), np.random.default_rng(day)
    steps = slice(day * DAY_S // STEP_S, (day + 1) * DAY_S // STEP_S)
    values = []
    for series in demand.values():
        chosen = series[np.arange(vms) % len(series), steps]
        values.append(np.round(chosen * rng.uniform(0.95, 1.05, chosen.shape), 3))
    count = values[0].shape[1]
    ts = START + day * DAY_S + STEP_S * np.arange(count, dtype=float)
    total = vms * count
    return Samples(
        entity_kind=np.full(total * len(values), "vm", object),
        entity_id=np.tile(np.repeat(ids, count), len(values)),
        metric=np.repeat(np.array(list(demand), object), total),
        ts=np.tile(ts, vms * len(values)),
        value=np.concatenate([value.ravel() for value in values]).astype(float),
    )


def collection(demand: dict[str, np.ndarray], vms: int) -> Samples:
    """Return one collection of five metrics of ``vms`` VMs."""
    rng = np.random.default_rng(7)
    columns = [series[np.arange(vms) % len(series), 100] for series in demand.values()]
    columns.append(rng.integers(0, 5000, vms).astype(np.float32))
    return Samples(
        entity_kind=np.full(vms * 5, "vm", object),
        entity_id=np.tile(entity_ids(vms), 5),
        metric=np.repeat(np.array([*demand, "disk_iops"], object), vms),
        ts=np.full(vms * 5, float(START + 7)),
        value=np.concatenate(columns).astype(float),
    )


def stored_bytes(store: str) -> int:
    """Return the size of all metric files."""
    return sum(path.stat().st_size for path in Path(store, "metrics").rglob("*.parquet"))


def timed(action: Any) -> tuple[float, Any]:
    """Return the seconds that ``action`` took, and its answer."""
    begun = time.monotonic()
    answer = action()
    return time.monotonic() - begun, answer


def measure_writing(demand: dict[str, np.ndarray], folder: str) -> dict[str, Any]:
    """Write one collection of 10,000 VMs x 5 metrics, and a day of 2,000 VMs collection by collection, merged."""
    workspace = Workspace.open(f"{folder}/one")
    samples = collection(demand, 10_000)
    seconds, report = timed(lambda: workspace.metrics.append("bench", samples))
    assert report.written == 50_000
    merged = Workspace.open(f"{folder}/merged")
    for number in range(12):
        shifted = Samples(
            samples.entity_kind, samples.entity_id, samples.metric, samples.ts + 300 * number, samples.value
        )
        merged.metrics.append("bench", shifted)
    fresh = stored_bytes(f"{folder}/merged")
    merge_seconds, _unused = timed(lambda: compact(merged.metrics, merged.files, START + 3600.0))
    return {
        "collection_10000x5_write_s": round(seconds, 2),
        "fresh_bytes_per_sample": round(fresh / 600_000, 2),
        "merged_hour_bytes_per_sample": round(stored_bytes(f"{folder}/merged") / 600_000, 2),
        "merge_hour_s": round(merge_seconds, 2),
    }


def fill(demand: dict[str, np.ndarray], store: str, vms: int, days: int) -> int:
    """Store ``days`` of ``vms`` VMs x 4 metrics, merged as they are once their day is over; returns the samples."""
    workspace = Workspace.open(store)
    written = 0
    for day in range(days):
        written += workspace.metrics.append("bench", day_of_samples(demand, vms, day)).written
    compact(workspace.metrics, workspace.files, START + (days + 1) * DAY_S, budget_s=1e9)
    return written


def read_once(store: str, vms: int, days: int) -> dict[str, Any]:
    """Read arrays in this process, of which memory is measured too."""
    keys = [SeriesKey("vm", one, metric) for one in entity_ids(1000)[:vms] for metric in METRICS]
    begun_cpu = time.process_time()
    seconds, series = timed(lambda: Workspace.open(store).metrics.read(keys, START, START + days * DAY_S, STEP_S))
    cpu_seconds = time.process_time() - begun_cpu
    assert np.isfinite(series.values).all()
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"s": round(seconds, 2), "cpu_s": round(cpu_seconds, 2), "peak_mib": peak_kib // 1024}


def in_process(store: str, vms: int, days: int) -> dict[str, Any]:
    """Return what `read_once` measures in a fresh process."""
    answer = subprocess.run(
        [sys.executable, __file__, "--read", store, str(vms), str(days)], check=True, capture_output=True, text=True
    )
    return dict(json.loads(answer.stdout))


def measure_reading(demand: dict[str, np.ndarray], folder: str) -> dict[str, Any]:
    """Read 14 days x 1,000 VMs x 4 metrics, and parts of it."""
    store = f"{folder}/fortnight"
    samples = fill(demand, store, 1000, DAYS)
    whole, tenth = in_process(store, 1000, DAYS), in_process(store, 100, DAYS)
    one, day = in_process(store, 1, DAYS), in_process(store, 1000, 1)
    return {
        "samples": samples,
        "bytes_per_sample": round(stored_bytes(store) / samples, 2),
        "read_14d_1000vms_s": whole["s"],
        "read_14d_1000vms_cpu_s": whole["cpu_s"],
        "read_14d_1000vms_peak_mib": whole["peak_mib"],
        "read_14d_100vms_cpu_s": tenth["cpu_s"],
        "read_14d_1vm_cpu_s": one["cpu_s"],
        "read_1d_1000vms_cpu_s": day["cpu_s"],
    }


def estate_scenario(path: Path) -> None:
    """Write a scenario of 500 hosts and 10,000 VMs with constant demand."""
    hosts = [
        {
            "name": f"host-{number}",
            "family": "kvm",
            "capacity": {"cpu_cores": 64, "memory_mib": 524288, "network_mbit_s": 20000, "disk_mib_s": 2000},
        }
        for number in range(500)
    ]
    vms = [
        {
            "name": f"vm-{number}-{{n}}",
            "count": 20,
            "host": f"host-{number}",
            "allocated": {"cpu_cores": 4, "memory_mib": 8192},
            "demand": {"cpu_cores": 1.5, "memory_mib": 4000, "network_mbit_s": 20, "disk_mib_s": 5},
        }
        for number in range(500)
    ]
    clock = {"start": "2026-03-02T20:00:30Z", "mode": "stepped", "speed": 0}
    path.write_text(json.dumps({"version": 1, "clock": clock, "hosts": hosts, "vms": vms}))


def measure_collecting(folder: str) -> dict[str, Any]:
    """Collect an estate of 10,000 VMs: inventory, use, snapshot, and keeping the store in order."""
    estate_scenario(Path(folder, "estate.json"))
    endpoint = {
        "name": "lab",
        "type": "simulated",
        "scenario": f"{folder}/estate.json",
        "state_path": f"{folder}/state",
    }
    request = CollectRequest([endpoint], f"{folder}/collected", gather_subset=["usage"])
    collect(request, Context())
    begun_cpu = time.process_time()
    seconds, outcome = timed(lambda: collect(request, Context()))
    assert outcome.result["summary"]["vms"] == 10_000
    return {"collect_10000_s": round(seconds, 2), "collect_10000_cpu_s": round(time.process_time() - begun_cpu, 2)}


def main() -> None:
    """Run the benchmark, or one reading of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--read", nargs=3, metavar=("STORE", "VMS", "DAYS"), help="for the benchmark itself")
    given = parser.parse_args()
    if given.read:
        print(json.dumps(read_once(given.read[0], int(given.read[1]), int(given.read[2]))))
        return
    demand = recorded()
    with tempfile.TemporaryDirectory(prefix="foresight-bench-") as folder:
        figures = {**measure_writing(demand, folder), **measure_reading(demand, folder), **measure_collecting(folder)}
        print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The performance history that a cluster with Storage Spaces Direct keeps of its servers and VMs.

Series, units and time frames: Microsoft, "Performance history for Storage Spaces Direct", "... for servers" and
"... for virtual machines".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from ...errors import ForesightError
from ...estate.series import Samples
from ..protocol import HypervisorFault
from .meter import Row, samples_of
from .nodes import Nodes
from .scripts.reads import COUNTERS, HISTORY

MIB = 2**20
MINUTE_S = 60.0
HOUR_S = 3600.0
DAY_S = 86400.0
#: Time frames with how far back each reaches, finest first: one value in 10 s, 5 min, 15 min, 1 h, 1 day.
TIME_FRAMES = (
    ("LastHour", HOUR_S),
    ("LastDay", 25 * HOUR_S),
    ("LastWeek", 8 * DAY_S),
    ("LastMonth", 35 * DAY_S),
    ("LastYear", 400 * DAY_S),
)
#: The frame whose values are more often than anything here needs.
FINEST = "LastHour"
#: Series in lower case -> metric and what its values are multiplied with; CPU is a share of the server's processors.
VM_SERIES = {
    "vm.cpu.usage": ("cpu", 0.01),
    "vm.memory.assigned": ("memory", 1 / MIB),
    "vmnetworkadapter.bandwidth.total": ("network", 1e-6),
    "vhd.throughput.total": ("disk", 1 / MIB),
    "vhd.iops.total": ("disk_iops", 1.0),
}
HOST_SERIES = {
    "clusternode.cpu.usage": ("cpu", 0.01),
    "clusternode.memory.usage": ("memory", 1 / MIB),
    "netadapter.bandwidth.total": ("network", 1e-6),
}
#: VMs asked for in one call, so that each stays well within the endpoint's deadline.
VM_BATCH = 5


def read_history(nodes: Nodes, since_ts: float, until_ts: float, now_ts: float) -> Iterator[Samples]:
    """Yield what the cluster has recorded between two times, each part of it in the finest time frame that has it.

    One call per host, time frame and batch of VMs. What has no history yet, such as a new VM, is passed over. Raises
    after all other hosts what the first one answered that cannot be asked or tells none at all.
    """
    failure: ForesightError | None = None
    for host_id in nodes.host_ids:
        try:
            yield from _of_host(nodes, host_id, frames(since_ts, until_ts, now_ts))
        except ForesightError as error:
            failure = failure or error
    if failure is not None:
        raise failure


def _of_host(nodes: Nodes, host_id: str, parts: Sequence[tuple[str, float, float]]) -> Iterator[Samples]:
    present = nodes.run(host_id, COUNTERS)
    processors = len(present["logical_processors"])
    uuids = [str(vm["id"]) for vm in present["vms"]]
    found, problem = 0, ""
    for frame, start_ts, end_ts in parts:
        for start in range(0, max(1, len(uuids)), VM_BATCH):
            parameters = {
                "time_frame": frame,
                "host_series": [] if start else list(HOST_SERIES),
                "vm_ids": uuids[start : start + VM_BATCH],
                "vm_series": list(VM_SERIES),
            }
            answer = nodes.run(host_id, HISTORY, parameters)
            found += len(answer["rows"])
            problem = next((told["message"] for told in answer["problems"]), problem)
            points = [point for point in answer["rows"] if start_ts < point["ts"] <= end_ts]
            rows = [row for point in points if (row := _row(nodes, host_id, processors, point)) is not None]
            yield samples_of(per_minute(rows) if frame == FINEST else rows)
    if problem and not found:
        raise HypervisorFault(
            f"Endpoint {nodes.endpoint!r} ({nodes.node(host_id).name}) tells no performance history: {problem}",
            advice="Check the cluster's Health resource and its ClusterPerformanceHistory volume "
            "(Start-ClusterPerformanceHistory).",
        )


def frames(since_ts: float, until_ts: float, now_ts: float) -> list[tuple[str, float, float]]:
    """Return which time frames to ask for, and the part (start, end] to take from each; parts do not overlap."""
    edges = [now_ts, *(now_ts - reach_s for _name, reach_s in TIME_FRAMES)]
    parts = [
        (name, max(since_ts, oldest), min(until_ts, newest))
        for (name, _reach_s), (newest, oldest) in zip(TIME_FRAMES, pairwise(edges), strict=True)
    ]
    return [(name, start_ts, end_ts) for name, start_ts, end_ts in parts if start_ts < end_ts]


def per_minute(rows: Iterable[Row]) -> list[Row]:
    """Return the mean of each minute of every series, at the minute's beginning."""
    sums: dict[tuple[str, str, str, float], tuple[float, int]] = {}
    for kind, entity, metric, ts, value in rows:
        key = (kind, entity, metric, ts // MINUTE_S * MINUTE_S)
        total, count = sums.get(key, (0.0, 0))
        sums[key] = (total + value, count + 1)
    return [(*key, total / count) for key, (total, count) in sums.items()]


def _row(nodes: Nodes, host_id: str, processors: int, point: Mapping[str, Any]) -> Row | None:
    """Return a recorded point as a row; None for a series that was not asked for."""
    is_vm = point["kind"] == "vm"
    known = (VM_SERIES if is_vm else HOST_SERIES).get(point["series"].lower())
    if known is None:
        return None
    metric, factor = known
    if metric == "cpu":
        factor *= processors
    entity = point["id"] if is_vm else f"{nodes.endpoint}/{host_id}"
    return ("vm" if is_vm else "host"), entity, metric, point["ts"], point["value"] * factor

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The performance history that a cluster with Storage Spaces Direct keeps of its servers and VMs.

Series, units and time frames: Microsoft, "Performance history for Storage Spaces Direct", "... for servers" and
"... for virtual machines".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from ...estate.series import Samples
from .meter import Row, samples_of
from .nodes import Nodes
from .scripts.reads import COUNTERS, HISTORY

MIB = 2**20
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

    One call per host, time frame and batch of VMs. Raises what a host answers that cannot be asked.
    """
    for host_id in nodes.host_ids:
        present = nodes.run(host_id, COUNTERS)
        processors = len(present["logical_processors"])
        uuids = [str(vm["id"]) for vm in present["vms"]]
        for frame, start_ts, end_ts in frames(since_ts, until_ts, now_ts):
            for start in range(0, max(1, len(uuids)), VM_BATCH):
                answer = nodes.run(
                    host_id,
                    HISTORY,
                    {
                        "time_frame": frame,
                        "host_series": [] if start else list(HOST_SERIES),
                        "vm_ids": uuids[start : start + VM_BATCH],
                        "vm_series": list(VM_SERIES),
                    },
                )
                rows = [
                    row
                    for point in answer["rows"]
                    if start_ts < point["ts"] <= end_ts and (row := _row(nodes, host_id, processors, point))
                ]
                yield samples_of(rows)


def frames(since_ts: float, until_ts: float, now_ts: float) -> list[tuple[str, float, float]]:
    """Return which time frames to ask for, and the part (start, end] to take from each; parts do not overlap."""
    edges = [now_ts, *(now_ts - reach_s for _name, reach_s in TIME_FRAMES)]
    parts = [
        (name, max(since_ts, oldest), min(until_ts, newest))
        for (name, _reach_s), (newest, oldest) in zip(TIME_FRAMES, pairwise(edges), strict=True)
    ]
    return [(name, start_ts, end_ts) for name, start_ts, end_ts in parts if start_ts < end_ts]


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

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The history of Storage Spaces Direct: which time frame is asked for which part, and units."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.history import (
    DAY_S,
    HOUR_S,
    VM_BATCH,
    frames,
    per_minute,
    read_history,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    HypervisorFault,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_counters import (
    VM,
    counters,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_hosts import (
    PlayedHosts,
)
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0


@given(st.floats(0, 600 * DAY_S), st.floats(0, 600 * DAY_S))
def test_parts_join_without_gap_or_overlap(from_s: float, length_s: float) -> None:
    since_ts = NOW - from_s
    until_ts = min(NOW, since_ts + length_s)
    parts = sorted((start, end) for _name, start, end in frames(since_ts, until_ts, NOW))
    reachable = max(since_ts, NOW - 400 * DAY_S)
    assert sum(end - start for start, end in parts) == pytest.approx(max(0.0, until_ts - reachable), abs=1e-3)
    assert all(later[0] >= earlier[1] for earlier, later in pairwise(parts))


def test_the_last_hour_is_taken_in_the_finest_steps() -> None:
    assert [name for name, _start, _end in frames(NOW - HOUR_S / 2, NOW, NOW)] == ["LastHour"]
    assert [name for name, _start, _end in frames(NOW - 2 * DAY_S, NOW, NOW)] == ["LastHour", "LastDay", "LastWeek"]


def test_recorded_values_come_in_the_units_of_the_estate_and_only_from_the_part_asked_for() -> None:
    def point(kind: str, entity: str, series: str, value: float, age_s: float = 60.0) -> dict[str, object]:
        return {"kind": kind, "id": entity, "series": series, "value": value, "ts": NOW - age_s}

    rows = [
        point("vm", VM, "vm.cpu.usage", 25.0),
        point("vm", VM, "VM.Memory.Assigned", 2.0**30),
        point("vm", VM, "vmnetworkadapter.bandwidth.total", 5e6),
        point("vm", VM, "vhd.throughput.total", 2.0**21),
        point("vm", VM, "vhd.latency.average", 1.0),
        point("vm", VM, "vm.cpu.usage", 99.0, age_s=3000.0),
        point("host", "HV1", "clusternode.cpu.usage", 50.0),
    ]
    nodes = PlayedHosts("lab", {"hv1": {"counters": counters(100), "history": {"rows": rows, "problems": []}}})
    (samples,) = read_history(nodes, NOW - 1800.0, NOW, NOW)
    found = {
        (kind, entity, metric): value
        for kind, entity, metric, value in zip(
            samples.entity_kind, samples.entity_id, samples.metric, samples.value, strict=True
        )
    }
    assert found == pytest.approx(
        {
            ("vm", VM, "cpu"): 1.0,
            ("vm", VM, "memory"): 1024.0,
            ("vm", VM, "network"): 5.0,
            ("vm", VM, "disk"): 2.0,
            ("host", "lab/hv1", "cpu"): 2.0,
        }
    )


def test_what_comes_every_ten_seconds_is_kept_by_the_minute() -> None:
    rows = [("vm", VM, "cpu", NOW + second, float(second)) for second in range(0, 120, 10)]
    assert per_minute(rows) == [("vm", VM, "cpu", NOW, 25.0), ("vm", VM, "cpu", NOW + 60, 85.0)]


def test_many_vms_are_asked_for_in_batches_and_the_host_once() -> None:
    reading = counters(100)
    reading["vms"] = [{**reading["vms"][0], "id": f"vm-{number}"} for number in range(2 * VM_BATCH + 1)]
    nodes = PlayedHosts("lab", {"hv1": {"counters": reading, "history": {"rows": [], "problems": []}}})
    assert len(list(read_history(nodes, NOW - 60.0, NOW, NOW))) == 3
    sent = nodes.sent("history")
    assert [len(call["vm_ids"]) for call in sent] == [VM_BATCH, VM_BATCH, 1]
    assert [bool(call["host_series"]) for call in sent] == [True, False, False]


class NamedHosts(PlayedHosts):
    def node(self, host_id: str) -> Any:
        class Node:
            name = host_id.upper()

        return Node


def test_a_vm_without_history_is_passed_over_and_a_host_without_any_is_an_error() -> None:
    problems = [{"series": "vm.cpu.usage", "message": "nothing recorded"}]
    row = {"kind": "host", "id": "HV1", "series": "clusternode.cpu.usage", "value": 1.0, "ts": NOW - 60}
    some = NamedHosts("lab", {"hv1": {"counters": counters(100), "history": {"rows": [row], "problems": problems}}})
    assert [len(samples) for samples in read_history(some, NOW - 600, NOW, NOW)] == [1]
    none = NamedHosts("lab", {"hv1": {"counters": counters(100), "history": {"rows": [], "problems": problems}}})
    with pytest.raises(HypervisorFault, match="nothing recorded"):
        list(read_history(none, NOW - 600, NOW, NOW))


def test_a_node_that_cannot_be_asked_does_not_keep_the_others_from_telling() -> None:
    row = {"kind": "host", "id": "HV2", "series": "clusternode.cpu.usage", "value": 1.0, "ts": NOW - 60}
    hosts = {
        "hv1": {"counters": EndpointUnreachable("HV1 is down")},
        "hv2": {"counters": counters(100), "history": {"rows": [row], "problems": []}},
    }
    told = []
    with pytest.raises(EndpointUnreachable, match="HV1 is down"):
        told.extend(len(samples) for samples in read_history(NamedHosts("lab", hosts), NOW - 600, NOW, NOW))
    assert told == [1]

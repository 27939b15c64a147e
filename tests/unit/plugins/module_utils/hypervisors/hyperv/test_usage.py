# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Raw counters turned into use: units, whose counter it is, and what is left unsaid."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.usage import (
    Counters,
    as_resources,
    counters_of,
    usage_between,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import HypervisorFault
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_counters import (
    TWIN,
    VM,
    counters,
)
from hypothesis import given
from hypothesis import strategies as st

#: What may stand in storage by mistake: of each kind, some.
JUNK = st.sampled_from([None, "x", [1], {"vm": 1}, {"vm": [1, 2, 3]}])


def used(before: dict[str, Any], after: dict[str, Any]) -> Any:
    return usage_between(counters_of(before, 1000.0), counters_of(after, 1010.0))


def test_rates_are_in_the_units_of_the_estate() -> None:
    usage = used(counters(100), counters(110))
    assert usage.ts == 1010.0
    assert usage.vms[VM] == pytest.approx(
        {"cpu": 1.5, "memory": 4096.0, "network": 80.0, "disk": 3.0, "disk_iops": 20.0}
    )
    assert usage.host == pytest.approx({"cpu": 2.0, "memory": 6144.0, "network": 100.0, "disk": 3.0, "disk_iops": 20.0})
    assert as_resources(usage.host).cpu_cores == pytest.approx(2.0)


@pytest.mark.parametrize("name", ["a (b) #1", "x/y", "a:Hv VP 0", "\u65e5\u672c {{ x }}\n", "$(rm)", "A" * 200])
def test_a_vm_s_counters_are_found_whatever_its_name(name: str) -> None:
    shown = name.replace("(", "[").replace(")", "]").replace("#", "_").replace("/", "_")
    before, after = counters(100, name), counters(110, name)
    for reading in (before, after):
        for row in reading["virtual_processors"]:
            row["instance"] = row["instance"].replace(name, shown)
    assert used(before, after).vms[VM]["cpu"] == pytest.approx(1.5)


def test_namesakes_are_not_given_each_other_s_processor_time() -> None:
    twin = {"id": TWIN, "name": "WEB 01", "vcpus": 2, "cpu_percent": 5.0, "memory_assigned_mib": 1024.0}
    before, after = counters(100), counters(110)
    for reading in (before, after):
        reading["vms"].append(twin)
    vms = used(before, after).vms
    assert (vms[VM]["cpu"], vms[TWIN]["cpu"]) == pytest.approx((0.3 * 4, 0.05 * 4))
    assert vms[VM]["network"] == pytest.approx(80.0)


def test_a_counter_that_went_back_gives_no_rate() -> None:
    after = counters(110)
    after["virtual_processors"] = [{"instance": "web 01:Hv VP 0", "run_100ns": 5.0}]
    assert "cpu" not in used(counters(100), after).vms[VM]


def test_an_adapter_that_came_in_between_does_not_bring_its_past() -> None:
    after = counters(110)
    after["adapters"].append({"name": "NIC2", "received_bytes": 1e15, "sent_bytes": 0.0})
    assert used(counters(100), after).host["network"] == pytest.approx(100.0)


def test_one_reading_tells_memory_only() -> None:
    usage = usage_between(None, counters_of(counters(100), 1000.0))
    assert usage.host == {"memory": 6144.0}
    assert usage.vms[VM] == {"memory": 4096.0}


@pytest.mark.parametrize("later_s", [100.1, 100.0, 99.0, 100.0 + 7200])
def test_readings_too_close_too_far_apart_or_out_of_order_are_not_compared(later_s: float) -> None:
    assert "cpu" not in used(counters(100), counters(later_s)).host


def test_a_vm_without_memory_does_not_run_and_uses_nothing() -> None:
    before, after = counters(100), counters(110)
    for reading in (before, after):
        reading["vms"][0]["memory_assigned_mib"] = 0.0
    assert used(before, after).vms == {}


def test_a_host_without_a_running_hypervisor_is_told_from_an_idle_one() -> None:
    with pytest.raises(HypervisorFault, match="no counters"):
        counters_of(counters(100, perf_frequency=0.0), 1000.0)


def test_a_reading_comes_back_from_storage_as_it_was_for_the_next_rates() -> None:
    kept = Counters.from_data(json.loads(json.dumps(counters_of(counters(100), 1000.0).to_data())))
    after = counters_of(counters(110), 1010.0)
    assert usage_between(kept, after) == usage_between(counters_of(counters(100), 1000.0), after)


@given(st.dictionaries(st.sampled_from(["ts", "seconds", "processors", "cpu", "network", "vms"]), JUNK))
def test_anything_else_in_storage_is_no_reading(data: dict[str, Any]) -> None:
    assert Counters.from_data(data) is None

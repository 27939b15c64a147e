# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Counters become rates; what cannot be known stays missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.samples import (
    Counters,
    VmCounters,
    as_samples,
    usage_between,
    used_memory_mib,
)
from hypothesis import given
from hypothesis import strategies as st

BEFORE = Counters(1000.0, 10_000_000_000, 500.0, {"a": VmCounters(5_000_000_000, 1_000_000, 2**20, 10, 100.0)})
AFTER = Counters(1010.0, 15_000_000_000, 700.0, {"a": VmCounters(10_000_000_000, 6_000_000, 11 * 2**20, 110, 150.0)})


def test_rates_have_the_units_of_the_estate() -> None:
    usage = usage_between(BEFORE, AFTER)
    expected = {"memory": 150.0, "cpu": 0.5, "network": 4.0, "disk": 1.0, "disk_iops": 10.0}
    assert usage.vms["a"] == pytest.approx(expected)
    assert usage.host == pytest.approx({**expected, "memory": 700.0})


def test_a_first_reading_tells_memory_and_no_rate() -> None:
    usage = usage_between(None, AFTER)
    assert usage.vms == {"a": {"memory": 150.0}}
    assert usage.host == {"memory": 700.0}


@pytest.mark.parametrize("seconds", [0.01, 4000.0, -5.0])
def test_readings_too_close_too_far_or_backwards_give_no_rate(seconds: float) -> None:
    later = Counters(BEFORE.ts + seconds, AFTER.host_cpu_ns, 0.0, AFTER.vms)
    assert "cpu" not in usage_between(BEFORE, later).vms["a"]


def test_a_vm_that_restarted_or_just_came_has_no_rate_and_does_not_disturb_the_others() -> None:
    restarted = VmCounters(1, 1, 1, 1, 99.0)
    later = Counters(1010.0, 11_000_000_000, 0.0, {"a": restarted, "new": restarted})
    usage = usage_between(BEFORE, later)
    assert usage.vms == {"a": {"memory": 99.0}, "new": {"memory": 99.0}}
    assert usage.host["network"] == 0.0


def test_a_group_that_libvirt_left_out_is_missing_and_not_zero() -> None:
    later = Counters(1010.0, 11_000_000_000, 0.0, {"a": VmCounters(None, None, 2**21, 20, None)})
    assert set(usage_between(BEFORE, later).vms["a"]) == {"disk", "disk_iops"}


counts = st.none() | st.integers(min_value=0, max_value=2**62)


@given(
    st.dictionaries(st.text(max_size=20), st.tuples(counts, counts, counts, counts), max_size=5),
    st.floats(min_value=0, max_value=4e9),
)
def test_counters_survive_the_workspace(vms: dict[str, tuple[int | None, ...]], ts: float) -> None:
    counters = Counters(ts, 7, 0.0, {uuid: VmCounters(*totals) for uuid, totals in vms.items()})
    assert Counters.from_data(json.loads(json.dumps(counters.to_data()))) == counters


@pytest.mark.parametrize(
    "data", [{}, {"ts": "x"}, {"ts": 1, "host_cpu_ns": 2, "vms": [1]}, {"ts": 1, "vms": {"a": [1]}}]
)
def test_counters_of_another_shape_count_as_none(data: dict[str, object]) -> None:
    assert Counters.from_data(data) is None


def test_samples_are_columns_without_gaps() -> None:
    samples = as_samples(usage_between(BEFORE, AFTER), "kvm1/host")
    assert len(samples) == 10
    assert set(samples.entity_id[samples.entity_kind == "host"]) == {"kvm1/host"}
    assert np.isfinite(samples.value).all()
    assert (samples.ts == 1010.0).all()


def test_page_cache_is_not_used_memory() -> None:
    assert used_memory_mib({"total": 4096, "free": 1024, "buffers": 512, "cached": 512}) == 2.0
    assert used_memory_mib({"total": 1024, "free": 2048}) == 0.0

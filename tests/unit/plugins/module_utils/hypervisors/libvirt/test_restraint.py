# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far residents are restrained: never more than a hold needs, never below what is theirs."""

from __future__ import annotations

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.levers import (
    LIMITS,
    DiskLever,
    NetworkLever,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.restraint import (
    LEAST_PART,
    LEAST_SHARES,
    Need,
    cores_left,
    scaled_shares,
    share_out,
)
from hypothesis import given
from hypothesis import strategies as st

#: Shares of a domain that nobody has tuned, on hosts with cgroup v1 and v2.
DEFAULTS = (1024, 100)
RESIDENTS = st.dictionaries(st.uuids().map(str), st.integers(min_value=50, max_value=10000), min_size=1, max_size=40)


@given(
    shares=RESIDENTS,
    held=st.lists(st.floats(min_value=0.1, max_value=20.0), min_size=1, max_size=3),
    host=st.floats(min_value=1.0, max_value=128.0),
    arriving=st.sampled_from(DEFAULTS),
)
def test_in_contention_every_arriving_vm_gets_what_is_held_for_it(
    shares: dict[str, int], held: list[float], host: float, arriving: int
) -> None:
    scaled = scaled_shares(shares, held, host, arriving, {})
    if scaled is None:
        return
    assert cores_left(tuple(scaled.values()), len(held), host, arriving) >= max(held) * (1 - 1e-9)
    assert all(LEAST_SHARES <= scaled[uuid] <= shares[uuid] or scaled[uuid] == shares[uuid] for uuid in shares)
    factors = [scaled[uuid] / shares[uuid] for uuid in shares]
    assert max(factors) - min(factors) <= max(1 / own for own in shares.values())  # alike but for whole numbers


def test_shares_that_leave_enough_already_stay_as_they_are() -> None:
    assert scaled_shares({"a": 1024}, [1.0], 4.0, 1024, {}) == {"a": 1024}
    assert scaled_shares({}, [4.0], 4.0, 1024, {}) == {}


def test_a_whole_host_cannot_be_held_beside_others() -> None:
    assert scaled_shares({"a": 1024}, [4.0], 4.0, 1024, {}) is None
    assert scaled_shares({"a": 1024}, [2.0, 2.0], 4.0, 1024, {}) is None


def test_no_resident_is_left_less_than_it_was_promised() -> None:
    assert scaled_shares({"a": 1024, "b": 1024}, [2.0], 4.0, 1024, {"a": 1.0}) == {"a": 512, "b": 512}
    assert scaled_shares({"a": 1024, "b": 1024}, [2.0], 4.0, 1024, {"a": 1.1}) is None


FLOORS = st.floats(min_value=0.0, max_value=100.0)
NEEDS = st.builds(Need, st.none() | FLOORS, st.none() | st.floats(min_value=0.1, max_value=100.0))


@given(
    st.floats(min_value=1.0, max_value=1000.0),
    st.floats(min_value=0.0, max_value=500.0),
    st.dictionaries(st.uuids().map(str), NEEDS, min_size=1, max_size=10),
)
def test_limits_leave_free_what_is_held_and_each_vm_what_it_needs(
    capacity: float, held: float, needs: dict[str, Need]
) -> None:
    limits = share_out(capacity, held, needs)
    if limits is None:
        return
    assert set(limits) == {uuid for uuid, need in needs.items() if need.own_limit is None}
    assert all(limit >= max(needs[uuid].floor or 0.0, LEAST_PART * capacity) for uuid, limit in limits.items())
    standing = sum(need.own_limit for need in needs.values() if need.own_limit is not None)
    assert sum(limits.values()) + standing + held <= capacity * (1 + 1e-9)


@pytest.mark.parametrize(
    "needs",
    [
        {"a": Need(None)},
        {"a": Need(6.0)},
        {"a": Need(1.0), "b": Need(None, 5.0)},
        {"a": Need(5.0), "b": Need(0.0)},
    ],
    ids=["an unknown need", "too much forecast", "a limit of its own that is too wide", "nothing left for the second"],
)
def test_what_cannot_be_held_without_harm_is_not_held(needs: dict[str, Need]) -> None:
    assert share_out(10.0, 5.0, needs) is None


def test_a_limit_is_given_so_that_the_whole_forecast_fits_through_any_device() -> None:
    disks: dict[str, dict[str, int]] = {"vda": {}, "vdb": {}}
    assert DiskLever().least(disks, 3.0) == 6.0
    assert DiskLever().limited(disks, 6.0) == {disk: {"total_bytes_sec": 3 * 2**20} for disk in disks}
    interface: dict[str, dict[str, int]] = {"52:54:00:00:00:01": {}}
    assert NetworkLever().least(interface, 10.0) == 20.0
    assert NetworkLever().limited(interface, 20.0) == {
        "52:54:00:00:00:01": {"inbound.average": 1250, "outbound.average": 1250}
    }


@pytest.mark.parametrize(
    ("resource", "values", "limit"),
    [
        ("disk", {"total_bytes_sec": 2**20}, 1.0),
        ("disk", {"total_bytes_sec": 2**20, "total_bytes_sec_max": 2**22}, 4.0),
        ("disk", {"read_bytes_sec": 2**20, "write_bytes_sec": 2**21}, 3.0),
        ("disk", {"read_bytes_sec": 2**20}, None),
        ("disk", {"total_iops_sec": 100}, None),
        ("disk", {}, None),
        ("network", {"inbound.average": 125, "outbound.average": 250}, 3.0),
        ("network", {"inbound.average": 125, "inbound.peak": 250, "outbound.average": 125}, 3.0),
        ("network", {"inbound.average": 125}, None),
    ],
)
def test_a_limit_of_somebody_else_counts_with_all_that_it_lets_through(
    resource: str, values: dict[str, int], limit: float | None
) -> None:
    assert LIMITS[resource].limit({"device": values}) == limit


@pytest.mark.parametrize("resource", LIMITS)
def test_a_vm_without_a_device_takes_nothing(resource: str) -> None:
    assert LIMITS[resource].limit({}) == 0.0

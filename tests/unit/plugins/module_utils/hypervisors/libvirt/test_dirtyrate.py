# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is made of QEMU's samples: rate, working set, and how sure both are."""

from __future__ import annotations

import math
from typing import cast

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.clock import Clock
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt import dirtyrate
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.connection import Connection
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import DirtyRate


def measured(monkeypatch: pytest.MonkeyPatch, rates: dict[int, list[float]], seconds: float) -> DirtyRate:
    """Return the measurement when QEMU answers these rates (MiB/s) to waits of so many seconds."""

    def sample(_connection: Connection, _uuid: str, waited_s: int, _clock: Clock) -> float:
        return rates[waited_s].pop(0)

    monkeypatch.setattr(dirtyrate, "_sample", sample)
    found = dirtyrate.measure(cast(Connection, None), "u", seconds, cast(Clock, None))
    assert not any(rates.values()), "not every sample was asked for"
    return found


def test_an_idle_vm_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, {1: [0.0], 2: [0.0]}, 2.0)
    assert (found.dirty_mib_s, found.working_set_mib, found.error_share) == (0.0, None, 0.0)


def test_a_vm_of_which_many_pages_are_seen_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, {1: [400.0], 4: [400.0]}, 5.0)
    assert (found.dirty_mib_s, found.working_set_mib) == (400.0, None)
    assert found.error_share == pytest.approx(1 / math.sqrt(1000))


def test_a_small_vm_is_measured_three_times_and_the_samples_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, {1: [4.0, 10.0, 7.0], 2: [9.0, 6.0, 6.0]}, 2.0)
    assert found.dirty_mib_s == pytest.approx((21 + 42) / 9)
    assert found.working_set_mib is None
    assert found.error_share == pytest.approx(1 / math.sqrt(31.5))


def test_a_wait_that_shows_less_than_it_should_tells_the_working_set(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, {1: [400.0], 2: [200.0]}, 2.0)
    assert (found.dirty_mib_s, found.working_set_mib) == (400.0, 400.0)


def test_a_wait_that_shows_less_within_the_noise_does_not_make_the_short_one_the_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = measured(monkeypatch, {1: [15.0, 15.0, 15.0], 2: [10.0, 10.0, 10.0]}, 2.0)
    assert (found.dirty_mib_s, found.working_set_mib) == (pytest.approx(105 / 9), 20.0)

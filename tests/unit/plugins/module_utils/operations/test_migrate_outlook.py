# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a migration reads from a forecast: the VM's remaining need, and how busy it will be."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS, PEAK_LEVELS, Forecast
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.reservation import Reservation
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate_outlook import (
    activity_ahead,
    present_room,
    remaining_need,
)
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

STEP_S = 300
VM = Vm("lab", "u", "web01", "lab/a", "running", Resources(4, 8192), used=Resources(2, 4096, 10, 1))


def _forecast(cpu: Sequence[float], peak: float) -> Forecast:
    """Return a forecast of the VM's CPU from time 0 whose every quantile at a step is the same."""
    steps = np.array([cpu], np.float32)
    return Forecast(
        keys=(SeriesKey("vm", "u", "cpu"),),
        origin_ts=0.0,
        step_s=STEP_S,
        mean=steps,
        sd=np.zeros_like(steps),
        quantiles=np.repeat(steps[..., None], len(LEVELS), axis=-1),
        peak_mean=np.array([peak], np.float32),
        peak_sd=np.zeros(1, np.float32),
        peak_quantiles=np.full((1, len(PEAK_LEVELS)), peak, np.float32),
        reports=(),
        scenarios=cast(Any, None),
    )


def _workspace(forecast: Forecast | None) -> Workspace:
    forecasts = SimpleNamespace(latest=lambda: forecast and "f1", read=lambda _id, keys=None: forecast)
    return cast(Workspace, SimpleNamespace(forecasts=forecasts))


def _reservation(end_ts: float) -> Reservation:
    return Reservation("r", "lab/b", "u", Resources(4, 8192), "hard", 0.0, end_ts, end_ts, "me")


def test_only_what_is_left_of_the_window_counts() -> None:
    workspace = _workspace(_forecast([3.5, 1.0, 2.0, 3.9], peak=3.9))
    need = remaining_need(workspace, None, VM, _reservation(3 * STEP_S), 0.95, now_ts=1.5 * STEP_S)
    assert need is not None
    assert need.cpu_cores == pytest.approx(2.0)


def test_a_resource_without_a_forecast_counts_with_what_is_used_now() -> None:
    need = remaining_need(_workspace(_forecast([1.0, 1.0], 1.0)), None, VM, None, 0.95, now_ts=0.0)
    assert need is not None
    assert (need.memory_mib, need.network_mbit_s) == (4096, 10)


def test_the_need_exceeds_neither_the_vms_size_nor_the_peak_that_a_reservation_is_sized_by() -> None:
    above_size = remaining_need(_workspace(_forecast([9.0], 9.0)), None, VM, None, 0.95, now_ts=0.0)
    above_peak = remaining_need(_workspace(_forecast([3.0], 2.5)), None, VM, None, 0.95, now_ts=0.0)
    assert above_size is not None
    assert above_peak is not None
    assert (above_size.cpu_cores, above_peak.cpu_cores) == (4.0, 2.5)


def test_without_a_forecast_of_the_time_left_nothing_is_claimed() -> None:
    assert remaining_need(_workspace(None), None, VM, None, 0.95, now_ts=0.0) is None
    assert remaining_need(_workspace(_forecast([1.0], 1.0)), None, VM, None, 0.95, now_ts=10 * STEP_S) is None


def test_how_busy_the_vm_will_be_is_told_for_whole_hours_to_come() -> None:
    cpu = [2.0] * 12 + [0.5] * 12
    ahead = activity_ahead(_workspace(_forecast(cpu, 2.0)), None, VM, now_ts=0.0)
    assert [start for start, _share in ahead] == [STEP_S * step for step in range(1, 13)]
    assert ahead[0][1] == pytest.approx(1.0)
    assert ahead[-1] == (STEP_S * 12, pytest.approx(0.25))
    assert activity_ahead(_workspace(None), None, VM, now_ts=0.0) == ()


def test_the_present_room_counts_residents_and_the_hosts_own_load_but_not_the_vm() -> None:
    host = Host("lab", "b", "b", "kvm", "up", Resources(16, 65536), used=Resources(5, 9000))
    resident = Vm("lab", "r", "db01", "lab/b", "running", Resources(4, 8192), used=Resources(3, 6000))
    estate = Estate("", 0.0, (), {host.key: host}, {vm.key: vm for vm in (VM, resident)})
    room = present_room(estate, host, VM, now_ts=100.0)
    assert room.load[:, 0].tolist() == [5, 9000, 0, 0]
    arrived = Vm("lab", "u", "web01", "lab/b", "running", Resources(4, 8192), used=Resources(2, 3000))
    estate = Estate("", 0.0, (), {host.key: host}, {vm.key: vm for vm in (arrived, resident)})
    assert present_room(estate, host, arrived, now_ts=100.0).load[:, 0].tolist() == [3, 6000, 0, 0]

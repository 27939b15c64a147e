# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recorded figures: each moment once, in this project's units, whatever the order and however often asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware import history
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, task_done
from pyVmomi import vim

Start = Callable[..., VCenter]
Connect = Callable[..., VmwareDriver]

HOUR_S = 3600
DAY_S = 24 * HOUR_S
#: 900, 1000, 1100 MHz in turn every 20 s: 1000 in every minute and every longer interval.
WAVE = {
    "cpu.usagemhz.average": [900, 1000, 1100],
    "mem.consumed.average": [2 * 1024 * 1024],
    "net.usage.average": [1000],
    "disk.usage.average": [2048],
}


@pytest.fixture
def perf(tmp_path: Path) -> Path:
    path = tmp_path / "perf.json"
    path.write_text(json.dumps({"interval_s": 20, "series": {"*": WAVE, "DC0_H0_VM1": {}}}))
    return path


def joined(parts: list[Samples]) -> dict[tuple[str, str, str], tuple[np.ndarray, np.ndarray]]:
    """Return (kind, id, metric) -> (times, values) of all parts together, by time."""
    found: dict[tuple[str, str, str], list[tuple[float, float]]] = {}
    for part in parts:
        columns = (part.entity_kind, part.entity_id, part.metric, part.ts, part.value)
        for kind, entity, metric, ts, value in zip(*columns, strict=True):
            found.setdefault((kind, entity, metric), []).append((ts, value))
    return {key: (np.array(sorted(points))[:, 0], np.array(sorted(points))[:, 1]) for key, points in found.items()}


def test_figures_are_in_this_project_s_units(start: Start, connect: Connect, perf: Path) -> None:
    driver = connect(start("-perf", str(perf)))
    uuid = next(vm.uuid for vm in driver.inventory().vms if vm.name == "DC0_H0_VM0")
    now = driver.clock.now()
    series = joined(list(driver.history(now - 600, now)))
    value = {metric: series["vm", uuid, metric][1] for metric in ("cpu", "memory", "network", "disk")}
    assert value["cpu"] == pytest.approx(1000 / 2500)
    assert value["memory"] == pytest.approx(2048)
    assert value["network"] == pytest.approx(8.192)
    assert value["disk"] == pytest.approx(2.0)


def test_hosts_have_history_too_and_an_entity_without_figures_has_none(
    start: Start, connect: Connect, perf: Path
) -> None:
    driver = connect(start("-perf", str(perf)))
    inventory = driver.inventory()
    now = driver.clock.now()
    entities = {key[:2] for key in joined(list(driver.history(now - 600, now)))}
    silent = next(vm.uuid for vm in inventory.vms if vm.name == "DC0_H0_VM1")
    assert {("host", host.key) for host in inventory.hosts} <= entities
    assert ("vm", silent) not in entities
    assert len(entities) == len(inventory.hosts) + len(inventory.vms) - 1


def test_two_days_join_three_intervals_without_a_moment_twice_or_missing(
    start: Start, connect: Connect, perf: Path
) -> None:
    driver = connect(start("-perf", str(perf)))
    uuid = driver.inventory().vms[0].uuid
    now = driver.clock.now()
    times, values = joined(list(driver.history(now - 2 * DAY_S, now)))["vm", uuid, "cpu"]
    gaps = np.diff(times)
    assert np.all(gaps > 0)
    assert set(gaps) == {60.0, 300.0, 1800.0}
    assert list(gaps) == sorted(gaps, reverse=True)
    assert now - times[-1] < 180
    assert now - 2 * DAY_S <= times[0] <= now - 2 * DAY_S + 1800
    assert values == pytest.approx(0.4, rel=0.01)


def test_newest_first_and_ascending_answers_give_the_same(start: Start, connect: Connect, perf: Path) -> None:
    ascending = connect(start("-perf", str(perf)))
    reversed_ = connect(start("-perf", str(perf), "-newest-first"))
    uuid = ascending.inventory().vms[0].uuid
    until = ascending.clock.now()
    since = until - HOUR_S / 2  # within one interval: where another begins hangs on when each is asked
    one = joined(list(ascending.history(since, until)))["vm", uuid, "cpu"]
    other = joined(list(reversed_.history(since, until)))["vm", uuid, "cpu"]
    assert np.array_equal(one[0], other[0])
    assert np.array_equal(one[1], other[1])


def test_going_on_from_the_last_sample_repeats_none_and_loses_none(start: Start, connect: Connect, perf: Path) -> None:
    driver = connect(start("-perf", str(perf)))
    uuid = driver.inventory().vms[0].uuid
    now = driver.clock.now()
    key = ("vm", uuid, "cpu")
    first = joined(list(driver.history(now - 3 * HOUR_S, now - HOUR_S / 2)))[key][0]
    rest = joined(list(driver.history(float(first[-1]), now)))[key][0]
    assert rest[0] > first[-1]
    assert rest[0] - first[-1] == 60.0


def test_calls_keep_to_the_server_s_own_limit(start: Start, connect: Connect, perf: Path) -> None:
    vcenter = start("-perf", str(perf), "-machines", "12")
    driver = connect(vcenter)
    content = vcenter.administrator()
    content.setting.UpdateOptions([vim.option.OptionValue(key=history.LIMIT_OPTION, value="8")])
    entities = 24 + 4
    driver.history(0, 0)
    vcenter.reset_requests()
    now = driver.clock.now()
    list(driver.history(now - DAY_S / 2, now - 2 * HOUR_S))
    assert vcenter.requests()["QueryPerf"] == entities // 2


def test_a_refused_batch_is_halved_until_only_the_bad_part_is_missing(
    start: Start, connect: Connect, perf: Path
) -> None:
    vcenter = start("-perf", str(perf))
    driver = connect(vcenter)
    inventory = driver.inventory()
    driver.read({})
    machine = named(vcenter.administrator(), vim.VirtualMachine, "DC0_H0_VM0")
    gone = machine.config.instanceUuid
    task_done(machine.PowerOff())
    task_done(machine.Destroy_Task())
    now = driver.clock.now()
    seen = {key[1] for key in joined(list(driver.history(now - 600, now)))}
    assert gone not in seen
    assert {host.key for host in inventory.hosts} <= seen


def test_a_reading_is_the_latest_sample_of_everything_that_runs(start: Start, connect: Connect, perf: Path) -> None:
    driver = connect(start("-perf", str(perf)))
    reading = driver.read({})
    series = joined([reading.samples])
    assert all(len(times) == 1 for times, values in series.values())
    assert all(driver.clock.now() - times[0] < 120 for times, values in series.values())
    assert len(series) == 4 * (4 + 3)


def test_the_guard_sees_what_a_host_and_a_vm_use(start: Start, connect: Connect, perf: Path) -> None:
    driver = connect(start("-perf", str(perf)))
    inventory = driver.inventory()
    use = driver.observe_host(inventory.hosts[0].host_id)
    assert use.memory_mib == pytest.approx(2048)
    assert use.network_mbit_s == pytest.approx(8.192)
    vm = driver.observe_vm(next(vm.uuid for vm in inventory.vms if vm.name == "DC0_H0_VM0"))
    assert vm is not None
    assert vm.disk_mib_s == pytest.approx(2.0)


def test_stock_noise_is_read_without_complaint(stock: VCenter, connect: Connect) -> None:
    driver = connect(stock)
    now = driver.clock.now()
    series = joined(list(driver.history(now - DAY_S, now)))
    assert series
    assert all(np.all(np.diff(times) > 0) for times, values in series.values())

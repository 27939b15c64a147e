# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules and the main playbook, as users run them, against a vCenter."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.tests.integration.conftest import MAIN_JOB, Playbook
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, task_done
from pyVmomi import vim

Start = Callable[..., VCenter]
Module = Callable[..., dict[str, Any]]

VM, CROWDED = "DC0_C0_RP0_VM0", "DC0_C0_H0"
HOSTS = ("DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2", "DC0_H0")


def daily(low: float, high: float) -> list[int]:
    """Return a day of five-minute values that rise and fall once."""
    return [round(low + (high - low) * (1 - math.cos(2 * math.pi * step / 288)) / 2) for step in range(288)]


def seeds() -> dict[str, Any]:
    """Return series in which one host is nearly full and the others have room."""
    idle = {
        "cpu.usagemhz.average": daily(1000, 2000),
        "mem.consumed.average": [4 * 1024 * 1024],
        "net.usage.average": daily(100, 200),
        "disk.usage.average": daily(100, 200),
    }
    vm = {
        "cpu.usagemhz.average": daily(1000, 2200),
        "mem.consumed.average": [30 * 1024],
        "net.usage.average": daily(50, 100),
        "disk.usage.average": daily(50, 100),
    }
    crowded = {**idle, "cpu.usagemhz.average": daily(34000, 39000), "mem.consumed.average": [120 * 1024 * 1024]}
    return {"interval_s": 300, "series": {"*": vm, **dict.fromkeys(HOSTS, idle), CROWDED: crowded}}


@pytest.fixture
def estate(start: Start, tmp_path: Path) -> VCenter:
    """A vCenter with two weeks of history, its VM in question on a host that is nearly full."""
    perf = tmp_path / "perf.json"
    perf.write_text(json.dumps(seeds()))
    vcenter = start("-admission", "-perf", str(perf))
    content = vcenter.administrator()
    crowded = named(content, vim.HostSystem, CROWDED)
    vcenter.move(named(content, vim.VirtualMachine, VM), crowded)
    vcenter.set(crowded, "summary.quickStats.overallCpuUsage", 38000)
    vcenter.set(crowded, "summary.quickStats.overallMemoryUsage", 122880)
    return vcenter


def common(vcenter: VCenter, tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"endpoints": [vcenter.endpoint()], "store": str(tmp_path / "store"), **more}


def variables(vcenter: VCenter, tmp_path: Path, **more: Any) -> Mapping[str, Any]:
    return {"foresight_endpoints": [vcenter.endpoint()], "foresight_store": str(tmp_path / "store"), **more}


def host_of(vcenter: VCenter, name: str = VM) -> str:
    return str(named(vcenter.administrator(), vim.VirtualMachine, name).runtime.host.name)


def test_the_main_playbook_moves_the_vm_and_the_second_run_leaves_it(
    estate: VCenter, playbook: Playbook, tmp_path: Path
) -> None:
    code, output = playbook.run(MAIN_JOB, variables(estate, tmp_path, foresight_vm=VM))
    assert code == 0, output
    destination = host_of(estate)
    assert destination in HOSTS[1:], output
    config = named(estate.administrator(), vim.VirtualMachine, VM).config
    assert config.cpuAllocation.reservation > 1000
    assert estate.password not in output
    code, output = playbook.run(MAIN_JOB, variables(estate, tmp_path, foresight_vm=VM))
    assert code == 0, output
    assert host_of(estate) == destination
    assert estate.requests()["RelocateVM_Task"] == 1


def test_modules_chain_by_ids_and_each_is_idempotent(estate: VCenter, module: Module, tmp_path: Path) -> None:
    base = common(estate, tmp_path)
    facts = module("vm_metrics_facts", {**base, "history_hours": 48})
    assert not facts.get("failed"), facts
    assert not module("vm_forecast", {**base, "horizon_hours": 2.0}).get("failed")
    selection = module("host_select", {**base, "vm": VM})
    assert selection["decision"] == "move", selection
    claim = {**base, "vm": VM, "host": selection["destination"], "tier": "hard"}
    foreseen = module("host_reserve", claim, "--check")
    assert foreseen["changed"], foreseen
    assert "CreateResourcePool" not in estate.requests()
    reserved = module("host_reserve", claim)
    assert reserved["changed"], reserved
    assert not module("host_reserve", claim)["changed"]
    move = {**base, "vm": VM, "reservation_id": reserved["reservation_id"]}
    foreseen = module("vm_migrate", move, "--check")
    assert foreseen["changed"], foreseen
    assert "RelocateVM_Task" not in estate.requests()
    moved = module("vm_migrate", move)
    assert moved["changed"], moved
    again = module("vm_migrate", move)
    assert not again["changed"], again
    assert not again.get("failed"), again
    info = module("host_reserve_info", {**base, "vms": [VM]})
    assert [entry["state"] for entry in info["reservations"]] == ["consumed"]


def test_maintenance_between_reservation_and_move_is_told_before_anything_is_touched(
    estate: VCenter, module: Module, tmp_path: Path
) -> None:
    base = common(estate, tmp_path)
    module("vm_metrics_facts", {**base, "history_hours": 24})
    module("vm_forecast", {**base, "horizon_hours": 2.0})
    reserved = module("host_reserve", {**base, "vm": VM, "host": "DC0_C0_H1", "tier": "hard"})
    assert reserved["changed"], reserved
    task_done(named(estate.administrator(), vim.HostSystem, "DC0_C0_H1").EnterMaintenanceMode_Task(0))
    refused = module("vm_migrate", {**base, "vm": VM, "reservation_id": reserved["reservation_id"]})
    assert refused["failed"]
    assert "maintenance" in json.dumps(refused["error"])
    assert "RelocateVM_Task" not in estate.requests()
    assert host_of(estate) == CROWDED


def test_a_move_that_fails_half_way_releases_the_hold_and_leaves_the_vm(
    estate: VCenter, module: Module, tmp_path: Path
) -> None:
    base = common(estate, tmp_path)
    module("vm_metrics_facts", {**base, "history_hours": 24})
    module("vm_forecast", {**base, "horizon_hours": 2.0})
    reserved = module("host_reserve", {**base, "vm": VM, "host": "DC0_C0_H1", "tier": "hard"})
    estate.relocations(ms=1500, failure={"fault": "VMotionProtocolIncompatible", "percent": 60})
    failed = module("vm_migrate", {**base, "vm": VM, "reservation_id": reserved["reservation_id"]})
    assert failed["failed"]
    assert "VMotionProtocolIncompatible" in json.dumps(failed)
    assert host_of(estate) == CROWDED
    pools = estate.administrator()
    view = pools.viewManager.CreateContainerView(pools.rootFolder, [vim.ResourcePool], True)
    assert not [pool.name for pool in view.view if pool.name.startswith("foresight-")]


def test_wrong_password_and_distrusted_certificate_fail_with_codes(
    estate: VCenter, module: Module, tmp_path: Path
) -> None:
    codes = {}
    for problem, changes in {"password": {"password": "wrong-one"}, "ca": {"ca_path": None}}.items():
        arguments = {"endpoints": [estate.endpoint(**changes)], "store": str(tmp_path / "store")}
        result = module("vm_metrics_facts", arguments)
        codes[problem] = json.dumps(result)
        assert "wrong-one" not in codes[problem]
    assert "login_refused" in codes["password"]
    assert "certificate_untrusted" in codes["ca"]


def test_credentials_may_come_from_the_environment(
    estate: VCenter, playbook: Playbook, module: Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = estate.endpoint()
    names = {
        "VMWARE_HOST": "hostname",
        "VMWARE_PORT": "port",
        "VMWARE_USER": "username",
        "VMWARE_PASSWORD": "password",
        "VMWARE_CA_PATH": "ca_path",
    }
    for variable, option in names.items():
        monkeypatch.setitem(playbook.environment, variable, str(full[option]))
    result = module(
        "vm_metrics_facts",
        {
            "endpoints": [{"name": "vc", "type": "vmware"}],
            "store": str(tmp_path / "store"),
            "gather_subset": ["min"],
        },
    )
    assert not result.get("failed"), result

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules and the main playbook, as users run them, against a vCenter."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.tests.integration.conftest import MAIN_JOB, Playbook
from ansible_collections.foresight.migration.tests.labs.vcenter.crowded import HOSTS, VM, host_of
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named
from pyVmomi import vim

Start = Callable[..., VCenter]
Module = Callable[..., dict[str, Any]]


def common(vcenter: VCenter, tmp_path: Path, **more: Any) -> dict[str, Any]:
    return {"endpoints": [vcenter.endpoint()], "store": str(tmp_path / "store"), **more}


def variables(vcenter: VCenter, tmp_path: Path, **more: Any) -> Mapping[str, Any]:
    return {"foresight_endpoints": [vcenter.endpoint()], "foresight_store": str(tmp_path / "store"), **more}


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

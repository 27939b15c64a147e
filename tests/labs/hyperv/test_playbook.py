# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The modules, the roles and the main playbook, as users run them, against Hyper-V hosts and a cluster."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.tests.integration.conftest import MAIN_JOB, Playbook
from ansible_collections.foresight.migration.tests.labs.hyperv import sites
from ansible_collections.foresight.migration.tests.labs.hyperv.lab import Lab
from ansible_collections.foresight.migration.tests.labs.hyperv.logins import PASSWORD
from ansible_collections.foresight.migration.tests.labs.hyperv.model.jobs import TERMINATED
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import MovePlan
from ansible_collections.foresight.migration.tests.labs.hyperv.sites import WEB

Start = Callable[..., Lab]
Module = Callable[..., dict[str, Any]]
#: A play that collects by the role, as a user writes it for any hypervisor.
COLLECT = """
- hosts: localhost
  gather_facts: false
  module_defaults:
    group/foresight.migration.estate:
      endpoints: "{{ foresight_endpoints }}"
      store: "{{ foresight_store }}"
  roles:
    - foresight.migration.metrics
  post_tasks:
    - ansible.builtin.copy:
        content: "{{ metrics_result | to_json }}"
        dest: "{{ result_path }}"
        mode: "0600"
"""


def variables(lab: Lab, tmp_path: Path, **more: Any) -> Mapping[str, Any]:
    return {"foresight_endpoints": lab.endpoints(), "foresight_store": str(tmp_path / "store"), **more}


def common(lab: Lab, tmp_path: Path) -> dict[str, Any]:
    return {"endpoints": lab.endpoints(), "store": str(tmp_path / "store")}


def host_of(lab: Lab) -> str:
    with lab.site.lock:
        lab.site.advance()
        return lab.site.host_of(sites.vm_id(WEB)).name


def test_the_main_playbook_moves_a_clustered_vm_by_the_clusters_own_history_and_then_leaves_it(
    start: Start, playbook: Playbook, tmp_path: Path
) -> None:
    lab = start(sites.failover_cluster(history_hours=48), "ntlm")
    job = variables(lab, tmp_path, foresight_vm=WEB, metrics_history_hours=48)
    code, output = playbook.run(MAIN_JOB, job)
    assert code == 0, output
    destination = host_of(lab)
    assert destination in ("NODE2", "NODE3"), output
    assert PASSWORD not in output
    assert lab.site.vm(sites.vm_id(WEB)).cpu_reserve > 0  # what the hard tier promises, set by Hyper-V itself
    code, output = playbook.run(MAIN_JOB, job)
    assert code == 0, output
    assert host_of(lab) == destination
    assert len(lab.site.moves) == 1
    assert lab.open_shells() == 0


def test_the_main_playbook_moves_a_vm_between_lone_hosts_without_any_history(
    start: Start, playbook: Playbook, tmp_path: Path
) -> None:
    lab = start(sites.lone_hosts(language="de-DE"))
    job = variables(lab, tmp_path, foresight_vm=WEB, metrics_history_hours=0, forecast_on_no_history="allocated")
    code, output = playbook.run(MAIN_JOB, job)
    assert code == 0, output
    assert host_of(lab) in ("HV2", "HV3"), output
    assert lab.open_shells() == 0


def test_the_metrics_role_collects_and_stores_unchanged(start: Start, playbook: Playbook, tmp_path: Path) -> None:
    lab = start(sites.failover_cluster(language="de-DE"))
    play, result_path = tmp_path / "collect.yml", tmp_path / "result.json"
    play.write_text(COLLECT)
    job = variables(lab, tmp_path, metrics_history_hours=0, result_path=str(result_path))
    code, output = playbook.run(str(play), job)
    assert code == 0, output
    result = json.loads(result_path.read_text())
    assert (result["snapshot_id"] is not None, result["endpoints"][0]["reachable"]) == (True, True), result
    assert list((tmp_path / "store" / "metrics").rglob("*.parquet"))
    assert lab.open_shells() == 0


def test_modules_chain_by_ids_and_each_is_idempotent_and_true_in_check_mode(
    start: Start, module: Module, tmp_path: Path
) -> None:
    lab = start(sites.failover_cluster(history_hours=48))
    base = common(lab, tmp_path)
    facts = module("vm_metrics_facts", {**base, "history_hours": 48})
    assert not facts.get("failed"), facts
    assert not module("vm_forecast", {**base, "horizon_hours": 2.0}).get("failed")
    selection = module("host_select", {**base, "vm": WEB})
    assert selection["decision"] == "move", selection
    claim = {**base, "vm": WEB, "host": selection["destination"], "tier": "hard"}
    foreseen = module("host_reserve", claim, "--check")
    assert foreseen["changed"], foreseen
    reserved = module("host_reserve", claim)
    assert reserved["changed"], reserved
    assert set(reserved["reservation"]["enforced_by"].values()) == {"ledger"}
    assert not module("host_reserve", claim)["changed"]
    move = {**base, "vm": WEB, "reservation_id": reserved["reservation_id"]}
    foreseen = module("vm_migrate", move, "--check")
    assert foreseen["changed"], foreseen
    assert lab.machine("NODE1").asked("start_move") == []
    moved = module("vm_migrate", move)
    assert moved["changed"], moved
    again = module("vm_migrate", move)
    assert (again["changed"], again.get("failed", False)) == (False, False), again
    info = module("host_reserve_info", {**base, "vms": [WEB]})
    assert [entry["state"] for entry in info["reservations"]] == ["consumed"]
    assert lab.open_shells() == 0


def test_hostile_names_pass_through_the_modules_unharmed(start: Start, module: Module, tmp_path: Path) -> None:
    lab = start(sites.failover_cluster())
    base = common(lab, tmp_path)
    assert not module("vm_metrics_facts", {**base, "history_hours": 0}).get("failed")
    assert not module("vm_forecast", {**base, "on_no_history": "allocated"}).get("failed")
    for name in (sites.HOSTILE_NAMES[1], sites.HOSTILE_NAMES[4]):
        selection = module("host_select", {**base, "vm": name})
        assert selection.get("vm", {}).get("name") == name, selection
        assert selection["vm"]["uuid"] == sites.vm_id(name)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"winrm_password": "wrong-one"}, "login_refused"),
        ({"winrm_ca_path": None}, "certificate_untrusted"),
        ({"winrm_transport": "credssp"}, "invalid_option"),
    ],
)
def test_what_cannot_work_fails_with_a_code_and_no_secret(
    start: Start, module: Module, tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    lab = start(sites.lone_hosts())
    endpoints = [lab.endpoint("HV1", **changes)]
    result = json.dumps(module("vm_metrics_facts", {"endpoints": endpoints, "store": str(tmp_path / "store")}))
    assert code in result
    assert "wrong-one" not in result
    assert PASSWORD not in result
    assert lab.shells_opened() == 0


def reserve(lab: Lab, module: Module, tmp_path: Path) -> dict[str, Any]:
    """Collect, forecast and reserve; return what vm_migrate takes."""
    base = common(lab, tmp_path)
    assert not module("vm_metrics_facts", {**base, "history_hours": 0}).get("failed")
    assert not module("vm_forecast", {**base, "on_no_history": "allocated"}).get("failed")
    amount = {"cpu_cores": 4.0, "memory_mib": 8192, "network_mbit_s": 50, "disk_mib_s": 0}
    host = list(lab.site.hosts)[1]
    claim = {**base, "vm": WEB, "host": host, "tier": "hard", "amount": amount, "window_hours": 1}
    reserved = module("host_reserve", claim)
    assert reserved.get("changed"), reserved
    return {**base, "vm": WEB, "reservation_id": reserved["reservation_id"]}


def test_the_guard_cancels_a_move_that_takes_too_long_and_frees_what_was_held(
    start: Start, module: Module, tmp_path: Path
) -> None:
    lab = start(sites.failover_cluster())
    lab.site.vm(sites.vm_id(WEB)).memory_mib = 1024
    move = reserve(lab, module, tmp_path)
    lab.site.plan = MovePlan(duration_s=300.0)
    stopped = module("vm_migrate", {**move, "sla": {"max_downtime_ms": 5000, "max_duration_s": 6}})
    assert stopped.get("failed"), stopped
    assert stopped["error"]["code"] == "migration_failed", stopped
    assert [job.state for job in lab.site.jobs] == [TERMINATED]
    assert host_of(lab) == "NODE1"
    info = module("host_reserve_info", {**common(lab, tmp_path), "vms": [WEB]})
    assert [entry["state"] for entry in info["reservations"]] == ["released"]
    assert lab.open_shells() == 0


def test_a_destination_that_refuses_is_told_before_anything_is_touched(
    start: Start, module: Module, tmp_path: Path
) -> None:
    lab = start(sites.lone_hosts(language="de-DE"))
    move = reserve(lab, module, tmp_path)
    lab.site.hosts["hv2"].switches[0].name = "another switch"
    refused = module("vm_migrate", move)
    assert refused["failed"], refused
    assert "network_missing" in json.dumps(refused)
    assert "0x8009030E" not in json.dumps(refused)
    assert lab.machine("HV1").asked("start_move") == []
    assert host_of(lab) == "HV1"


def test_a_job_that_vanishes_is_settled_by_where_the_vm_is(start: Start, module: Module, tmp_path: Path) -> None:
    lab = start(sites.lone_hosts())
    move = reserve(lab, module, tmp_path)
    lab.site.plan = MovePlan(duration_s=0.5, vanishes=True)
    moved = module("vm_migrate", move)
    assert moved.get("state") == "moved", moved
    assert host_of(lab) == "HV2"

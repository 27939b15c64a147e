# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The playbook with which users see what works on their own Hyper-V hosts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_collections.foresight.migration.tests.integration.conftest import Playbook
from ansible_collections.foresight.migration.tests.labs.hyperv import sites
from ansible_collections.foresight.migration.tests.labs.hyperv.lab import Lab
from ansible_collections.foresight.migration.tests.labs.hyperv.logins import PASSWORD
from ansible_collections.foresight.migration.tests.labs.hyperv.sites import WEB

Start = Callable[..., Lab]
ACCEPTANCE = "foresight.migration.hyperv_acceptance"
#: Operations that change something on a host.
CHANGES = ("start_move", "cancel_move", "set_tuning")


def run(lab: Lab, playbook: Playbook, tmp_path: Path, **asked: Any) -> tuple[int, str, dict[str, Any]]:
    """Run the acceptance; return its exit code, output and report."""
    report = tmp_path / "report.json"
    variables = {"foresight_endpoints": lab.endpoints(), "acceptance_report": str(report), **asked}
    code, output = playbook.run(ACCEPTANCE, variables)
    assert PASSWORD not in output
    assert lab.open_shells() == 0
    return code, output, json.loads(report.read_text(encoding="utf-8"))


def changes(lab: Lab) -> list[str]:
    return [name for machine in lab.machines.values() for name, unused in machine.operations.calls if name in CHANGES]


def host_of(lab: Lab) -> str:
    with lab.site.lock:
        lab.site.advance()
        return lab.site.host_of(sites.vm_id(WEB)).name


def test_without_being_told_to_move_it_reads_and_asks_only(start: Start, playbook: Playbook, tmp_path: Path) -> None:
    lab = start(sites.lone_hosts())
    code, output, report = run(lab, playbook, tmp_path, acceptance_vm=WEB, acceptance_host="hv2")
    assert code == 0, output
    assert report["failure"] is None
    assert "nothing forbids it" in report["verified"][-1]
    assert {"moving a VM there", "moving a VM back"} <= set(report["not_verified"])
    assert changes(lab) == []


def test_told_to_it_moves_the_vm_there_and_back_and_leaves_its_settings(
    start: Start, playbook: Playbook, tmp_path: Path
) -> None:
    lab = start(sites.failover_cluster())
    code, output, report = run(
        lab, playbook, tmp_path, acceptance_vm=WEB, acceptance_host="node2", acceptance_move=True
    )
    assert code == 0, output
    assert [(job.source, job.destination) for job in lab.site.jobs] == [("NODE1", "NODE2"), ("NODE2", "NODE1")]
    assert host_of(lab) == "NODE1"
    assert [line.partition(" in ")[0] for line in report["verified"][-2:]] == ["moved there", "moved back"]
    assert set(changes(lab)) == {"start_move"}


def test_what_fails_is_reported_with_what_was_verified_before(start: Start, playbook: Playbook, tmp_path: Path) -> None:
    lab = start(sites.lone_hosts(delegates=False))
    code, output, report = run(lab, playbook, tmp_path, acceptance_vm=WEB, acceptance_host="hv2", acceptance_move=True)
    assert code != 0, output
    assert "double_hop_refused" in json.dumps(report["checks"]) + json.dumps(report["failure"])
    assert report["verified"]
    assert host_of(lab) == "HV1"
    assert changes(lab) == []

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which hosts an endpoint has, and where its VMs are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.clock import SystemClock
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError, InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.faults import ModuleMissing
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.nodes import Nodes
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.runner import Runner
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.script import Script
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    HypervisorFault,
    LoginRefused,
)

VM = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
Reply = Callable[[str, str, Mapping[str, Any]], Any]


def identify(name: str = "HV1", nodes: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    return {
        "computer_name": name,
        "domain": "lab.test",
        "fqdn": f"{name}.lab.test",
        "os_version": "10.0.20348",
        "hyperv_module": True,
        "cluster": "CL1" if nodes else None,
        "node_names": list(nodes),
        "performance_history": False,
        "ts": 0.0,
        **changes,
    }


def nodes_of(monkeypatch: pytest.MonkeyPatch, reply: Reply, **options: Any) -> Nodes:
    def run(self: Runner, script: Script, parameters: Any = None, *, deadline_s: float | None = None) -> Any:
        answer = reply(self.connection.url, script.operation, parameters or {})
        if isinstance(answer, ForesightError):
            raise answer
        return answer

    monkeypatch.setattr(Runner, "run", run)
    given = {"winrm_hosts": ["hv1"], "winrm_username": "u", "winrm_password": "p", **options}
    return Nodes("lab", given, SystemClock())


def test_a_cluster_is_known_from_the_first_of_its_nodes_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(url: str, _operation: str, _parameters: Mapping[str, Any]) -> Any:
        return EndpointUnreachable("down") if "hv1" in url else identify("HV2", ("HV1", "HV2", "HV3"))

    nodes = nodes_of(monkeypatch, reply, winrm_hosts=["hv1", "hv2.lab.test:5999"], winrm_port=15986)
    nodes.connect()
    assert (nodes.entry, nodes.cluster, set(nodes.host_ids)) == ("hv2", "CL1", {"hv1", "hv2", "hv3"})
    assert nodes.node("hv2").runner.connection.url == "https://hv2.lab.test:5999/wsman"
    assert nodes.node("HV3").runner.connection.url == "https://HV3.lab.test:15986/wsman"


def test_a_node_s_address_may_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = nodes_of(
        monkeypatch, lambda *_call: identify("HV1", ("HV1", "HV2")), winrm_node_addresses={"HV2": "10.0.0.12:15986"}
    )
    nodes.connect()
    assert nodes.node("hv2").runner.connection.url == "https://10.0.0.12:15986/wsman"


def test_every_host_is_asked_by_its_name_so_that_no_other_runs_what_is_meant_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = nodes_of(monkeypatch, lambda *_call: identify("HV1", ("HV1", "HV2")), winrm_hosts=["cluster.lab.test"])
    nodes.connect()
    assert [nodes.node(host_id).runner.host for host_id in ("hv1", "hv2")] == ["HV1", "HV2"]


def test_a_node_whose_cluster_service_is_stopped_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(url: str, _operation: str, _parameters: Mapping[str, Any]) -> Any:
        return identify("HV1") if "hv1" in url else identify("HV2", ("HV1", "HV2"))

    nodes = nodes_of(monkeypatch, reply, winrm_hosts=["hv1", "hv2"])
    nodes.connect()
    assert (nodes.entry, nodes.cluster) == ("hv2", "CL1")


def test_standalone_hosts_in_one_endpoint_are_refused_rather_than_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = nodes_of(monkeypatch, lambda *_call: identify("HV1"), winrm_hosts=["hv1", "hv2"])
    with pytest.raises(InvalidOption, match="no working node of a cluster"):
        nodes.connect()


def test_a_refused_login_is_not_tried_at_the_next_host(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def reply(url: str, _operation: str, _parameters: Mapping[str, Any]) -> Any:
        asked.append(url)
        return LoginRefused("no")

    with pytest.raises(LoginRefused):
        nodes_of(monkeypatch, reply, winrm_hosts=["hv1", "hv2"]).connect()
    assert len(asked) == 1


def test_the_last_host_s_answer_is_told_when_none_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EndpointUnreachable, match="hv2"):
        nodes_of(
            monkeypatch, lambda url, *_rest: EndpointUnreachable(f"{url} is down"), winrm_hosts=["hv1", "hv2"]
        ).connect()


def test_a_machine_without_hyper_v_s_module_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModuleMissing, match="HV1"):
        nodes_of(monkeypatch, lambda *_call: identify(hyperv_module=False)).connect()


def test_a_host_that_is_none_of_the_endpoint_s_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    nodes = nodes_of(monkeypatch, lambda *_call: identify())
    nodes.connect()
    with pytest.raises(HypervisorFault, match="has no host 'hv9'"):
        nodes.node("hv9")


@pytest.mark.parametrize("state", [2, 32777])
def test_a_vm_is_where_a_host_says_it_has_it(state: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(url: str, operation: str, parameters: Mapping[str, Any]) -> Any:
        if operation == "identify":
            return identify("HV1", ("HV1", "HV2"))
        assert parameters == {"vm_id": VM}
        return {"found": "HV2" in url, "enabled_state": state if "HV2" in url else None}

    nodes = nodes_of(monkeypatch, reply)
    nodes.connect()
    (seen,) = nodes.locate(VM)
    assert (seen.host_id, seen.power_state) == ("hv2", "running")


def test_a_vm_is_not_called_absent_while_a_node_that_may_have_it_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    def reply(url: str, operation: str, _parameters: Mapping[str, Any]) -> Any:
        if operation == "identify":
            return identify("HV1", ("HV1", "HV2"))
        return EndpointUnreachable("silent") if "HV2" in url else {"found": False, "enabled_state": None}

    nodes = nodes_of(monkeypatch, reply)
    nodes.connect()
    with pytest.raises(EndpointUnreachable, match="silent"):
        nodes.locate(VM)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What forbids a move between Hyper-V hosts, what only speaks against it, and what is asked of which host."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv import preflight
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.service_errors import read_errors
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Finding,
    HypervisorFault,
    MoveOrder,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_hosts import (
    VM,
    PlayedHosts,
    error_xml,
    job,
    settings_of,
    vm_for_move,
)

PASSED = {"found": True, "return_value": 4096, "state": 7, "error": "", "errors": []}
LOCAL = [{"path": r"C:\VMs\web01.vhdx", "passthrough": False}]


def refused(*errors: str, error: str = "") -> dict[str, Any]:
    return {"found": True, "return_value": 4096, "state": 10, "error": error, "errors": list(errors)}


class Scene:
    """Two hosts, each an endpoint of its own unless they are nodes of one ``cluster``."""

    def __init__(
        self,
        *,
        vm: dict[str, Any] | None = None,
        source: dict[str, Any] | None = None,
        destination: dict[str, Any] | None = None,
        compare: Any = None,
        cluster: str | None = None,
    ) -> None:
        answers = {
            "hv1": {
                "vm_for_move": vm_for_move(**(vm or {})),
                "migration_settings": settings_of("hv1", **(source or {})),
                "compare": PASSED if compare is None else compare,
            },
            "hv2": {"migration_settings": settings_of("hv2", **(destination or {}))},
        }
        if cluster:
            self.source = self.target = PlayedHosts("hv", answers, at="hv1", cluster=cluster)
        else:
            self.source = PlayedHosts("hv1", {"hv1": answers["hv1"]}, at="hv1")
            self.target = PlayedHosts("hv2", {"hv2": answers["hv2"]})

    def findings(self, **order: Any) -> dict[str, Finding]:
        found = preflight.findings(VM, self.source, self.target, "hv2", MoveOrder(VM, "hv2", "r1", **order))
        return {finding.code: finding for finding in found}

    def blocking(self, **order: Any) -> set[str]:
        return {code for code, finding in self.findings(**order).items() if finding.blocking}


def test_a_move_without_objections_was_asked_of_the_sources_service() -> None:
    scene = Scene()
    assert scene.findings() == {}
    assert scene.source.sent("compare") == [
        {
            "vm_id": VM, "destination": "hv2.example.com", "addresses": ["10.0.0.2"], "smb": False,
            "storage_path": None, "wait_s": preflight.CHECK_LIMIT_S,
        }
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("vm", "code"),
    [
        ({"enabled_state": 3}, "vm_not_running"),
        ({"operational": [2, 32776]}, "vm_busy"),
        ({"assigned_devices": ["PCIROOT(0)"]}, "vm_pinned"),
        ({"disks": [{"path": "Disk 2", "passthrough": True}]}, "vm_pinned"),
        ({"jobs": [job()]}, "migration_running"),
        ({"version": "10.0"}, "vm_version_unsupported"),
        ({"memory_assigned_bytes": 65 * 2**30}, "memory_short"),
        ({"disks": LOCAL}, "storage_not_shared"),
        ({"clustered": True}, "other_cluster"),
    ],
)
def test_a_vm_that_cannot_go_is_not_compared(vm: dict[str, Any], code: str) -> None:
    scene = Scene(vm=vm)
    assert code in scene.blocking()
    assert not scene.source.sent("compare")


@pytest.mark.parametrize(
    ("source", "destination", "code"),
    [
        ({"enabled": False}, {}, "migration_disabled"),
        ({}, {"enabled": False}, "migration_disabled"),
        ({}, {"listener_addresses": []}, "migration_network_missing"),
        ({"jobs": [job(), job()]}, {}, "migration_limit"),
        ({}, {"jobs": [job(), job()]}, "migration_limit"),
        ({}, {"max_migrations": 0}, "migration_limit"),
    ],
)
def test_a_host_that_is_not_set_up_forbids_the_move(
    source: dict[str, Any], destination: dict[str, Any], code: str
) -> None:
    assert Scene(source=source, destination=destination).blocking() == {code}


def test_an_option_that_this_driver_does_not_know_is_refused() -> None:
    assert Scene().blocking(options={"storage_paht": "D:\\VMs"}) == {"option_unknown"}
    assert Scene().blocking(options={"storage_path": "D:\\VMs"}) == set()


def test_checks_and_moves_of_disks_do_not_count_as_migrations() -> None:
    others = [job(job_type=301), job(job_type=302), job(migration_type=32769, job_type=307)]
    assert Scene(vm={"jobs": others}, source={"jobs": others}, destination={"jobs": others}).findings() == {}


def test_credssp_and_differing_options_are_told_and_forbid_nothing() -> None:
    scene = Scene(source={"authentication": 0, "smb": True}, destination={"authentication": 0})
    found = scene.findings()
    assert set(found) == {"migration_authentication", "performance_options_differ"}
    assert not scene.blocking()
    assert "Kerberos" in found["migration_authentication"].message
    assert scene.source.sent("compare")[0]["smb"] is False


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (error_xml(33012, "Der Ethernet-Switch 'LAN' wurde nicht gefunden."), "network_missing"),
        (error_xml(20306, "Anmeldung fehlgeschlagen (0x8009030e)"), "double_hop_refused"),
        (error_xml(20306, "Zugriff verweigert (0x80070005)"), "permission_denied"),
        (error_xml(3122, "Nicht genug Arbeitsspeicher (0x8007000E)"), "memory_short"),
        (error_xml(3122, "Nicht genügend Systemressourcen (0x800705AA)"), "memory_short"),
        (error_xml(24000, "Prozessor (0x80048054)"), "cpu_incompatible"),
        (error_xml(20302, "Keine Verbindung (0x8007274D)"), "destination_unreachable"),
        (error_xml(12345, "{{ 7*7 }} <b>$(x)</b>"), "incompatible"),
        ("no XML at all", "incompatible"),
    ],
)
def test_the_services_errors_are_told_apart_by_their_numbers(error: str, code: str) -> None:
    found = Scene(compare=refused(error)).findings()
    assert set(found) == {code}
    assert found[code].blocking
    assert read_errors([error])[0].message in found[code].message


def test_a_double_hop_says_how_to_delegate() -> None:
    found = Scene(compare=refused(error_xml(1, "0x8009030E"))).findings()
    assert "Microsoft Virtual System Migration Service" in found["double_hop_refused"].message


@pytest.mark.parametrize(
    ("answer", "code", "blocking"),
    [
        ({**PASSED, "return_value": 32775, "state": None}, "comparison_refused", True),
        ({**PASSED, "state": 4}, "comparison_unfinished", False),
        (refused(error="Fehler"), "incompatible", True),
        ({"found": False}, "vm_unknown", True),
    ],
)
def test_a_comparison_that_did_not_come_about_is_told(answer: dict[str, Any], code: str, blocking: bool) -> None:
    found = Scene(compare=answer).findings()
    assert {name: finding.blocking for name, finding in found.items()} == {code: blocking}


def test_a_completed_comparison_with_warnings_is_no_objection() -> None:
    assert Scene(compare={**PASSED, "state": 32768}).findings() == {}


def test_trouble_of_the_comparison_itself_is_not_swallowed() -> None:
    with pytest.raises(HypervisorFault):
        Scene(compare=HypervisorFault("broken")).findings()


def test_storage_goes_along_only_when_asked_and_needed() -> None:
    shared = Scene()
    assert not shared.findings(storage_copy=True)
    assert shared.source.sent("compare")[0]["storage_path"] is None
    local = Scene(vm={"disks": LOCAL})
    assert not local.findings(storage_copy=True)
    assert local.source.sent("compare")[0]["storage_path"] == f"D:\\VMs\\{VM}"
    chosen = Scene(vm={"disks": LOCAL})
    assert not chosen.findings(storage_copy=True, options={"storage_path": r"E:\here"})
    assert chosen.source.sent("compare")[0]["storage_path"] == r"E:\here"


@pytest.mark.parametrize(
    ("vm", "code"),
    [
        ({"disks": [*LOCAL, {"path": r"D:\b\WEB01.vhdx", "passthrough": False}]}, "disk_names_collide"),
        ({"disks": [*LOCAL, {"path": r"\\files\x.vhdx", "passthrough": False}]}, "storage_mixed"),
        ({"disks": LOCAL, "checkpoints": 2}, "checkpoints_present"),
    ],
)
def test_storage_that_cannot_go_along_whole_forbids_the_move(vm: dict[str, Any], code: str) -> None:
    assert Scene(vm=vm).blocking(storage_copy=True) == {code}


@pytest.mark.parametrize("path", [r"\\?\C:\a.vhdx", r"\\.\x", r"C:\ClusterStorage\Volume1\a.vhdx", "a.vhdx"])
def test_what_only_looks_shared_is_local(path: str) -> None:
    assert Scene(vm={"disks": [{"path": path, "passthrough": False}]}).blocking() == {"storage_not_shared"}


def test_a_clustered_vm_is_judged_without_the_service() -> None:
    disks = [{"path": r"C:\ClusterStorage\Volume1\a.vhdx", "passthrough": False}]
    scene = Scene(vm={"clustered": True, "disks": disks}, cluster="C1", source={"enabled": False})
    assert scene.blocking() == set()
    assert "compatibility_unchecked" in scene.findings()
    assert not scene.source.sent("compare")
    missing = Scene(vm={"clustered": True, "switch_names": ["DMZ", "DMZ"]}, cluster="C1")
    assert missing.blocking() == {"network_missing"}


def test_a_vm_that_is_nowhere_or_there_already_is_told() -> None:
    scene = Scene()
    codes = [f.code for f in preflight.findings(VM, scene.source, scene.source, "hv1", MoveOrder(VM, "hv1", "r1"))]
    assert codes == ["already_there"]
    nowhere = PlayedHosts("hv1", {})
    assert [f.code for f in preflight.findings(VM, nowhere, scene.target, "hv2", MoveOrder(VM, "hv2", ""))] == [
        "vm_unknown"
    ]
    assert Scene(vm={"found": False}).blocking() == {"vm_unknown"}

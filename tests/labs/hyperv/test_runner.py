# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Calls over the wire when things go wrong: each ends in time, with the right error, and leaves no shell open."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv import faults, runner
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.options import connections
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.runner import Runner
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.moves import START_MOVE
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.reads import (
    IDENTIFY,
    LOCATE,
    VMS,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    LoginRefused,
    PermissionDenied,
    UntrustedCertificate,
)
from ansible_collections.foresight.migration.tests.labs.hyperv import sites, wsman
from ansible_collections.foresight.migration.tests.labs.hyperv.certificates import Authority
from ansible_collections.foresight.migration.tests.labs.hyperv.faults import Trouble, silence
from ansible_collections.foresight.migration.tests.labs.hyperv.lab import Lab
from ansible_collections.foresight.migration.tests.labs.hyperv.logins import PASSWORD
from ansible_collections.foresight.migration.tests.labs.hyperv.model import failures
from ansible_collections.foresight.migration.tests.labs.hyperv.operations import NOISE, Mishap

OPERATIONS = ("Create", "Command", "Send", "Receive", "Signal", "Delete")
IDLE = runner.IDLE_TIMEOUT


@pytest.fixture
def lab(start: Callable[..., Lab]) -> Lab:
    return start(sites.lone_hosts())


@pytest.fixture
def troubles(lab: Lab) -> Any:
    """The troubles of HV1."""
    return lab.machine("HV1").server.troubles


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait as long as a test can, not as long as a user would."""
    monkeypatch.setattr(runner, "RETRY_PAUSES_S", (0.01, 0.02))
    monkeypatch.setattr(runner, "CLOSING_S", 1)


def runner_of(lab: Lab, host: str = "HV1", **changes: Any) -> Runner:
    return Runner(host, connections(lab.endpoint(host, **changes))[0])


def error_of(call: Callable[[], Any]) -> ForesightError:
    with pytest.raises(ForesightError) as caught:
        call()
    assert PASSWORD not in f"{caught.value!r} {caught.value} {caught.value.details}"
    return caught.value


def test_a_wrong_password_is_refused_and_not_tried_again(lab: Lab) -> None:
    error = error_of(lambda: runner_of(lab, winrm_password="wrong").run(IDENTIFY))
    assert isinstance(error, LoginRefused)
    assert lab.machine("HV1").server.refusals == 1  # a second try might lock the account
    assert lab.shells_opened() == 0


def test_a_wrong_password_over_ntlm_is_refused(start: Callable[..., Lab]) -> None:
    lab = start(sites.lone_hosts(), "ntlm over http")
    assert isinstance(error_of(lambda: runner_of(lab, winrm_password="wrong").run(IDENTIFY)), LoginRefused)
    assert lab.shells_opened() == 0


def test_a_certificate_of_an_unknown_authority_is_refused_unless_that_is_asked_for(lab: Lab, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other").certificate
    error = error_of(lambda: runner_of(lab, winrm_ca_path=str(other)).run(IDENTIFY))
    assert isinstance(error, UntrustedCertificate)
    assert lab.machine("HV1").server.requests == []
    accepted = runner_of(lab, winrm_ca_path=None, winrm_validate_certs=False).run(IDENTIFY)
    assert accepted["computer_name"] == "HV1"


def test_without_a_ca_path_the_machines_own_authorities_decide(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    error = error_of(lambda: runner_of(lab, winrm_ca_path=None).run(IDENTIFY))
    assert isinstance(error, UntrustedCertificate)


def test_an_address_at_which_nobody_listens_is_unreachable(lab: Lab) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = error_of(lambda: runner_of(lab, winrm_hosts=[f"127.0.0.1:{closed.getsockname()[1]}"]).run(IDENTIFY))
    assert isinstance(error, EndpointUnreachable)
    assert error.code == "endpoint_unreachable"


@pytest.fixture
def mute() -> Iterator[int]:
    """The port of a listener that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        taken: list[socket.socket] = []

        def accept() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)
        for connection in taken:
            connection.close()


def test_a_listener_that_says_nothing_is_given_up_at_the_deadline(lab: Lab, mute: int) -> None:
    error = error_of(lambda: runner_of(lab, winrm_hosts=[f"127.0.0.1:{mute}"]).run(IDENTIFY, deadline_s=1.0))
    assert isinstance(error, EndpointUnreachable)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_server_that_hangs_is_given_up_and_no_shell_stays_without_an_end(
    lab: Lab, troubles: Any, operation: str
) -> None:
    troubles.add(Trouble(operation, "hang", times=10))
    if operation in ("Signal", "Delete"):
        assert runner_of(lab).run(IDENTIFY)["computer_name"] == "HV1"  # only the cleaning up hung
    else:
        assert error_of(lambda: runner_of(lab).run(IDENTIFY, deadline_s=2.0)).code == "endpoint_timeout"
    left = [IDLE] if operation == "Delete" else []
    assert lab.machine("HV1").server.shells.idle_timeouts() == left


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_read_survives_a_connection_that_ends_within_an_answer(lab: Lab, troubles: Any, operation: str) -> None:
    troubles.add(Trouble(operation, "close"))
    assert runner_of(lab).run(IDENTIFY)["computer_name"] == "HV1"
    left = [IDLE] if operation == "Create" else []  # its id was in the lost half of the answer
    assert lab.machine("HV1").server.shells.idle_timeouts() == left


@pytest.mark.parametrize("operation", OPERATIONS[:4])
def test_a_host_that_always_breaks_the_connection_is_given_up_after_three_tries(
    lab: Lab, troubles: Any, operation: str
) -> None:
    troubles.add(Trouble(operation, "close", times=100))
    error = error_of(lambda: runner_of(lab).run(IDENTIFY))
    assert isinstance(error, faults.ConnectionBroken)
    assert troubles.seen["Create"] == 3
    assert lab.open_shells() == (3 if operation == "Create" else 0)


@pytest.mark.parametrize("operation", OPERATIONS[:4])
def test_what_changes_something_is_never_run_twice(lab: Lab, troubles: Any, operation: str) -> None:
    troubles.add(Trouble(operation, "close"))
    parameters = {
        "vm_id": sites.vm_id(sites.WEB), "clustered": False, "destination": "hv2.lab.test",
        "addresses": ["127.0.0.1"], "smb": False, "storage_path": None,
    }  # fmt: skip
    error_of(lambda: runner_of(lab).run(START_MOVE, parameters))
    assert troubles.seen["Create"] == 1
    assert len(lab.machine("HV1").asked("start_move")) <= 1


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_fault_of_the_service_leaves_no_shell_open(lab: Lab, troubles: Any, operation: str) -> None:
    internal = wsman.Fault(False, "w:InternalError", "The service is about to stop. ", 2147942405 + 1)
    troubles.add(Trouble(operation, "fault", internal, times=1))
    parameters = {
        "vm_id": sites.vm_id("nobody"), "clustered": False, "destination": "hv2.lab.test",
        "addresses": [], "smb": False, "storage_path": None,
    }  # fmt: skip
    call = partial(runner_of(lab).run, START_MOVE, parameters)
    if operation in ("Signal", "Delete"):
        assert call() == {"found": False}
    else:
        assert isinstance(error_of(call), faults.ConnectionBroken)
    assert lab.open_shells() == (1 if operation == "Delete" else 0)


def test_a_quota_that_clears_is_waited_for_and_one_that_stays_is_told(lab: Lab, troubles: Any) -> None:
    troubles.add(Trouble("Create", "fault", wsman.shell_quota(5), times=2))
    assert runner_of(lab).run(IDENTIFY)["computer_name"] == "HV1"
    lab.machine("HV1").server.shells.shells_per_user = 0
    error = error_of(lambda: runner_of(lab).run(IDENTIFY))
    assert isinstance(error, faults.WinrmQuota)
    assert error.code == "winrm_quota"
    assert lab.open_shells() == 0


def test_a_quota_is_known_by_its_number_too(lab: Lab, troubles: Any) -> None:
    troubles.add(Trouble("Command", "fault", wsman.operation_quota(15), times=10))
    assert isinstance(error_of(lambda: runner_of(lab).run(IDENTIFY)), faults.WinrmQuota)
    assert lab.open_shells() == 0


def test_a_user_who_may_not_use_winrm_is_told_so(lab: Lab, troubles: Any) -> None:
    troubles.add(Trouble("Create", "fault", wsman.access_denied(), times=10))
    assert isinstance(error_of(lambda: runner_of(lab).run(IDENTIFY)), PermissionDenied)


def test_a_long_silence_before_the_answer_is_no_error(lab: Lab, troubles: Any) -> None:
    troubles.add(silence(20))  # of 15 s each on a real host: five minutes
    assert runner_of(lab).run(IDENTIFY)["computer_name"] == "HV1"
    assert troubles.seen["Receive"] >= 21
    assert lab.open_shells() == 0


def test_a_script_that_never_ends_is_ended_at_the_deadline(lab: Lab) -> None:
    machine = lab.machine("HV1")
    machine.operations.mishaps.append(Mishap("identify", mute_until_stopped=True))
    error = error_of(lambda: runner_of(lab).run(IDENTIFY, deadline_s=3.0))
    assert error.code == "endpoint_timeout"
    assert machine.server.troubles.seen["Signal"] == 1  # its process was told to end
    assert lab.open_shells() == 0


def test_noise_on_standard_error_is_no_failure(lab: Lab) -> None:
    lab.machine("HV1").operations.mishaps.append(Mishap("identify", noise=NOISE))
    assert runner_of(lab).run(IDENTIFY)["computer_name"] == "HV1"


@pytest.mark.parametrize(
    "output", [b"", b"<<<forged\n{}\nforged>>>", b"\xff\xfe{}", b'{"ok": true, "answer": {}}', NOISE]
)
def test_output_without_a_whole_answer_is_told_with_what_was_on_standard_error(lab: Lab, output: bytes) -> None:
    lab.machine("HV1").operations.mishaps.append(Mishap("identify", output=output, noise=b"Language mode"))
    error = error_of(lambda: runner_of(lab).run(IDENTIFY))
    assert isinstance(error, faults.BadAnswer)
    assert error.details["stderr"] == "Language mode"
    assert lab.open_shells() == 0


@pytest.mark.parametrize("language", ["en-US", "de-DE"])
@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (failures.access_denied, "permission_denied"),
        (failures.role_missing, "hyperv_role_missing"),
        (lambda language: failures.command_missing(language, "Get-VM"), "powershell_module_missing"),
        (lambda language: failures.command_missing(language, "Get-ClusterNode"), "powershell_module_missing"),
    ],
)
def test_errors_are_told_apart_in_every_language(lab: Lab, language: str, failure: Any, code: str) -> None:
    lab.machine("HV1").operations.mishaps.append(Mishap("locate", error=failure(language)))
    error = error_of(lambda: runner_of(lab).run(LOCATE, {"vm_id": sites.vm_id(sites.WEB)}))
    assert error.code == code
    assert error.advice
    assert lab.open_shells() == 0


def test_a_megabyte_of_answer_arrives_whole(start: Callable[..., Lab]) -> None:
    many = [sites.make_vm(f"vм-{number}-日本", memory_mib=8) for number in range(2500)]
    lab = start(sites.Site([sites.make_host("HV1", *many)]), "ntlm over http")
    answer = runner_of(lab).run(VMS, {"vm_ids": []})
    assert [vm["name"] for vm in answer["vms"]] == [vm.name for vm in many]
    assert lab.machine("HV1").server.troubles.seen["Receive"] > 10


def test_six_threads_share_a_runner_and_get_their_own_answers(start: Callable[..., Lab]) -> None:
    vms = [sites.make_vm(f"vm-{number}") for number in range(6)]
    lab = start(sites.Site([sites.make_host("HV1", *vms)]), "ntlm")
    shared = runner_of(lab)
    together = threading.Barrier(6, timeout=10)

    def ask(number: int) -> list[str]:
        together.wait()
        answers = [shared.run(VMS, {"vm_ids": [vms[number].vm_id]})["vms"] for unused in range(5)]
        return [vm["name"] for answer in answers for vm in answer]

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(ask, range(6))) == [[f"vm-{number}"] * 5 for number in range(6)]
    assert lab.shells_opened() == 30
    assert lab.open_shells() == 0


def test_a_script_that_is_meant_for_one_host_does_not_run_on_another(lab: Lab) -> None:
    (connection,) = connections(lab.endpoint("HV1"))
    error = error_of(lambda: Runner("lab", connection, "HV2").run(LOCATE, {"vm_id": sites.vm_id(sites.WEB)}))
    assert error.code == "other_host_answered"
    assert lab.machine("HV1").asked("locate") == []
    assert Runner("lab", connection, "hv1").run(IDENTIFY)["computer_name"] == "HV1"

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What happens to a call when the host, the wire or the script fails."""

from __future__ import annotations

import base64
import json
import struct
import threading
from typing import Any

import pytest
import requests
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError, MissingLibrary
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv import runner as runner_module
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.faults import (
    AnswerTimedOut,
    BadAnswer,
    DoubleHop,
    ModuleMissing,
    ObjectGone,
    OtherHost,
    RoleMissing,
    WinrmQuota,
    from_script,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.options import connections
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.runner import INPUT_PIECE, Runner
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.bootstrap import BOOTSTRAP
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.moves import START_MOVE
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.reads import LOCATE
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    HypervisorFault,
    LoginRefused,
    PermissionDenied,
    UntrustedCertificate,
)
from spnego.exceptions import InvalidTokenError
from winrm.exceptions import (
    InvalidCredentialsError,
    WinRMError,
    WinRMOperationTimeoutError,
    WinRMTransportError,
    WSManFaultError,
)

STEPS = ("open_shell", "run_command", "send_command_input", "get_command_output_raw")


class PlayedTransport:
    read_timeout_sec: float = 0
    closed = 0

    def close_session(self) -> None:
        self.closed += 1


class PlayedProtocol:
    """The host's side of pywinrm's `Protocol`. ``failures`` are raised at a step, one after the other."""

    def __init__(self, answer: object = None, failures: dict[str, list[BaseException]] | None = None) -> None:
        self.answer = {"ok": True, "answer": {"found": True}} if answer is None else answer
        self.failures = failures or {}
        self.transport = PlayedTransport()
        self.operation_timeout_sec = 0
        self.open_shells: set[str] = set()
        self.shells_opened = 0
        self.pieces: list[bytes] = []
        self.commands: list[tuple[str, tuple[str, ...]]] = []
        self.runs = 0

    def _fail(self, step: str) -> None:
        if self.failures.get(step):
            raise self.failures[step].pop(0)

    def open_shell(self, **_options: object) -> str:
        self._fail("open_shell")
        self.shells_opened += 1
        self.open_shells.add(f"shell-{self.shells_opened}")
        return f"shell-{self.shells_opened}"

    def run_command(self, _shell: str, command: str, arguments: tuple[str, ...], **_options: object) -> str:
        self._fail("run_command")
        self.pieces = []
        self.commands.append((command, arguments))
        return "command"

    def send_command_input(self, _shell: str, _command: str, piece: bytes, end: bool = False) -> None:
        self._fail("send_command_input")
        self.pieces.append(piece)
        self.runs += int(end)

    def get_command_output_raw(self, _shell: str, _command: str) -> tuple[bytes, bytes, int, bool]:
        self._fail("get_command_output_raw")
        if isinstance(self.answer, bytes):
            return self.answer, b"#< CLIXML\r\n<Objs/>", 1, True
        frame = json.loads(b"".join(self.pieces))["frame"]
        body = f"<<<{frame}\n{json.dumps(self.answer)}\n{frame}>>>"
        return body.encode(), b"#< CLIXML\r\n<Objs/>", 0, True

    def cleanup_command(self, _shell: str, _command: str) -> None:
        self._fail("cleanup_command")

    def close_shell(self, shell: str) -> None:
        self._fail("close_shell")
        self.open_shells.discard(shell)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "RETRY_PAUSES_S", (0.0, 0.0))


def runner_of(protocol: PlayedProtocol, monkeypatch: pytest.MonkeyPatch, **options: Any) -> Runner:
    monkeypatch.setattr(Runner, "_new_protocol", lambda _self: protocol)
    given = {"winrm_hosts": ["hv1"], "winrm_username": "u", "winrm_password": "p", "timeout_s": 5.0, **options}
    return Runner("lab", connections(given)[0])


def quota() -> WSManFaultError:
    return WSManFaultError(
        500, "Bad HTTP response", "<xml/>", "too many shells", "s:Receiver", "w:QuotaLimit", 2150859173
    )


def test_a_call_runs_the_bootstrap_and_sends_script_and_parameters_as_input(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = PlayedProtocol()
    assert runner_of(protocol, monkeypatch).run(LOCATE, {"vm_id": "x"}) == {"found": True}
    ((command, arguments),) = protocol.commands
    assert (command, base64.b64decode(arguments[-1]).decode("utf-16-le")) == ("powershell.exe", BOOTSTRAP)
    sent = json.loads(b"".join(protocol.pieces))
    assert (sent["script"], sent["parameters"]) == (LOCATE.text, {"vm_id": "x"})
    assert not protocol.open_shells
    assert protocol.transport.closed == 1


def test_a_long_input_goes_in_pieces_that_fit_an_envelope(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = PlayedProtocol()
    runner_of(protocol, monkeypatch).run(LOCATE, {"vm_id": "\u65e5" * INPUT_PIECE})
    assert len(protocol.pieces) > 5
    assert max(len(piece) for piece in protocol.pieces) <= INPUT_PIECE
    assert protocol.runs == 1


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "failure",
    [
        requests.exceptions.ConnectionError("reset"),
        WinRMTransportError("http", 500, ""),
        AssertionError(),
        StopIteration(),
    ],
    ids=lambda failure: type(failure).__name__,
)
def test_no_shell_stays_open_whatever_breaks_where(
    step: str, failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    protocol = PlayedProtocol(failures={step: [failure] * 9})
    with pytest.raises(EndpointUnreachable):
        runner_of(protocol, monkeypatch).run(LOCATE)
    assert not protocol.open_shells


def test_a_read_is_tried_again_when_the_connection_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = requests.exceptions.ConnectionError("reset by peer")
    protocol = PlayedProtocol(failures={"get_command_output_raw": [broken, broken]})
    assert runner_of(protocol, monkeypatch).run(LOCATE) == {"found": True}
    assert protocol.shells_opened == 3


def gone() -> dict[str, Any]:
    error = {"message": "the object was not found", "id": "ObjectNotFound,Get-VM", "category": "ObjectNotFound"}
    return {"ok": False, "error": error}


def test_a_read_is_tried_again_when_a_vm_went_while_it_was_read(monkeypatch: pytest.MonkeyPatch) -> None:
    class Forgetting(PlayedProtocol):
        def get_command_output_raw(self, _shell: str, _command: str) -> tuple[bytes, bytes, int, bool]:
            output = super().get_command_output_raw(_shell, _command)
            self.answer = {"ok": True, "answer": {"found": False}}
            return output

    protocol = Forgetting(gone())
    assert runner_of(protocol, monkeypatch).run(LOCATE) == {"found": False}
    assert (protocol.runs, protocol.open_shells) == (2, set())


def test_what_stays_gone_is_told_and_a_change_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ObjectGone) as caught:
        runner_of(PlayedProtocol(gone()), monkeypatch).run(LOCATE)
    assert caught.value.advice
    protocol = PlayedProtocol(gone())
    with pytest.raises(ObjectGone):
        runner_of(protocol, monkeypatch).run(START_MOVE)
    assert protocol.runs == 1


def test_what_changes_something_runs_once_even_when_the_connection_broke(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = PlayedProtocol(failures={"get_command_output_raw": [requests.exceptions.ConnectionError("reset")]})
    with pytest.raises(EndpointUnreachable):
        runner_of(protocol, monkeypatch).run(START_MOVE)
    assert protocol.runs == 1


def test_a_read_waits_for_a_quota_to_ease_and_says_so_when_it_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    eased = PlayedProtocol(failures={"open_shell": [quota()]})
    assert runner_of(eased, monkeypatch).run(LOCATE) == {"found": True}
    with pytest.raises(WinrmQuota) as caught:
        runner_of(PlayedProtocol(failures={"open_shell": [quota()] * 9}), monkeypatch).run(LOCATE)
    assert caught.value.details["fault"] == "w:QuotaLimit"


def test_silence_is_no_failure_until_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = PlayedProtocol(failures={"get_command_output_raw": [WinRMOperationTimeoutError()] * 40})
    assert runner_of(silent, monkeypatch).run(LOCATE) == {"found": True}


def test_silence_beyond_the_deadline_ends_the_call_and_its_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(float(second) for second in range(10_000))
    monkeypatch.setattr(runner_module.time, "monotonic", lambda: next(times))
    silent = PlayedProtocol(failures={"get_command_output_raw": [WinRMOperationTimeoutError()] * 9999})
    with pytest.raises(AnswerTimedOut) as caught:
        runner_of(silent, monkeypatch).run(LOCATE, deadline_s=300.0)
    assert caught.value.code == "endpoint_timeout"
    assert not silent.open_shells


def test_an_answer_that_never_ends_does_not_hold_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "ENDING_S", 0.1)
    released = threading.Event()
    endless = PlayedProtocol()
    monkeypatch.setattr(endless, "get_command_output_raw", lambda *_ids: (b"", b"", 0, released.wait()))
    with pytest.raises(AnswerTimedOut):
        runner_of(endless, monkeypatch).run(LOCATE, deadline_s=0.1)
    released.set()


def test_output_without_an_answer_is_an_error_that_shows_what_powershell_said(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadAnswer) as caught:
        runner_of(PlayedProtocol(answer=b"The term is not recognized"), monkeypatch).run(LOCATE)
    assert "CLIXML" in caught.value.details["stderr"]


def test_trouble_while_closing_does_not_hide_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = requests.exceptions.ConnectionError("gone")
    protocol = PlayedProtocol(failures={"cleanup_command": [gone], "close_shell": [gone]})
    assert runner_of(protocol, monkeypatch).run(LOCATE) == {"found": True}


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (InvalidCredentialsError("rejected"), LoginRefused),
        (WSManFaultError(500, "", "", "Access is denied.", "s:Sender", "w:AccessDenied", 5), PermissionDenied),
        (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"), UntrustedCertificate),
        (requests.exceptions.SSLError("[SSL: WRONG_VERSION_NUMBER]"), EndpointUnreachable),
        (requests.exceptions.ConnectTimeout("timed out"), EndpointUnreachable),
        (requests.exceptions.ReadTimeout("timed out"), AnswerTimedOut),
    ],
)
def test_the_wire_s_troubles_are_told_apart(
    failure: Exception, expected: type[ForesightError], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(expected) as caught:
        runner_of(PlayedProtocol(failures={"open_shell": [failure] * 9}), monkeypatch).run(LOCATE)
    assert type(caught.value) in (expected, caught.type)
    assert "Endpoint 'lab'" in caught.value.message or "https://hv1:5986" in caught.value.message


class KerberosExchangeError(requests.RequestException):
    """As pywinrm names it where Kerberos is installed."""


def test_a_login_without_a_ticket_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = PlayedProtocol(failures={"open_shell": [KerberosExchangeError("No Kerberos credentials available")]})
    with pytest.raises(LoginRefused, match="No Kerberos credentials") as caught:
        runner_of(protocol, monkeypatch, winrm_transport="kerberos").run(LOCATE)
    assert "kinit" in caught.value.advice


@pytest.mark.parametrize(
    "nonsense", [WinRMError("Content-Type is not encrypted"), InvalidTokenError(), struct.error("short"), IndexError()]
)
def test_a_peer_that_is_no_winrm_is_told_as_a_broken_connection(
    nonsense: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(EndpointUnreachable, match="not WS-Management"):
        runner_of(PlayedProtocol(failures={"open_shell": [nonsense] * 9}), monkeypatch).run(LOCATE)


def test_a_transport_whose_library_is_missing_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = WinRMError("requested auth method is kerberos, but pykerberos is not installed")
    with pytest.raises(MissingLibrary) as caught:
        runner_of(PlayedProtocol(failures={"open_shell": [missing]}), monkeypatch).run(LOCATE)
    assert "pywinrm[" in caught.value.advice


def script_error(**changes: Any) -> dict[str, Any]:
    return {
        "message": "failed",
        "id": "OperationFailed,Microsoft.HyperV.PowerShell.Commands.MoveVM",
        "category": "NotSpecified",
        "activity": "Move-VM",
        "target": "",
        "hresults": ["0x80131500"],
        **changes,
    }


@pytest.mark.parametrize(
    ("changes", "expected", "advice"),
    [
        ({"message": "Anmeldeinformationen fehlen (0x8009030E)."}, DoubleHop, "Virtual System Migration"),
        ({"hresults": ["0x80131501", "0x8009030e"]}, DoubleHop, "delegate"),
        ({"hresults": ["0x80070005"]}, PermissionDenied, "Hyper-V Administrators"),
        ({"category": "PermissionDenied"}, PermissionDenied, "Grant-ClusterAccess"),
        ({"id": "HRESULT 0x8004100e,Get-CimInstance"}, RoleMissing, "Install the Hyper-V role"),
        ({"id": "OtherHost", "message": "OtherHost"}, OtherHost, "winrm_node_addresses"),
        ({"id": "CommandNotFoundException", "target": "Get-VM"}, ModuleMissing, "Hyper-V-PowerShell"),
        ({"id": "CommandNotFoundException", "target": "Get-Cluster"}, ModuleMissing, "RSAT-Clustering"),
        ({}, HypervisorFault, ""),
    ],
)
def test_a_script_s_error_is_told_by_its_numbers_in_any_language(
    changes: dict[str, Any], expected: type[ForesightError], advice: str
) -> None:
    error = from_script("Endpoint 'lab' (hv1)", "start_move", script_error(**changes))
    assert type(error).__name__ == expected.__name__
    assert advice in error.advice
    assert error.details["operation"] == "start_move"

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs scripts on one Windows host over WinRM, each call bounded in time and with a shell of its own."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import ForesightError
from ...libraries import library
from ..parallel import DeadlinePassed, answer_all
from .faults import (
    AnswerTimedOut,
    BadAnswer,
    ConnectionBroken,
    ObjectGone,
    WinrmQuota,
    from_script,
    from_wire,
    wire_errors,
)
from .framing import BrokenFrame, decode_reply, encode_call, new_frame
from .options import Connection
from .scripts.bootstrap import ARGUMENTS, COMMAND
from .scripts.script import Script

if TYPE_CHECKING:
    import winrm.exceptions as winrm_exceptions

    winrm_protocol: Any
else:
    winrm_exceptions = library("winrm.exceptions", "pywinrm")
    winrm_protocol = library("winrm.protocol", "pywinrm")

UTF8_CODE_PAGE = 65001
#: Bytes of standard input in one message: in base64 well below the 150 kB envelope that every WinRM accepts.
INPUT_PIECE = 100_000
#: How long the host waits for output before it says that there is none yet, and how much longer we wait for that.
OPERATION_TIMEOUT_S = 15
READ_MARGIN_S = 10
#: A host that is there takes a connection within this time.
CONNECT_S = 10
#: How much longer than until the deadline we wait for what the host has to say then.
LAST_WORD_S = 2
#: Bound for each of the two messages that end a call.
CLOSING_S = 3
#: After the deadline a call ends by itself within this time, unless the host sends its answer byte by byte.
ENDING_S = LAST_WORD_S + 2 * CLOSING_S + 1
#: A shell whose client died is ended by the host after this time.
IDLE_TIMEOUT = "PT180.000S"
#: A read that met a broken connection, a quota or something that was just removed is tried again after these pauses.
RETRY_PAUSES_S = (0.5, 2.0)
_STDERR_TAIL = 400


class Runner:
    """Runs scripts on one host, from several threads if need be: every call has a protocol and a shell of its own."""

    def __init__(self, endpoint: str, connection: Connection, host: str = "") -> None:
        """Take the endpoint's name, the way to the host and its computer name ("": not known yet); no I/O."""
        self.endpoint = endpoint
        self.connection = connection
        self.host = host

    def run(
        self, script: Script, parameters: Mapping[str, object] | None = None, *, deadline_s: float | None = None
    ) -> dict[str, Any]:
        """Return the dictionary that ``script`` answers to ``parameters`` (JSON-able).

        The call is given up ``deadline_s`` seconds from now (default: the endpoint's ``timeout_s``). A script that
        only reads is run again when the connection broke, a quota was reached or what it looked at was just removed;
        any other runs at most once. Raises what `faults.from_wire` and `faults.from_script` return, `AnswerTimedOut`
        and `BadAnswer`.
        """
        ends = time.monotonic() + (self.connection.timeout_s if deadline_s is None else deadline_s)
        for pause_s in RETRY_PAUSES_S if script.reads_only else ():
            try:
                return self._bounded(script, parameters or {}, ends)
            except (ConnectionBroken, WinrmQuota, ObjectGone):
                if time.monotonic() + pause_s >= ends:
                    raise
                time.sleep(pause_s)
        return self._bounded(script, parameters or {}, ends)

    def _bounded(self, script: Script, parameters: Mapping[str, object], ends: float) -> dict[str, Any]:
        """Run the script; a call that does not even end after its deadline is left behind."""
        question = partial(self._run_once, script, parameters, ends)
        left_s = ends - time.monotonic() + ENDING_S
        answer = answer_all({script.operation: question}, left_s)[script.operation]
        if isinstance(answer, DeadlinePassed):
            raise self._out_of_time() from answer
        if isinstance(answer, ForesightError):
            raise answer
        return answer

    def _run_once(self, script: Script, parameters: Mapping[str, object], ends: float) -> dict[str, Any]:
        frame = new_frame()
        output, errors = self._output_of(encode_call(script, parameters, frame, self.host), ends)
        try:
            reply = decode_reply(output, frame)
        except BrokenFrame as problem:
            said = errors[-_STDERR_TAIL:].decode("utf-8", "replace")
            raise BadAnswer(
                f"{self._where} gave no usable answer to {script.operation}: {problem}",
                advice="Look into the host's event log; PowerShell may be restricted there (language mode, antivirus).",
                details={"operation": script.operation, "stderr": said},
            ) from problem
        if not reply["ok"]:
            raise from_script(self._where, script.operation, reply["error"])
        answer: dict[str, Any] = reply["answer"]
        return answer

    @property
    def _where(self) -> str:
        return f"Endpoint {self.endpoint!r} ({self.connection.address})"

    def _output_of(self, call: bytes, ends: float) -> tuple[bytes, bytes]:
        """Return what the bootstrap wrote to standard output and standard error."""
        try:
            protocol = self._new_protocol()
            try:
                return _converse(protocol, call, ends)
            finally:
                protocol.transport.close_session()
        except ForesightError:
            raise
        except _OutOfTime as error:
            raise self._out_of_time() from error
        except wire_errors() as error:
            raise from_wire(self.connection, self.endpoint, error) from error

    def _out_of_time(self) -> AnswerTimedOut:
        return AnswerTimedOut(
            f"{self._where} did not answer within its deadline",
            advice="Check the load of the host, or raise timeout_s.",
        )

    def _new_protocol(self) -> Any:
        connection = self.connection
        connection.check_files()
        return winrm_protocol.Protocol(
            connection.url,
            transport=connection.transport,
            username=connection.username or None,
            password=connection.password,
            ca_trust_path=connection.trusted_ca_path,
            server_cert_validation="validate" if connection.validate_certs else "ignore",
            cert_pem=connection.cert_pem,
            cert_key_pem=connection.cert_key_pem,
            kerberos_delegation=connection.kerberos_delegation,
            operation_timeout_sec=OPERATION_TIMEOUT_S,
            read_timeout_sec=OPERATION_TIMEOUT_S + READ_MARGIN_S,
            message_encryption="always" if connection.scheme == "http" else "auto",
            proxy=None,
        )


class _OutOfTime(Exception):
    """The deadline of a call has passed."""


def _converse(protocol: Any, call: bytes, ends: float) -> tuple[bytes, bytes]:
    """Run the bootstrap in a new shell, give it ``call`` and return its output and errors; always close the shell."""
    _set_timeouts(protocol, ends)
    shell_id = protocol.open_shell(codepage=UTF8_CODE_PAGE, idle_timeout=IDLE_TIMEOUT)
    command_id = ""
    try:
        _set_timeouts(protocol, ends)
        command_id = protocol.run_command(shell_id, COMMAND, ARGUMENTS, console_mode_stdin=False)
        for start in range(0, len(call), INPUT_PIECE):
            _set_timeouts(protocol, ends)
            last = start + INPUT_PIECE >= len(call)
            protocol.send_command_input(shell_id, command_id, call[start : start + INPUT_PIECE], end=last)
        return _collect(protocol, shell_id, command_id, ends)
    finally:
        _close(protocol, shell_id, command_id)


def _collect(protocol: Any, shell_id: str, command_id: str, ends: float) -> tuple[bytes, bytes]:
    output, errors, done = bytearray(), bytearray(), False
    while not done:
        _set_timeouts(protocol, ends)
        try:
            more_output, more_errors, _exit_code, done = protocol.get_command_output_raw(shell_id, command_id)
        except winrm_exceptions.WinRMOperationTimeoutError:
            continue  # nothing was written in that time
        output += more_output
        errors += more_errors
    return bytes(output), bytes(errors)


def _set_timeouts(protocol: Any, ends: float) -> None:
    """Bound the next message by what is left until ``ends``; raises `_OutOfTime` when nothing is."""
    left_s = ends - time.monotonic()
    if left_s <= 0:
        raise _OutOfTime
    protocol.operation_timeout_sec = max(1, min(OPERATION_TIMEOUT_S, int(left_s)))
    read_s = min(protocol.operation_timeout_sec + READ_MARGIN_S, left_s + LAST_WORD_S)
    protocol.transport.read_timeout_sec = (min(CONNECT_S, read_s), read_s)  # as requests takes it: connect, read


def _close(protocol: Any, shell_id: str, command_id: str) -> None:
    """End the command and delete the shell, whatever has gone wrong before.

    Trouble here is no result of the call: the host ends the shell by itself after `IDLE_TIMEOUT`.
    """
    protocol.operation_timeout_sec = CLOSING_S
    protocol.transport.read_timeout_sec = CLOSING_S
    if command_id:
        with contextlib.suppress(*wire_errors()):
            protocol.cleanup_command(shell_id, command_id)
    with contextlib.suppress(*wire_errors()):
        protocol.close_shell(shell_id)

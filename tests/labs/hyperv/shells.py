# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Remote shells as a Windows host keeps them: shells, their commands, and the streams of these.

What a command does is a `Program` of the lab. No PowerShell and no cmd.exe is executed anywhere.
"""

from __future__ import annotations

import base64
import re
import threading
import traceback
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

from ansible_collections.foresight.migration.tests.labs.hyperv import wsman
from ansible_collections.foresight.migration.tests.labs.hyperv.authentication import Identity
from ansible_collections.foresight.migration.tests.labs.hyperv.wsman import NAMESPACES, Request

#: What cmd.exe and CreateProcess take at most, in characters.
CMD_LINE_LIMIT = 8191
PROCESS_LINE_LIMIT = 32767
#: How long a command waits for the end of its input before the lab calls that an error of the client.
INPUT_TIMEOUT_S = 30.0
#: After which idle time Windows ends a shell when its client asks for nothing else.
DEFAULT_IDLE_TIMEOUT_S = 7200.0
_STATE = NAMESPACES["rsp"] + "/CommandState/"
_ENCODED = re.compile(r"\s-(?:e|ec|enc|encodedcommand)\s+([A-Za-z0-9+/=]+)", re.IGNORECASE)
#: Share of an envelope that output may fill: base64 makes four of three.
_OUTPUT_SHARE = 0.7
_ENVELOPE_OVERHEAD = 4096


class Command:
    """One command of a shell, as its program and its client see it."""

    def __init__(self, command_id: str, line: str, identity: Identity) -> None:
        self.command_id = command_id
        self.line = line
        self.identity = identity
        self.terminated = threading.Event()
        self._changed = threading.Condition()
        self._input = bytearray()
        self._input_ended = False
        self._output: list[tuple[str, bytes]] = []
        self._exit_code: int | None = None

    @property
    def script(self) -> str:
        """The text of -EncodedCommand, or nothing."""
        found = _ENCODED.search(self.line)
        return base64.b64decode(found.group(1)).decode("utf-16-le") if found else ""

    def read_input(self) -> bytes:
        """Return all input, once the client has ended it; raises TimeoutError when it never does."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._input_ended, INPUT_TIMEOUT_S):
                raise TimeoutError("the client did not end the command's input")
            return bytes(self._input)

    def write(self, data: bytes, stream: str = "stdout") -> None:
        """Let the client receive ``data``."""
        with self._changed:
            self._output.append((stream, data))
            self._changed.notify_all()

    def feed(self, data: bytes, end: bool) -> None:
        """Take input from the client."""
        with self._changed:
            self._input += data
            self._input_ended = self._input_ended or end
            self._changed.notify_all()

    def finish(self, exit_code: int) -> None:
        """End the command."""
        with self._changed:
            self._exit_code = exit_code
            self._changed.notify_all()

    def terminate(self) -> None:
        """Tell the program that it is to end."""
        self.terminated.set()
        self.feed(b"", end=True)

    def take_output(self, timeout_s: float, room: int) -> tuple[list[tuple[str, bytes]], int | None]:
        """Return output of at most ``room`` bytes and, when that was all, the exit code; raises the timeout fault."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._output or self._exit_code is not None, timeout_s):
                raise wsman.timed_out()
            taken: list[tuple[str, bytes]] = []
            while self._output and room > 0:
                stream, data = self._output.pop(0)
                if len(data) > room:
                    self._output.insert(0, (stream, data[room:]))
                taken.append((stream, data[:room]))
                room -= len(data)
            return taken, None if self._output else self._exit_code


#: Plays a command and returns its exit code.
Program = Callable[[Command], int]


@dataclass
class Shell:
    """An open shell of one user."""

    shell_id: str
    owner: str
    options: Mapping[str, str]
    idle_timeout: str
    commands: dict[str, Command] = field(default_factory=dict)


class Shells:
    """All shells of one host. ``crashes`` holds tracebacks of programs; a test must find none."""

    def __init__(self, program: Program, *, shells_per_user: int = 30, envelope_kib: int = 500) -> None:
        self.program = program
        self.shells_per_user = shells_per_user
        self.envelope_bytes = envelope_kib * 1024
        self.crashes: list[str] = []
        self.address = "http://localhost/wsman"
        self.opened = 0
        self._open: dict[str, Shell] = {}
        self._lock = threading.RLock()

    def open_count(self) -> int:
        """Return how many shells are open now."""
        with self._lock:
            return len(self._open)

    def idle_timeouts(self) -> list[str]:
        """Return after which idle time the host would end each shell that is open now, as its client asked."""
        with self._lock:
            return [shell.idle_timeout for shell in self._open.values()]

    def answer(self, message: bytes, identity: Identity) -> tuple[int, bytes]:
        """Answer one WS-Management message; returns the HTTP status and the envelope."""
        message_id = ""
        try:
            request = wsman.parse(message)
            message_id = request.message_id
            if len(message) > self.envelope_bytes:
                raise wsman.envelope_too_large()
            if request.resource_uri.lower() != wsman.SHELL_RESOURCE.lower():
                raise wsman.unknown_resource(request.resource_uri)
            return 200, wsman.response(request, self._operate(request, identity))
        except wsman.Fault as fault:
            return 500, wsman.fault_response(message_id, fault)

    def refuse(self, message: bytes, fault: wsman.Fault) -> tuple[int, bytes]:
        """Answer a message with a fault, whatever it asks."""
        return 500, wsman.fault_response(wsman.parse(message).message_id, fault)

    def _operate(self, request: Request, identity: Identity) -> str:
        match request.operation:
            case "Create":
                return self._create(request, identity)
            case "Command":
                return self._start(request, identity)
            case "Send":
                return self._send(request)
            case "Receive":
                return self._receive(request)
            case "Signal":
                return self._signal(request)
            case "Delete":
                return self._delete(request)
        raise wsman.unsupported_action(request.action)

    def _create(self, request: Request, identity: Identity) -> str:
        with self._lock:
            if sum(1 for shell in self._open.values() if shell.owner == identity.user) >= self.shells_per_user:
                raise wsman.shell_quota(self.shells_per_user)
            shell = Shell(str(uuid.uuid4()).upper(), identity.user, request.options, _idle_timeout(request))
            self._open[shell.shell_id] = shell
            self.opened += 1
        return (
            f"<x:ResourceCreated><a:Address>{self.address}</a:Address><a:ReferenceParameters><w:ResourceURI>"
            f'{wsman.SHELL_RESOURCE}</w:ResourceURI><w:SelectorSet><w:Selector Name="ShellId">{shell.shell_id}'
            "</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>"
            f"<rsp:Shell><rsp:ShellId>{shell.shell_id}</rsp:ShellId><rsp:ResourceUri>{wsman.SHELL_RESOURCE}"
            f"</rsp:ResourceUri><rsp:Owner>{escape(shell.owner)}</rsp:Owner><rsp:ClientIP>127.0.0.1</rsp:ClientIP>"
            f"{_echoed(request)}<rsp:IdleTimeOut>{shell.idle_timeout}</rsp:IdleTimeOut><rsp:InputStreams>stdin"
            "</rsp:InputStreams><rsp:OutputStreams>stdout stderr</rsp:OutputStreams><rsp:ShellRunTime>P0DT0H0M0S"
            "</rsp:ShellRunTime><rsp:ShellInactivity>P0DT0H0M0S</rsp:ShellInactivity></rsp:Shell>"
        )

    def _start(self, request: Request, identity: Identity) -> str:
        shell = self._shell(request)
        line = request.element("rsp:CommandLine")
        if line is None:
            raise wsman.incorrect_parameter()
        name = line.findtext("rsp:Command", "", NAMESPACES)
        words = [name, *(one.text or "" for one in line.findall("rsp:Arguments", NAMESPACES))]
        direct = request.options.get("WINRS_SKIP_CMD_SHELL", "").upper() == "TRUE"
        if direct and not re.match(r'"?[a-z]:\\', name, re.IGNORECASE):
            raise wsman.file_not_found()
        command_id = (line.get("CommandId") or str(uuid.uuid4())).upper()
        command = Command(command_id, " ".join(words), identity)
        with self._lock:
            shell.commands[command_id] = command
        limit = PROCESS_LINE_LIMIT if direct else CMD_LINE_LIMIT
        threading.Thread(target=self._run, args=(command, limit), daemon=True).start()
        return f"<rsp:CommandResponse><rsp:CommandId>{command_id}</rsp:CommandId></rsp:CommandResponse>"

    def _run(self, command: Command, limit: int) -> None:
        if len(command.line) > limit:
            command.write(b"The command line is too long.\r\n", "stderr")
            command.finish(1)
            return
        try:
            exit_code = self.program(command)
        except Exception:  # noqa: BLE001 - kept for the test, which fails on it
            self.crashes.append(traceback.format_exc())
            exit_code = 70
        command.finish(exit_code)

    def _send(self, request: Request) -> str:
        for stream in request.elements("rsp:Send/rsp:Stream"):
            command = self._command(request, stream.get("CommandId"))
            command.feed(base64.b64decode(stream.text or ""), stream.get("End", "").lower() == "true")
        return "<rsp:SendResponse/>"

    def _receive(self, request: Request) -> str:
        stream = request.element("rsp:Receive/rsp:DesiredStream")
        command = self._command(request, None if stream is None else stream.get("CommandId"))
        room = int(min(request.envelope_bytes, self.envelope_bytes) * _OUTPUT_SHARE) - _ENVELOPE_OVERHEAD
        output, exit_code = command.take_output(request.timeout_s, room)
        mark = f'CommandId="{command.command_id}"'
        parts = [
            f'<rsp:Stream Name="{name}" {mark}>{base64.b64encode(data).decode()}</rsp:Stream>' for name, data in output
        ]
        if exit_code is None:
            parts.append(f'<rsp:CommandState {mark} State="{_STATE}Running"></rsp:CommandState>')
        else:
            parts += [f'<rsp:Stream Name="{name}" {mark} End="true"></rsp:Stream>' for name in ("stdout", "stderr")]
            parts.append(
                f'<rsp:CommandState {mark} State="{_STATE}Done"><rsp:ExitCode>{exit_code}</rsp:ExitCode>'
                "</rsp:CommandState>"
            )
        return f"<rsp:ReceiveResponse>{''.join(parts)}</rsp:ReceiveResponse>"

    def _signal(self, request: Request) -> str:
        signal = request.element("rsp:Signal")
        command = self._command(request, None if signal is None else signal.get("CommandId"))
        command.terminate()
        if signal is not None and signal.findtext("rsp:Code", "", NAMESPACES).lower().endswith("/terminate"):
            with self._lock:
                self._shell(request).commands.pop(command.command_id, None)
        return "<rsp:SignalResponse/>"

    def _delete(self, request: Request) -> str:
        shell = self._shell(request)
        with self._lock:
            self._open.pop(shell.shell_id, None)
        for command in tuple(shell.commands.values()):
            command.terminate()
        return ""

    def _shell(self, request: Request) -> Shell:
        with self._lock:
            shell = self._open.get(request.shell_id)
        if shell is None:
            raise wsman.no_such_shell(request.shell_id)
        return shell

    def _command(self, request: Request, command_id: str | None) -> Command:
        shell = self._shell(request)
        if command_id is None:
            raise wsman.incorrect_parameter()
        command = shell.commands.get(command_id.upper())
        if command is None:
            raise wsman.no_such_command()
        return command


def _idle_timeout(request: Request) -> str:
    """Return after which idle time the host will end the shell, written as Windows does."""
    asked = request.element("rsp:Shell/rsp:IdleTimeOut")
    seconds = re.fullmatch(r"PT([\d.]+)S", "" if asked is None else asked.text or "")
    return f"PT{float(seconds.group(1)) if seconds else DEFAULT_IDLE_TIMEOUT_S:.3f}S"


def _echoed(request: Request) -> str:
    """Return the options of a new shell that Windows repeats in its answer."""
    folder = request.element("rsp:Shell/rsp:WorkingDirectory")
    variables = request.elements("rsp:Shell/rsp:Environment/rsp:Variable")
    told = "" if folder is None else f"<rsp:WorkingDirectory>{escape(folder.text or '')}</rsp:WorkingDirectory>"
    if variables:
        lines = (
            f"<rsp:Variable Name={quoteattr(one.get('Name', ''))}>{escape(one.text or '')}</rsp:Variable>"
            for one in variables
        )
        told += f"<rsp:Environment>{''.join(lines)}</rsp:Environment>"
    return told

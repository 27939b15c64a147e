# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs a module as usual and shows its progress while it works."""

from __future__ import annotations

import json
import os
import tempfile
import threading
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

display = Display()

#: How often the progress file is looked at, in seconds.
POLL_S = 0.3


class LiveActionModule(ActionBase):  # type: ignore[misc]  # Ansible ships no types
    """An action that shows the lines its module appends to ``progress_path``.

    Where the module runs on another machine, runs in the background (``async``) or was given a
    ``progress_path`` by the user, it is run plainly.
    """

    _supports_check_mode = True
    _supports_async = True
    _supports_diff = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the module's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        del tmp
        arguments = dict(self._task.args)
        if not self._can_follow(arguments):
            result.update(self._run_module(arguments, task_vars))
            return result
        handle, path = tempfile.mkstemp(prefix="foresight-progress-")
        os.close(handle)
        follower = _Follower(path)
        follower.start()
        try:
            result.update(self._run_module({**arguments, "progress_path": path}, task_vars))
        finally:
            follower.stop()
            os.unlink(path)
        return result

    def _can_follow(self, arguments: dict[str, Any]) -> bool:
        return self._connection.transport == "local" and not self._task.async_val and "progress_path" not in arguments

    def _run_module(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        answer: dict[str, Any] = self._execute_module(
            module_args=arguments, task_vars=task_vars, wrap_async=self._task.async_val
        )
        answer.get("invocation", {}).get("module_args", {}).pop("progress_path", None)
        return answer


class _Follower(threading.Thread):
    """Shows what is appended to a progress file until it is stopped, and then the rest."""

    def __init__(self, path: str) -> None:
        super().__init__(daemon=True)
        self._path = path
        self._stopping = threading.Event()

    def run(self) -> None:
        with open(self._path, encoding="utf-8") as stream:
            pending = ""
            while True:
                last_look = self._stopping.wait(POLL_S)
                pending += stream.read()
                *complete, pending = pending.split("\n")
                for entry in complete:
                    display.display("  " + _line_of(entry))
                if last_look:
                    return

    def stop(self) -> None:
        """Show what is left and end."""
        self._stopping.set()
        self.join()


def _line_of(entry: str) -> str:
    """Return the entry's line without control characters, so that no VM's name can steer the terminal."""
    line = str(json.loads(entry)["line"])
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in line)

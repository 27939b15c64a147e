# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The file through which a running module tells the controller how far it is."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any


class ProgressFile:
    """Appends one JSON object a line to ``path``: ``{"ts", "line", "data"}``. Without a path it does nothing.

    A file that cannot be written stops no work, least of all a move in flight: ``problem`` then says what happened.
    """

    def __init__(self, path: str | None) -> None:
        self._path = path
        self.problem = ""

    def write(self, line: str, data: Mapping[str, Any]) -> None:
        """Append one report; the line is for people, ``data`` the same for programs."""
        if not self._path or self.problem:
            return
        entry = json.dumps({"ts": time.time(), "line": line, "data": data}, default=str)
        try:
            with open(self._path, "a", encoding="utf-8") as stream:
                stream.write(entry + "\n")
        except OSError as error:
            self.problem = f"progress_path: {self._path} cannot be written: {error.strerror}"

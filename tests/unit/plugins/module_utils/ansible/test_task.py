# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An operation run as a module: what is printed of it, and what is returned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.ansible.task import Operation, run_task
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError, InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context, Outcome

HOSTILE = "web\x1b[2J\x1b[31m\r01\n[ERROR]: all is lost \x9b\u202e"


class Left(Exception):
    """The module has answered."""


class PlayedModule:
    """As much of AnsibleModule as running an operation needs."""

    def __init__(self) -> None:
        self.params: dict[str, Any] = {"endpoints": []}
        self.check_mode = False
        self.no_log_values: set[str] = set()
        self.warned: list[str] = []
        self.answer: dict[str, Any] = {}

    def warn(self, text: str) -> None:
        self.warned.append(text)

    def exit_json(self, **answer: Any) -> NoReturn:
        self.answer = answer
        raise Left

    def fail_json(self, **answer: Any) -> NoReturn:
        self.exit_json(failed=True, **answer)


@pytest.fixture(autouse=True)
def tests_keep_their_memory_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gc.set_threshold", lambda *_thresholds: None)


def run(operation: Operation, **options: str) -> PlayedModule:
    module = PlayedModule()
    module.params |= options
    with pytest.raises(Left):
        run_task(module, operation)
    return module


def test_a_name_that_steers_terminals_is_printed_harmlessly_and_returned_as_it_is() -> None:
    def warn(_context: Context) -> Outcome:
        return Outcome(False, {"vm": HOSTILE}, warnings=(f"VM {HOSTILE} is odd",))

    module = run(warn)
    (shown,) = module.warned
    assert shown.isprintable()
    assert module.answer["vm"] == HOSTILE
    assert module.answer["warnings_found"] == [f"VM {HOSTILE} is odd"]


def test_progress_that_cannot_be_written_stops_no_work_and_is_told(tmp_path: Path) -> None:
    def move(context: Context) -> Outcome:
        for line in ("half", "all"):
            context.report(line, {})
        return Outcome(True, {"state": "moved"})

    module = run(move, progress_path=str(tmp_path / "no" / "folder"))
    assert (module.answer["changed"], module.answer["state"]) == (True, "moved")
    (told,) = module.warned
    assert told.startswith("progress_path: ")
    written = tmp_path / "progress"
    assert run(move, progress_path=str(written)).warned == []
    assert [json.loads(entry)["line"] for entry in written.read_text().splitlines()] == ["half", "all"]


def test_an_error_names_its_code_and_is_printed_harmlessly() -> None:
    def fail(_context: Context) -> Outcome:
        raise ForesightError(f"VM {HOSTILE} failed", advice="Look at it.", details={"vm": HOSTILE})

    answer = run(fail).answer
    assert answer["failed"]
    assert answer["msg"].isprintable()
    assert answer["msg"].endswith("Look at it.")
    assert (answer["error"]["code"], answer["error"]["details"]) == ("error", {"vm": HOSTILE})


def test_what_is_no_error_of_ours_keeps_its_traceback() -> None:
    def break_down(_context: Context) -> Outcome:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_task(PlayedModule(), break_down)


def test_an_option_is_named_in_the_message() -> None:
    def refuse(_context: Context) -> Outcome:
        raise InvalidOption("limits.cpu", "2 is too much")

    assert run(refuse).answer["msg"] == "limits.cpu: 2 is too much"

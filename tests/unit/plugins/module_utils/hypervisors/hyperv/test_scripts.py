# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scripts are constants that keep to what the runner and Windows PowerShell 5.1 need."""

from __future__ import annotations

import re

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts import (
    bootstrap,
    catalogue,
    moves,
    reads,
    settings,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.script import Script

SCRIPTS = [value for module in (reads, settings, moves) for value in vars(module).values() if isinstance(value, Script)]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.operation)
def test_a_script_takes_its_parameters_as_one_argument(script: Script) -> None:
    assert script.text.startswith("param($p)\n")


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.operation)
def test_a_script_is_ascii_and_has_no_place_for_a_value(script: Script) -> None:
    assert script.text.isascii()
    assert not re.search(r"\{[A-Za-z_]\w*\}|%\(\w+\)s", script.text)


@pytest.mark.parametrize("text", [script.text for script in SCRIPTS] + [bootstrap.BOOTSTRAP])
def test_no_script_makes_powershell_read_standard_input_by_itself(text: str) -> None:
    assert not re.search(r"\$input\b", text, re.IGNORECASE)


@pytest.mark.parametrize("text", [script.text for script in SCRIPTS])
def test_no_script_evaluates_text(text: str) -> None:
    assert not re.search(r"Invoke-Expression|\biex\b|\[scriptblock\]|ExpandString", text, re.IGNORECASE)


def test_operations_have_names_of_their_own_and_are_all_in_the_catalogue() -> None:
    names = [script.operation for script in SCRIPTS]
    assert len(names) == len(set(names))
    listed = re.findall(r"^``(\w+)``", catalogue.__doc__ or "", re.MULTILINE)
    assert sorted(names) == sorted(listed)


def test_the_command_fits_into_the_command_line_of_cmd_exe() -> None:
    assert len(" ".join([bootstrap.COMMAND, *bootstrap.ARGUMENTS])) < 8191

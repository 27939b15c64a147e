# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs one operation as an Ansible module: options in, one result or one clear failure out."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..errors import ForesightError
from ..operations.context import Context, Outcome
from .environment import complete_endpoints
from .progress import ProgressFile

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule

Operation = Callable[[Context], Outcome]

#: Objects made before Python looks for reference cycles, instead of 700: an estate is tens of thousands of objects that
#: live as long as the module, and looking through them over and over costs a fifth of a selection's time.
OBJECTS_BETWEEN_COLLECTIONS = 100_000


def run_task(module: AnsibleModule, operation: Operation) -> None:
    """Run ``operation`` and leave through ``exit_json`` or ``fail_json``.

    What the module's endpoints omit is taken from the environment first. A `ForesightError` fails the task with
    ``error: {code, message, advice, details}``; anything else is a defect and keeps its traceback.
    """
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    progress = ProgressFile(module.params.get("progress_path"))
    try:
        complete_endpoints(module)
        outcome = operation(Context(check_mode=module.check_mode, report=progress.write))
    except ForesightError as error:
        text = f"{error.message}. {error.advice}" if error.advice else error.message
        module.fail_json(msg=_shown(text), error=error.as_dict())
    warnings = [*outcome.warnings, *([progress.problem] if progress.problem else [])]
    for warning in warnings:
        module.warn(_shown(warning))
    answer = {"changed": outcome.changed, **outcome.result, "warnings_found": warnings}
    if outcome.diff is not None:
        answer["diff"] = outcome.diff
    if outcome.facts:
        answer["ansible_facts"] = {"foresight": outcome.facts}
    module.exit_json(**answer)


def _shown(text: str) -> str:
    """Return ``text`` as one line that steers no terminal: Ansible prints it, and guests choose the names in it."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split("\n")))

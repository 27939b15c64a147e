# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What every operation is told about how it is run, and what every operation answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


def _silent(line: str, data: Mapping[str, Any]) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Context:
    """How to run: ``check_mode`` decides everything and changes nothing.

    ``report`` takes one line for people and the same as data, for operations that take longer than a few seconds.
    """

    check_mode: bool = False
    report: Callable[[str, Mapping[str, Any]], None] = _silent


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done (or, in check mode, would be done).

    ``result`` is a summary plus ids; ``diff`` is ``{before, after}`` built from what was really compared;
    ``facts`` go under ``ansible_facts.foresight``.
    """

    changed: bool
    result: Mapping[str, Any]
    diff: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)

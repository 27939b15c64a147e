# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PowerShell script of this driver is: a constant text, known by the name of its operation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Script:
    """One operation on a Windows host.

    ``operation`` is its stable name. ``text`` is Windows PowerShell 5.1 that takes its parameters as its one argument
    (``param($p)``) and returns one dictionary; it is a constant, into which no value is ever put. ``reads_only`` says
    that running it twice does no harm, so that it may be repeated when the connection broke.
    """

    operation: str
    reads_only: bool
    text: str

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a filter is: one question about one host, answered by None or by the reason for rejecting it."""

from __future__ import annotations

from typing import Protocol

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Cost, Load, Reason


class HostFilter(Protocol):
    """Judges a host by the snapshot, the rules and the reservations alone."""

    CODE: str

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return why ``host`` cannot take the VM, or None."""


class CostFilter(Protocol):
    """Judges what moving the VM to a host would cost."""

    CODE: str

    def reject(self, cost: Cost, question: Question) -> Reason | None:
        """Return why a move at ``cost`` is ruled out, or None."""


class LoadFilter(Protocol):
    """Judges the load that a host would carry with the VM."""

    CODE: str

    def reject(self, load: Load, question: Question) -> Reason | None:
        """Return why a host under ``load`` cannot take the VM, or None."""

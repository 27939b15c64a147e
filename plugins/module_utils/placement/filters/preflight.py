# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The platform's own word on whether a move is possible."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class Preflight:
    """Rejects hosts that the hypervisor itself refused when it was asked."""

    CODE = "preflight"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return the platform's reason where it gave one."""
        return question.refused.get(host.key)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The user's own expression over the hosts."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class Expression:
    """Rejects hosts that the user's JMESPath expression does not keep."""

    CODE = "filtered_by_user"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason when an expression was given and leaves the host out."""
        if question.allowed_hosts is None or host.key in question.allowed_hosts:
            return None
        return Reason(self.CODE, "the given filter expression leaves the host out")

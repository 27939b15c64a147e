# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long a move may take."""

from __future__ import annotations

from ..question import Question
from ..verdict import Cost, Reason


class SlaDuration:
    """Rejects moves whose predicted duration is over the hard limit."""

    CODE = "sla_duration"

    def reject(self, cost: Cost, question: Question) -> Reason | None:
        """Return a reason with the predicted duration and the limit."""
        limit = question.sla.max_duration_s
        if limit is None or "max_duration_s" in question.sla.soft or cost.duration_s <= limit or not cost.firm:
            return None
        return Reason(
            self.CODE,
            f"predicted duration {cost.duration_s:.0f} s, allowed {limit:.0f} s",
            {"predicted_s": cost.duration_s, "limit_s": limit},
        )

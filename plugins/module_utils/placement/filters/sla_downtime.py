# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The downtime that the application can bear."""

from __future__ import annotations

from ..question import Question
from ..verdict import Cost, Reason


class SlaDowntime:
    """Rejects moves whose predicted downtime is over the hard limit."""

    CODE = "sla_downtime"

    def reject(self, cost: Cost, question: Question) -> Reason | None:
        """Return a reason with the predicted downtime and the limit."""
        limit = question.sla.max_downtime_ms
        if limit is None or "max_downtime_ms" in question.sla.soft or cost.downtime_ms <= limit or not cost.firm:
            return None
        return Reason(
            self.CODE,
            f"predicted downtime {cost.downtime_ms:.0f} ms, allowed {limit:.0f} ms",
            {"predicted_ms": cost.downtime_ms, "limit_ms": limit},
        )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The risk of overload that the service can bear."""

from __future__ import annotations

from ..question import Question
from ..verdict import Load, Reason


class SlaOverload:
    """Rejects hosts whose overload probability is over the hard limit."""

    CODE = "sla_overload_probability"

    def reject(self, load: Load, question: Question) -> Reason | None:
        """Return a reason with the probability, jointly and per resource, and the limit."""
        limit = question.sla.max_overload_probability
        if limit is None or "max_overload_probability" in question.sla.soft or load.overload_probability <= limit:
            return None
        worst = max(load.overload_by_resource, key=lambda name: load.overload_by_resource[name])
        return Reason(
            self.CODE,
            f"overloaded with probability {load.overload_probability:.0%} (most of it {worst}), allowed {limit:.0%}",
            {"probability": load.overload_probability, "limit": limit, "by_resource": dict(load.overload_by_resource)},
        )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times in which no move may run."""

from __future__ import annotations

from ...clock import to_iso
from ..question import Question
from ..verdict import Cost, Reason


def overlapped_blackout(cost: Cost, question: Question) -> tuple[float, float] | None:
    """Return the first blackout (start, end) that a move begun now would run into, or None."""
    end_ts = question.now_ts + cost.duration_s
    return next(((a, b) for a, b in sorted(question.sla.blackout) if a < end_ts and question.now_ts < b), None)


class Blackout:
    """Rejects moves that would not be over before a blackout begins."""

    CODE = "blackout"

    def reject(self, cost: Cost, question: Question) -> Reason | None:
        """Return a reason that names the blackout."""
        if "blackout" in question.sla.soft:
            return None
        overlap = overlapped_blackout(cost, question)
        if overlap is None:
            return None
        start, end = (to_iso(ts) for ts in overlap)
        return Reason(
            self.CODE,
            f"a move of {cost.duration_s:.0f} s begun now runs into the blackout from {start} to {end}",
            {"start": start, "end": end, "duration_s": cost.duration_s},
        )

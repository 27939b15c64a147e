# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A live migration never leaves its hypervisor family."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class Family:
    """Rejects hosts of another family than the VM's present host."""

    CODE = "other_family"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that names both families."""
        source = question.source
        if source is None or host.family == source.family:
            return None
        return Reason(
            self.CODE,
            f"the host is {host.family}, the VM runs on {source.family}; no live migration leads from one to the other",
            {"host": host.family, "vm": source.family},
        )

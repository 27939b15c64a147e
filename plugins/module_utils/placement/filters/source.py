# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The VM's present host is no destination; staying is judged apart."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class SourceHost:
    """Rejects the host that the VM runs on."""

    CODE = "is_source"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason for the source only."""
        if host.key != question.vm.host_key:
            return None
        return Reason(self.CODE, "the VM already runs here")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs that must be apart, counted where they run and where they are about to run."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..rules import broken_rules
from ..verdict import Reason


class AntiAffinity:
    """Rejects hosts on which a VM counts that a mandatory rule keeps apart from this one."""

    CODE = "vm_anti_affinity"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that names the rules and the VMs in the way."""
        return broken_rules(self.CODE, host, question)

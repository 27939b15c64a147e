# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A device or setting can tie a VM to its host."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class Pinned:
    """Rejects every host while something keeps the VM from being live-migrated."""

    CODE = "vm_pinned"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that names what pins the VM."""
        if not question.vm.pinned_by:
            return None
        pins = list(question.vm.pinned_by)
        return Reason(self.CODE, f"the VM is tied to its host by {', '.join(pins)}", {"pinned_by": pins})

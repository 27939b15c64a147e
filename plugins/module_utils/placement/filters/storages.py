# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every storage of the VM must be reachable, for a live migration copies memory and leaves disks where they are."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class Storages:
    """Rejects hosts that do not reach a storage of the VM."""

    CODE = "storage_missing"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that lists the missing storages."""
        missing = sorted(set(question.vm.storages) - set(host.storages))
        if not missing:
            return None
        return Reason(self.CODE, f"the host does not reach the VM's storage {', '.join(missing)}", {"missing": missing})

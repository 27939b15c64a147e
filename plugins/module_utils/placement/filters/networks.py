# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every network of the VM must be there."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class Networks:
    """Rejects hosts that lack a network of the VM."""

    CODE = "network_missing"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that lists the missing networks."""
        missing = sorted(set(question.vm.networks) - set(host.networks))
        if not missing:
            return None
        return Reason(self.CODE, f"the host lacks the VM's network {', '.join(missing)}", {"missing": missing})

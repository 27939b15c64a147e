# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Only a host that is up, connected and not in (or entering) maintenance may receive a VM."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class HostState:
    """Rejects hosts in any state but ``up``."""

    CODE = "host_not_up"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that names the state."""
        if host.state == "up":
            return None
        return Reason(self.CODE, f"the host's state is {host.state}", {"state": host.state})

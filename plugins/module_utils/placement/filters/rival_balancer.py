# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A balancer of the platform that would move the VM again."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class RivalBalancer:
    """Rejects hosts of a cluster that another balancer rules, unless told to work beside it."""

    CODE = "rival_balancer"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that names the balancer."""
        rival = question.rival_of.get(host.key)
        if rival is None or not question.refuse_rivals:
            return None
        return Reason(self.CODE, f"{rival} moves VMs in this host's cluster by itself", {"balancer": rival})

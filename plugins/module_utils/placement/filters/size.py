# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A VM must fit the host by its configured size, whatever it uses."""

from __future__ import annotations

from ...estate.nouns import Host
from ...estate.resources import UNITS
from ..question import Question
from ..verdict import Reason


class Size:
    """Rejects hosts with fewer cores than the VM has vCPUs, or less memory than it is configured with."""

    CODE = "too_small"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason with the figures of the resources that do not fit."""
        allocated = question.vm.allocated
        short = {
            resource: {"vm": allocated[resource], "host": host.capacity[resource]}
            for resource in ("cpu", "memory")
            if allocated[resource] > host.capacity[resource] > 0
        }
        if not short:
            return None
        told = "; ".join(f"{name} {f['vm']:g} of {f['host']:g} {UNITS[name]}" for name, f in short.items())
        return Reason(self.CODE, f"the VM's configured size exceeds the host: {told}", short)

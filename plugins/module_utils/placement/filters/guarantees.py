# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is already promised on a host cannot be promised again."""

from __future__ import annotations

from ...estate.nouns import Host
from ...estate.resources import RESOURCES, UNITS
from ..question import Question
from ..verdict import Reason


class Guarantees:
    """Rejects hosts whose hard reservations and resident guarantees leave no room for the VM's own guarantee."""

    CODE = "reserved_by_others"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason with the amounts promised, asked for and available."""
        promised = question.promised.get(host.key)
        if promised is None:
            return None
        wanted = promised + question.vm.guaranteed
        short = {
            resource: {"promised": promised[resource], "vm": question.vm.guaranteed[resource], "limit": room}
            for resource in RESOURCES
            if question.vm.guaranteed[resource] > 0
            and wanted[resource] > (room := host.capacity[resource] * question.limits[resource]) > 0
        }
        if not short:
            return None
        told = "; ".join(
            f"{name} {f['promised']:g} + {f['vm']:g} of {f['limit']:g} {UNITS[name]}" for name, f in short.items()
        )
        return Reason(self.CODE, f"reservations leave no room: {told}", short)

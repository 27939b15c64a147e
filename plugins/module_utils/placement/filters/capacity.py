# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host must be able to carry what is expected of it, reservations included."""

from __future__ import annotations

from ..question import Question
from ..verdict import Load, Reason


class Capacity:
    """Rejects hosts whose expected load with the VM is beyond their whole capacity at some step of the window."""

    CODE = "no_capacity"

    def reject(self, load: Load, question: Question) -> Reason | None:
        """Return a reason with the expected use of each resource that is exceeded."""
        short = {name: use for name, use in load.mean_peak_use.items() if use > 1.0}
        if not short:
            return None
        told = ", ".join(f"{name} {use:.0%}" for name, use in short.items())
        return Reason(self.CODE, f"expected load with the VM and all reservations exceeds the host: {told}", short)

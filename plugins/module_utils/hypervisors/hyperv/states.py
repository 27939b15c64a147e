# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hyper-V's numbers for states, as this project's words."""

from __future__ import annotations

#: ``EnabledState`` of Msvm_ComputerSystem (Microsoft, "Msvm_ComputerSystem class"; the numbers from 32768 on are those
#: of its older versions, which the failover cluster's VmState still has). A VM on its way up or on its way to or from
#: a pause has its memory, so it counts as what it was or will be in a moment.
_POWER_STATES = {
    2: "running",
    6: "suspended",
    9: "paused",
    10: "running",  # starting
    32768: "paused",
    32769: "suspended",
    32770: "running",  # starting
    32771: "running",  # being checkpointed
    32773: "running",  # being saved
    32776: "paused",
    32777: "running",  # resuming
}


def power_state(enabled_state: int | None) -> str:
    """Return the power state for an ``EnabledState``; any other is off."""
    return _POWER_STATES.get(enabled_state or 0, "off")

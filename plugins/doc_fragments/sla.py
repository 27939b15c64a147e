# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options in ``ansible/arguments.py`` under SLA."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  sla:
    description:
      - What a migration, and the VM after it, must keep to. A limit that is not given does not exist.
      - A violated limit rejects, unless O(sla.soft) names it; then it costs score or is reported.
    type: dict
    suboptions:
      max_downtime_ms:
        description:
          - The longest time that the VM may stand still during the move, in milliseconds.
          - The switch-over alone is reckoned at 200 ms on every platform, so a lower limit rejects every move.
        type: float
      max_duration_s:
        description: The longest time that the move may take, in seconds.
        type: float
      max_overload_probability:
        description: The highest chance, 0 to 1, that any resource of the destination passes its limit in the window.
        type: float
      max_latency_ms:
        description: The highest latency of the application in milliseconds, watched during the move.
        type: float
      blackout:
        description: Times in which no move may run.
        type: list
        elements: dict
        suboptions:
          start:
            description: The beginning, as ISO 8601, taken as UTC unless it has an offset.
            type: str
            required: true
          end:
            description: The end, as ISO 8601, taken as UTC unless it has an offset.
            type: str
            required: true
      soft:
        description:
          - Names of the limits above that may be violated at a cost.
          - Any of V(max_downtime_ms), V(max_duration_s), V(max_overload_probability), V(max_latency_ms), V(blackout).
        type: list
        elements: str
"""

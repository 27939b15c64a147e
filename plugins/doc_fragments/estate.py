# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options in ``ansible/arguments.py`` under ENDPOINTS."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  endpoints:
    description:
      - The hypervisors or their managers that make up the estate.
      - A module that has to ask a hypervisor fails when there is none; others take it as a common default.
      - Set it once for all modules through C(module_defaults) of C(group/foresight.migration.estate).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Your name for this endpoint, unique in the list and stable over time, as stored data refers to it.
        type: str
        required: true
      type:
        description: What answers there, V(simulated) for an estate replayed from a scenario file.
        type: str
        required: true
      timeout_s:
        description: How long a single call to this endpoint may take, in seconds.
        type: float
        default: 60.0
      scenario:
        description: For V(simulated), the scenario file (YAML).
        type: path
      state_path:
        description: For V(simulated), the file that keeps its state between tasks.
        type: path
requirements:
  - python >= 3.11
"""

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options in ``ansible/arguments.py`` under CAPACITY_LIMITS."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  limits:
    description: The share of a host's capacity up to which it may be filled, by resource.
    type: dict
    suboptions:
      cpu:
        description: For CPU; 0.9 if not set.
        type: float
      memory:
        description: For memory; 0.95 if not set.
        type: float
      network:
        description: For network; 0.9 if not set.
        type: float
      disk:
        description: For disk; 0.9 if not set.
        type: float
"""

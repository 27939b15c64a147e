# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Attributes that modules declare."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Decides everything from real state, returns what would happen, and changes nothing.
  diff_mode:
    description: Returns what differs between before and after, built from what was compared.
  action_group:
    description: Use C(group/foresight.migration.estate) in C(module_defaults) to set options for every module at once.
    support: full
    membership:
      - foresight.migration.estate
  async:
    description: Supports being used with the C(async) keyword.
    support: full
"""

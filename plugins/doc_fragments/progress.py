# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The options in ``ansible/arguments.py`` under PROGRESS."""

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  progress_path:
    description:
      - A file on the target to which progress is appended, one JSON object a line with C(ts), C(line) and C(data).
      - On a local connection this is set and shown by the action plugin; set it yourself to follow an C(async) task.
    type: path
"""

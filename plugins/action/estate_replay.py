# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Shows the progress of the module of the same name."""

from __future__ import annotations

from ansible_collections.foresight.migration.plugins.plugin_utils.live_action import LiveActionModule


class ActionModule(LiveActionModule):
    """Live output for ``estate_replay``."""

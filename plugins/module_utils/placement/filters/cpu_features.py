# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The host's CPU must offer every feature that the running guest was shown."""

from __future__ import annotations

from ...estate.nouns import Host
from ..question import Question
from ..verdict import Reason


class CpuFeatures:
    """Rejects hosts whose known CPU features lack one that the VM requires; unknown ones are left to the preflight."""

    CODE = "cpu_incompatible"

    def reject(self, host: Host, question: Question) -> Reason | None:
        """Return a reason that lists the missing features."""
        if not host.cpu_features:
            return None
        missing = sorted(question.vm.required_cpu_features - host.cpu_features)
        if not missing:
            return None
        return Reason(self.CODE, f"the host's CPU lacks {', '.join(missing)}", {"missing": missing})

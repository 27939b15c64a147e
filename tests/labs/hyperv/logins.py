# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The lab's user."""

from __future__ import annotations

from pathlib import Path

USER = "lab-admin"
PASSWORD = "s3cret 'lab' <more> $(x)"


def ntlm_file(folder: Path) -> Path:
    """Write the credentials that an NTLM acceptor knows, and return the file for NTLM_USER_FILE."""
    path = folder / "ntlm-users"
    path.write_text(f":{USER}:{PASSWORD}\n", encoding="utf-8")
    return path

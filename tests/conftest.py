# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Makes this checkout importable as the collection, whatever its folder is called."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def _collections_path() -> Path:
    """Return a folder below which this checkout is ``ansible_collections/foresight/migration``."""
    if ROOT.parts[-3:] == ("ansible_collections", "foresight", "migration"):
        return ROOT.parents[2]
    link = ROOT / ".build" / "tree" / "ansible_collections" / "foresight" / "migration"
    link.parent.mkdir(parents=True, exist_ok=True)
    if not link.is_symlink():
        link.symlink_to(ROOT, target_is_directory=True)
    return link.parents[2]


def pytest_configure() -> None:
    """Let property tests take the time that the machine needs, and draw the same examples in every run."""
    if find_spec("hypothesis") is None:
        return  # where only the integration tests run
    from hypothesis import HealthCheck, settings

    slow = [HealthCheck.too_slow]  # says something about the machine, too
    settings.register_profile("repeatable", deadline=None, derandomize=True, suppress_health_check=slow)
    settings.load_profile("repeatable")


_PATH = str(_collections_path())
sys.path.insert(0, _PATH)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_PATH, os.environ.get("PYTHONPATH")]))

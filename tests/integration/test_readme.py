# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the README tells people to write works as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conftest import Estate, Playbook

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_first_example_runs_with_only_the_estate_replaced(
    make_estate: Callable[..., Estate], playbook: Playbook, tmp_path: Path
) -> None:
    example = re.search(r"```yaml\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert example
    site = tmp_path / "site.yml"
    site.write_text(example[1], encoding="utf-8")
    code, output = playbook.run(str(site), make_estate().variables(), "--check", "--diff")
    assert code == 0, output
    assert "web01: move to kvm" in output

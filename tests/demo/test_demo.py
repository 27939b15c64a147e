# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""``make demo`` as a newcomer runs it: in a fresh copy, with nothing prepared, and then once more."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what git would commit."""
    folder = tmp_path_factory.mktemp("demo")
    subprocess.run([str(ROOT / "tools" / "copy-tree"), str(folder)], check=True)
    return folder / "ansible_collections" / "foresight" / "migration"


def make_demo(checkout: Path) -> tuple[str, dict[str, Any], int]:
    """Run ``make demo`` and return its output, its figures and how many tasks changed something."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "FORESIGHT_", "MAKE"))
    }
    kept.pop("PYTHONPATH", None)
    run = subprocess.run(
        ["make", "demo"], cwd=checkout, env=kept, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    recap = re.search(r"^localhost\s.*changed=(\d+)", run.stdout, re.MULTILINE)
    assert recap, run.stdout
    result = json.loads((checkout / ".demo" / "result.json").read_text(encoding="utf-8"))
    return run.stdout, result, int(recap[1])


def test_the_demo_tells_its_story_and_a_second_run_changes_nothing(checkout: Path) -> None:
    output, result, changed = make_demo(checkout)
    assert changed > 0
    assert result["estate"]["hosts"] >= 12
    assert result["estate"]["vms"] >= 100
    assert result["outgrows_from"], "the VM's host is not forecast to be outgrown"
    assert result["decision"] == "move"
    assert result["destination"] not in (result["source"], result["emptiest_now"])
    assert result["emptiest_rejected_for"], "the host that looks emptiest now is not rejected"
    assert result["migration"]["state"] == "moved"
    assert result["migration"]["settled"] == "consumed"
    for figure in ("duration_s", "downtime_ms", "transferred_mib"):
        assert result["migration"]["predicted"][figure] > 0
        assert result["migration"]["measured"][figure] > 0
    hours = {case: figures["any"] for case, figures in result["contention_host_hours"].items()}
    assert hours["with_move"] < hours["without_move"]
    assert hours["with_move"] < hours["with_move_to_emptiest"]
    assert f"{hours['with_move']:.2f}" in output

    again, same_result, changed = make_demo(checkout)
    assert changed == 0, again
    assert same_result == result


def test_the_installed_collection_works_from_any_folder_without_environment(checkout: Path, tmp_path: Path) -> None:
    documentation = subprocess.run(
        [str(checkout / ".venv" / "bin" / "ansible-doc"), "foresight.migration.vm_forecast"],
        cwd=tmp_path,
        env={"PATH": os.defpath, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert documentation.returncode == 0, documentation.stderr
    assert "horizon_hours" in documentation.stdout

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The main job through ansible-runner, laid out as AWX lays out a job."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ansible_runner
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GALAXY = Path(sys.executable).with_name("ansible-galaxy")


@pytest.fixture
def private_data_dir(tmp_path: Path) -> Path:
    """A job's folder: a project that imports the playbook, an inventory with localhost, the collection installed."""
    job = tmp_path / "job"
    for folder in ("env", "inventory", "project"):
        (job / folder).mkdir(parents=True)
    (job / "project" / "site.yml").write_text(
        "- import_playbook: foresight.migration.preallocate_and_migrate\n", encoding="utf-8"
    )
    (job / "inventory" / "hosts").write_text("localhost ansible_connection=local\n", encoding="utf-8")
    collections = job / "requirements_collections"
    apart = {"PATH": os.defpath, "HOME": str(tmp_path), "ANSIBLE_COLLECTIONS_PATH": str(collections)}

    def galaxy(*arguments: str) -> None:
        subprocess.run([str(GALAXY), "collection", *arguments], env=apart, check=True)

    galaxy("build", "--output-path", str(tmp_path), str(ROOT))
    (tarball,) = tmp_path.glob("foresight-migration-*.tar.gz")
    galaxy("install", "--offline", "-p", str(collections), str(tarball))
    return job


def test_awx_runs_the_main_job_and_gets_the_ids_as_artifacts(
    make_estate: Any, read_truth: Any, private_data_dir: Path
) -> None:
    estate = make_estate()
    survey = {"foresight_vm": "web01", "foresight_endpoints": [estate.endpoint], "preallocate_tier": "hard"}
    (private_data_dir / "env" / "extravars").write_text(yaml.safe_dump(survey), encoding="utf-8")
    injected = {
        "ANSIBLE_COLLECTIONS_PATH": str(private_data_dir / "requirements_collections"),
        "FORESIGHT_STORE": str(estate.store),
        "FORESIGHT_LEDGER": estate.ledger,
        "PATH": os.pathsep.join([str(GALAXY.parent), os.defpath]),
        "PYTHONPATH": "",
    }
    (private_data_dir / "env" / "envvars").write_text(yaml.safe_dump(injected), encoding="utf-8")
    lines: list[str] = []
    run = ansible_runner.run(
        private_data_dir=str(private_data_dir),
        playbook="site.yml",
        quiet=True,
        event_handler=lambda event: lines.append(event["stdout"]) is None,
    )
    output = "\n".join(lines)
    assert run.status == "successful", output
    assert read_truth(estate).reservation_states == ("consumed",)
    artifacts = _set_stats_of(run)
    assert artifacts["foresight_decision"] == "move"
    for name in ("foresight_snapshot_id", "foresight_forecast_id", "foresight_reservation_id"):
        assert artifacts[name], name
    assert "web01  " in output, "no progress line reached the job's output"


def _set_stats_of(run: Any) -> dict[str, Any]:
    """Return what set_stats left, from the job's last event."""
    (last,) = [event for event in run.events if event["event"] == "playbook_on_stats"]
    data: dict[str, Any] = last["event_data"]["artifact_data"]
    return data

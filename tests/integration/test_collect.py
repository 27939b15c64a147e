# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vm_metrics_facts, the role metrics and the playbook collect as a schedule runs them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conftest import Estate, Playbook

Module = Callable[..., dict[str, Any]]
COLLECT = "foresight.migration.collect"
SECRET = "hunter2-{{x}}"


def parquet_files(estate: Estate) -> list[Path]:
    return sorted(estate.store.glob("metrics/*/*/*.parquet"))


def test_the_module_collects_and_facts_land_under_foresight(make_estate: Callable[..., Estate], module: Module) -> None:
    estate = make_estate()
    common = {"endpoints": [dict(estate.endpoint)], "store": str(estate.store)}
    foreseen = module("vm_metrics_facts", common, "--check")
    assert not estate.store.exists()
    done = module("vm_metrics_facts", {**common, "vms": ["web01"]})
    assert (done["changed"], done["collected"]) == (False, True)
    assert done["summary"] == foreseen["summary"]
    assert done["snapshot_id"] == foreseen["snapshot_id"]
    assert (estate.store / "estate" / f"{done['snapshot_id']}.json").exists()
    assert 0 < done["vms"][0]["used"]["cpu_cores"] <= 5.0
    assert done["ansible_facts"]["foresight"]["summary"]["hosts"] == 4
    before = parquet_files(estate)
    again = module("vm_metrics_facts", common)
    assert again["summary"]["samples_written"] < done["summary"]["samples_written"] / 10
    assert len(parquet_files(estate)) <= len(before) + 2


def test_a_failure_is_told_by_code_and_secrets_are_never_shown(
    make_estate: Callable[..., Estate], module: Module, playbook: Playbook
) -> None:
    estate = make_estate()
    source = {"name": "prom", "type": "prometheus", "url": "http://127.0.0.1:1", "preset": "node_exporter"}
    arguments = {
        "endpoints": [dict(estate.endpoint)],
        "store": str(estate.store),
        "sources": [{**source, "timeout_s": 1, "auth": {"username": "u", "password": SECRET}}],
    }
    answer = module("vm_metrics_facts", arguments)
    assert answer["sources"][0]["error"]["code"] == "source_failed"
    assert SECRET not in str(answer)
    arguments["sources"] = [{**source, "url": f"http://u:{SECRET}@127.0.0.1:1"}]
    refused = module("vm_metrics_facts", arguments)
    assert refused["sources"][0]["error"]["code"] == "invalid_option"
    assert SECRET not in str(refused["sources"])
    unknown = module("vm_metrics_facts", {**arguments, "sources": [], "vms": ["nobody"]})
    assert (unknown["failed"], unknown["error"]["code"]) == (True, "vm_unknown")


def test_the_playbook_collects_hands_on_ids_and_never_overlaps_itself(
    make_estate: Callable[..., Estate], playbook: Playbook
) -> None:
    estate = make_estate()
    playbook.environment["ANSIBLE_SHOW_CUSTOM_STATS"] = "True"
    code, output = playbook.run(COLLECT, estate.variables())
    assert code == 0, output
    assert '"foresight_collected": true' in output.lower()
    before = parquet_files(estate)
    lock = os.open(estate.store / "leases" / "collect.lock", os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        code, output = playbook.run(COLLECT, estate.variables())
    finally:
        os.close(lock)
    assert code == 0, output
    assert '"foresight_collected": false' in output.lower()
    assert "Another collection into this store is running" in output
    assert parquet_files(estate) == before
    assert playbook.run(COLLECT, estate.variables())[0] == 0


def test_the_playbook_says_what_it_needs(playbook: Playbook) -> None:
    code, output = playbook.run(COLLECT, {})
    assert code != 0
    assert "Give foresight_endpoints." in output

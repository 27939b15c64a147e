# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every module against a vCenter: check mode foretells and writes nothing, a repetition changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import CollectRequest, collect
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast import (
    ForecastVmsRequest,
    forecast_vms,
)
from ansible_collections.foresight.migration.tests.labs.vcenter.crowded import CROWDED, VM, holds, host_of
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, task_done
from pyVmomi import vim

Module = Callable[..., dict[str, Any]]

#: Every call by which the driver changes something on a vCenter.
CHANGES = {
    "AddCustomFieldDef",
    "CancelTask",
    "CreateResourcePool",
    "Destroy_Task",
    "ReconfigVM_Task",
    "RelocateVM_Task",
    "SetField",
    "UpdateConfig",
}


@dataclass(frozen=True)
class Desk:
    """A vCenter and a store, and the modules to work on them with."""

    vcenter: VCenter
    store: Path
    module: Module

    def run(self, name: str, *options: str, **arguments: Any) -> dict[str, Any]:
        """Run a module that must succeed."""
        base = {"endpoints": [self.vcenter.endpoint()], "store": str(self.store)}
        result = self.module(name, {**base, **arguments}, *options)
        assert not result.get("failed"), result
        return result

    def foresee(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a module in check mode and make sure that neither the vCenter nor the store was changed by it."""
        before = (self.changes(), self.stored())
        result = self.run(name, "--check", "--diff", **arguments)
        assert (self.changes(), self.stored()) == before
        return result

    def repeat(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Run a module whose work is done already: neither check mode nor the module itself changes anything."""
        assert not self.foresee(name, **arguments)["changed"]
        calls = self.changes()
        result = self.run(name, **arguments)
        assert not result["changed"], result
        assert self.changes() == calls
        return result

    def carry_out(self, name: str, **arguments: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Run a module that has something to do, first in check mode; return what that foretold, and what came."""
        foreseen = self.foresee(name, **arguments)
        result = self.run(name, **arguments)
        assert foreseen["changed"] is result["changed"] is True, (foreseen, result)
        return foreseen, result

    def changes(self) -> dict[str, int]:
        """Return how often each call that changes something was made."""
        return {method: count for method, count in self.vcenter.requests().items() if method in CHANGES}

    def stored(self) -> dict[str, str]:
        """Return a digest of every file in the store, but for what SQLite keeps of the ledger's readers."""
        files = (path for path in self.store.rglob("*") if path.is_file() and path.suffix != ".db-shm")
        texts = {str(path.relative_to(self.store)): path.read_bytes() for path in files}
        return {name: hashlib.sha256(text).hexdigest() for name, text in texts.items() if text}


@pytest.fixture
def desk(estate: VCenter, module: Module, tmp_path: Path) -> Desk:
    return Desk(estate, tmp_path / "store", module)


@pytest.fixture
def prepared(desk: Desk) -> Desk:
    """A desk with a few hours of history and a forecast of one, by what is behind the modules."""
    store = str(desk.store)
    collect(CollectRequest([desk.vcenter.endpoint()], store, history_hours=3), Context())
    forecast_vms(ForecastVmsRequest(store, horizon_hours=1.0, history_days=1), Context())
    return desk


def test_collecting_forecasting_and_choosing_change_no_vcenter_and_repeat_themselves(desk: Desk) -> None:
    foreseen = desk.foresee("vm_metrics_facts", history_hours=6)
    assert not desk.store.exists() or not desk.stored()
    collected = desk.run("vm_metrics_facts", history_hours=6)
    assert foreseen["changed"] is collected["changed"]
    kept = desk.stored()
    assert kept
    foreseen, forecast = desk.carry_out("vm_forecast", horizon_hours=1.0, history_days=1)
    assert foreseen["forecast_id"] == forecast["forecast_id"]
    assert desk.repeat("vm_forecast", horizon_hours=1.0, history_days=1)["forecast_id"] == forecast["forecast_id"]
    foreseen, selection = desk.foresee("host_select", vm=VM), desk.run("host_select", vm=VM)
    assert foreseen["changed"] is selection["changed"] is False
    assert foreseen["decision"] == selection["decision"] == "move"
    assert foreseen["destination"] == selection["destination"]
    assert desk.changes() == {}


def test_a_reservation_is_made_shown_and_given_back_as_check_mode_foretold(prepared: Desk) -> None:
    desk = prepared
    claim = {"vm": VM, "host": "DC0_C0_H1", "tier": "hard", "window_hours": 0.5}
    foreseen, made = desk.carry_out("host_reserve", **claim)
    assert foreseen["enforced_by"] == made["enforced_by"]
    assert holds(desk.vcenter) == [f"foresight-{made['reservation_id']}"]
    assert desk.repeat("host_reserve", **claim)["reservation_id"] == made["reservation_id"]
    calls = desk.vcenter.requests()
    shown = desk.repeat("host_reserve_info", vms=[VM])
    assert [found["state"] for found in shown["reservations"]] == ["active"]
    assert desk.vcenter.requests() == calls  # it needs no privilege on the vCenter
    desk.repeat("host_reserve", state="reconciled")
    end = {"state": "absent", "reservation_id": made["reservation_id"]}
    desk.carry_out("host_reserve", **end)
    assert holds(desk.vcenter) == []
    desk.repeat("host_reserve", **end)


def test_a_hold_without_an_owner_is_foretold_and_removed_once(prepared: Desk) -> None:
    desk = prepared
    made = desk.run("host_reserve", vm=VM, host="DC0_C0_H1", tier="hard", window_hours=0.5)
    stray(desk.vcenter, made["reservation_id"].rpartition("-")[0])
    foreseen, done = desk.carry_out("host_reserve", state="reconciled")
    assert len(foreseen["removed_holds"]) == len(done["removed_holds"]) == 1
    assert holds(desk.vcenter) == [f"foresight-{made['reservation_id']}"]
    desk.repeat("host_reserve", state="reconciled")


def stray(vcenter: VCenter, ledger: str) -> None:
    """Make a pool as a run leaves it that died before its ledger could know of it."""
    share = vim.SharesInfo(level="normal", shares=4000)
    amount = vim.ResourceAllocationInfo(reservation=100, limit=-1, expandableReservation=True, shares=share)
    spec = vim.ResourceConfigSpec(cpuAllocation=amount, memoryAllocation=amount)
    root = named(vcenter.administrator(), vim.ClusterComputeResource, "DC0_C0").resourcePool
    root.CreateResourcePool(f"foresight-{ledger}-0123456789abcdef", spec)


def test_a_move_is_foretold_made_once_and_leaves_nothing_behind(prepared: Desk) -> None:
    desk = prepared
    made = desk.run("host_reserve", vm=VM, host="DC0_C0_H1", tier="hard", window_hours=0.5)
    move = {"vm": VM, "reservation_id": made["reservation_id"]}
    foreseen = desk.foresee("vm_migrate", **move)
    assert foreseen["changed"]
    assert host_of(desk.vcenter) == CROWDED
    moved = desk.run("vm_migrate", **move)
    assert moved["changed"]
    assert host_of(desk.vcenter) == "DC0_C0_H1"
    desk.repeat("vm_migrate", **move)
    assert desk.changes()["RelocateVM_Task"] == 1
    assert holds(desk.vcenter) == []
    desk.repeat("host_reserve", state="reconciled")
    shown = desk.repeat("host_reserve_info", vms=[VM], states=["consumed"])
    assert [found["reservation_id"] for found in shown["reservations"]] == [made["reservation_id"]]


def test_check_mode_knows_that_a_cluster_without_drs_enforces_nothing(prepared: Desk) -> None:
    desk = prepared
    cluster = named(desk.vcenter.administrator(), vim.ClusterComputeResource, "DC0_C0")
    drs = vim.cluster.ConfigSpecEx(drsConfig=vim.cluster.DrsConfigInfo(enabled=False))
    task_done(cluster.ReconfigureComputeResource_Task(drs, True))
    foreseen, made = desk.carry_out("host_reserve", vm=VM, host="DC0_C0_H1", tier="hard", window_hours=0.5)
    assert foreseen["enforced_by"] == made["enforced_by"]
    assert set(made["enforced_by"].values()) == {"ledger"}

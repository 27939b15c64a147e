# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the operations behind the modules make of trouble on a vCenter between reservation and settlement."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.plugins.module_utils.migration import following, orchestrator, verification
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import CollectRequest, collect
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast import (
    ForecastVmsRequest,
    forecast_vms,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import MigrateRequest, migrate_vm
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve import reserve
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_request import ReserveRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger
from ansible_collections.foresight.migration.tests.labs.vcenter.crowded import CROWDED, VM, holds, host_of
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named, task_done
from pyVmomi import vim

DESTINATION = "DC0_C0_H1"
AMOUNT = {"cpu_cores": 1.0, "memory_mib": 32}


@dataclass(frozen=True)
class Desk:
    """Where an operator works: a vCenter and a store. Its methods are the modules without Ansible."""

    vcenter: VCenter
    store: str

    def prepare(self) -> None:
        """Collect a few hours and forecast one."""
        collect(CollectRequest([self.vcenter.endpoint()], self.store, history_hours=3), Context())
        forecast_vms(ForecastVmsRequest(self.store, horizon_hours=1.0, history_days=1), Context())

    def reserve(self, **options: Any) -> Mapping[str, Any]:
        request = ReserveRequest([self.vcenter.endpoint()], self.store, **{"window_hours": 1.0, **options})
        outcome = reserve(request, Context())
        return {"changed": outcome.changed, **outcome.result}

    def hold(self) -> str:
        """Hold a stated amount for the VM and return the reservation's id."""
        held = self.reserve(vm=VM, host=DESTINATION, tier="hard", amount=AMOUNT)
        assert held["changed"]
        return str(held["reservation_id"])

    def migrate(self, context: Context | None = None, **options: Any) -> Mapping[str, Any]:
        outcome = migrate_vm(MigrateRequest([self.vcenter.endpoint()], self.store, VM, **options), context or Context())
        return {"changed": outcome.changed, **outcome.result}

    def refused(self, context: Context | None = None, **options: Any) -> str:
        """Return all that a migration that must fail says about it."""
        with pytest.raises(ForesightError) as caught:
            self.migrate(context, **options)
        return json.dumps(caught.value.as_dict())


@pytest.fixture
def desk(estate: VCenter, tmp_path: Path) -> Desk:
    found = Desk(estate, str(tmp_path / "store"))
    found.prepare()
    return found


def test_maintenance_between_reservation_and_move_is_told_before_anything_is_touched(desk: Desk) -> None:
    reservation = desk.hold()
    task_done(named(desk.vcenter.administrator(), vim.HostSystem, DESTINATION).EnterMaintenanceMode_Task(0))
    assert "maintenance" in desk.refused(reservation_id=reservation)
    assert "RelocateVM_Task" not in desk.vcenter.requests()
    assert host_of(desk.vcenter) == CROWDED


def test_a_move_that_fails_half_way_releases_the_hold_and_leaves_the_vm(desk: Desk) -> None:
    reservation = desk.hold()
    desk.vcenter.relocations(ms=1500, failure={"fault": "VMotionProtocolIncompatible", "percent": 60})
    assert "VMotionProtocolIncompatible" in desk.refused(reservation_id=reservation)
    assert host_of(desk.vcenter) == CROWDED
    assert holds(desk.vcenter) == []


def test_a_move_that_takes_longer_than_the_sla_allows_is_cancelled(desk: Desk) -> None:
    reservation = desk.hold()
    desk.vcenter.relocations(ms=120_000)
    assert "sla_duration" in desk.refused(reservation_id=reservation, sla={"max_duration_s": 3})
    assert desk.vcenter.requests()["CancelTask"] == 1
    assert host_of(desk.vcenter) == CROWDED
    assert holds(desk.vcenter) == []


def test_a_vcenter_that_dies_during_the_move_keeps_the_reservation_for_the_next_run(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "BLIND_LIMIT_S", 3.0)
    monkeypatch.setattr(orchestrator, "verify", partial(verification.verify, limit_s=3.0))
    reservation = desk.hold()
    desk.vcenter.relocations(ms=120_000)

    def kill_when_followed(line: str, data: Mapping[str, Any]) -> None:
        if "percent" in data:
            desk.vcenter.kill()

    told = desk.refused(Context(report=kill_when_followed), reservation_id=reservation)
    assert "migration_unsettled" in told
    assert "endpoint_unreachable" in told
    with open_ledger(f"sqlite:///{desk.store}/ledger.db", actor="test") as ledger:
        assert ledger.get(reservation).state == "active"


HOSTILE = "{{ lookup('pipe', 'id') }} $(reboot) \"'; <!-- ../../ 名前"


def test_a_vm_with_a_hostile_name_is_reserved_moved_and_settled_like_any_other(desk: Desk) -> None:
    desk.vcenter.set(named(desk.vcenter.administrator(), vim.VirtualMachine, VM), "name", HOSTILE)
    desk.prepare()
    held = desk.reserve(vm=HOSTILE, host=DESTINATION, tier="hard", amount=AMOUNT)
    outcome = migrate_vm(
        MigrateRequest([desk.vcenter.endpoint()], desk.store, HOSTILE, reservation_id=held["reservation_id"]), Context()
    )
    assert outcome.changed
    assert outcome.result["vm"]["name"] == HOSTILE
    assert host_of(desk.vcenter, HOSTILE) == DESTINATION
    assert holds(desk.vcenter) == []


def test_namesakes_are_not_guessed_between_and_the_uuid_tells_them_apart(desk: Desk) -> None:
    content = desk.vcenter.administrator()
    uuid = named(content, vim.VirtualMachine, VM).config.instanceUuid
    desk.vcenter.set(named(content, vim.VirtualMachine, "DC0_C0_RP0_VM1"), "name", VM)
    desk.prepare()
    with pytest.raises(ForesightError) as refused:
        desk.reserve(vm=VM, host=DESTINATION, tier="hard", amount=AMOUNT)
    assert refused.value.code == "vm_ambiguous"
    assert uuid in json.dumps(refused.value.as_dict())
    assert holds(desk.vcenter) == []
    assert desk.reserve(vm=uuid, host=DESTINATION, tier="hard", amount=AMOUNT)["changed"]


def test_a_vm_that_drs_has_taken_to_its_destination_is_settled_there(desk: Desk) -> None:
    reservation = desk.hold()
    content = desk.vcenter.administrator()
    vm = named(content, vim.VirtualMachine, VM)
    desk.vcenter.move(vm, named(content, vim.HostSystem, DESTINATION))
    desk.migrate(reservation_id=reservation)
    assert "RelocateVM_Task" not in desk.vcenter.requests()
    assert holds(desk.vcenter) == []
    assert vm.config.cpuAllocation.reservation == 2500


def test_a_vm_that_drs_has_taken_elsewhere_is_moved_from_where_it_is(desk: Desk) -> None:
    reservation = desk.hold()
    content = desk.vcenter.administrator()
    elsewhere = named(content, vim.HostSystem, "DC0_C0_H2")
    desk.vcenter.move(named(content, vim.VirtualMachine, VM), elsewhere)
    assert desk.migrate(reservation_id=reservation)["changed"]
    assert host_of(desk.vcenter) == DESTINATION


def test_a_session_that_ends_between_the_order_and_the_arrival_changes_nothing(desk: Desk) -> None:
    reservation = desk.hold()
    desk.vcenter.relocations(ms=2500)
    desk.vcenter.make_fail({"method": "RetrievePropertiesEx", "skip": 60, "count": 1, "expire": True})
    assert desk.migrate(reservation_id=reservation)["changed"]
    assert host_of(desk.vcenter) == DESTINATION


def test_a_move_that_an_earlier_run_left_in_flight_is_adopted_and_settled(desk: Desk) -> None:
    reservation = desk.hold()
    desk.vcenter.relocations(ms=60_000)
    with VmwareDriver("vc", desk.vcenter.endpoint()) as earlier:
        inventory = earlier.inventory()
        vm = next(found for found in inventory.vms if found.name == VM)
        host = next(found for found in inventory.hosts if found.name == DESTINATION)
        earlier.start_migration(MoveOrder(vm.uuid, host.host_id, reservation), earlier)

    def arrive_when_followed(line: str, data: Mapping[str, Any]) -> None:
        if "percent" in data:
            desk.vcenter.relocations(ms=0)

    assert desk.migrate(Context(report=arrive_when_followed), reservation_id=reservation)["changed"]
    assert desk.vcenter.requests()["RelocateVM_Task"] == 1
    assert host_of(desk.vcenter) == DESTINATION
    assert holds(desk.vcenter) == []


def test_a_hold_that_no_reservation_owns_is_reconciled_away(desk: Desk) -> None:
    reservation = desk.hold()
    owned = holds(desk.vcenter)
    root = named(desk.vcenter.administrator(), vim.ClusterComputeResource, "DC0_C0").resourcePool
    share = vim.SharesInfo(level="normal", shares=4000)
    amount = vim.ResourceAllocationInfo(reservation=100, limit=-1, expandableReservation=True, shares=share)
    ledger = reservation.rpartition("-")[0]
    spec = vim.ResourceConfigSpec(cpuAllocation=amount, memoryAllocation=amount)
    root.CreateResourcePool(f"foresight-{ledger}-0123456789abcdef", spec)
    assert desk.reserve(state="reconciled")["changed"]
    assert holds(desk.vcenter) == owned
    assert not desk.reserve(state="reconciled")["changed"]


def test_the_stock_simulator_can_be_collected_and_forecast(stock: VCenter, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    collected = collect(CollectRequest([stock.endpoint()], store, history_hours=3), Context()).result
    assert collected["snapshot_id"]
    forecast = forecast_vms(ForecastVmsRequest(store, horizon_hours=1.0, history_days=1), Context()).result
    assert forecast["forecast_id"]

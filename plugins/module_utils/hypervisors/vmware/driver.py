# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vCenter and lone ESXi hosts through pyVmomi."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ...estate.resources import Resources
from ...estate.series import Samples
from ..protocol import (
    Capabilities,
    Driver,
    Finding,
    Hold,
    HypervisorFault,
    Inventory,
    Job,
    MoveOrder,
    Progress,
    Reading,
    Tuning,
    Whereabouts,
)
from . import guarantees, holds, migration, preflight
from .counters import Catalogue, read_catalogue
from .history import Entity, entities, latest_use, read_history, read_latest
from .hosts import core_mhz, host_use
from .inventory import read_inventory
from .lookup import VmNotHere, find_vm, host_of, read_host, read_vm
from .machines import power_state, vm_use
from .properties import read_one
from .session import Address, Session


class VmwareDriver(Driver):
    """One vCenter, or one ESXi host by itself. One session serves everything, from several threads if need be."""

    TYPE: ClassVar[str] = "vmware"
    FAMILY: ClassVar[str | None] = "vmware"

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._session = Session(name, Address.from_options(options), self.clock)
        self._catalogue: Catalogue | None = None
        self._everyone: list[Entity] | None = None

    def connect(self) -> None:
        self._session.connect()

    def close(self) -> None:
        self._session.close()

    def capabilities(self) -> Capabilities:
        return Capabilities(history=True, storage_copy=True, enforces=holds.ENFORCED)

    def inventory(self) -> Inventory:
        return read_inventory(self._session)

    def read(self, previous: Mapping[str, Any]) -> Reading:
        return Reading(samples=read_latest(self._session, self._counters(), self._entities()))

    def history(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        return read_history(self._session, self._counters(), self._entities(), since_ts, until_ts)

    def locate(self, vm_uuid: str) -> tuple[Whereabouts, ...]:
        vm = find_vm(self._session, vm_uuid)
        record = read_one(self._session, vm, ["runtime.host", "runtime.powerState"]) if vm is not None else None
        if record is None:
            return ()
        return (Whereabouts(vm_uuid, host_of(record), power_state(record)),)

    def observe_host(self, host_id: str) -> Resources:
        paths = [
            "summary.hardware.cpuMhz",
            "summary.quickStats.overallCpuUsage",
            "summary.quickStats.overallMemoryUsage",
        ]
        record = read_host(self._session, host_id, paths)
        entity = Entity(record.reference, "host", host_id, core_mhz(record))
        use = latest_use(self._session, self._counters(), entity) or host_use(record)
        if use is None:
            raise HypervisorFault(f"vCenter has no figures for host {host_id}", details={"fault": "NoStatistics"})
        return use

    def observe_vm(self, vm_uuid: str) -> Resources | None:
        paths = [
            "runtime.host",
            "runtime.powerState",
            "summary.quickStats.overallCpuUsage",
            "summary.quickStats.hostMemoryUsage",
        ]
        vm = read_vm(self._session, vm_uuid, paths)
        mhz = core_mhz(read_host(self._session, host_of(vm), ["summary.hardware.cpuMhz"]))
        return latest_use(self._session, self._counters(), Entity(vm.reference, "vm", vm_uuid, mhz)) or vm_use(vm, mhz)

    def preflight(self, vm_uuid: str, source: Driver, host_id: str, order: MoveOrder) -> tuple[Finding, ...]:
        if source.name != self.name:
            return (Finding("other_vcenter", f"The VM is on endpoint {source.name!r}; moves stay within one vCenter"),)
        try:
            return preflight.examine(self._session, vm_uuid, host_id, order)
        except VmNotHere as error:
            return (Finding("vm_unknown", error.message),)

    def foresee_hold(self, hold: Hold) -> Mapping[str, str]:
        return holds.foresee(self._session, hold)

    def place_hold(self, hold: Hold) -> Hold:
        return holds.place(self._session, hold)

    def release_hold(self, reservation_id: str, tokens: Mapping[str, Any]) -> bool:
        return holds.release(self._session, reservation_id)

    def list_holds(self) -> tuple[Hold, ...]:
        return holds.find_all(self._session)

    def settle_hold(self, hold: Hold) -> Mapping[str, str]:
        return guarantees.settle(self._session, hold)

    def start_migration(self, order: MoveOrder, destination: Driver) -> Job:
        if destination.name != self.name:
            raise HypervisorFault(
                f"Endpoint {self.name!r} cannot migrate to endpoint {destination.name!r}",
                advice="Moves stay within one vCenter.",
                details={"fault": "other_vcenter"},
            )
        return migration.start(self._session, order)

    def find_migration(self, vm_uuid: str) -> Job | None:
        try:
            return migration.find(self._session, vm_uuid)
        except VmNotHere:
            return None

    def progress(self, job: Job) -> Progress:
        return migration.progress(self._session, job)

    def tune(self, job: Job, tuning: Tuning) -> None:
        if tuning != Tuning():
            raise HypervisorFault(
                "vSphere tunes vMotion by itself and lets nobody change a running one",
                details={"fault": "NotSupported"},
            )

    def abort(self, job: Job) -> None:
        migration.abort(self._session, job)

    def _counters(self) -> Catalogue:
        if self._catalogue is None:
            self._catalogue = read_catalogue(self._session)
        return self._catalogue

    def _entities(self) -> list[Entity]:
        """Return the hosts and VMs that have figures, as of the first time they were asked for."""
        if self._everyone is None:
            self._everyone = entities(self._session)
        return self._everyone

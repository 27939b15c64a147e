# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finding a VM wherever it runs now, and a migration of it that somebody left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ..errors import ForesightError
from ..estate.nouns import Vm
from ..estate.snapshot import AmbiguousVm, EndpointStatus, Estate, UnknownVm
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Inventory, Job
from .errors import VmOnTwoHosts

#: Seconds between two looks for a VM, and how long hosts may differ about it: when a move ends, the VM runs on its
#: destination a moment before its source knows.
LOOK_INTERVAL_S = 0.5
AGREE_LIMIT_S = 5.0


@dataclass(frozen=True, slots=True)
class Flight:
    """A migration in flight and the endpoint that it leaves."""

    endpoint: str
    job: Job

    @property
    def source_key(self) -> str:
        """`Host.key` of the host that the VM leaves."""
        return f"{self.endpoint}/{self.job.source_host_id}"


@dataclass(frozen=True, slots=True)
class Found:
    """A VM, the key of the host it runs on now, and the migration of it in flight, if any.

    ``complete`` is false when part of its memory is still on a host that does not answer.
    """

    vm: Vm
    host_key: str
    flight: Flight | None
    estate: Estate
    complete: bool = True


def take_inventory(fleet: Fleet, now_ts: float) -> Estate:
    """Ask every endpoint what it consists of now; endpoints that fail are in the estate with their error."""
    answers = fleet.ask(lambda driver: (driver.TYPE, driver.inventory()))
    statuses, inventories = [], []
    for name, answer in answers.items():
        if isinstance(answer, ForesightError):
            statuses.append(EndpointStatus(name, "", False, now_ts, answer.as_dict()))
        else:
            statuses.append(EndpointStatus(name, answer[0], True, now_ts, None, answer[1].warnings))
            inventories.append(answer[1])
    return _estate(statuses, inventories, now_ts)


def _estate(statuses: Iterable[EndpointStatus], inventories: list[Inventory], now_ts: float) -> Estate:
    return Estate(
        snapshot_id="",
        taken_ts=now_ts,
        endpoints=tuple(statuses),
        hosts={host.key: host for inventory in inventories for host in inventory.hosts},
        vms={vm.key: vm for inventory in inventories for vm in inventory.vms},
        rules=tuple(rule for inventory in inventories for rule in inventory.rules),
        clusters=tuple(cluster for inventory in inventories for cluster in inventory.clusters),
    )


def find_vm(fleet: Fleet, estate: Estate, wanted: str, endpoint: str | None, reserved_uuid: str | None) -> Found:
    """Return the VM called ``wanted`` (name or uuid), where it runs and what moves it.

    ``reserved_uuid`` is the uuid in a reservation: it names the VM also when it has left ``endpoint`` meanwhile.
    Raises `UnknownVm`, `AmbiguousVm`, `VmOnTwoHosts`.
    """
    uuid = _identify(estate, wanted, endpoint, reserved_uuid)
    deadline_ts = fleet.clock.now() + AGREE_LIMIT_S
    while True:
        running, complete, sighted = _sightings(fleet, uuid)
        flight = find_flight(fleet, uuid, sighted) if len(running) <= 1 else None
        agreed = len(running) <= 1 and (complete or flight is not None)
        if agreed or fleet.clock.now() >= deadline_ts:
            break
        fleet.clock.sleep(LOOK_INTERVAL_S)
    if len(running) > 1:
        raise VmOnTwoHosts(
            f"VM {uuid} is said to run on {' and on '.join(running)}",
            advice="Look at both before anything else; two VMs with one uuid must get different ones.",
            details={"vm_uuid": uuid, "hosts": running},
        )
    known = sorted((vm for vm in estate.vms.values() if vm.uuid == uuid), key=lambda vm: vm.host_key not in running)
    if not known:
        raise UnknownVm(f"VM {uuid} disappeared while it was looked at", advice="Run again.")
    host_key = running[0] if running else known[0].host_key
    if host_key is None:
        raise UnknownVm(f"VM {wanted!r} runs on no host", advice="Only a running VM can be moved.")
    vm = replace(known[0], endpoint=host_key.partition("/")[0], host_key=host_key)
    return Found(vm, host_key, flight, estate, complete)


def _sightings(fleet: Fleet, uuid: str) -> tuple[list[str], bool, list[str]]:
    """Return the hosts that run the VM, whether all of it is there, and the endpoints that know it."""
    sightings, _errors = fleet.locate(uuid)
    active = [(f"{name}/{seen.host_id}", seen) for name, where in sightings.items() for seen in where if seen.active]
    running = {key for key, seen in active if seen.power_state == "running"} or {key for key, _seen in active}
    return sorted(running), all(seen.complete for _key, seen in active), list(sightings)


def find_flight(fleet: Fleet, uuid: str, endpoints: Iterable[str] | Mapping[str, object]) -> Flight | None:
    """Return the migration of the VM in flight from one of ``endpoints``."""
    answers = fleet.ask(lambda driver: driver.find_migration(uuid), list(endpoints))
    for name, job in answers.items():
        if isinstance(job, ForesightError):
            raise job
        if job is not None:
            return Flight(name, job)
    return None


def _identify(estate: Estate, wanted: str, endpoint: str | None, reserved_uuid: str | None) -> str:
    """Return the uuid meant; one VM that two endpoints know (it is moving between them) is not ambiguous."""
    if reserved_uuid is not None:
        matching = [vm for vm in estate.vms.values() if vm.uuid == reserved_uuid]
        if any(wanted == vm.name or wanted.lower() == vm.uuid.lower() for vm in matching):
            return reserved_uuid
    try:
        return estate.find_vm(wanted, endpoint).uuid
    except AmbiguousVm as error:
        uuids = {candidate["uuid"] for candidate in error.details["candidates"]}
        if len(uuids) == 1:
            return str(uuids.pop())
        raise

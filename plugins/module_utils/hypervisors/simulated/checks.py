# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the simulated platform would say to a move before it begins."""

from __future__ import annotations

from collections.abc import Iterator

from ...estate.resources import RESOURCES
from ..protocol import Finding, MoveOrder
from .holds import free_for
from .scenario import SimulatedHost, SimulatedVm
from .world import NOWHERE, Moment, World

_MEMORY = RESOURCES.index("memory")


def preflight(world: World, moment: Moment, vm_uuid: str, host_id: str, order: MoveOrder) -> Iterator[Finding]:
    """Yield everything that stands against the move; nothing when it may begin."""
    if order.options:
        unknown = ", ".join(sorted(order.options))
        yield Finding("option_unknown", f"a simulated estate knows no driver_options: {unknown}")
    number = world.vm_number.get(vm_uuid)
    if number is None or moment.host_of[number] == NOWHERE:
        yield Finding("vm_unknown", f"No VM with uuid {vm_uuid} runs here")
        return
    if host_id not in world.host_number:
        yield Finding("host_unknown", f"No host has the id {host_id!r}")
        return
    vm, host = world.vms[number], world.hosts[world.host_number[host_id]]
    source = world.hosts[int(moment.host_of[number])]
    yield from _vm_findings(vm, moment.power_states[number])
    yield from _host_findings(source, host, moment.host_states[world.host_number[host_id]])
    yield from _fit_findings(vm, host, order)
    needed = float(world.service(moment, moment.now_ts).served[number, _MEMORY, 0])
    free = free_for(world, moment, host_id, order.reservation_id).memory_mib
    if needed > free:
        yield Finding(
            "memory_insufficient",
            f"{host.name} has {free:.0f} MiB of memory free, the VM uses {needed:.0f} MiB",
            details={"free_mib": free, "needed_mib": needed},
        )
    if any(body["vm_uuid"] == vm_uuid for _number, body in world.state.active_jobs()):
        yield Finding("migration_in_progress", f"{vm.name} is being migrated already")


def _vm_findings(vm: SimulatedVm, power_state: str) -> Iterator[Finding]:
    if power_state != "running":
        yield Finding("vm_not_running", f"{vm.name} is {power_state}", details={"power_state": power_state})
    for pin in vm.pinned_by:
        yield Finding("device_pinned", f"{vm.name} is tied to its host by {pin}", details={"device": pin})


def _host_findings(source: SimulatedHost, host: SimulatedHost, state: str) -> Iterator[Finding]:
    if host.host_id == source.host_id:
        yield Finding("same_host", f"The VM runs on {host.name} already")
    if host.family != source.family:
        yield Finding(
            "family_mismatch",
            f"{host.name} is a {host.family} host, the VM runs on {source.family}",
            details={"source": source.family, "destination": host.family},
        )
    if state != "up":
        yield Finding("host_not_up", f"{host.name} is in state {state}", details={"state": state})


def _fit_findings(vm: SimulatedVm, host: SimulatedHost, order: MoveOrder) -> Iterator[Finding]:
    for network in vm.networks:
        if network not in host.networks:
            yield Finding("network_missing", f"{host.name} has no network {network!r}", details={"network": network})
    for storage in vm.storages:
        if storage not in host.storages:
            yield Finding(
                "storage_missing",
                f"{host.name} does not reach the storage {storage!r}",
                blocking=not order.storage_copy,
                details={"storage": storage},
            )
    missing = sorted(vm.required_cpu_features - host.cpu_features)
    if missing:
        yield Finding(
            "cpu_incompatible",
            f"{host.name}'s processor lacks {', '.join(missing)}",
            details={"missing_features": missing},
        )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Asking, before anything is touched, whether a VM could move to a host."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from ..protocol import Finding, HypervisorFault, MoveOrder
from .clusters import CONFIGURATION, rival_balancer
from .faults import fault_name, fault_text
from .lookup import HostNotHere, entry_pool, read_host, read_vm
from .machines import AGENT_OF, agent_pins, pinning_devices
from .migration import PRIORITIES
from .names import plain_name
from .properties import Record, moid_of, read_one
from .sdk import pyvmomi
from .session import Session
from .storage import OPTION, NoDatastore, destination, missing
from .tasks import EVACUATIONS, RELOCATIONS, running_tasks, wait_for

_VM_PATHS = (
    "name",
    "network",
    "datastore",
    "disabledMethod",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "config.template",
    AGENT_OF,
    "config.hardware.device",
)
_HOST_PATHS = (
    "name",
    "parent",
    "network",
    "datastore",
    "runtime.connectionState",
    "runtime.powerState",
    "runtime.inMaintenanceMode",
    "summary.config.vmotionEnabled",
)
#: A server without a check answers with one of these.
WITHOUT_CHECK = frozenset({"MethodNotFound", "NotSupported", "NotImplemented"})


def examine(session: Session, vm_uuid: str, host_id: str, order: MoveOrder) -> tuple[Finding, ...]:
    """Return all that speaks against the move, and what could not be checked. Changes nothing.

    Raises `VmNotHere` when the VM is not on this endpoint.
    """
    vm = read_vm(session, vm_uuid, _VM_PATHS)
    try:
        host = read_host(session, host_id, _HOST_PATHS)
    except HostNotHere as error:
        return (Finding("host_unknown", error.message),)
    if not session.is_vcenter:
        return (Finding("no_vcenter", "A lone ESXi host cannot migrate; give the vCenter that manages it"),)
    own = [
        *of_options(order),
        *_of_vm(vm),
        *_of_host(host),
        *_of_fit(session, vm, host, order),
        *_of_tasks(session, vm, host),
        *_of_rival(session, host),
    ]
    if any(finding.blocking for finding in own):
        return tuple(own)  # vCenter's checks would only say the same less clearly
    return (*own, *_of_checker(session, vm, host, order))


def of_options(order: MoveOrder) -> Iterator[Finding]:
    """Yield what is wrong with the order's own options for this driver."""
    unknown = sorted(set(order.options) - {"priority", OPTION})
    if unknown:
        yield Finding("option_unknown", f"vSphere moves know priority and {OPTION} as driver_options, not {unknown}")
    priority = order.options.get("priority")
    if priority is not None and priority not in tuple(PRIORITIES):
        yield Finding("option_invalid", f"driver_options.priority is {priority!r}, not one of {', '.join(PRIORITIES)}")


def _of_vm(vm: Record) -> Iterator[Finding]:
    if vm.get("config.template"):
        yield Finding("vm_is_template", "It is a template")
    power = str(vm.get("runtime.powerState"))
    if power != "poweredOn":
        yield Finding("vm_not_running", f"It is {power}; only a running VM can be live-migrated")
    connection = str(vm.get("runtime.connectionState"))
    if connection != "connected":
        yield Finding("vm_not_connected", f"vCenter says the VM is {connection}")
    for device in pinning_devices(vm.get("config.hardware.device") or ()):
        yield Finding("vm_pinned", f"A device ties it to its host: {device}", details={"device": device})
    for agent in agent_pins(vm):
        yield Finding("vm_pinned", f"Only vSphere itself may move it: {agent}", details={"agent": agent})
    if "RelocateVM_Task" in (vm.get("disabledMethod") or ()):
        yield Finding("relocation_disabled", "Something (often a backup) has disabled its relocation for now")


def _of_host(host: Record) -> Iterator[Finding]:
    name = plain_name(host.get("name"))
    connection = str(host.get("runtime.connectionState"))
    if connection != "connected":
        yield Finding("host_disconnected", f"Host {name} is {connection}")
    elif host.get("runtime.powerState") != "poweredOn":
        yield Finding("host_off", f"Host {name} is {host.get('runtime.powerState')}")
    if host.get("runtime.inMaintenanceMode"):
        yield Finding("host_maintenance", f"Host {name} is in maintenance mode")
    if not host.get("summary.config.vmotionEnabled"):
        yield Finding("vmotion_disabled", f"Host {name} has no VMkernel port with vMotion enabled")


def _of_fit(session: Session, vm: Record, host: Record, order: MoveOrder) -> Iterator[Finding]:
    if moid_of(vm.get("runtime.host")) == host.moid:
        yield Finding("already_there", f"It already runs on host {plain_name(host.get('name'))}")
    networks = missing(vm.get("network"), host.get("network"))
    if networks:
        yield Finding("network_missing", "The host lacks networks of the VM", details={"networks": networks})
    datastores = missing(vm.get("datastore"), host.get("datastore"))
    if datastores and not order.storage_copy:
        yield Finding("storage_missing", "The host lacks datastores of the VM", details={"datastores": datastores})
    try:
        destination(session, order, vm, host)
    except NoDatastore as error:
        yield Finding(error.code, error.message, details=error.details)


def _of_tasks(session: Session, vm: Record, host: Record) -> Iterator[Finding]:
    for task in running_tasks(session, vm.reference):
        code = "migration_running" if task.description_id in RELOCATIONS else "task_running"
        yield Finding(code, f"A task works on it: {task.description_id}", details={"task": task.moid})
    if any(task.description_id in EVACUATIONS for task in running_tasks(session, host.reference)):
        yield Finding("host_entering_maintenance", f"Host {plain_name(host.get('name'))} is entering maintenance mode")


def _of_rival(session: Session, host: Record) -> Iterator[Finding]:
    owner = host.get("parent")
    if not isinstance(owner, pyvmomi.vim.ClusterComputeResource):
        return
    cluster = read_one(session, owner, ("name", CONFIGURATION))
    if cluster is not None and rival_balancer(cluster):
        message = f"DRS in cluster {plain_name(cluster.get('name'))} is fully automated and may move the VM again"
        yield Finding("rival_balancer", message, blocking=False)


def _of_checker(session: Session, vm: Record, host: Record, order: MoveOrder) -> Iterator[Finding]:
    """Yield what vCenter's own two checks say: compatibility of the hosts, then of this very relocation."""
    checker = session.content.vmProvisioningChecker
    machine, target = vm.reference, host.reference
    spec = pyvmomi.vim.vm.RelocateSpec(
        host=target,
        pool=entry_pool(session, vm.get("runtime.host"), target),
        datastore=destination(session, order, vm, host),
    )
    yield from _ask(
        session,
        "compatibility",
        "check vMotion compatibility",
        lambda: checker.QueryVMotionCompatibilityEx_Task([machine], [target]),
    )
    yield from _ask(session, "relocation", "check a relocation", lambda: checker.CheckRelocate_Task(machine, spec))


def _ask(session: Session, what: str, doing: str, question: Callable[[], Any]) -> Iterator[Finding]:
    try:
        results = wait_for(session, session.read(doing, question), doing)
    except HypervisorFault as fault:
        if fault.details.get("fault") not in WITHOUT_CHECK:
            raise
        yield Finding(f"{what}_unchecked", f"This server cannot {doing}", blocking=False)
        return
    for result in results or ():
        yield from _findings(f"{what}_error", result.error, blocking=True)
        yield from _findings(f"{what}_warning", result.warning, blocking=False)


def _findings(code: str, faults: Iterable[Any] | None, *, blocking: bool) -> Iterator[Finding]:
    for fault in faults or ():
        yield Finding(code, fault_text(fault), blocking, {"fault": fault_name(fault)})

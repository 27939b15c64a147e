# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Live migrations: started, followed, found again by another process, cancelled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from ..protocol import HypervisorFault, Job, MoveOrder, Progress
from . import storage
from .faults import fault_text
from .holds import find_all, hold_pool
from .lookup import entry_pool, host_of, read_host, read_vm
from .properties import Record, moid_of
from .sdk import pyvmomi
from .session import Session
from .tasks import RELOCATIONS, TaskState, running_tasks, task_reference, task_state, wait_until_ended

#: Events in which vCenter says where a move in flight goes.
DEPARTURES = ("VmBeingHotMigratedEvent", "VmBeingMigratedEvent", "VmBeingRelocatedEvent")
#: Events are looked for from this long before the task's start, as their clock is read separately.
EVENT_SLACK_S = 5
PRIORITIES = {"high": "highPriority", "default": "defaultPriority", "low": "lowPriority"}


def start(session: Session, order: MoveOrder) -> Job:
    """Start a live migration within this vCenter and return at once."""
    vm = read_vm(session, order.vm_uuid, ["runtime.host", "datastore"])
    pool = hold_pool(session, order.reservation_id)
    spec = _spec(session, order, vm, pool)
    priority = PRIORITIES.get(str(order.options.get("priority", "")), _priority(held=pool is not None))
    machine = vm.reference
    task = session.write("start a migration", lambda: machine.RelocateVM_Task(spec, priority))
    return Job(
        vm_uuid=order.vm_uuid,
        source_host_id=host_of(vm),
        destination_host_id=order.destination_host_id,
        handle={"task": moid_of(task), "vm": vm.moid},
        reservation_id=order.reservation_id,
    )


def find(session: Session, vm_uuid: str) -> Job | None:
    """Return the migration of the VM in flight, by its recent tasks, whoever started it."""
    vm = read_vm(session, vm_uuid, ["runtime.host"])
    task = next((t for t in running_tasks(session, vm.reference) if t.description_id in RELOCATIONS), None)
    if task is None:
        return None
    holds = [hold for hold in find_all(session) if hold.vm_uuid == vm_uuid]
    destination = _announced(session, vm.reference, task) or (holds[0].host_id if len(holds) == 1 else "")
    return Job(
        vm_uuid=vm_uuid,
        source_host_id=host_of(vm),
        destination_host_id=destination,
        handle={"task": task.moid, "vm": vm.moid},
        reservation_id=next((hold.reservation_id for hold in holds if hold.host_id == destination), ""),
    )


def progress(session: Session, job: Job) -> Progress:
    """Return how far the task is. vSphere tells the percentage only, so the figures in MiB stay unknown."""
    state = task_state(session, task_reference(session, str(job.handle["task"])))
    if state is None:
        return Progress("gone", 0.0)
    end = state.completed_ts if state.completed_ts is not None else session.server_now_ts()
    elapsed = max(0.0, end - state.started_ts) if state.started_ts is not None else 0.0
    return Progress(_phase(state), elapsed, percent=state.percent, error=_error(state))


def abort(session: Session, job: Job) -> None:
    """Cancel the task and return when it has ended with the VM still on its source.

    Raises `HypervisorFault` when the VM had already arrived.
    """
    task = task_reference(session, str(job.handle["task"]))
    try:
        session.write("cancel a migration", task.CancelTask)
    except HypervisorFault as fault:
        if fault.details.get("fault") not in ("InvalidState", "NotSupported"):
            raise
    state = wait_until_ended(session, task, "cancel a migration")
    if state is not None and state.state == "success":
        raise HypervisorFault(
            f"The migration of VM {job.vm_uuid} could not be cancelled: it had completed",
            advice="The VM runs on its destination; settle it there.",
            details={"fault": "AlreadyCompleted"},
        )


def _spec(session: Session, order: MoveOrder, vm: Record, pool: Any) -> Any:
    host = read_host(session, order.destination_host_id, ["datastore"])
    return pyvmomi.vim.vm.RelocateSpec(
        host=host.reference,
        pool=pool or entry_pool(session, vm.get("runtime.host"), host.reference),
        datastore=storage.destination(session, order, vm, host),
    )


def _priority(*, held: bool) -> str:
    """Return how urgent vSphere shall take the move: first where the capacity is held, as any other otherwise."""
    return PRIORITIES["high" if held else "default"]


def _announced(session: Session, vm: Any, task: TaskState) -> str:
    """Return the id of the host that vCenter's event names as the destination, "" where there is no such event."""
    manager, types = session.content.eventManager, pyvmomi.vim.event.EventFilterSpec
    if manager is None or task.started_ts is None:
        return ""
    spec = types(
        entity=types.ByEntity(entity=vm, recursion="self"),
        eventTypeId=list(DEPARTURES),
        time=types.ByTime(beginTime=datetime.fromtimestamp(task.started_ts - EVENT_SLACK_S, UTC)),
    )
    events = session.read("read events", lambda: manager.QueryEvents(spec)) or ()
    latest = max(events, key=lambda event: event.createdTime, default=None)
    return moid_of(latest.destHost.host) or "" if latest is not None else ""


def _phase(state: TaskState) -> str:
    if state.state == "queued":
        return "starting"
    if state.state == "running":
        return "precopy"
    if state.state == "success":
        return "done"
    return "aborted" if isinstance(state.error, pyvmomi.vmodl.fault.RequestCanceled) else "failed"


def _error(state: TaskState) -> str:
    return "" if state.error is None else fault_text(state.error)

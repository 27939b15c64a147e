# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vSphere's tasks: those in flight, following one, and waiting for one to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..protocol import EndpointUnreachable, HypervisorFault
from .faults import from_fault
from .properties import Record, moid_of, read_objects, read_one
from .sdk import pyvmomi
from .session import Session

#: How often a task that must end before the call can is looked at.
POLL_S = 0.2
TASK_PATHS = (
    "info.entity",
    "info.descriptionId",
    "info.state",
    "info.progress",
    "info.cancelled",
    "info.error",
    "info.result",
    "info.queueTime",
    "info.startTime",
    "info.completeTime",
)
IN_FLIGHT = ("queued", "running")
#: Tasks that move a VM: by us or a person, and by DRS. The last name is the simulator's.
RELOCATIONS = frozenset(
    {"VirtualMachine.relocate", "VirtualMachine.migrate", "Drm.ExecuteVMotionLRO", "VirtualMachine.relocateVm"}
)
#: Tasks of a host that take its VMs away.
EVACUATIONS = frozenset({"HostSystem.enterMaintenanceMode", "Drm.TrackEnterMaintenanceLro"})


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task as of now. Times are Unix seconds by the server's clock, ``error`` the fault it ended with."""

    moid: str
    entity_moid: str | None
    description_id: str
    state: str
    percent: float | None
    cancelled: bool
    error: Any
    result: Any
    started_ts: float | None
    completed_ts: float | None

    @property
    def in_flight(self) -> bool:
        """Whether it has not ended yet."""
        return self.state in IN_FLIGHT


def task_reference(session: Session, moid: str) -> Any:
    """Return the task of that id as an object of this session."""
    return pyvmomi.vim.Task(moid, session.stub)


def task_state(session: Session, task: Any) -> TaskState | None:
    """Return how the task is, or None when the server does not know it any more."""
    record = read_one(session, task, TASK_PATHS)
    return _state_from(record) if record is not None else None


def running_tasks(session: Session, entity: Any = None) -> list[TaskState]:
    """Return the tasks in flight, of one object or of the whole endpoint."""
    owner = entity if entity is not None else session.content.taskManager
    record = read_one(session, owner, ["recentTask"])
    recent = record.get("recentTask", ()) if record else ()
    states = (_state_from(found) for found in read_objects(session, recent, TASK_PATHS))
    return [state for state in states if state.in_flight]


def wait_until_ended(session: Session, task: Any, doing: str) -> TaskState | None:
    """Wait until the task has ended, well or badly; return its last state, None when the server has dropped it.

    Raises `EndpointUnreachable` when it does not end within the endpoint's ``timeout_s``.
    """
    deadline = session.clock.now() + session.address.timeout_s
    while True:
        state = task_state(session, task)
        if state is None or not state.in_flight:
            return state
        if session.clock.now() >= deadline:
            raise EndpointUnreachable(
                f"Endpoint {session.endpoint!r} did not {doing} within {session.address.timeout_s:g} s",
                advice="Look at the task there: it may still end. Raise timeout_s if the server is only slow.",
                details={"task": moid_of(task)},
            )
        session.clock.sleep(POLL_S)


def wait_for(session: Session, task: Any, doing: str) -> Any:
    """Wait until the task has ended and return its result; raises what its fault means."""
    state = wait_until_ended(session, task, doing)
    if state is None:
        raise HypervisorFault(f"Endpoint {session.endpoint!r} lost the task that was to {doing}")
    if state.error is not None:
        raise from_fault(session.endpoint, doing, state.error)
    return state.result


def _state_from(record: Record) -> TaskState:
    error = record.get("info.error")
    started = record.get("info.startTime") or record.get("info.queueTime")
    completed = record.get("info.completeTime")
    percent = record.get("info.progress")
    return TaskState(
        moid=record.moid,
        entity_moid=moid_of(record.get("info.entity")),
        description_id=str(record.get("info.descriptionId") or ""),
        state=str(record.get("info.state") or ""),
        percent=None if percent is None else float(percent),
        cancelled=bool(record.get("info.cancelled")),
        error=error,
        result=record.get("info.result"),
        started_ts=started.timestamp() if started else None,
        completed_ts=completed.timestamp() if completed else None,
    )

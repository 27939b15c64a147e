# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Live migrations: started as jobs of a host or a cluster, followed, found again by another process, cancelled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...clock import Clock
from ...errors import ForesightError
from ..protocol import HypervisorFault, Job, MoveOrder, Progress, Tuning
from . import jobs
from .faults import from_script
from .nodes import Nodes, host_id_of
from .scripts.moves import CANCEL_MOVE, POLL_MOVE, START_MOVE
from .scripts.settings import VM_FOR_MOVE
from .service_errors import JOB_STARTED, RETURN_VALUES
from .states import power_state
from .survey import VmNotHere, survey

#: How long a cluster may take until the job of a move that it was asked for appears on the VM's host.
APPEAR_LIMIT_S = 90.0
#: How long a job may take to end after it was told to, and how often that is looked at.
STOP_LIMIT_S = 120.0
LOOK_INTERVAL_S = 0.5


@dataclass(frozen=True, slots=True)
class Migrations:
    """The migrations that leave the hosts of one endpoint.

    A job's handle holds ``job_id`` ("" while it is not known), ``since_ts`` (the source's clock just before the
    start), ``stale`` (ids of the jobs that were there then) and ``clustered``.
    """

    nodes: Nodes
    clock: Clock

    def start(self, order: MoveOrder, target: Nodes) -> Job:
        """Start the move and return at once.

        Raises `VmNotHere`, and `HypervisorFault` or the error that fits what the host says when it refuses.
        """
        seen = survey(order.vm_uuid, self.nodes, target, order.destination_host_id)
        before = self._poll(seen.source_id, order.vm_uuid)
        parameters = {**seen.parameters(order), "clustered": seen.by_cluster}
        answer = self.nodes.run(seen.source_id, START_MOVE, parameters)
        if not answer["found"]:
            raise VmNotHere(f"VM {order.vm_uuid} has left host {seen.source_id} before it could be moved")
        if answer["return_value"] not in (0, JOB_STARTED):
            raise _refused(self.nodes.endpoint, seen.source_id, answer["return_value"])
        return Job(
            vm_uuid=order.vm_uuid,
            source_host_id=seen.source_id,
            destination_host_id=order.destination_host_id,
            handle={
                "job_id": answer["job_id"],
                "since_ts": before["ts"],
                "stale": [job["id"] for job in before["jobs"]],
                "clustered": seen.by_cluster,
            },
            reservation_id=order.reservation_id,
        )

    def find(self, vm_uuid: str) -> Job | None:
        """Return the migration of the VM in flight from one of these hosts, whoever started it.

        A host that does not answer is passed over when another one has the job, and raised when none has.
        """
        answers = self.nodes.run_on_all(POLL_MOVE, {"vm_id": vm_uuid})
        for host_id, answer in answers.items():
            if not isinstance(answer, ForesightError):
                for job in answer["jobs"]:
                    if jobs.is_in_flight(job) and _host_of(job) not in ("", host_id):
                        vm = self.nodes.run(host_id, VM_FOR_MOVE, {"vm_id": vm_uuid})
                        return _found(vm_uuid, host_id, job, answer, bool(vm["found"] and vm["clustered"]))
        problem = next((answer for answer in answers.values() if isinstance(answer, ForesightError)), None)
        if problem is not None:
            raise problem
        return None

    def progress(self, job: Job) -> Progress:
        """Return how far the job is; ``starting`` while a cluster has not made it yet, ``gone`` when it is unknown."""
        return self._progress(job, self._poll(job.source_host_id, job.vm_uuid))

    def _progress(self, job: Job, seen: Mapping[str, Any]) -> Progress:
        meant = jobs.pick(seen["jobs"], job.handle)
        if meant is not None:
            return jobs.as_progress(meant, seen["ts"])
        age_s = max(0.0, seen["ts"] - job.handle["since_ts"])
        awaited = not job.handle["job_id"] and seen["found"] and age_s <= APPEAR_LIMIT_S
        return Progress("starting" if awaited else "gone", age_s)

    def tune(self, job: Job, tuning: Tuning) -> None:
        """Raise `HypervisorFault` for any change: Hyper-V lets nobody change a running migration."""
        if tuning != Tuning():
            raise HypervisorFault(
                f"Hyper-V tunes the migration of VM {job.vm_uuid} by itself and lets nobody change it",
                details={"fault": "NotSupported"},
            )

    def abort(self, job: Job) -> None:
        """Cancel the job and return when it has ended with the VM still running on its source.

        Raises `HypervisorFault` when the VM had arrived already, or the job did not end in time.
        """
        deadline_ts = self.clock.now() + STOP_LIMIT_S
        seen = self._poll(job.source_host_id, job.vm_uuid)
        asked, refusal = False, None
        while not self._progress(job, seen).finished:
            try:
                asked = asked or self._cancel(job, jobs.pick(seen["jobs"], job.handle))
            except HypervisorFault as error:
                refusal = error  # it may have ended in between, which the next look tells
            if self.clock.now() >= deadline_ts:
                raise HypervisorFault(
                    f"The migration of VM {job.vm_uuid} did not stop within {STOP_LIMIT_S:.0f} s of being cancelled",
                    advice="Look at it on its source host; it may still arrive.",
                    details={"fault": "NotStopped"},
                ) from refusal
            self.clock.sleep(LOOK_INTERVAL_S)
            seen = self._poll(job.source_host_id, job.vm_uuid)
        if not seen["found"] or power_state(seen["enabled_state"]) != "running":
            raise HypervisorFault(
                f"The migration of VM {job.vm_uuid} could not be cancelled: it had completed",
                advice="The VM runs on its destination; settle it there.",
                details={"fault": "AlreadyCompleted"},
            )

    def _cancel(self, job: Job, meant: Mapping[str, Any] | None) -> bool:
        """Tell the job to stop; return whether it was there and took that. Whether it stops is seen afterwards."""
        if meant is None:
            return False
        parameters = {"vm_id": job.vm_uuid, "clustered": job.handle["clustered"], "job_id": meant["id"]}
        return bool(self.nodes.run(job.source_host_id, CANCEL_MOVE, parameters)["cancelled"])

    def _poll(self, host_id: str, vm_uuid: str) -> dict[str, Any]:
        return self.nodes.run(host_id, POLL_MOVE, {"vm_id": vm_uuid})


def _found(vm_uuid: str, host_id: str, job: Mapping[str, Any], answer: Mapping[str, Any], clustered: bool) -> Job:
    started_ts = job["started_ts"]
    return Job(
        vm_uuid=vm_uuid,
        source_host_id=host_id,
        destination_host_id=_host_of(job),
        handle={
            "job_id": job["id"],
            "since_ts": answer["ts"] if started_ts is None else started_ts,
            "stale": [other["id"] for other in answer["jobs"] if other["id"] != job["id"]],
            "clustered": clustered,
        },
    )


def _host_of(job: Mapping[str, Any]) -> str:
    """Return the id of the host that the job names as its destination, be it by computer name or full name."""
    return host_id_of(str(job["destination"]).partition(".")[0])


def _refused(endpoint: str, host_id: str, return_value: int) -> ForesightError:
    reason = RETURN_VALUES.get(return_value, "")
    error = {
        "message": f"MigrateVirtualSystemToHost returned {return_value} {reason}".rstrip(),
        "id": str(return_value),
        "category": "PermissionDenied" if reason == "access denied" else "",
    }
    return from_script(f"Endpoint {endpoint!r} ({host_id})", START_MOVE.operation, error)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The whole site: hosts, perhaps a cluster, and what moves between them. One lock guards it all."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import Host
from ansible_collections.foresight.migration.tests.labs.hyperv.model.jobs import ACTIVE, MoveJob
from ansible_collections.foresight.migration.tests.labs.hyperv.model.vms import Vm

#: How much later than it was asked a cluster makes its job.
CLUSTER_DELAY_S = 0.2
#: How long Windows keeps a job that is over (TimeBeforeRemoval).
JOB_KEPT_S = 300.0


@dataclass
class MovePlan:
    """How moves go from now on: how long they take, and what goes wrong with them."""

    duration_s: float = 0.5
    fails_after_s: float | None = None
    message_id: int = 0
    error: str = ""
    vanishes: bool = False
    uncancellable: bool = False


class Site:
    """Hosts by name, their moves and their cluster (its name, or None)."""

    def __init__(
        self, hosts: Iterable[Host], *, cluster: str | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.hosts = {host.name.lower(): host for host in hosts}
        self.cluster = cluster
        self.direct_storage = False
        self.history_s = 0.0
        self.auto_balancer_mode = 0
        self.plan = MovePlan()
        self.jobs: list[MoveJob] = []
        self.moves: list[tuple[str, str, str]] = []
        self.lock = threading.RLock()
        self.live_by(clock)

    def live_by(self, clock: Callable[[], float]) -> None:
        """Let the clock say which time it is; hosts were booted an hour ago, and VMs have run since."""
        self.now = clock
        self.booted_ts = clock() - 3600.0
        for host in self.hosts.values():
            for vm in host.vms.values():
                vm.arrived_ts = self.booted_ts

    def host(self, name: str) -> Host | None:
        """Return the host of that name, short or full, in whatever case."""
        return self.hosts.get(name.partition(".")[0].lower())

    def host_of(self, vm_id: str) -> Host:
        """Return the host on which the VM is."""
        return next(host for host in self.hosts.values() if vm_id in host.vms)

    def vm(self, vm_id: str) -> Vm:
        """Return the VM, wherever it is."""
        return self.host_of(vm_id).vms[vm_id]

    def active_jobs(self, vm_id: str | None = None) -> list[MoveJob]:
        """Return the moves under way, of that VM or of all."""
        self.advance()
        return [job for job in self.jobs if job.state == ACTIVE and vm_id in (None, job.vm_id)]

    def start(self, vm: Vm, source: Host, destination: Host, *, delay_s: float = 0.0) -> MoveJob:
        """Begin to move the VM, as the plan says."""
        begins = self.now() + delay_s
        plan = self.plan
        job = MoveJob(
            job_id=str(uuid.uuid4()).upper(),
            vm_id=vm.vm_id,
            source=source.name,
            destination=destination.name,
            started_ts=begins,
            ends_ts=begins + plan.duration_s,
            fails_ts=None if plan.fails_after_s is None else begins + plan.fails_after_s,
            message_id=plan.message_id,
            error=plan.error,
            uncancellable=plan.uncancellable,
        )
        self.jobs.append(job)
        return job

    def advance(self) -> None:
        """Bring everything to the present: jobs that are done have moved their VMs."""
        now = self.now()
        with self.lock:
            for job in self.jobs:
                if job.advance(now):
                    self._arrive(job)
            self.jobs = [job for job in self.jobs if not self._forgotten(job, now)]

    def _forgotten(self, job: MoveJob, now: float) -> bool:
        if job.ended_ts is None:
            return False
        return self.plan.vanishes or now - job.ended_ts > JOB_KEPT_S

    def _arrive(self, job: MoveJob) -> None:
        source, destination = self.hosts[job.source.lower()], self.hosts[job.destination.lower()]
        vm = source.vms.pop(job.vm_id)
        vm.arrived_ts = job.ends_ts
        destination.vms[vm.vm_id] = vm
        self.moves.append((vm.vm_id, source.name, destination.name))

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Live migrations: started in the background, followed, tuned, aborted, and found again by another controller.

libvirt's migrate call lasts as long as the migration, so it runs in a thread. In the peer-to-peer mode the source's
daemon does the work and goes on when this process dies; in the direct mode libvirt then aborts it, and the VM stays
on its source. Either way nothing that only this process knows is needed to go on: the job is found by asking the
source, and a mark in the VM's metadata says for which reservation it moves, and where to.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...clock import Clock
from ...libraries import library
from ..protocol import HypervisorFault, Job, MoveOrder, Progress, Tuning
from .connection import Connection
from .faults import is_code, text_of
from .marks import MOVE, read_mark, remove_mark, write_mark
from .settings import MigrationSettings, flags_of, parameters_of, resume_flags, stream_parameters
from .state import domain_state, job_operation

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

MIB = 2**20
#: How often to look whether an abort has taken effect.
ABORT_POLL_S = 0.1
#: Between writing a VM's mark and the start of its job as libvirt counts it, clocks of controllers included.
MARK_TOLERANCE_S = 120.0
#: In a VM's mark: the longest downtime, ms, that its QEMU was set to before. It outlives a move that fails.
FORMER_DOWNTIME = "former_downtime_ms"
_GONE = Progress("gone", 0.0)


@dataclass
class _Call:
    """A migrate call of this process that is under way or has ended.

    ``last`` is what was last seen of its job; ``unheard`` says that the call's error does not tell how the migration
    ended: its connection broke, or it was to resume a post-copy that QEMU had resumed by itself.
    """

    started_s: float
    ended: threading.Event = field(default_factory=threading.Event)
    error: libvirt.libvirtError | None = None
    elapsed_s: float = 0.0
    statistics: Mapping[str, Any] = field(default_factory=dict)
    aborted: bool = False
    unheard: bool = False
    last: Progress = Progress("starting", 0.0)


class Migrations:
    """The migrations away from one host."""

    def __init__(self, connection: Connection, host_id: Callable[[], str], clock: Clock) -> None:
        self._connection = connection
        self._host_id = host_id
        self._clock = clock
        self._calls: dict[str, _Call] = {}

    def start(
        self,
        order: MoveOrder,
        destination: Connection,
        target: MigrationSettings,
        destination_endpoint: str,
        copied: Sequence[str],
    ) -> Job:
        """Start a migration, with the disks ``copied``, and return at once; that it failed is told by `progress`."""
        mark = {
            "reservation": order.reservation_id,
            "destination": order.destination_host_id,
            "endpoint": destination_endpoint,
            "auto_converge": str(int(order.auto_converge)),
            "post_copy": str(int(order.post_copy)),
            "started_ts": repr(self._clock.now()),
        }
        parameters = parameters_of(order, target, copied)

        def prepare(raw: libvirt.virConnect) -> bool:
            domain = raw.lookupByUUIDString(order.vm_uuid)
            left = read_mark(domain, MOVE) or {}  # by a move whose controller died and that came to nothing
            former = {FORMER_DOWNTIME: left.get(FORMER_DOWNTIME) or str(domain.migrateGetMaxDowntime(0))}
            write_mark(domain, MOVE, {**mark, **former})
            if order.tuning.max_downtime_ms is not None:
                domain.migrateSetMaxDowntime(max(1, round(order.tuning.max_downtime_ms)), 0)
            return bool(domain.isPersistent())

        persistent = self._connection.ask(prepare, "prepare the migration")
        self._run(order.vm_uuid, destination, target, flags_of(order, target, persistent, copied), parameters)
        return self._job(order.vm_uuid, mark)

    def _run(
        self,
        vm_uuid: str,
        destination: Connection,
        target: MigrationSettings,
        flags: int,
        parameters: Mapping[str, Any],
    ) -> None:
        domain = self._connection.ask(lambda raw: raw.lookupByUUIDString(vm_uuid), "find the VM")
        peer = destination.open()
        resuming = bool(flags & libvirt.VIR_MIGRATE_POSTCOPY_RESUME)
        call = _Call(started_s=time.monotonic())
        self._calls[vm_uuid] = call

        def migrate() -> None:
            try:
                if target.peer_to_peer:
                    domain.migrateToURI3(target.peer_uri, dict(parameters), flags)
                else:
                    domain.migrate3(peer, dict(parameters), flags)
                call.statistics = _last_statistics(peer, vm_uuid)
            except libvirt.libvirtError as error:
                call.error = error
                call.unheard = resuming or not domain.connect().isAlive()
                if not call.unheard:
                    _clear_up(domain)
            call.elapsed_s = time.monotonic() - call.started_s
            call.ended.set()

        threading.Thread(target=migrate, daemon=True, name=f"migrate-{vm_uuid}").start()

    def _job(self, vm_uuid: str, mark: Mapping[str, str]) -> Job:
        return Job(
            vm_uuid=vm_uuid,
            source_host_id=self._host_id(),
            destination_host_id=mark.get("destination", ""),
            handle={
                "endpoint": mark.get("endpoint", ""),
                "auto_converge": mark.get("auto_converge") == "1",
                "post_copy": mark.get("post_copy") == "1",
            },
            reservation_id=mark.get("reservation", ""),
        )

    def find(self, vm_uuid: str) -> Job | None:
        """Return the migration of that VM in flight from this host, whoever started it.

        One that was not started by this collection has no reservation and no known destination.
        """

        def look(raw: libvirt.virConnect) -> Mapping[str, str] | None:
            try:
                domain = raw.lookupByUUIDString(vm_uuid)
                moving = job_operation(domain) == libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT
                # a post-copy that has lost its connection has no job any more, but is not over
                if moving or domain_state(domain).site == "left":
                    elapsed_s = domain.jobStats().get("time_elapsed", 0) / 1000 if moving else None
                    return _own_mark(domain, elapsed_s, self._clock.now())
            except libvirt.libvirtError as error:
                if not is_code(error, "NO_DOMAIN"):
                    raise
            return None

        mark = self._connection.ask(look, "look for a migration")
        return None if mark is None else self._job(vm_uuid, mark)

    def progress(self, job: Job) -> Progress:
        """Return how far the migration is, by the source's job and by this process's own call where it has ended."""
        call = self._calls.get(job.vm_uuid)
        if call is not None and call.ended.is_set() and call.error is None:
            return _completed(call)
        seen = self._connection.ask(lambda raw: _observe(raw, job.vm_uuid), "follow the migration")
        if call is None or call.unheard:
            return seen
        if seen.phase != "gone":
            call.last = seen
            return seen
        if not call.ended.is_set():
            return call.last  # the job has not begun yet, or has just ended and the call is about to say how
        if call.error is None:
            return _completed(call)
        phase = "aborted" if call.aborted or is_code(call.error, "OPERATION_ABORTED") else "failed"
        return Progress(phase, call.elapsed_s, error=text_of(call.error))

    def tune(self, job: Job, tuning: Tuning) -> None:
        """Change the running job's bandwidth (whole MiB/s, at least 1) and longest downtime (ms)."""
        if tuning.throttle and not job.handle.get("auto_converge"):
            raise HypervisorFault(
                "A VM that started moving without auto-converge cannot be throttled",
                advice="Allow auto-converge when the migration starts.",
            )

        def change(raw: libvirt.virConnect) -> None:
            domain = raw.lookupByUUIDString(job.vm_uuid)
            if tuning.bandwidth_mib_s is not None:
                bandwidth = max(1, round(tuning.bandwidth_mib_s))
                domain.migrateSetMaxSpeed(bandwidth, 0)
                if job.handle.get("post_copy"):
                    domain.migrateSetMaxSpeed(bandwidth, libvirt.VIR_DOMAIN_MIGRATE_MAX_SPEED_POSTCOPY)
            if tuning.max_downtime_ms is not None:
                domain.migrateSetMaxDowntime(max(1, round(tuning.max_downtime_ms)), 0)

        self._connection.ask(change, "tune the migration")

    def switch_to_post_copy(self, job: Job) -> None:
        """Let the VM run on the destination from now on, its remaining memory following."""
        self._connection.ask(
            lambda raw: raw.lookupByUUIDString(job.vm_uuid).migrateStartPostCopy(0), "switch to post-copy"
        )

    def recover(self, job: Job, destination: Connection, target: MigrationSettings) -> None:
        """Resume a post-copy that lost its connection; `progress` tells how that goes."""
        persistent = self._connection.ask(
            lambda raw: bool(raw.lookupByUUIDString(job.vm_uuid).isPersistent()), "find the VM"
        )
        self._run(job.vm_uuid, destination, target, resume_flags(target, persistent), stream_parameters(target))

    def abort(self, job: Job) -> None:
        """Abort, and wait until the job is gone and the VM runs here; raises `HypervisorFault` when it does not.

        In post-copy the VM already runs on the destination, and libvirt refuses.
        """
        call = self._calls.get(job.vm_uuid)
        if call is not None:
            call.aborted = True

        deadline = self._clock.now() + self._connection.timeout_s
        while not self._stopped(job, call):
            if self._clock.now() > deadline:
                raise self._hangs(job)
            self._clock.sleep(ABORT_POLL_S)

        def restore(raw: libvirt.virConnect) -> None:
            _check_aborted(raw, job.vm_uuid)
            _restore(raw.lookupByUUIDString(job.vm_uuid))

        self._connection.ask(restore, "check the VM after the abort")

    def _stopped(self, job: Job, call: _Call | None) -> bool:
        """Ask for the abort, and return whether there is no migration any more."""
        if call is not None and call.ended.is_set():
            call = None

        def stop(raw: libvirt.virConnect) -> bool:
            if _observe(raw, job.vm_uuid).finished:
                return call is None  # else the call's job has not begun yet
            domain = raw.lookupByUUIDString(job.vm_uuid)
            if domain_state(domain).site == "left":
                raise HypervisorFault("The VM already runs on its destination; in post-copy it cannot come back")
            domain.abortJob()
            return False

        try:
            return self._connection.ask(stop, "abort the migration")
        except HypervisorFault as error:
            if error.details.get("fault") != libvirt.VIR_ERR_OPERATION_INVALID:
                raise
            return False  # the job ended between the two calls

    def forget(self, vm_uuid: str) -> None:
        """Take our mark off a VM that has arrived on this host."""

        def clear(raw: libvirt.virConnect) -> None:
            domain = raw.lookupByUUIDString(vm_uuid)
            if read_mark(domain, MOVE) is not None:
                remove_mark(domain, MOVE)

        self._connection.ask(clear, "remove the migration's mark")

    def drop_definition(self, vm_uuid: str) -> bool:
        """Undefine a VM that has arrived elsewhere, where one of our moves has left it defined here; returns whether.

        That is so when libvirt lost track of the move before its end: its daemon was restarted, or a post-copy went
        on by itself. Started here, it would be a second copy. Its firmware's variables and TPM state are left alone.
        """

        def drop(raw: libvirt.virConnect) -> bool:
            try:
                domain = raw.lookupByUUIDString(vm_uuid)
                if domain.isActive() or read_mark(domain, MOVE) is None:
                    return False
                domain.undefineFlags(libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM)
            except libvirt.libvirtError as error:
                if is_code(error, "NO_DOMAIN"):  # or libvirt has removed it meanwhile
                    return False
                raise
            return True

        return self._connection.ask(drop, "remove the definition that the VM has left here")

    def _hangs(self, job: Job) -> HypervisorFault:
        return HypervisorFault(
            f"Endpoint {self._connection.endpoint!r} did not end the migration of {job.vm_uuid} within "
            f"{self._connection.timeout_s:g} s",
            advice="Look at the job with virsh domjobinfo on the source.",
        )


def _own_mark(domain: libvirt.virDomain, elapsed_s: float | None, now_ts: float) -> Mapping[str, str]:
    """Return the mark of the migration that has run for ``elapsed_s``; empty when the mark is of an earlier one."""
    mark = read_mark(domain, MOVE) or {}
    if mark and elapsed_s is not None and abs(now_ts - elapsed_s - float(mark["started_ts"])) > MARK_TOLERANCE_S:
        return {}
    return mark


def _restore(domain: libvirt.virDomain) -> None:
    """Take our mark off a VM that has stayed here, and give it back the longest downtime that it had."""
    mark = read_mark(domain, MOVE)
    if mark is not None:
        former_ms = int(mark.get(FORMER_DOWNTIME) or 0)
        if former_ms:
            domain.migrateSetMaxDowntime(former_ms, 0)
        remove_mark(domain, MOVE)


def _clear_up(domain: libvirt.virDomain) -> None:
    """Restore a VM whose migration has failed and that is here; one in post-copy is still being moved."""
    try:
        if domain_state(domain).site == "here":
            _restore(domain)
    except libvirt.libvirtError:
        return  # what failed the migration may fail this too; a mark that stays is known by its age


def _check_aborted(raw: libvirt.virConnect, vm_uuid: str) -> None:
    """Check that the VM runs here after an abort."""
    try:
        state = domain_state(raw.lookupByUUIDString(vm_uuid))
    except libvirt.libvirtError as error:
        if is_code(error, "NO_DOMAIN"):
            raise HypervisorFault("The migration was faster than the abort: the VM has left") from error
        raise
    if state.site != "here":
        raise HypervisorFault(f"After the abort the VM is {state.power_state} here")


def _observe(raw: libvirt.virConnect, vm_uuid: str) -> Progress:
    """Return how far the job on the source is; ``gone`` when there is none."""
    try:
        domain = raw.lookupByUUIDString(vm_uuid)
        state = domain_state(domain)
        stats = domain.jobStats()
    except libvirt.libvirtError as error:
        if is_code(error, "NO_DOMAIN", "OPERATION_INVALID"):
            return _GONE
        raise
    if not stats.get("type"):
        if state.site != "left":
            return _GONE
        # a post-copy that has lost its connection has no job; QEMU may still go on with it by itself
        return Progress("stalled" if state.stalled else "postcopy", 0.0)
    if state.stalled:
        return _running("stalled", stats)
    if stats.get("operation") != libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT:
        return _GONE
    if state.site == "left":
        return _running("postcopy", stats)
    # until the first pages go libvirt tells nothing but zeros
    return _running("precopy" if stats.get("memory_processed") else "starting", stats)


def _running(phase: str, stats: Mapping[str, Any]) -> Progress:
    total, remaining = stats.get("data_total", 0), stats.get("data_remaining", 0)
    iteration = stats.get("memory_iteration") or None
    dirty_pages_s = stats.get("memory_dirty_rate") if iteration and iteration > 1 else None
    return Progress(
        phase=phase,
        elapsed_s=stats.get("time_elapsed", 0) / 1000,
        percent=100 * (1 - remaining / total) if total else None,
        transferred_mib=stats.get("data_processed", 0) / MIB,
        total_mib=total / MIB or None,
        remaining_mib=remaining / MIB if total else None,
        throughput_mib_s=(stats.get("memory_bps", 0) + stats.get("disk_bps", 0)) / MIB or None,
        dirty_mib_s=None if dirty_pages_s is None else dirty_pages_s * stats.get("memory_page_size", 4096) / MIB,
        iteration=iteration,
        expected_downtime_ms=stats.get("downtime"),
    )


def _completed(call: _Call) -> Progress:
    stats = call.statistics
    transferred = stats.get("data_processed")
    return Progress(
        phase="done",
        elapsed_s=stats.get("time_elapsed", call.elapsed_s * 1000) / 1000,
        percent=100.0,
        transferred_mib=None if transferred is None else transferred / MIB,
        total_mib=stats.get("data_total", 0) / MIB or None,
        remaining_mib=0.0,
        throughput_mib_s=stats.get("memory_bps", 0) / MIB or None,
        iteration=stats.get("memory_iteration"),
        downtime_ms=stats.get("downtime"),
    )


def _last_statistics(peer: libvirt.virConnect, vm_uuid: str) -> Mapping[str, Any]:
    """Return what the destination keeps of the migration that has just ended; empty when it tells nothing."""
    flags = libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED | libvirt.VIR_DOMAIN_JOB_STATS_KEEP_COMPLETED
    try:
        stats: Mapping[str, Any] = peer.lookupByUUIDString(vm_uuid).jobStats(flags)
    except libvirt.libvirtError:
        return {}  # the move itself is done; whether the VM lives there is verified elsewhere
    return stats if stats.get("type") else {}

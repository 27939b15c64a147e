# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers to the scripts of migrations: the service's own check, jobs, and what it refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from ansible_collections.foresight.migration.tests.labs.hyperv.model import failures
from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import KERBEROS, Host
from ansible_collections.foresight.migration.tests.labs.hyperv.model.jobs import COMPLETED, EXCEPTION, MoveJob
from ansible_collections.foresight.migration.tests.labs.hyperv.model.reads import require_role
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import CLUSTER_DELAY_S, Site
from ansible_collections.foresight.migration.tests.labs.hyperv.model.vms import Vm

Answer = dict[str, Any]
#: ``ReturnValue`` of a method that has made a job.
JOB_STARTED = 4096
INVALID_STATE = 32775
#: ``MessageID`` of Compare-VM's finding that the destination has no switch of that name.
NO_SWITCH = 33012


def compare(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Whether the migration service would move the VM there."""
    require_role(host)
    vm = host.vms.get(parameters["vm_id"].lower())
    if vm is None:
        return {"found": False}
    problem = _obstacle(site, host, vm, parameters)
    errors = [] if problem is None else [_cim_error(problem)]
    return {
        "found": True,
        "return_value": JOB_STARTED,
        "state": COMPLETED if problem is None else EXCEPTION,
        "error": "" if problem is None else problem[1],
        "errors": errors,
    }


def _obstacle(site: Site, host: Host, vm: Vm, parameters: Mapping[str, Any]) -> tuple[int, str] | None:
    """Return the first thing that stands against the move, as Hyper-V would tell it: its id and its text."""
    if host.authentication != KERBEROS or not host.delegates:
        return failures.NO_CREDENTIALS_ID, failures.no_credentials(host.language, host.name, parameters["destination"])
    destination = site.host(parameters["destination"])
    if destination is None or not destination.migration_enabled:
        return failures.NO_CONNECTION_ID, failures.no_connection(host.language, parameters["destination"])
    missing = [
        adapter.switch_name
        for adapter in vm.adapters
        if adapter.switch_name and adapter.switch_name not in [switch.name for switch in destination.switches]
    ]
    if missing:
        return NO_SWITCH, failures.no_switch(host.language, missing[0])
    if vm.assigned_mib > destination.free_mib:
        return failures.NO_MEMORY_ID, failures.no_memory(host.language, vm.name)
    return None


def start_move(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Start a move and return at once; what stands against it shows in the job."""
    require_role(host)
    vm = host.vms.get(parameters["vm_id"].lower())
    if vm is None:
        return {"found": False}
    if site.active_jobs(vm.vm_id):
        return {"found": True, "return_value": INVALID_STATE, "job_id": ""}
    if parameters["clustered"]:
        return _start_clustered(site, host, vm, parameters)
    problem = _obstacle(site, host, vm, parameters) or _too_many(site, host, parameters)
    if problem is not None:
        job = site.start(vm, host, host)
        job.fail(site.now(), *problem)
    else:
        destination = site.host(parameters["destination"])
        assert destination is not None
        job = site.start(vm, host, destination)
    return {"found": True, "return_value": JOB_STARTED, "job_id": job.job_id}


def _start_clustered(site: Site, host: Host, vm: Vm, parameters: Mapping[str, Any]) -> Answer:
    """The cluster's own accounts reach the destination; no credentials of the user are needed there."""
    destination = site.host(parameters["destination"])
    if site.cluster is None or destination is None:
        raise failures.no_such_node(host.language, parameters["destination"])
    problem = None
    if vm.assigned_mib > destination.free_mib:
        problem = failures.NO_MEMORY_ID, failures.no_memory(host.language, vm.name)
    job = site.start(vm, host, destination, delay_s=CLUSTER_DELAY_S)
    if problem is not None:
        job.fail(site.now(), *problem)
    return {"found": True, "return_value": JOB_STARTED, "job_id": ""}


def _too_many(site: Site, host: Host, parameters: Mapping[str, Any]) -> tuple[int, str] | None:
    destination = site.host(parameters["destination"])
    for one in filter(None, (host, destination)):
        active = [job for job in site.active_jobs() if one.name in (job.source, job.destination)]
        if len(active) >= one.max_migrations:
            return failures.LIMIT_ID, failures.limit_reached(host.language, one.name)
    return None


def poll_move(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Every job of the VM that this host knows."""
    require_role(host)
    site.advance()
    vm_id = parameters["vm_id"].lower()
    vm = host.vms.get(vm_id)
    now = site.now()
    jobs = [
        job
        for job in site.jobs
        if job.vm_id == vm_id and job.started_ts <= now and host.name in (job.source, job.destination)
    ]
    return {
        "found": vm is not None,
        "enabled_state": vm.enabled_state if vm else None,
        "ts": now,
        "jobs": [_job(job, now) for job in jobs],
    }


def _job(job: MoveJob, now: float) -> Answer:
    return {
        "id": job.job_id,
        "state": job.state,
        "percent": job.percent,
        "migration_type": job.migration_type,
        "job_type": job.job_type,
        "destination": job.destination,
        "started_ts": job.started_ts,
        "elapsed_s": (job.ended_ts or now) - job.started_ts,
        "error_code": job.error_code,
        "error": job.error,
        "errors": [_cim_error((job.message_id, job.error))] if job.message_id else [],
    }


def cancel_move(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Ask a job to stop."""
    require_role(host)
    vm_id, now = parameters["vm_id"].lower(), site.now()
    found = [
        job
        for job in site.active_jobs(vm_id)
        if job.source == host.name and (parameters["clustered"] or job.job_id == parameters["job_id"])
    ]
    if parameters["clustered"]:
        for job in found:
            job.cancel(now)
        return {"cancelled": True, "return_value": 0}
    if not found:
        return {"cancelled": False, "return_value": None}
    stopped = found[0].cancel(now)
    return {"cancelled": stopped, "return_value": 0 if stopped else INVALID_STATE}


def _cim_error(problem: tuple[int, str]) -> str:
    """Return an instance of Msvm_Error as Windows embeds it."""
    message_id, text = problem
    return (
        '<INSTANCE CLASSNAME="Msvm_Error"><PROPERTY NAME="CIMStatusCode" TYPE="uint32"><VALUE>1</VALUE></PROPERTY>'
        '<PROPERTY NAME="ErrorType" TYPE="uint16"><VALUE>4</VALUE></PROPERTY>'
        f'<PROPERTY NAME="Message" TYPE="string"><VALUE>{escape(text)}</VALUE></PROPERTY>'
        f'<PROPERTY NAME="MessageID" TYPE="string"><VALUE>{message_id}</VALUE></PROPERTY></INSTANCE>'
    )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a VM could move to a host: how both are set up, and what the source's management service says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..protocol import Finding, MoveOrder
from .jobs import is_move
from .nodes import Nodes
from .scripts.moves import COMPARE
from .service_errors import JOB_STARTED, RETURN_VALUES, ServiceError, read_errors, said
from .states import power_state
from .survey import Survey, VmNotHere, survey

MIB = 2**20
#: How long the service may take for its check, and how much longer the call may.
CHECK_LIMIT_S = 60.0
CALL_MARGIN_S = 30.0
CREDSSP = 0
#: ``OperationalStatus`` of a VM that something works on (Microsoft, "Msvm_ComputerSystem class"; those from 32776 on
#: are in its PowerShell module's enumeration VMOperationalStatus only).
BUSY = {
    32768: "a checkpoint is being made",
    32769: "a checkpoint is being applied",
    32770: "a checkpoint is being deleted",
    32772: "disks are being merged",
    32773: "it is being exported",
    32774: "it is being migrated",
    32776: "it is being backed up",
    32777: "it is being modified",
    32778: "its storage is being moved",
    32779: "its storage is being moved",
}
DELEGATION_ADVICE = (
    "Set the hosts' live migration to Kerberos (Set-VMHost -VirtualMachineMigrationAuthenticationType Kerberos) and "
    "let each host's computer account delegate to the others: services cifs and Microsoft Virtual System Migration "
    "Service, any authentication protocol (docs/hyperv.md)."
)
#: What an id of a message means; 33012 is "could not find Ethernet switch".
_BY_MESSAGE_ID = {33012: "network_missing"}
#: What an HRESULT in a message means: SEC_E_NO_CREDENTIALS, E_ACCESSDENIED, E_OUTOFMEMORY and
#: ERROR_NO_SYSTEM_RESOURCES, WSAETIMEDOUT and WSAECONNREFUSED ([MS-ERREF]); 0x80048054 comes with processors that
#: lack a feature the VM has seen.
_BY_CODE = {
    "0x8009030E": "double_hop_refused",
    "0x80070005": "permission_denied",
    "0x8007000E": "memory_short",
    "0x800705AA": "memory_short",
    "0x80048054": "cpu_incompatible",
    "0x8007274C": "destination_unreachable",
    "0x8007274D": "destination_unreachable",
}


def findings(vm_uuid: str, source: Nodes, target: Nodes, host_id: str, order: MoveOrder) -> tuple[Finding, ...]:
    """Return all that speaks against the move, and what could not be checked. Changes nothing.

    The service is asked only where nothing else forbids the move: it would say the same less clearly.
    """
    try:
        seen = survey(vm_uuid, source, target, host_id)
    except VmNotHere as error:
        return (Finding("vm_unknown", error.message),)
    if source.endpoint == target.endpoint and seen.source_id == host_id:
        return (Finding("already_there", f"It already runs on {host_id}"),)
    own = tuple(examine(seen, order))
    if any(finding.blocking for finding in own):
        return own
    return (*own, *_of_service(seen, order, source))


def examine(seen: Survey, order: MoveOrder) -> Iterator[Finding]:
    """Yield what the survey itself shows."""
    unknown = sorted(set(order.options) - {"storage_path"})
    if unknown:
        yield Finding("option_unknown", f"Hyper-V moves know storage_path as driver_options, not {unknown}")
    yield from _of_vm(seen.vm)
    yield from _of_cluster(seen)
    yield from _of_settings(seen)
    yield from _of_limits(seen)
    yield from _of_hosts(seen)
    yield from _of_storage(seen, order)


def _of_vm(vm: Mapping[str, Any]) -> Iterator[Finding]:
    state = power_state(vm["enabled_state"])
    if state != "running":
        yield Finding("vm_not_running", f"It is {state}; only a running VM can be live-migrated")
    for code in vm["operational"]:
        if code in BUSY:
            yield Finding("vm_busy", f"Something works on it: {BUSY[code]}", details={"operational_status": code})
    for device in vm["assigned_devices"]:
        yield Finding("vm_pinned", "A device of its host is assigned to it", details={"device": device})
    for disk in vm["disks"]:
        if disk["passthrough"]:
            yield Finding("vm_pinned", "A physical disk of its host is attached to it", details={"disk": disk["path"]})
    for job in vm["jobs"]:
        if is_move(job):
            yield Finding("migration_running", "A migration of it is running", details={"to": job["destination"]})


def _of_cluster(seen: Survey) -> Iterator[Finding]:
    """Yield what stands against a move by the cluster, which checks nothing beforehand itself."""
    if not seen.by_cluster:
        return
    if not seen.same_cluster:
        yield Finding("other_cluster", "It is a role of its cluster and stays there; remove the role to move it out")
    offered = {switch["name"] for switch in seen.destination["switches"]}
    for name in dict.fromkeys(seen.vm["switch_names"]):
        if name not in offered:
            yield Finding("network_missing", "The host lacks a virtual switch of the VM", details={"switch": name})
    yield Finding(
        "compatibility_unchecked", "A cluster has no check beforehand: processors are compared as it starts", False
    )


def _of_settings(seen: Survey) -> Iterator[Finding]:
    """Yield what a host is not set up for; a cluster has settings of its own, so there it is no more than a hint."""
    blocking = not seen.by_cluster
    for side, settings in (("source", seen.source), ("destination", seen.destination)):
        if not settings["enabled"]:
            message = f"{settings['computer_name']} has live migration switched off: Enable-VMMigration"
            yield Finding("migration_disabled", message, blocking, {"side": side})
    if not seen.destination["listener_addresses"]:
        yield Finding(
            "migration_network_missing",
            f"{seen.destination['computer_name']} listens for migrations on no network: Add-VMMigrationNetwork, or "
            "Set-VMHost -UseAnyNetworkForMigration $true",
            blocking,
        )


def _of_limits(seen: Survey) -> Iterator[Finding]:
    """Yield a limit on simultaneous migrations that is reached; a cluster queues what is beyond it."""
    for side, settings in (("source", seen.source), ("destination", seen.destination)):
        running = sum(1 for job in settings["jobs"] if is_move(job))
        if running >= settings["max_migrations"]:
            yield Finding(
                "migration_limit",
                f"{settings['computer_name']} runs {running} of its {settings['max_migrations']} migrations",
                blocking=not seen.by_cluster,
                details={"side": side, "running": running, "limit": settings["max_migrations"]},
            )


def _of_hosts(seen: Survey) -> Iterator[Finding]:
    vm, source, destination = seen.vm, seen.source, seen.destination
    if not seen.by_cluster and CREDSSP in (source["authentication"], destination["authentication"]):
        yield Finding(
            "migration_authentication",
            "Live migration uses CredSSP, which needs somebody logged in on the source. " + DELEGATION_ADVICE,
            blocking=False,
        )
    if vm["version"] not in destination["vm_versions"]:
        yield Finding(
            "vm_version_unsupported",
            f"{destination['computer_name']} does not run VMs of configuration version {vm['version']}",
            details={"version": vm["version"], "supported": list(destination["vm_versions"])},
        )
    free_mib, needed_mib = destination["memory_free_bytes"] / MIB, vm["memory_assigned_bytes"] / MIB
    if free_mib < needed_mib:
        yield Finding(
            "memory_short",
            f"{destination['computer_name']} has {free_mib:.0f} MiB of memory free, the VM has {needed_mib:.0f} MiB",
            details={"free_mib": round(free_mib), "needed_mib": round(needed_mib)},
        )
    if (source["smb"], source["compression"]) != (destination["smb"], destination["compression"]):
        yield Finding(
            "performance_options_differ",
            f"Memory goes {_transport(source)} from the source and {_transport(destination)} from the destination; a "
            "move uses SMB only where both do",
            blocking=False,
        )


def _transport(settings: Mapping[str, Any]) -> str:
    if settings["smb"]:
        return "over SMB"
    return "compressed" if settings["compression"] else "uncompressed"


def _of_storage(seen: Survey, order: MoveOrder) -> Iterator[Finding]:
    local = seen.local_disks
    if not local:
        return
    if not order.storage_copy:
        yield Finding(
            "storage_not_shared", "Disks of it are on storage of its host only", details={"disks": list(local)}
        )
        return
    names = [path.rpartition("\\")[2].lower() for path in local]
    if len(names) != len(set(names)):
        yield Finding(
            "disk_names_collide", "Two disks have one file name and would go to one folder", details={"names": names}
        )
    if len(local) != len(seen.vm["disks"]):
        yield Finding(
            "storage_mixed", "Some of its disks are shared and some are not; move the storage by itself first"
        )
    if seen.vm["checkpoints"]:
        yield Finding(
            "checkpoints_present",
            f"It has {seen.vm['checkpoints']} checkpoints, whose disks are not moved; merge them first",
        )


def _of_service(seen: Survey, order: MoveOrder, source: Nodes) -> Iterator[Finding]:
    """Yield what the source's management service finds when it compares the VM with the destination."""
    if seen.by_cluster:
        return
    parameters = {**seen.parameters(order), "wait_s": CHECK_LIMIT_S}
    answer = source.run(seen.source_id, COMPARE, parameters, deadline_s=CHECK_LIMIT_S + CALL_MARGIN_S)
    yield from judged(answer)


def judged(answer: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield what an answer of `COMPARE` means."""
    if not answer["found"]:
        yield Finding("vm_unknown", "The VM left its host while it was looked at")
        return
    value, state = answer["return_value"], answer["state"]
    if value not in (0, JOB_STARTED):
        text = RETURN_VALUES.get(value, "")
        yield Finding("comparison_refused", f"The host would not compare: {value} {text}", details={"return": value})
    elif state is not None and state < 7:
        yield Finding("comparison_unfinished", f"The comparison took longer than {CHECK_LIMIT_S:.0f} s", blocking=False)
    elif state is not None and 8 <= state < 32768:
        errors = read_errors(answer["errors"])
        yield from map(of_error, errors)
        if not errors:
            yield Finding("incompatible", said((), answer["error"]) or "The host says no and not why")


def of_error(error: ServiceError) -> Finding:
    """Return the finding for one of the service's errors, by its numbers."""
    code = _BY_MESSAGE_ID.get(error.message_id) or next(
        (name for number, name in _BY_CODE.items() if number in error.codes), "incompatible"
    )
    advice = f" {DELEGATION_ADVICE}" if code == "double_hop_refused" else ""
    details = {"message_id": error.message_id, "codes": sorted(error.codes)}
    return Finding(code, error.message + advice, details=details)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Answers to the scripts of preflight and settlement."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ansible_collections.foresight.migration.tests.labs.hyperv.model import failures
from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import ABSOLUTE, MIB, WEIGHT, Host
from ansible_collections.foresight.migration.tests.labs.hyperv.model.jobs import MoveJob
from ansible_collections.foresight.migration.tests.labs.hyperv.model.reads import require_role
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import Site
from ansible_collections.foresight.migration.tests.labs.hyperv.model.vms import RUNNING, Adapter, Vm

Answer = dict[str, Any]
#: Thousandths of a per cent in a per cent.
_RESERVE_UNIT = 1000
#: Set-VMNetworkAdapter rounds to the nearest multiple of this.
_BANDWIDTH_STEP = 8


def migration_settings(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """How the host stands to migrations."""
    require_role(host)
    active = [job for job in site.active_jobs() if host.name in (job.source, job.destination)]
    return {
        "computer_name": host.name.upper(),
        "fqdn": host.fqdn,
        "enabled": host.migration_enabled,
        "authentication": host.authentication,
        "compression": host.compression,
        "smb": host.smb,
        "any_network": host.any_network,
        "subnets": list(host.subnets),
        "listener_addresses": ["127.0.0.1"],
        "max_migrations": host.max_migrations,
        "max_storage_migrations": host.max_storage_migrations,
        "jobs": [{"migration_type": job.migration_type, "job_type": job.job_type} for job in active],
        "vm_versions": list(host.vm_versions),
        "memory_free_bytes": host.free_mib * MIB,
        "vm_path": "C:\\ProgramData\\Microsoft\\Windows\\Hyper-V",
        "switches": [
            {"id": switch.switch_id, "name": switch.name, "bandwidth_mode": switch.bandwidth_mode}
            for switch in host.switches
        ],
    }


def vm_for_move(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """What of a VM decides whether it can be moved."""
    require_role(host)
    vm = host.vms.get(parameters["vm_id"].lower())
    if vm is None:
        return {"found": False}
    return {
        "found": True,
        "name": vm.name,
        "enabled_state": vm.enabled_state,
        "clustered": vm.clustered,
        "version": vm.version,
        "operational": [2],
        "vcpus": vm.vcpus,
        "memory_assigned_bytes": vm.assigned_mib * MIB,
        "checkpoints": 0,
        "assigned_devices": list(vm.pinned),
        "switch_names": [adapter.switch_name for adapter in vm.adapters if adapter.switch_name],
        "disks": [{"path": disk.path, "passthrough": disk.passthrough} for disk in vm.disks],
        "jobs": [_job(job) for job in site.active_jobs(vm.vm_id)],
    }


def _job(job: MoveJob) -> Answer:
    return {"migration_type": job.migration_type, "job_type": job.job_type, "destination": job.destination}


def tuning(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """What may be set of a VM."""
    require_role(host)
    vm = host.vms.get(parameters["vm_id"].lower())
    if vm is None:
        return {"found": False}
    return {
        "found": True,
        "name": vm.name,
        "notes": vm.notes,
        "vcpus": vm.vcpus,
        "cpu_reserve_percent": vm.cpu_reserve // _RESERVE_UNIT,
        "cpu_limit_percent": vm.cpu_limit // _RESERVE_UNIT,
        "dynamic_memory": vm.dynamic_memory,
        "memory_minimum_bytes": vm.memory_minimum_mib * MIB,
        "memory_assigned_bytes": vm.assigned_mib * MIB,
        "adapters": [_adapter(host, vm, adapter) for adapter in vm.adapters],
        "disks": [
            {
                "controller_type": "SCSI",
                "controller_number": 0,
                "controller_location": location,
                "minimum_iops": disk.iops_reserved,
            }
            for location, disk in enumerate(vm.disks)
        ],
    }


def _adapter(host: Host, vm: Vm, adapter: Adapter) -> Answer:
    others = [one for other in host.vms.values() for one in other.adapters if one is not adapter]
    return {
        "id": _adapter_id(vm, adapter),
        "switch_name": adapter.switch_name,
        "bandwidth_mode": _mode(host, adapter) or "",
        "link_bits_s": host.link_bits_s,
        "other_weights": sum(one.weight for one in others if one.switch_name == adapter.switch_name),
        "minimum_bits_s": adapter.reserved_bits_s,
        "minimum_weight": adapter.weight,
    }


def _adapter_id(vm: Vm, adapter: Adapter) -> str:
    return f"Microsoft:{vm.vm_id.upper()}\\{adapter.adapter_id.upper()}"


def _mode(host: Host, adapter: Adapter) -> str | None:
    return next((switch.bandwidth_mode for switch in host.switches if switch.name == adapter.switch_name), None)


def set_tuning(site: Site, host: Host, parameters: Mapping[str, Any]) -> Answer:
    """Set what is not null, and tell what Hyper-V refuses."""
    require_role(host)
    vm = host.vms.get(parameters["vm_id"].lower())
    if vm is None:
        return {"found": False, "refused": []}
    refused = list(filter(None, (_set_cpu(host, vm, parameters), _set_memory(host, vm, parameters))))
    if parameters["notes"] is not None:
        vm.notes = parameters["notes"]
    refused += filter(None, (_set_adapter(host, vm, wanted) for wanted in parameters["adapters"]))
    for wanted in parameters["disks"]:
        vm.disks[wanted["controller_location"]].iops_reserved = wanted["minimum_iops"]
    return {"found": True, "refused": refused}


def _set_cpu(host: Host, vm: Vm, parameters: Mapping[str, Any]) -> Answer | None:
    """Hyper-V keeps the sum of all reserves within the host's processors."""
    wanted = parameters["cpu_reserve_percent"]
    if wanted is None:
        return None
    others = sum(one.vcpus * one.cpu_reserve for one in host.vms.values() if one is not vm) / (100 * _RESERVE_UNIT)
    if not 0 <= wanted <= 100 or math.ceil(others + vm.vcpus * wanted / 100) > host.processors:
        return {"setting": "cpu", "message": failures.no_processors_left(host.language)}
    vm.cpu_reserve = wanted * _RESERVE_UNIT
    return None


def _set_memory(host: Host, vm: Vm, parameters: Mapping[str, Any]) -> Answer | None:
    """The minimum of dynamic memory can be lowered while the VM runs, not raised."""
    wanted = parameters["memory_minimum_bytes"]
    if wanted is None:
        return None
    if not vm.dynamic_memory or (vm.enabled_state == RUNNING and wanted > vm.memory_minimum_mib * MIB):
        return {"setting": "memory", "message": failures.invalid_while_running(host.language)}
    vm.memory_minimum_mib = wanted // MIB
    return None


def _set_adapter(host: Host, vm: Vm, wanted: Mapping[str, Any]) -> Answer | None:
    """A switch takes minima in its own mode only."""
    adapter = next(one for one in vm.adapters if _adapter_id(vm, one) == wanted["id"])
    bits_s, weight = wanted["minimum_bits_s"], wanted["minimum_weight"]
    needed = ABSOLUTE if bits_s is not None else WEIGHT
    if _mode(host, adapter) != needed:
        return {"setting": "network", "message": failures.wrong_bandwidth_mode(host.language)}
    if bits_s is not None:
        adapter.reserved_bits_s = round(bits_s / _BANDWIDTH_STEP) * _BANDWIDTH_STEP
    if weight is not None:
        adapter.weight = weight
    return None

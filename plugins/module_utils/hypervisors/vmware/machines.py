# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A `vim.VirtualMachine` as a `Vm`, and the devices that keep one from moving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...estate.nouns import Host, Vm
from ...estate.resources import Resources
from .cpu_modes import CpuModes
from .names import Names, plain_name
from .properties import Record, moid_of
from .sdk import pyvmomi

#: Which extension of vCenter manages a VM, and the one that runs agents on hosts and in clusters (those of vSphere
#: Cluster Services among them), which nobody else may move.
AGENT_OF = "config.managedBy.extensionKey"
AGENT_MANAGER = "com.vmware.vim.eam"
#: What is read of every VM.
VM_PATHS = (
    "name",
    "network",
    "datastore",
    "resourcePool",
    "customValue",
    "config.instanceUuid",
    "config.uuid",
    "config.template",
    AGENT_OF,
    "config.annotation",
    "config.guestFullName",
    "config.hardware.numCPU",
    "config.hardware.memoryMB",
    "config.cpuAllocation.reservation",
    "config.cpuAllocation.limit",
    "config.memoryAllocation.reservation",
    "config.memoryAllocation.limit",
    "runtime.host",
    "runtime.powerState",
    "runtime.connectionState",
    "runtime.minRequiredEVCModeKey",
    "summary.quickStats.overallCpuUsage",
    "summary.quickStats.hostMemoryUsage",
    "summary.quickStats.guestMemoryUsage",
)

_POWER_STATES = {"poweredOn": "running", "poweredOff": "off", "suspended": "suspended"}


def vm_from(
    record: Record, endpoint: str, hosts: Mapping[str, Host], names: Names, modes: CpuModes, pinned_by: tuple[str, ...]
) -> Vm:
    """Return the VM. ``hosts`` go by object id, ``pinned_by`` names devices that were found to pin it."""
    host = hosts.get(moid_of(record.get("runtime.host")) or "")
    mhz = float(host.facts["cpu_mhz"]) if host is not None else 1.0
    return Vm(
        endpoint=endpoint,
        uuid=str(record.get("config.instanceUuid")),
        name=plain_name(record.get("name")),
        host_key=host.key if host is not None else None,
        power_state=power_state(record),
        allocated=Resources(
            cpu_cores=float(record.get("config.hardware.numCPU") or 0),
            memory_mib=float(record.get("config.hardware.memoryMB") or 0),
        ),
        used=vm_use(record, mhz),
        guaranteed=Resources(
            cpu_cores=float(record.get("config.cpuAllocation.reservation") or 0) / mhz,
            memory_mib=float(record.get("config.memoryAllocation.reservation") or 0),
        ),
        networks=names.of(record.get("network")),
        storages=names.of(record.get("datastore")),
        required_cpu_features=modes.required(record.get("runtime.minRequiredEVCModeKey")),
        pinned_by=(*pinned_by, *agent_pins(record)),
        is_template=bool(record.get("config.template")),
        labels=names.labels(record),
        notes=str(record.get("config.annotation") or ""),
        facts={
            "moid": record.moid,
            "bios_uuid": record.get("config.uuid"),
            "guest": record.get("config.guestFullName"),
            "resource_pool": moid_of(record.get("resourcePool")),
            "connection_state": str(record.get("runtime.connectionState")),
            "cpu_limit_mhz": _limit(record.get("config.cpuAllocation.limit")),
            "memory_limit_mib": _limit(record.get("config.memoryAllocation.limit")),
            "active_memory_mib": record.get("summary.quickStats.guestMemoryUsage"),
        },
    )


def power_state(record: Record) -> str:
    """Return the VM's state as one of `POWER_STATES`."""
    return _POWER_STATES.get(str(record.get("runtime.powerState")), "off")


def vm_use(record: Record, mhz: float) -> Resources | None:
    """Return the CPU and host memory that a running VM uses by vCenter's quick statistics; None if not known.

    Memory is what the host spends on it (consumed), so that a host's use minus its VMs' is the host's own.
    """
    if record.get("runtime.powerState") != "poweredOn":
        return Resources()
    used_mhz = record.get("summary.quickStats.overallCpuUsage")
    used_mib = record.get("summary.quickStats.hostMemoryUsage")
    if used_mhz is None or used_mib is None:
        return None
    return Resources(cpu_cores=used_mhz / mhz, memory_mib=float(used_mib))


def has_all_memory_reserved(record: Record) -> bool:
    """Return whether the VM's whole memory is reserved, without which vSphere starts no VM with a passthrough device.

    (vSphere Virtual Machine Administration, "Add a PCI Device to a Virtual Machine".)
    """
    size = record.get("config.hardware.memoryMB") or 0
    return bool(size) and (record.get("config.memoryAllocation.reservation") or 0) >= size


def pinning_devices(devices: Iterable[Any]) -> tuple[str, ...]:
    """Return ``kind: label`` of each device that ties its VM to the hardware of its host."""
    found = ((_pinning_kind(device), device) for device in devices)
    return tuple(f"{kind}: {_label(device)}" for kind, device in found if kind)


def agent_pins(record: Record) -> tuple[str, ...]:
    """Return ``agent: its manager`` of a VM, read with `AGENT_OF`, that is an agent of vSphere's own; else nothing."""
    return (f"agent: {AGENT_MANAGER}",) if record.get(AGENT_OF) == AGENT_MANAGER else ()


def _label(device: Any) -> str:
    return str(device.deviceInfo.label) if device.deviceInfo is not None else f"device {device.key}"


def _pinning_kind(device: Any) -> str:
    types = pyvmomi.vim.vm.device
    if isinstance(device, types.VirtualPCIPassthrough):
        # a share of a GPU can move (vSphere 6.7 U1); whether it can here is for vCenter's own check to say
        return "" if isinstance(device.backing, types.VirtualPCIPassthrough.VmiopBackingInfo) else "pci_passthrough"
    if isinstance(device, types.VirtualSriovEthernetCard):
        return "sriov"
    if isinstance(device, types.VirtualSCSIController):
        return "shared_scsi_bus" if device.sharedBus == "physicalSharing" else ""
    if _is_host_backed(device) and (device.connectable is None or device.connectable.connected):
        return "host_device"
    return ""


def _is_host_backed(device: Any) -> bool:
    """Return whether the device is a drive or port of the host rather than a file, a pipe or a client's device."""
    types = pyvmomi.vim.vm.device
    kinds = (types.VirtualCdrom, types.VirtualFloppy, types.VirtualSerialPort, types.VirtualParallelPort)
    return isinstance(device, kinds) and isinstance(device.backing, types.VirtualDevice.DeviceBackingInfo)


def _limit(amount: Any) -> int | None:
    return None if amount is None or amount < 0 else int(amount)

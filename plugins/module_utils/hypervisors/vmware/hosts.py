# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A `vim.HostSystem` as a `Host`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...estate.nouns import Host
from ...estate.resources import Resources
from .cpu_modes import CpuModes
from .names import Names, plain_name
from .properties import Record, moid_of

#: What is read of every host.
HOST_PATHS = (
    "name",
    "parent",
    "network",
    "datastore",
    "customValue",
    "runtime.connectionState",
    "runtime.inMaintenanceMode",
    "runtime.powerState",
    "summary.hardware.vendor",
    "summary.hardware.model",
    "summary.hardware.cpuModel",
    "summary.hardware.cpuMhz",
    "summary.hardware.numCpuCores",
    "summary.hardware.numCpuThreads",
    "summary.hardware.memorySize",
    "summary.hardware.uuid",
    "summary.quickStats.overallCpuUsage",
    "summary.quickStats.overallMemoryUsage",
    "summary.config.vmotionEnabled",
    "summary.config.product.version",
    "summary.maxEVCModeKey",
    "summary.currentEVCModeKey",
    "config.network.pnic",
    "config.network.vswitch",
    "config.network.portgroup",
    "config.network.proxySwitch",
    "config.virtualNicManagerInfo.netConfig",
)


def core_mhz(record: Record) -> float:
    """Return the nominal clock of one core of the host in MHz, by which MHz become cores."""
    return float(record.get("summary.hardware.cpuMhz") or 0) or 1.0


def host_from(record: Record, endpoint: str, names: Names, modes: CpuModes, entering_maintenance: bool) -> Host:
    """Return the host. ``names`` resolves references; ``entering_maintenance`` says a task evacuates it right now."""
    nics = record.get("config.network.pnic") or ()
    evc_mode = record.get("summary.currentEVCModeKey") or record.get("summary.maxEVCModeKey")
    vmotion = bool(record.get("summary.config.vmotionEnabled"))
    return Host(
        endpoint=endpoint,
        host_id=record.moid,
        name=plain_name(record.get("name")),
        family="vmware",
        state=_state(record, entering_maintenance),
        capacity=Resources(
            cpu_cores=float(record.get("summary.hardware.numCpuCores") or 0),
            memory_mib=float(record.get("summary.hardware.memorySize") or 0) / 2**20,
            network_mbit_s=sum(_speeds(nics).values()),
        ),
        used=host_use(record),
        cluster=names.cluster_of.get(moid_of(record.get("parent")) or ""),
        networks=names.of(record.get("network")),
        storages=names.of(record.get("datastore")),
        cpu_model=str(record.get("summary.hardware.cpuModel") or ""),
        cpu_features=modes.up_to(evc_mode),
        migration_link_mbit_s=vmotion_link(record) if vmotion else None,
        labels=names.labels(record),
        facts={
            "vmotion_enabled": vmotion,
            "vendor": record.get("summary.hardware.vendor"),
            "model": record.get("summary.hardware.model"),
            "version": record.get("summary.config.product.version"),
            "uuid": record.get("summary.hardware.uuid"),
            "cpu_mhz": core_mhz(record),
            "threads": record.get("summary.hardware.numCpuThreads"),
            "max_evc_mode": record.get("summary.maxEVCModeKey"),
            "current_evc_mode": record.get("summary.currentEVCModeKey"),
            "compute_resource": moid_of(record.get("parent")),
        },
    )


def host_use(record: Record) -> Resources | None:
    """Return the CPU and memory in use by vCenter's quick statistics; None where it has none (host disconnected)."""
    mhz = record.get("summary.quickStats.overallCpuUsage")
    mib = record.get("summary.quickStats.overallMemoryUsage")
    if mhz is None or mib is None:
        return None
    return Resources(cpu_cores=mhz / core_mhz(record), memory_mib=float(mib))


def _state(record: Record, entering_maintenance: bool) -> str:
    if record.get("runtime.connectionState") != "connected":
        return "disconnected"
    if record.get("runtime.powerState") != "poweredOn":
        return "off"
    if record.get("runtime.inMaintenanceMode"):
        return "maintenance"
    return "entering_maintenance" if entering_maintenance else "up"


def _speeds(nics: Sequence[Any]) -> dict[str, float]:
    """Return the speed in Mbit/s of each network card whose link is up, by its key."""
    return {nic.key: float(nic.linkSpeed.speedMb) for nic in nics if nic.linkSpeed is not None}


def vmotion_link(record: Record) -> float | None:
    """Return the speed in Mbit/s of the fastest card under a VMkernel port that vMotion uses; None if none is known.

    One vMotion stream uses one card, so speeds are not summed.
    """
    speeds = _speeds(record.get("config.network.pnic") or ())
    keys = {key for nic in _vmotion_ports(record) for key in _uplinks(record, nic)}
    known = [speed for key, speed in speeds.items() if not keys or key in keys]
    return max(known, default=None)


def _vmotion_ports(record: Record) -> list[Any]:
    ports = []
    for config in record.get("config.virtualNicManagerInfo.netConfig") or ():
        if config.nicType == "vmotion":
            selected = set(config.selectedVnic or ())
            ports += [nic for nic in config.candidateVnic or () if nic.key in selected]
    return ports


def _uplinks(record: Record, nic: Any) -> set[str]:
    """Return the keys of the network cards behind a VMkernel port, on a standard or a distributed switch."""
    port = nic.spec.distributedVirtualPort
    if port is not None:
        proxies = record.get("config.network.proxySwitch") or ()
        return {key for proxy in proxies if proxy.dvsUuid == port.switchUuid for key in proxy.pnic or ()}
    groups = record.get("config.network.portgroup") or ()
    switches = {group.vswitch for group in groups if group.spec.name == nic.portgroup}
    found = record.get("config.network.vswitch") or ()
    return {key for switch in found if switch.key in switches for key in switch.pnic or ()}

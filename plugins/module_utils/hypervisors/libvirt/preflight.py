# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a VM could move here: what libvirt on both sides says before anything is touched."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...libraries import library
from ..protocol import Finding, MoveOrder
from .disks import Pool, disks, is_reached, path_of, pool_of, shared_paths
from .faults import is_code, lacks_part, text_of
from .inventory import free_huge_pages, memory_mib, pinning_devices, size_mib, version_text
from .samples import used_memory_mib
from .state import DomainState, domain_state, job_operation
from .xml import attribute, parse, text

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

MIB = 2**20
KIB_PER_MIB = 1024
#: What QEMU needs beside the guest's memory, for its own code, devices and page tables; measured with small guests.
QEMU_OVERHEAD_MIB = 64.0


@dataclass(frozen=True, slots=True)
class Subject:
    """The VM to be moved, as its source tells. ``description`` is its migratable XML."""

    name: str
    uuid: str
    state: DomainState
    description: ET.Element
    busy_with: str
    block_jobs: tuple[str, ...]
    snapshots: int
    disk_mib: Mapping[str, float]
    host_uuid: str
    libvirt_version: int
    qemu_version: int
    host_cpu: ET.Element | None


def read_subject(raw: libvirt.virConnect, vm_uuid: str) -> Subject | None:
    """Read the VM on its source; None when it is not there."""
    try:
        domain = raw.lookupByUUIDString(vm_uuid)
        state = domain_state(domain)
    except libvirt.libvirtError as error:
        if is_code(error, "NO_DOMAIN"):
            return None
        raise
    capabilities = parse(raw.getCapabilities())
    description = parse(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_MIGRATABLE))
    active = state.site != "nowhere"
    return Subject(
        name=domain.name(),
        uuid=vm_uuid,
        state=state,
        description=description,
        busy_with=_job_name(domain) if active else "",
        block_jobs=_block_jobs(domain, description) if active else (),
        snapshots=domain.snapshotNum() if active else 0,
        disk_mib=_disk_sizes(domain, description) if active else {},
        host_uuid=text(capabilities, "host/uuid"),
        libvirt_version=raw.getLibVersion(),
        qemu_version=raw.getVersion(),
        host_cpu=capabilities.find("host/cpu"),
    )


def _job_name(domain: libvirt.virDomain) -> str:
    operation = job_operation(domain)
    if operation is None:
        return ""
    prefix = "VIR_DOMAIN_JOB_OPERATION_"
    names = {getattr(libvirt, name): name for name in dir(libvirt) if name.startswith(prefix)}
    return str(names.get(operation, operation)).removeprefix(prefix).lower().replace("_", " ")


def _block_jobs(domain: libvirt.virDomain, description: ET.Element) -> tuple[str, ...]:
    return tuple(target for target, _disk in disks(description) if domain.blockJobInfo(target, 0))


def _disk_sizes(domain: libvirt.virDomain, description: ET.Element) -> dict[str, float]:
    """Return what each writable disk takes on the source, in MiB."""
    writable = (target for target, disk in disks(description) if disk.find("readonly") is None)
    return {target: domain.blockInfo(target)[1] / MIB for target in writable}


@dataclass(frozen=True, slots=True)
class Target:
    """The host to move to. ``held_mib``, and of huge pages ``held_huge_mib``, is what is held there for the VM."""

    raw: libvirt.virConnect
    name: str
    host_uuid: str
    pools: Sequence[Pool]
    networks: Sequence[str]
    networks_known: bool
    held_mib: float
    held_huge_mib: float
    options: Mapping[str, Any]


def findings(subject: Subject, target: Target, order: MoveOrder) -> Iterator[Finding]:
    """Yield everything that stands against the move, and what could not be checked. Changes nothing."""
    yield from _vm_findings(subject)
    if subject.host_uuid == target.host_uuid:
        yield Finding("already_there", f"{subject.name} already runs on {target.name}")
        return
    yield from _name_findings(subject, target)
    yield from _machine_findings(subject, target)
    yield from _secret_findings(subject, target)
    yield from _cpu_findings(subject, target)
    yield from _network_findings(subject, target)
    yield from _storage_findings(subject, target, order)
    yield from _placement_findings(subject, target)
    yield from _memory_findings(subject, target)
    yield from _version_findings(subject, target)


def _vm_findings(subject: Subject) -> Iterator[Finding]:
    if subject.state.power_state != "running":
        yield Finding(
            "vm_not_running", f"{subject.name} is {subject.state.power_state}; only a running VM can move live"
        )
    for device in pinning_devices(subject.description):
        yield Finding("vm_pinned", f"{subject.name} cannot leave its host: {device}", details={"device": device})
    if subject.busy_with:
        yield Finding(
            "vm_busy",
            f"{subject.name} is busy with another job: {subject.busy_with}",
            details={"job": subject.busy_with},
        )
    if subject.snapshots:  # libvirt refuses: their records would stay behind
        yield Finding(
            "vm_has_snapshots",
            f"{subject.name} has {subject.snapshots} snapshots that libvirt keeps record of on its host",
            details={"snapshots": subject.snapshots},
        )
    for disk in subject.block_jobs:
        yield Finding("vm_busy", f"disk {disk} of {subject.name} is being copied, backed up or committed")


def _name_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    try:
        other = target.raw.lookupByName(subject.name).UUIDString()
    except libvirt.libvirtError as error:
        if is_code(error, "NO_DOMAIN"):
            return
        raise
    if other != subject.uuid:
        yield Finding(
            "name_taken", f"{target.name} has another VM called {subject.name!r}", details={"other_uuid": other}
        )


def _machine_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    os_type = subject.description.find("os/type")
    machine = "" if os_type is None else os_type.get("machine", "")
    try:
        capabilities = parse(target.raw.getDomainCapabilities(None, *_platform(subject), 0))
    except libvirt.libvirtError as error:
        if not is_code(error, "INVALID_ARG", "NO_DOMAIN", "CONFIG_UNSUPPORTED", "INTERNAL_ERROR"):
            raise
        yield Finding(
            "machine_type_unknown",
            f"{target.name} cannot run {machine!r} of {subject.name}: {text_of(error)}",
            details={"machine": machine},
        )
        return
    loader = text(subject.description, "os/loader")
    known = {value.text for value in capabilities.iterfind("os/loader/value")}
    if loader and loader not in known:
        yield Finding(
            "firmware_unknown",
            f"{target.name} does not offer the firmware {loader!r} of {subject.name}",
            details={"loader": loader},
        )
    if attribute(subject.description, "os/loader", "secure") == "yes" and "yes" not in _offered(
        capabilities, "os/loader", "secure"
    ):
        yield Finding("secure_boot_unsupported", f"{target.name} cannot boot {subject.name} securely")
    yield from _tpm_findings(subject, target, capabilities)


def _tpm_findings(subject: Subject, target: Target, capabilities: ET.Element) -> Iterator[Finding]:
    """Compare the VM's TPM with what the host can emulate. libvirt moves an emulated TPM's state along."""
    tpm = subject.description.find("devices/tpm")
    if tpm is None:
        return
    wanted = {
        "backendModel": "emulator",
        "backendVersion": attribute(tpm, "backend", "version"),
        "model": tpm.get("model", ""),
    }
    for name, value in wanted.items():
        offered = _offered(capabilities, "devices/tpm", name)
        if value and value not in offered and (offered or name == "backendModel"):
            yield Finding(
                "tpm_unsupported",
                f"{target.name} cannot emulate the TPM of {subject.name}: it offers no {value}",
                details={"wanted": value, "offered": sorted(offered)},
            )
            return


def _offered(capabilities: ET.Element, path: str, name: str) -> set[str]:
    """Return the values that a host's domain capabilities list for a setting; empty where they do not know it."""
    return {value.text or "" for value in capabilities.iterfind(f"{path}/enum[@name='{name}']/value")}


def _secret_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    """Look for the secrets by which the VM's disks and TPM are encrypted, or its storage reached."""
    used = (*subject.description.iterfind(".//encryption"), *subject.description.iterfind(".//secret"))
    for uuid in sorted({element.get("uuid") or element.get("secret") or "" for element in used} - {""}):
        try:
            target.raw.secretLookupByUUIDString(uuid)
        except libvirt.libvirtError as error:
            if not is_code(error, "NO_SECRET") and not lacks_part(target.raw, error):
                raise
            yield Finding(
                "secret_missing", f"{target.name} does not have the secret {uuid} of {subject.name}",
                details={"secret": uuid},
            )  # fmt: skip


def _platform(subject: Subject) -> tuple[str, str, str]:
    """Return (architecture, machine type, domain type) of the VM."""
    return (
        attribute(subject.description, "os/type", "arch"),
        attribute(subject.description, "os/type", "machine"),
        subject.description.get("type", "kvm"),
    )


def _cpu_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    """Compare by libvirt's own comparison: the VM's CPU with what the destination's hypervisor provides."""
    cpu = subject.description.find("cpu")
    mode = "" if cpu is None else cpu.get("mode", "")
    if mode in ("host-passthrough", "maximum"):
        cpu = subject.host_cpu  # such a VM has all of its source's CPU
    elif cpu is not None and cpu.find("model") is None:
        cpu = None
    if cpu is None:
        return
    flags = libvirt.VIR_CONNECT_COMPARE_CPU_FAIL_INCOMPATIBLE
    try:
        if cpu is subject.host_cpu:
            target.raw.compareCPU(ET.tostring(cpu, encoding="unicode"), flags)
        else:
            target.raw.compareHypervisorCPU(None, *_platform(subject), ET.tostring(cpu, encoding="unicode"), flags)
    except libvirt.libvirtError as error:
        known = is_code(error, "CPU_INCOMPATIBLE")
        if not known and not is_code(error, "NO_SUPPORT", "OPERATION_FAILED", "CONFIG_UNSUPPORTED", "INTERNAL_ERROR"):
            raise
        yield Finding(
            "cpu_incompatible" if known else "cpu_unverified",
            f"the CPU of {subject.name} against {target.name}: {text_of(error)}",
            blocking=known,
        )


def _network_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    for interface in subject.description.iterfind("devices/interface"):
        source = interface.find("source")
        if source is None:
            continue
        wanted = source.get("network") or source.get("bridge") or source.get("dev") or ""
        if wanted and wanted not in target.networks:
            yield Finding(
                "network_missing" if target.networks_known else "network_unverified",
                f"{target.name} has no network, bridge or interface {wanted!r} for {subject.name}",
                blocking=target.networks_known,
                details={"network": wanted},
            )


def _storage_findings(subject: Subject, target: Target, order: MoveOrder) -> Iterator[Finding]:
    shared = shared_paths(target.options)
    for device, disk in disks(subject.description):
        if is_reached(disk, target.pools, shared):
            continue
        path, pool = path_of(disk), pool_of(disk, target.pools)
        if not order.storage_copy:
            yield Finding(
                "storage_not_shared",
                f"disk {device} of {subject.name} ({path or 'a volume'}) is not on storage that {target.name} shares",
                details={"disk": device, "path": path},
            )
        elif target.options.get("migration_tunnelled"):  # libvirt refuses
            yield Finding(
                "storage_copy_unsupported",
                f"disk {device} of {subject.name} cannot be copied to {target.name}, which is migrated to in a tunnel",
                details={"disk": device},
            )
        elif disk.find("readonly") is not None:
            yield Finding("storage_not_shared", f"the read-only disk {device} of {subject.name} cannot be copied along")
        elif pool is None:
            yield Finding(
                "storage_pool_missing",
                f"{target.name} has no active storage pool where {path!r} of {subject.name} could be made",
                details={"disk": device, "path": path},
            )
        elif pool.available_mib < subject.disk_mib.get(device, 0.0):
            yield Finding(
                "storage_full",
                f"pool {pool.name} on {target.name} has {pool.available_mib:.0f} MiB left, disk {device} needs "
                f"{subject.disk_mib[device]:.0f} MiB",
                details={"disk": device, "pool": pool.name},
            )


def _placement_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    """Look for the CPUs and NUMA nodes that the VM is bound to; libvirt takes such bindings along unchanged."""
    capabilities = parse(target.raw.getCapabilities())
    nodes = {int(cell.get("id", "0")) for cell in capabilities.iterfind("host/topology/cells/cell")}
    cpus = set(range(len(target.raw.getCPUMap()[1])))
    memory = [attribute(subject.description, "numatune/memory", "nodeset")]
    memory += [node.get("nodeset", "") for node in subject.description.iterfind("numatune/memnode")]
    pins = [pin.get("cpuset", "") for pin in subject.description.iterfind("cputune/*")]
    pins.append(attribute(subject.description, "vcpu", "cpuset"))
    for kind, wanted, there in (("NUMA nodes", memory, nodes), ("CPUs", pins, cpus)):
        missing = set[int]().union(*(_numbers(text) for text in wanted if text)) - there
        if missing:
            names = ", ".join(str(number) for number in sorted(missing)[:8])
            yield Finding(
                "binding_impossible",
                f"{subject.name} is bound to {kind} that {target.name} does not have: {names}",
                details={"missing": sorted(missing)},
            )


def _numbers(text: str) -> set[int]:
    """Return the numbers of a set as libvirt writes it, ``0-3,^2,8``."""
    chosen: set[int] = set()
    for part in text.split(","):
        first, _dash, last = part.strip().lstrip("^").partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            continue
        numbers = set(range(int(first), int(last or first) + 1))
        chosen = chosen - numbers if part.strip().startswith("^") else chosen | numbers
    return chosen


def _memory_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    """Compare what is really free, what is held for the VM included, with what it takes: plain memory or huge pages."""
    memory = target.raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)
    free = memory["total"] / KIB_PER_MIB - used_memory_mib(memory) + target.held_mib
    guest = memory_mib(subject.description, "currentMemory") or memory_mib(subject.description, "memory")
    huge = subject.description.find("memoryBacking/hugepages")
    needed = QEMU_OVERHEAD_MIB if huge is not None else guest + QEMU_OVERHEAD_MIB
    if free < needed:
        yield Finding(
            "memory_short",
            f"{target.name} has {free:.0f} MiB of memory free, {subject.name} needs {needed:.0f} MiB",
            details={"free_mib": round(free), "needed_mib": round(needed)},
        )
    if huge is not None:
        yield from _huge_page_findings(subject, target, huge, memory_mib(subject.description, "memory"))


def _huge_page_findings(subject: Subject, target: Target, huge: ET.Element, needed: float) -> Iterator[Finding]:
    pages = free_huge_pages(target.raw)
    page = huge.find("page")
    if page is None:  # the host's own default size
        free = max((size * count for size, count in pages.items()), default=0) / KIB_PER_MIB
    else:
        size = round(size_mib(page.get("size", "0"), page.get("unit", "KiB")) * KIB_PER_MIB)
        free = pages.get(size, 0) * size / KIB_PER_MIB
    free += target.held_huge_mib
    if free < needed:
        yield Finding(
            "hugepages_short",
            f"{target.name} has {free:.0f} MiB of huge pages free, {subject.name} needs {needed:.0f} MiB",
            details={"free_mib": round(free), "needed_mib": round(needed)},
        )


def _version_findings(subject: Subject, target: Target) -> Iterator[Finding]:
    for software, there, here in (
        ("libvirt", subject.libvirt_version, target.raw.getLibVersion()),
        ("QEMU", subject.qemu_version, target.raw.getVersion()),
    ):
        if here < there:
            yield Finding(
                "version_older",
                f"{target.name} runs {software} {version_text(here)}, older than the source's {version_text(there)}",
                blocking=False,
            )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a libvirt host is and which VMs it has, as nouns of the estate."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...estate.nouns import Host, Vm
from ...estate.resources import Resources
from ...libraries import library
from .disks import Pool, copied_disks, disk_storage, shared_paths, storage_name
from .faults import is_code, lacks_part, text_of
from .marks import is_placeholder
from .state import SITES_ELSEWHERE, domain_state
from .xml import attribute, parse, text

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

FAMILY = "kvm"
#: Pages beyond this size are huge ones.
SMALL_PAGE_KIB = 4
_UNIT_MIB = {"b": 2**-20, "bytes": 2**-20, "kib": 2**-10, "k": 2**-10, "mib": 1.0, "m": 1.0, "gib": 1024.0, "g": 1024.0}


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What is read once per connection or inventory of a host."""

    uuid: str
    name: str
    capabilities: ET.Element
    pools: tuple[Pool, ...]
    networks: tuple[str, ...]
    link_mbit_s: float | None
    warnings: tuple[str, ...] = ()


def read_host_facts(raw: libvirt.virConnect) -> HostFacts:
    """Read what the host is and what it offers to VMs."""
    warnings: list[str] = []
    capabilities = parse(raw.getCapabilities())
    return HostFacts(
        uuid=text(capabilities, "host/uuid"),
        name=raw.getHostname(),
        capabilities=capabilities,
        pools=read_pools(raw, warnings),
        networks=read_networks(raw, warnings),
        link_mbit_s=fastest_link_mbit_s(raw, warnings),
        warnings=tuple(warnings),
    )


def host_noun(raw: libvirt.virConnect, facts: HostFacts, endpoint: str, options: Mapping[str, Any]) -> Host:
    """Return the host as a noun, without its use. Speeds that libvirt does not know come from ``options``."""
    info = raw.getInfo()
    memory_kib = raw.getMemoryStats(libvirt.VIR_NODE_MEMORY_STATS_ALL_CELLS)["total"]
    cpu = facts.capabilities.find("host/cpu")
    network = options.get("network_mbit_s") or facts.link_mbit_s or 0.0
    return Host(
        endpoint=endpoint,
        host_id=facts.uuid,
        name=facts.name,
        family=FAMILY,
        state="up",
        capacity=Resources(
            cpu_cores=float(raw.getCPUMap()[0]),
            memory_mib=memory_kib / 1024,
            network_mbit_s=float(network),
            disk_mib_s=float(options.get("disk_mib_s") or 0.0),
        ),
        networks=facts.networks,
        storages=tuple(sorted({storage_name(pool, facts.name) for pool in facts.pools} | set(shared_paths(options)))),
        cpu_model=text(facts.capabilities, "host/cpu/model"),
        cpu_features=_cpu_features(raw, cpu),
        migration_link_mbit_s=options.get("migration_link_mbit_s") or facts.link_mbit_s,
        facts={
            "arch": text(facts.capabilities, "host/cpu/arch"),
            "cpu_vendor": text(facts.capabilities, "host/cpu/vendor"),
            "sockets": info[5],
            "cores_per_socket": info[6],
            "threads_per_core": info[7],
            "numa_cells": [_numa_cell(cell) for cell in facts.capabilities.iterfind("host/topology/cells/cell")],
            "libvirt_version": version_text(raw.getLibVersion()),
            "qemu_version": version_text(raw.getVersion()),
            "machine_types": _machine_types(facts.capabilities),
            "domain_types": sorted({d.get("type", "") for d in facts.capabilities.iterfind("guest/arch/domain")}),
        },
    )


def _machine_types(capabilities: ET.Element) -> list[str]:
    """Return the machine types that the host offers to VMs of its own architecture."""
    arch = text(capabilities, "host/cpu/arch")
    guests = (guest for guest in capabilities.iterfind("guest/arch") if guest.get("name") == arch)
    return sorted({machine.text or "" for guest in guests for machine in guest.iterfind(".//machine")})


def version_text(number: int) -> str:
    """Return libvirt's version number (major * 1,000,000 + minor * 1,000 + release) as people write it."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _numa_cell(cell: ET.Element) -> dict[str, Any]:
    pages = {page.get("size", ""): int(page.text or 0) for page in cell.iterfind("pages")}
    return {
        "id": int(cell.get("id", "0")),
        "memory_mib": int(cell.findtext("memory") or 0) / 1024,
        "cpus": int(attribute(cell, "cpus", "num", "0")),
        "hugepages": {size: count for size, count in pages.items() if size != "4" and count},
    }


def _cpu_features(raw: libvirt.virConnect, cpu: ET.Element | None) -> frozenset[str]:
    """Return every feature of the host's CPU, those that its model implies included."""
    if cpu is None:
        return frozenset()
    try:
        expanded = parse(
            raw.baselineCPU([ET.tostring(cpu, encoding="unicode")], libvirt.VIR_CONNECT_BASELINE_CPU_EXPAND_FEATURES)
        )
    except libvirt.libvirtError as error:
        if not is_code(error, "NO_SUPPORT", "OPERATION_DENIED", "CONFIG_UNSUPPORTED", "INTERNAL_ERROR"):
            raise
        expanded = cpu  # an architecture without a baseline: what is listed by name is all there is to know
    return frozenset(feature.get("name", "") for feature in expanded.iterfind("feature"))


def read_pools(raw: libvirt.virConnect, warnings: list[str]) -> tuple[Pool, ...]:
    """Return the active storage pools."""
    try:
        active = raw.listAllStoragePools(libvirt.VIR_CONNECT_LIST_STORAGE_POOLS_ACTIVE)
    except libvirt.libvirtError as error:
        return _without(raw, "storage pools", error, warnings)
    pools = []
    for pool in active:
        root = parse(pool.XMLDesc())
        pools.append(Pool(pool.name(), root.get("type", ""), text(root, "target/path"), pool.info()[3] / 2**20))
    return tuple(pools)


def read_networks(raw: libvirt.virConnect, warnings: list[str]) -> tuple[str, ...]:
    """Return the names by which a VM may be attached: active libvirt networks, bridges and other interfaces."""
    names: set[str] = set()
    try:
        names.update(network.name() for network in raw.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE))
    except libvirt.libvirtError as error:
        _without(raw, "networks", error, warnings)
    try:
        names.update(interface.name() for interface in raw.listAllInterfaces(0))
    except libvirt.libvirtError as error:
        _without(raw, "interfaces", error, warnings)
    return tuple(sorted(names - {"lo"}))


def fastest_link_mbit_s(raw: libvirt.virConnect, warnings: list[str]) -> float | None:
    """Return the speed of the host's fastest network interface that is up, in Mbit/s.

    Kernels give virtual ones (veth, tap) a speed that nothing carries, 10 Gbit/s for example. So no virtual one, a
    bond included, counts for more than the physical ones together, where there are any.
    """
    try:
        devices = raw.listAllDevices(libvirt.VIR_CONNECT_LIST_NODE_DEVICES_CAP_NET)
    except libvirt.libvirtError as error:
        _without(raw, "network devices", error, warnings)
        return None
    physical, virtual = [0.0], [0.0]
    for device in devices:
        try:
            root = parse(device.XMLDesc())
        except libvirt.libvirtError as error:
            if is_code(error, "NO_NODE_DEVICE"):
                continue  # gone since it was listed, with its VM for example
            raise
        if attribute(root, "capability/link", "state") == "up":
            speeds = virtual if text(root, "parent") == "computer" else physical
            speeds.append(float(attribute(root, "capability/link", "speed", "0")))
    if not any(physical):
        return max(virtual) or None
    return max(*physical, min(max(virtual), sum(physical)))


def _without(raw: libvirt.virConnect, what: str, error: libvirt.libvirtError, warnings: list[str]) -> tuple[Any, ...]:
    """Go on without a part of libvirt that this host does not run; raises every other error again."""
    if not lacks_part(raw, error):
        raise error
    warnings.append(f"{what} cannot be listed: {text_of(error)}")
    return ()


def read_vms(raw: libvirt.virConnect, facts: HostFacts, endpoint: str, options: Mapping[str, Any]) -> tuple[Vm, ...]:
    """Return the host's VMs, running or not, without our placeholders and without VMs that are just arriving here."""
    shared = shared_paths(options)
    vms = []
    for domain in raw.listAllDomains():
        if is_placeholder(domain.name(), domain.UUIDString()):
            continue
        try:
            state = domain_state(domain)
            if state.site in SITES_ELSEWHERE:
                continue  # and libvirt would not give its XML before the migration ends
            root = parse(domain.XMLDesc())
        except libvirt.libvirtError as error:
            if is_code(error, "NO_DOMAIN"):
                continue  # gone since it was listed
            raise
        vms.append(vm_noun(root, state.power_state, facts, endpoint, shared))
    return tuple(vms)


def vm_noun(root: ET.Element, power_state: str, facts: HostFacts, endpoint: str, shared: Sequence[str]) -> Vm:
    """Return the VM that a domain's XML describes, without its use."""
    storages = [disk_storage(disk, facts.pools, shared, facts.name) for disk in root.iterfind("devices/disk")]
    vcpu = root.find("vcpu")
    return Vm(
        endpoint=endpoint,
        uuid=text(root, "uuid"),
        name=text(root, "name"),
        host_key=None if power_state == "off" else f"{endpoint}/{facts.uuid}",
        power_state=power_state,
        allocated=Resources(
            cpu_cores=0.0 if vcpu is None else float(vcpu.get("current") or vcpu.text or 0),
            memory_mib=memory_mib(root, "currentMemory") or memory_mib(root, "memory"),
        ),
        networks=tuple(sorted({name for name in map(_network_of, root.iterfind("devices/interface")) if name})),
        storages=tuple(sorted({storage for storage in storages if storage})),
        required_cpu_features=_required_features(root),
        pinned_by=pinning_devices(root),
        notes=text(root, "description") or text(root, "title"),
        facts={
            "machine": attribute(root, "os/type", "machine"),
            "arch": attribute(root, "os/type", "arch"),
            "domain_type": root.get("type", ""),
            "cpu_mode": attribute(root, "cpu", "mode"),
            "cpu_model": text(root, "cpu/model"),
            "memory_maximum_mib": memory_mib(root, "memory"),
            "hugepages": root.find("memoryBacking/hugepages") is not None,
            "firmware": text(root, "os/loader"),
            "secure_boot": attribute(root, "os/loader", "secure") == "yes",
            "tpm": attribute(root, "devices/tpm/backend", "version") or attribute(root, "devices/tpm/backend", "type"),
            "numa_nodeset": attribute(root, "numatune/memory", "nodeset"),
            "copied_disks": copied_disks(root, facts.pools, shared),
        },
    )


def memory_mib(root: ET.Element, path: str) -> float:
    """Return a memory size of a domain's XML in MiB; 0 when absent. libvirt's default unit is KiB."""
    size = root.find(path)
    if size is None or not size.text:
        return 0.0
    return size_mib(size.text, size.get("unit", "KiB"))


def size_mib(number: str, unit: str) -> float:
    """Return a size as libvirt's XML gives it, number and unit, in MiB."""
    return float(number) * _UNIT_MIB[unit.lower()]


def free_huge_pages(raw: libvirt.virConnect) -> dict[int, int]:
    """Return the number of free huge pages per size in KiB, over all NUMA cells; empty where the kernel has none."""
    capabilities = parse(raw.getCapabilities())
    sizes = [int(page.get("size", "0")) for page in capabilities.iterfind("host/cpu/pages")]
    cells = [int(cell.get("id", "0")) for cell in capabilities.iterfind("host/topology/cells/cell")]
    found: dict[int, int] = {}
    for size in sizes:
        if size > SMALL_PAGE_KIB and cells:
            per_cell: Iterable[Mapping[int, int]] = raw.getFreePages([size], min(cells), len(cells)).values()
            found[size] = sum(free[size] for free in per_cell)
    return found


def _network_of(interface: ET.Element) -> str:
    source = interface.find("source")
    if source is None:
        return ""
    return source.get("network") or source.get("bridge") or source.get("dev") or ""


def _required_features(root: ET.Element) -> frozenset[str]:
    """Return the CPU features the VM was given and now relies on. An emulated CPU asks nothing of the host's."""
    if root.get("type") != "kvm":
        return frozenset()
    required = (feature for feature in root.iterfind("cpu/feature") if feature.get("policy", "require") == "require")
    return frozenset(feature.get("name", "") for feature in required)


def pinning_devices(root: ET.Element) -> tuple[str, ...]:
    """Return what in a domain's XML keeps it on its host: devices and memory that cannot be sent elsewhere."""
    found = [f"hostdev {device.get('type', '')}".strip() for device in root.iterfind("devices/hostdev")]
    kinds = ("hostdev", "vdpa")
    found += [f"interface {i.get('type')}" for i in root.iterfind("devices/interface") if i.get("type") in kinds]
    found += ["disk vhostvdpa" for d in root.iterfind("devices/disk") if d.get("type") == "vhostvdpa"]
    found += [f"filesystem {attribute(f, 'target', 'dir')}" for f in root.iterfind("devices/filesystem")]
    found += ["tpm passthrough" for b in root.iterfind("devices/tpm/backend") if b.get("type") == "passthrough"]
    found += ["shmem" for s in root.iterfind("devices/shmem") if s.get("role") != "master"]
    found += [f"memory {m.get('model')}" for m in root.iterfind("devices/memory") if m.get("model") == "nvdimm"]
    if root.find("launchSecurity") is not None:
        found.append(f"launch security {attribute(root, 'launchSecurity', 'type')}")
    if any(f.get("name") == "invtsc" and f.get("policy") == "require" for f in root.iterfind("cpu/feature")):
        found.append("cpu feature invtsc")
    return tuple(sorted(set(found)))

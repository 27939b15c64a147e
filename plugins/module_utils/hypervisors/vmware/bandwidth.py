# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What vSphere can guarantee of a VM's network and disk demand, device by device.

Network I/O Control (version 3) reserves Mbit/s for a virtual network card on a distributed switch; storage I/O control
reserves I/O operations per second for a virtual disk on a datastore where such reservations are enabled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ...estate.resources import Resources
from .device_use import DeviceUse, read_device_use
from .properties import Record, moid_of, read_objects
from .sdk import pyvmomi
from .session import Session

#: What must have been read of a VM.
VM_PATHS = ("network", "config.hardware.device")
#: Resource -> device key -> what to reserve there (Mbit/s of a card, operations per second of a disk).
Plan = Mapping[str, Mapping[int, int]]

SENT_AND_RECEIVED = "net.usage.average"
READ_KIB, WRITTEN_KIB = "virtualDisk.read.average", "virtualDisk.write.average"
READS, WRITES = "virtualDisk.numberReadAveraged.average", "virtualDisk.numberWriteAveraged.average"
#: A larger operation counts as several of this size (vSphere Web Services API, StorageIOAllocationInfo.reservation).
UNIT_KIB = 32.0


def plan(session: Session, vm: Record, amount: Resources) -> Plan:
    """Return how to guarantee the network and disk demand ``amount`` of a VM read with `VM_PATHS`.

    A resource is absent where vSphere cannot guarantee all of it: a device in use is not under I/O control, or how the
    demand is spread over the devices, or how large the disk's operations are, is not known.
    """
    found = {
        "network": _cards(session, vm, amount.network_mbit_s),
        "disk": _disks(session, vm, amount.disk_mib_s),
    }
    return {resource: parts for resource, parts in found.items() if parts}


def controlled(session: Session, vm: Record) -> Mapping[str, frozenset[int]]:
    """Return per resource the keys of the VM's devices for which vSphere can reserve something now."""
    return {"network": _controlled_cards(session, vm), "disk": _controlled_disks(session, vm)}


def _devices(vm: Record, kind: Any) -> list[Any]:
    return [device for device in vm.get("config.hardware.device") or () if isinstance(device, kind)]


def _cards(session: Session, vm: Record, mbit_s: float) -> dict[int, int]:
    cards = _devices(vm, pyvmomi.vim.vm.device.VirtualEthernetCard)
    keys = [card.key for card in cards if card.connectable is None or card.connectable.connected]
    able = _controlled_cards(session, vm) if mbit_s > 0 else frozenset()
    if not able.intersection(keys):
        return {}
    shares = {keys[0]: 1.0} if len(keys) == 1 else _card_shares(session, vm, keys)
    return {key: math.ceil(mbit_s * share) for key, share in shares.items()} if able.issuperset(shares) else {}


def _card_shares(session: Session, vm: Record, keys: Iterable[int]) -> dict[int, float]:
    """Return which part of the last hour's traffic went through each card; cards without any are left out."""
    use = read_device_use(session, vm.reference, [SENT_AND_RECEIVED])
    return _parts({key: use.get(str(key), {}).get(SENT_AND_RECEIVED, 0.0) for key in keys})


def _disks(session: Session, vm: Record, mib_s: float) -> dict[int, int]:
    able = _controlled_disks(session, vm) if mib_s > 0 else frozenset()
    if not able:
        return {}
    instances = {disk.key: _instance(vm, disk) for disk in _devices(vm, pyvmomi.vim.vm.device.VirtualDisk)}
    use = read_device_use(session, vm.reference, [READ_KIB, WRITTEN_KIB, READS, WRITES])
    shares = _parts({key: _kib_s(use, name) for key, name in instances.items()})
    if not able.issuperset(shares):
        return {}
    return {key: math.ceil(mib_s * share * 1024 / _operation_kib(use, instances[key])) for key, share in shares.items()}


def _kib_s(use: DeviceUse, instance: str) -> float:
    figures = use.get(instance, {})
    return figures.get(READ_KIB, 0.0) + figures.get(WRITTEN_KIB, 0.0)


def _operation_kib(use: DeviceUse, instance: str) -> float:
    """Return the mean size of the disk's operations as vSphere counts them, between 1 KiB and `UNIT_KIB`."""
    figures = use.get(instance, {})
    operations = figures.get(READS, 0.0) + figures.get(WRITES, 0.0)
    return min(UNIT_KIB, max(1.0, _kib_s(use, instance) / operations)) if operations > 0 else UNIT_KIB


def _parts(amounts: Mapping[int, float]) -> dict[int, float]:
    total = sum(amounts.values())
    return {key: amount / total for key, amount in amounts.items() if amount > 0}


def _instance(vm: Record, disk: Any) -> str:
    """Return how vSphere's counters call a disk: the kind of its controller, the controller's and its own number."""
    types = pyvmomi.vim.vm.device
    kinds = {
        types.VirtualSCSIController: "scsi",
        types.VirtualNVMEController: "nvme",
        types.VirtualSATAController: "sata",
        types.VirtualIDEController: "ide",
    }
    controllers = _devices(vm, types.VirtualController)
    controller = next((found for found in controllers if found.key == disk.controllerKey), None)
    kind = next((name for base, name in kinds.items() if isinstance(controller, base)), None)
    return f"{kind}{controller.busNumber}:{disk.unitNumber}" if controller is not None and kind else ""


def _controlled_cards(session: Session, vm: Record) -> frozenset[int]:
    """Return the keys of the cards on a distributed switch with Network I/O Control version 3 switched on."""
    types = pyvmomi.vim.vm.device.VirtualEthernetCard
    group_of = {
        card.key: str(card.backing.port.portgroupKey)
        for card in _devices(vm, types)
        if isinstance(card.backing, types.DistributedVirtualPortBackingInfo)
    }
    groups = _portgroups(session, vm) if group_of else {}
    switches = {moid_of(switch): switch for switch in groups.values()}
    able = {moid for moid, switch in switches.items() if _has_control(session, switch)}
    return frozenset(key for key, group in group_of.items() if moid_of(groups.get(group)) in able)


def _portgroups(session: Session, vm: Record) -> dict[str, Any]:
    """Return key -> switch of the distributed port groups that the VM is connected to."""
    kind = pyvmomi.vim.dvs.DistributedVirtualPortgroup
    references = [network for network in vm.get("network") or () if isinstance(network, kind)]
    records = read_objects(session, references, ["key", "config.distributedVirtualSwitch"])
    return {str(record.get("key")): record.get("config.distributedVirtualSwitch") for record in records}


def _has_control(session: Session, switch: Any) -> bool:
    if switch is None:
        return False
    paths = ["config.networkResourceManagementEnabled", "config.networkResourceControlVersion"]
    records = read_objects(session, [switch], paths)
    return any(record.get(paths[0]) and record.get(paths[1]) == "version3" for record in records)


def _controlled_disks(session: Session, vm: Record) -> frozenset[int]:
    """Return the keys of the disks on a datastore with storage I/O control and I/O reservations enabled."""
    disks = _devices(vm, pyvmomi.vim.vm.device.VirtualDisk)
    store_of = {disk.key: getattr(disk.backing, "datastore", None) for disk in disks}
    stores = {moid_of(store): store for store in store_of.values() if store is not None}
    paths = ["iormConfiguration.enabled", "iormConfiguration.reservationEnabled"]
    records = read_objects(session, list(stores.values()), paths)
    able = {record.moid for record in records if record.get(paths[0]) and record.get(paths[1])}
    return frozenset(key for key, store in store_of.items() if moid_of(store) in able)

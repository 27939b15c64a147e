# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The settings of a running domain by which it is restrained: CPU shares, and limits of its disks and interfaces.

All of them are changed on the running domain only, so that one that is started anew has what its owner defined.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...libraries import library
from .faults import is_code
from .xml import attribute, parse

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: Settings of one resource of a domain: device (empty for the domain itself) -> name of the setting -> value.
Settings = dict[str, dict[str, int]]

SHARES = "cpu_shares"
MIB = 2**20
#: libvirt counts an interface's bandwidth in kilobytes per second.
KILOBYTES_PER_MBIT = 125
DIRECTIONS = ("inbound", "outbound")
#: What libvirt answers where a setting does not exist: no such cgroup controller, or a device of another kind.
_NO_LEVER = ("OPERATION_INVALID", "OPERATION_UNSUPPORTED", "NO_SUPPORT", "CONFIG_UNSUPPORTED", "INVALID_ARG")


def cpu_shares(domain: libvirt.virDomain) -> int | None:
    """Return a running domain's CPU shares (cgroup v1) or weight (v2); None where there is no CPU controller."""
    try:
        shares: int | None = domain.schedulerParametersFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE).get(SHARES)
    except libvirt.libvirtError as error:
        if is_code(error, *_NO_LEVER):
            return None
        raise
    return shares or None


class Lever(ABC):
    """Settings of one resource of running domains."""

    @abstractmethod
    def read(self, domain: libvirt.virDomain) -> Settings | None:
        """Return the settings that a domain has; a device without any has none listed. None where there is no lever.

        Raises `libvirt.libvirtError` with NO_DOMAIN when the domain has gone.
        """

    @abstractmethod
    def apply(self, domain: libvirt.virDomain, settings: Settings) -> None:
        """Give a domain the settings; a device with none listed loses its own."""


class SharesLever(Lever):
    """The weight by which the kernel divides the CPU in contention."""

    def read(self, domain: libvirt.virDomain) -> Settings | None:
        """Return the domain's shares."""
        shares = cpu_shares(domain)
        return None if shares is None else {"": {SHARES: shares}}

    def apply(self, domain: libvirt.virDomain, settings: Settings) -> None:
        """Set the domain's shares."""
        domain.setSchedulerParametersFlags({SHARES: settings[""][SHARES]}, libvirt.VIR_DOMAIN_AFFECT_LIVE)


class LimitLever(Lever):
    """A lever that bounds what a domain can take."""

    @abstractmethod
    def limit(self, settings: Settings) -> float | None:
        """Return the most that a domain with these settings can take, in the resource's unit; None: no bound."""

    @abstractmethod
    def least(self, settings: Settings, floor: float) -> float:
        """Return the smallest limit under which a domain can take ``floor``, whichever of its devices it uses."""

    @abstractmethod
    def limited(self, settings: Settings, limit: float) -> Settings:
        """Return settings that together allow ``limit``."""


class DiskLever(LimitLever):
    """Bytes per second of every disk, kept by QEMU (``<iotune>``)."""

    def read(self, domain: libvirt.virDomain) -> Settings | None:
        """Return the throttling of every disk that has something in it."""
        root = parse(domain.XMLDesc())
        disks = (disk for disk in root.iterfind("devices/disk") if disk.find("source") is not None)
        return _read_devices([attribute(disk, "target", "dev") for disk in disks], domain.blockIoTune)

    def limit(self, settings: Settings) -> float | None:
        """Return the MiB/s of all disks together."""
        limits = [_disk_limit(values) for values in settings.values()]
        return None if any(limit == 0 for limit in limits) else sum(limits) / MIB

    def least(self, settings: Settings, floor: float) -> float:
        """Every disk must be able to carry all of it."""
        return floor * len(settings)

    def limited(self, settings: Settings, limit: float) -> Settings:
        """Give every disk an equal part."""
        each = max(1, int(limit * MIB / max(1, len(settings))))
        return {device: {"total_bytes_sec": each} for device in settings}

    def apply(self, domain: libvirt.virDomain, settings: Settings) -> None:
        """Set the throttling of every disk listed."""
        for device, values in settings.items():
            domain.setBlockIoTune(device, values or {"total_bytes_sec": 0}, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _disk_limit(values: Mapping[str, int]) -> int:
    """Return the bytes per second that a disk's throttling allows, bursts included; 0 where it sets no bound."""

    def bound(kind: str) -> int:
        average = values.get(f"{kind}_bytes_sec", 0)
        return max(average, values.get(f"{kind}_bytes_sec_max", 0)) if average else 0

    both = bound("read") + bound("write") if bound("read") and bound("write") else 0
    return bound("total") or both


class NetworkLever(LimitLever):
    """Bandwidth of every interface, kept by the host's traffic control (``<bandwidth>``)."""

    def read(self, domain: libvirt.virDomain) -> Settings | None:
        """Return the bandwidth settings of every interface, by its MAC address."""
        root = parse(domain.XMLDesc())
        addresses = [attribute(interface, "mac", "address") for interface in root.iterfind("devices/interface")]
        return _read_devices(addresses, domain.interfaceParameters)

    def limit(self, settings: Settings) -> float | None:
        """Return the Mbit/s of all interfaces together, received and sent."""
        limits = [_interface_limit(values, way) for values in settings.values() for way in DIRECTIONS]
        return None if any(limit == 0 for limit in limits) else sum(limits) / KILOBYTES_PER_MBIT

    def least(self, settings: Settings, floor: float) -> float:
        """Every interface must be able to carry all of it in either direction."""
        return floor * len(settings) * len(DIRECTIONS)

    def limited(self, settings: Settings, limit: float) -> Settings:
        """Give every interface an equal part, half of it in each direction."""
        each = max(1, int(limit * KILOBYTES_PER_MBIT / max(1, len(settings) * len(DIRECTIONS))))
        return {device: {f"{way}.average": each for way in DIRECTIONS} for device in settings}

    def apply(self, domain: libvirt.virDomain, settings: Settings) -> None:
        """Set the bandwidth of every interface listed."""
        for device, values in settings.items():
            wanted = values or {f"{way}.average": 0 for way in DIRECTIONS}
            domain.setInterfaceParameters(device, wanted, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def _interface_limit(values: Mapping[str, int], way: str) -> int:
    average = values.get(f"{way}.average", 0)
    return max(average, values.get(f"{way}.peak", 0)) if average else 0


def _read_devices(devices: Sequence[str], ask: Callable[[str, int], Mapping[str, Any]]) -> Settings | None:
    try:
        return {device: _set_numbers(ask(device, libvirt.VIR_DOMAIN_AFFECT_LIVE)) for device in devices}
    except libvirt.libvirtError as error:
        if is_code(error, *_NO_LEVER):
            return None
        raise


def _set_numbers(parameters: Mapping[str, Any]) -> dict[str, int]:
    """Return the parameters that are numbers and not at their default of 0."""
    return {name: value for name, value in parameters.items() if isinstance(value, int) and value > 0}


#: Resources that are held by limits on the VMs of a host, where its endpoint allows that.
LIMITS: Mapping[str, LimitLever] = {"network": NetworkLever(), "disk": DiskLever()}

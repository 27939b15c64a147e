# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Tiny guests, and the heartbeats by which a test knows from outside whether, and how well, a guest lives."""

from __future__ import annotations

import itertools
import socket
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.foresight.migration.plugins.module_utils.libraries import library

from .lab import SUBNET, WIRE_ADDRESS, Lab, LabHost
from .namespaces import socket_in, wait_until

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

HEARTBEAT_PORT = 9100
CONTROL_PORT = 7000
BOOT_TIMEOUT_S = 90.0
RACE_TIMEOUT_S = 60.0
PAGE_MIB = 4096 / 2**20


@dataclass(frozen=True)
class GuestSpec:
    """A guest. ``number`` (1...99) gives its name, uuid, MAC and address."""

    number: int
    memory_mib: int = 160
    region_mib: int = 16
    rate_mib_s: int = 0
    spin: int = 0
    heartbeat_ms: int = 20
    disk: str = ""
    disk_kib_s: int = 0
    machine: str = "pc"
    persistent: bool = False
    title: str = ""
    elements: tuple[ET.Element, ...] = field(default=())

    @property
    def name(self) -> str:
        return f"guest{self.number}"

    @property
    def uuid(self) -> str:
        return f"00000000-0077-4000-8001-0000000000{self.number:02d}"

    @property
    def address(self) -> str:
        return f"{SUBNET}.{100 + self.number}"


def guest_xml(lab: Lab, spec: GuestSpec) -> str:
    """Return the domain XML of a guest."""
    domain = ET.Element("domain", type="qemu")
    _add(domain, "name", spec.name)
    _add(domain, "uuid", spec.uuid)
    if spec.title:
        _add(domain, "title", spec.title)
    _add(domain, "memory", str(spec.memory_mib), unit="MiB")
    _add(domain, "vcpu", "1")
    boot = _add(domain, "os")
    _add(boot, "type", "hvm", arch="x86_64", machine=spec.machine)
    _add(boot, "kernel", str(lab.packages.kernel))
    _add(boot, "initrd", str(lab.packages.initrd))
    _add(boot, "cmdline", _command_line(spec))
    features = _add(domain, "features")
    _add(features, "acpi")
    _add(features, "apic")
    cpu = _add(domain, "cpu", mode="custom", match="exact")
    _add(cpu, "model", "qemu64", fallback="forbid")
    _add(domain, "on_crash", "destroy")
    domain.extend(spec.elements)
    _add_devices(domain, lab, spec)
    return ET.tostring(domain, encoding="unicode")


def _command_line(spec: GuestSpec) -> str:
    kernel = "console=ttyS0 quiet nokaslr mitigations=off tsc=reliable no_timer_check panic=-1"
    work = {
        "name": spec.name,
        "ip": spec.address,
        "sink": WIRE_ADDRESS,
        "mb": spec.region_mib,
        "rate": spec.rate_mib_s,
        "spin": spec.spin,
        "hb": spec.heartbeat_ms,
        "dio": spec.disk_kib_s,
    }
    return " ".join([kernel, *(f"w.{key}={value}" for key, value in work.items())])


def _add_devices(domain: ET.Element, lab: Lab, spec: GuestSpec) -> None:
    devices = _add(domain, "devices")
    _add(devices, "emulator", "/usr/bin/qemu-system-x86_64")
    if spec.disk:
        disk = _add(devices, "disk", type="file", device="disk")
        _add(disk, "driver", name="qemu", type="raw", cache="none")
        _add(disk, "source", file=spec.disk)
        _add(disk, "target", dev="vda", bus="virtio")
    interface = _add(devices, "interface", type="bridge")
    _add(interface, "mac", address=f"52:54:00:77:00:{spec.number:02x}")
    _add(interface, "source", bridge="br0")
    _add(interface, "model", type="virtio")
    _add(interface, "rom", enabled="no")
    serial = _add(devices, "serial", type="file")
    _add(serial, "source", path=str(lab.shared / f"{spec.name}.console"), append="on")
    _add(serial, "target", port="0")
    _add(devices, "controller", type="usb", model="none")
    balloon = _add(devices, "memballoon", model="virtio")
    _add(balloon, "stats", period="1")


def _add(parent: ET.Element, tag: str, text: str | None = None, **attributes: str) -> ET.Element:
    child = ET.SubElement(parent, tag, attributes)
    child.text = text
    return child


def start_guest(lab: Lab, host: LabHost, spec: GuestSpec) -> None:
    """Start a guest on a host; returns when its memory region is filled and the rewriting has begun."""
    console = lab.shared / f"{spec.name}.console"
    console.unlink(missing_ok=True)
    connection = libvirt.open(host.uri)
    try:
        if spec.persistent:
            connection.defineXML(guest_xml(lab, spec)).create()
        else:
            connection.createXML(guest_xml(lab, spec), 0)
    finally:
        connection.close()
    wait_until(
        lambda: console.exists() and b"READY" in console.read_bytes(), BOOT_TIMEOUT_S, f"{spec.name} did not boot"
    )


def clear_guests(lab: Lab, keep: tuple[LabHost, str] | None = None) -> None:
    """Destroy and undefine every domain on every running host, except the one that is ``keep`` (its host, its uuid)."""
    for host in lab.hosts:
        if not host.running:
            continue
        connection = libvirt.open(host.uri)
        for domain in connection.listAllDomains():
            if keep is None or (host.name, domain.UUIDString()) != (keep[0].name, keep[1]):
                _discard(domain)
        connection.close()


def discard_guest(lab: Lab, spec: GuestSpec) -> None:
    """Destroy and undefine one guest on whatever running host it is."""
    for host in lab.hosts:
        if not host.running:
            continue
        connection = libvirt.open(host.uri)
        for domain in connection.listAllDomains():
            if domain.UUIDString() == spec.uuid:
                _discard(domain)
        connection.close()


def race(domains: Sequence[libvirt.virDomain], seconds: float = 3.0) -> list[float]:
    """Return the CPU seconds that each of some busy guests uses while all of them together use ``seconds``.

    It begins when every one of them is seen to be busy; raises `TimeoutError` when one is not, or they get no CPU.
    """

    def used_s(since_ns: Sequence[int]) -> list[float]:
        return [(domain.info()[4] - start) / 1e9 for domain, start in zip(domains, since_ns, strict=True)]

    told = [domain.info()[4] for domain in domains]
    wait_until(lambda: min(used_s(told)) > 0.2, RACE_TIMEOUT_S, "a guest is not busy", step_s=0.1)
    start = [domain.info()[4] for domain in domains]
    wait_until(lambda: sum(used_s(start)) > seconds, RACE_TIMEOUT_S, "the guests get no CPU", step_s=0.1)
    return used_s(start)


def _discard(domain: libvirt.virDomain) -> None:
    for step in (domain.destroy, domain.undefine):
        try:
            step()
        except libvirt.libvirtError as exc:
            if exc.get_error_code() not in (libvirt.VIR_ERR_NO_DOMAIN, libvirt.VIR_ERR_OPERATION_INVALID):
                raise


class Beat(NamedTuple):
    """One heartbeat: when it arrived (monotonic seconds), and what the guest said of itself."""

    arrived_s: float
    seq: int
    pages: int
    bad_pages: int
    io_errors: int


class Life(NamedTuple):
    """How a guest lived through an interval, by its heartbeats.

    ``silence_ms`` is the longest time without one. ``reruns`` counts steps back in the sequence: the same moment lived
    twice, as when two copies of a guest run.
    """

    beats: int
    silence_ms: float
    reruns: int
    bad_pages: int
    io_errors: int


class Heartbeats:
    """Receives the heartbeats of all guests of a lab. Use it as a context manager."""

    def __init__(self, lab: Lab) -> None:
        self._wire = lab.wire
        self._beats: dict[str, list[Beat]] = {}
        self._socket = socket_in(lab.wire, socket.SOCK_DGRAM)
        self._socket.bind((WIRE_ADDRESS, HEARTBEAT_PORT))
        self._socket.settimeout(0.2)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def __enter__(self) -> Heartbeats:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join()
        self._socket.close()

    def _receive(self) -> None:
        while not self._ended.is_set():
            try:
                words = self._socket.recv(512).decode().split()
            except TimeoutError:
                continue
            if len(words) == 7 and words[0] == "HB":
                beat = Beat(time.monotonic(), int(words[2]), int(words[4]), int(words[5]), int(words[6]))
                self._beats.setdefault(words[1], []).append(beat)

    def heard(self, name: str) -> bool:
        """Return whether a guest has been heard of since it was forgotten."""
        return name in self._beats

    def forget(self, name: str) -> None:
        """Drop what was heard of a guest, before another of that name starts."""
        self._beats.pop(name, None)

    def next_beat(self, name: str, timeout_s: float = 10.0) -> Beat:
        """Wait for the next heartbeat of a guest; raises `TimeoutError` when it is silent."""
        since = time.monotonic()
        wait_until(lambda: self._last(name) > since, timeout_s, f"no heartbeat of {name}")
        return self._beats[name][-1]

    def _last(self, name: str) -> float:
        beats = self._beats.get(name)
        return beats[-1].arrived_s if beats else 0.0

    def life(self, name: str, since_s: float, until_s: float | None = None) -> Life:
        """Return how the guest lived between two monotonic times (default: until now)."""
        until = time.monotonic() if until_s is None else until_s
        beats = [beat for beat in self._beats.get(name, []) if since_s <= beat.arrived_s <= until]
        times = [since_s, *(beat.arrived_s for beat in beats), until]
        return Life(
            beats=len(beats),
            silence_ms=1000 * max(after - before for before, after in itertools.pairwise(times)),
            reruns=sum(after.seq <= before.seq for before, after in itertools.pairwise(beats)),
            bad_pages=beats[-1].bad_pages if beats else 0,
            io_errors=beats[-1].io_errors if beats else 0,
        )

    def dirtied_mib_s(self, name: str, since_s: float) -> float:
        """Return how fast the guest has rewritten memory since a monotonic time, by its own count."""
        beats = [beat for beat in self._beats.get(name, []) if beat.arrived_s >= since_s]
        seconds = beats[-1].arrived_s - beats[0].arrived_s
        return (beats[-1].pages - beats[0].pages) * PAGE_MIB / seconds

    def tell(self, spec: GuestSpec, text: str, asker: LabHost | None = None) -> str:
        """Change settings of a running guest (``"rate 40 cpu 10"``); returns its counters, raises `TimeoutError`.

        ``asker`` is the host that asks; without it, somebody on the wire between the hosts.
        """
        with socket_in(asker.namespace if asker else self._wire, socket.SOCK_DGRAM) as control:
            control.settimeout(1.0)
            for _attempt in range(5):
                control.sendto(text.encode(), (spec.address, CONTROL_PORT))
                try:
                    return control.recv(512).decode()
                except TimeoutError:
                    continue
        raise TimeoutError(f"{spec.name} does not answer")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Domains as VMs: sizes, networks, storages, and what ties a VM to its host."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.disks import (
    Pool,
    copied_disks,
    disk_storage,
    is_under,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.inventory import (
    HostFacts,
    fastest_link_mbit_s,
    memory_mib,
    pinning_devices,
    read_networks,
    read_pools,
    version_text,
    vm_noun,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.xml import parse, serialise
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import HypervisorFault
from hypothesis import given
from hypothesis import strategies as st

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

POOLS = (
    Pool("default", "dir", "/var/lib/libvirt/images", 1000.0),
    Pool("nfs", "netfs", "/srv/nfs", 1000.0),
    Pool("deep", "dir", "/var/lib/libvirt/images/deep", 1000.0),
)
FACTS = HostFacts("host-uuid", "kvm1", ET.Element("capabilities"), POOLS, ("br0",), 10000.0)
DOMAIN = """
<domain type='kvm'>
  <name>{{ 7 * 7 }} &lt;b&gt; $(reboot)</name><uuid>u-1</uuid><description>two
lines</description>
  <memory unit='GiB'>4</memory><currentMemory unit='KiB'>2097152</currentMemory><vcpu current='2'>8</vcpu>
  <os><type arch='x86_64' machine='pc-q35-9.1'>hvm</type></os>
  <cpu mode='custom'><model>Skylake-Server</model><feature policy='require' name='pdpe1gb'/>
    <feature policy='disable' name='mpx'/></cpu>
  <devices>
    <disk type='file' device='disk'><source file='/srv/nfs/a.qcow2'/><target dev='vda'/></disk>
    <disk type='file' device='cdrom'><target dev='sda'/></disk>
    <interface type='network'><source network='lan' bridge='virbr0'/></interface>
    <interface type='bridge'><source bridge='br0'/></interface>
  </devices>
</domain>"""


def test_a_domain_becomes_a_vm_with_its_strings_untouched() -> None:
    vm = vm_noun(parse(DOMAIN), "running", FACTS, "kvm1", ())
    assert (vm.name, vm.notes, vm.host_key) == ("{{ 7 * 7 }} <b> $(reboot)", "two\nlines", "kvm1/host-uuid")
    assert (vm.allocated.cpu_cores, vm.allocated.memory_mib) == (2.0, 2048.0)
    assert vm.facts["memory_maximum_mib"] == 4096.0
    assert (vm.networks, vm.storages) == (("br0", "lan"), ("nfs",))
    assert vm.required_cpu_features == {"pdpe1gb"}
    assert vm.pinned_by == ()


def test_only_writable_disks_that_the_other_host_does_not_reach_are_copied_along() -> None:
    disks = {
        "vda": ("file", "<source file='/var/lib/libvirt/images/a'/>"),
        "vdb": ("file", "<source file='/b'/><shareable/>"),
        "vdc": ("file", "<source file='/shared/c'/>"),
        "vdd": ("file", "<source file='/srv/nfs/d'/>"),
        "vde": ("network", "<source protocol='rbd' name='vms/e'/>"),
        "vdf": ("volume", "<source pool='nfs' volume='f'/>"),
        "vdg": ("volume", "<source pool='default' volume='g'/>"),
        "sda": ("file", "<source file='/c'/><readonly/>"),
        "sdb": ("file", ""),
    }
    devices = "".join(
        f"<disk type='{kind}'>{inside}<target dev='{target}'/></disk>" for target, (kind, inside) in disks.items()
    )
    description = parse(f"<domain><devices>{devices}</devices></domain>")
    assert copied_disks(description, POOLS, ("/shared",)) == ("vda", "vdg")


def test_a_vm_tells_only_of_the_disks_that_a_move_with_its_storage_would_copy() -> None:
    assert vm_noun(parse(DOMAIN), "running", FACTS, "kvm1", ()).facts["copied_disks"] == ()
    assert vm_noun(parse(DOMAIN.replace("/srv/nfs", "/own")), "running", FACTS, "kvm1", ()).facts["copied_disks"] == (
        "vda",
    )


def test_a_vm_that_is_off_is_on_no_host() -> None:
    assert vm_noun(parse(DOMAIN), "off", FACTS, "kvm1", ()).host_key is None


def test_an_emulated_cpu_asks_nothing_of_the_host() -> None:
    emulated = parse(DOMAIN.replace("type='kvm'", "type='qemu'"))
    assert vm_noun(emulated, "running", FACTS, "kvm1", ()).required_cpu_features == frozenset()


@pytest.mark.parametrize(
    ("disk", "storage"),
    [
        ("<disk type='file'><source file='/srv/nfs/a'/></disk>", "nfs"),
        ("<disk type='file'><source file='/var/lib/libvirt/images/a'/></disk>", "default@kvm1"),
        ("<disk type='file'><source file='/var/lib/libvirt/images/deep/a'/></disk>", "deep@kvm1"),
        ("<disk type='file'><source file='/shared/a'/></disk>", "/shared"),
        ("<disk type='file'><source file='/other/a'/></disk>", "/other@kvm1"),
        ("<disk type='block'><source dev='/dev/vg/a'/></disk>", "/dev/vg@kvm1"),
        ("<disk type='volume'><source pool='nfs' volume='a'/></disk>", "nfs"),
        ("<disk type='volume'><source pool='default' volume='a'/></disk>", "default@kvm1"),
        ("<disk type='network'><source protocol='rbd' name='vms/a'/></disk>", "rbd:vms"),
        ("<disk type='file' device='cdrom'/>", None),
    ],
)
def test_only_what_other_hosts_see_too_has_a_name_of_its_own(disk: str, storage: str | None) -> None:
    assert disk_storage(parse(disk), POOLS, ("/shared",), "kvm1") == storage


@pytest.mark.parametrize(
    ("path", "folder", "inside"),
    [
        ("/srv/vms/a", "/srv/vms", True),
        ("/srv/vms2/a", "/srv/vms", False),
        ("/srv/vms/../etc/a", "/srv/vms", False),
        ("/srv/vms", "/srv/vms", False),
        ("/a", "/", True),
        ("/a", "", False),
    ],
)
def test_a_path_lies_in_a_folder_only_as_a_whole_component(path: str, folder: str, inside: bool) -> None:
    assert is_under(path, folder) is inside


@pytest.mark.parametrize(
    ("element", "reason"),
    [
        ("<devices><hostdev type='pci'/></devices>", "hostdev pci"),
        ("<devices><interface type='hostdev'/></devices>", "interface hostdev"),
        ("<devices><filesystem><target dir='share'/></filesystem></devices>", "filesystem share"),
        ("<devices><tpm><backend type='passthrough'/></tpm></devices>", "tpm passthrough"),
        ("<devices><memory model='nvdimm'/></devices>", "memory nvdimm"),
        ("<launchSecurity type='sev'/>", "launch security sev"),
        ("<cpu><feature policy='require' name='invtsc'/></cpu>", "cpu feature invtsc"),
    ],
)
def test_devices_that_cannot_travel_pin_a_vm(element: str, reason: str) -> None:
    assert pinning_devices(parse(f"<domain>{element}</domain>")) == (reason,)


@pytest.mark.parametrize(
    ("unit", "value", "mib"), [("KiB", 2048, 2.0), ("MiB", 3, 3.0), ("GiB", 1, 1024.0), ("b", 2**20, 1.0)]
)
def test_memory_sizes_are_read_in_their_unit(unit: str, value: int, mib: float) -> None:
    assert memory_mib(parse(f"<d><memory unit='{unit}'>{value}</memory></d>"), "memory") == mib
    assert memory_mib(parse("<d/>"), "memory") == 0.0


def refusal(name: str, domain: int = 10) -> libvirt.libvirtError:
    error = libvirt.libvirtError(name)
    error.err = (getattr(libvirt, f"VIR_ERR_{name}"), domain, name, 2, None, None, None, 0, 0)
    return error


@dataclass
class FakeDevice:
    """A network device of the host, as its XML or as what asking for that meets."""

    answer: str | libvirt.libvirtError

    def XMLDesc(self) -> str:  # noqa: N802
        if isinstance(self.answer, str):
            return self.answer
        raise self.answer


@dataclass
class FakeHost:
    """A host that has network devices, and every other part of whose libvirt meets ``error``."""

    devices: Sequence[FakeDevice] = ()
    error: libvirt.libvirtError | None = None
    alive: bool = True

    def listAllDevices(self, _kind: int) -> Sequence[FakeDevice]:  # noqa: N802
        return self.devices

    def refuse(self, *_arguments: object) -> list[object]:
        if self.error is not None:
            raise self.error
        return []

    listAllStoragePools = listAllNetworks = listAllInterfaces = refuse  # noqa: N815

    def isAlive(self) -> int:  # noqa: N802
        return int(self.alive)


def link(parent: str, speed: int, state: str = "up") -> FakeDevice:
    return FakeDevice(
        f"<device><parent>{parent}</parent><capability type='net'><link speed='{speed}' state='{state}'/></capability>"
        "</device>"
    )


@pytest.mark.parametrize(
    ("devices", "mbit_s"),
    [
        ([link("pci_1", 1000), link("computer", 10000)], 1000),
        ([link("pci_1", 10000), link("pci_2", 10000), link("computer", 20000)], 20000),
        ([link("pci_1", 25000), link("pci_2", 1000), link("computer", 10000)], 25000),
        ([link("pci_1", 100000, state="down"), link("pci_2", 1000)], 1000),
        ([link("computer", 10000), link("computer", 0)], 10000),
        ([FakeDevice(refusal("NO_NODE_DEVICE")), link("pci_1", 1000)], 1000),
        ([], None),
    ],
    ids=["veth", "bond", "fastest", "down", "virtual only", "gone", "none"],
)
def test_a_hosts_link_is_one_that_can_carry_it(devices: list[FakeDevice], mbit_s: float | None) -> None:
    assert fastest_link_mbit_s(cast(libvirt.virConnect, FakeHost(devices)), []) == mbit_s


@pytest.mark.parametrize("error", [refusal("NO_SUPPORT"), refusal("SYSTEM_ERROR", libvirt.VIR_FROM_RPC)])
def test_a_part_of_libvirt_that_a_host_does_not_run_is_a_warning(error: libvirt.libvirtError) -> None:
    host, warnings = cast(libvirt.virConnect, FakeHost(error=error)), list[str]()
    assert read_pools(host, warnings) == read_networks(host, warnings) == ()
    assert len(warnings) == 3


def test_a_connection_that_breaks_is_not_taken_for_a_host_without_that_part() -> None:
    broken = FakeHost(error=refusal("SYSTEM_ERROR", libvirt.VIR_FROM_RPC), alive=False)
    with pytest.raises(libvirt.libvirtError):
        read_pools(cast(libvirt.virConnect, broken), [])


def test_versions_read_as_people_write_them() -> None:
    assert version_text(11_003_000) == "11.3.0"


@pytest.mark.parametrize("text", ["<a>", "", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>'])
def test_xml_that_libvirt_would_not_send_is_refused(text: str) -> None:
    with pytest.raises(HypervisorFault):
        parse(text)


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=60))
def test_any_text_passes_unharmed_through_xml(text: str) -> None:
    element = ET.Element("mark", {"name": text})
    element.text = text
    back = parse(serialise(element))
    assert back.get("name") == text
    assert (back.text or "") == text

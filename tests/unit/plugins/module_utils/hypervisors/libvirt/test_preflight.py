# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What stands against a move and is not to be had in the lab: firmware, TPM, secrets, pages, pools, bindings."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import dataclass

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.disks import Pool
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.preflight import (
    Subject,
    Target,
    findings,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.state import DomainState
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

LOADER, SECRET = "/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "11111111-2222-4333-8444-555555555555"
CAPABILITIES = (
    "<capabilities><host><cpu><arch>x86_64</arch><pages unit='KiB' size='4'/><pages unit='KiB' size='2048'/></cpu>"
    "<topology><cells><cell id='0'/></cells></topology></host></capabilities>"
)
PLATFORM = (
    "<domainCapabilities><os><loader><value>{loader}</value><enum name='secure'><value>{secure}</value></enum></loader>"
    "</os><devices><tpm><enum name='model'><value>tpm-crb</value></enum><enum name='backendModel'><value>{tpm}</value>"
    "</enum><enum name='backendVersion'><value>2.0</value></enum></tpm></devices></domainCapabilities>"
)


def refusal(name: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError(name)
    error.err = (getattr(libvirt, f"VIR_ERR_{name}"), 0, name, 2, None, None, None, 0, 0)
    return error


@dataclass
class FakeTarget:
    """A destination with 1 GiB of memory and two CPUs, as libvirt answers for it."""

    platform: str = PLATFORM.format(loader=LOADER, secure="yes", tpm="emulator")
    secrets: tuple[str, ...] = (SECRET,)
    huge_pages: int = 512
    cpu_fault: str = ""
    version: int = 11_000_000

    def lookupByName(self, _name: str) -> object:  # noqa: N802
        raise refusal("NO_DOMAIN")

    def getDomainCapabilities(self, *_platform: object) -> str:  # noqa: N802
        return self.platform

    def secretLookupByUUIDString(self, uuid: str) -> str:  # noqa: N802
        if uuid not in self.secrets:
            raise refusal("NO_SECRET")
        return uuid

    def compareHypervisorCPU(self, *_cpu: object) -> int:  # noqa: N802
        if self.cpu_fault:
            raise refusal(self.cpu_fault)
        return 1

    compareCPU = compareHypervisorCPU  # noqa: N815

    def getMemoryStats(self, _cell: int) -> dict[str, int]:  # noqa: N802
        return {"total": 2**20, "free": 2**20, "buffers": 0, "cached": 0}

    def getCapabilities(self) -> str:  # noqa: N802
        return CAPABILITIES

    def getFreePages(self, sizes: list[int], _first: int, _count: int) -> dict[int, dict[int, int]]:  # noqa: N802
        return {0: {size: self.huge_pages if size == 2048 else 0 for size in sizes}}

    def getCPUMap(self) -> tuple[int, list[bool], int]:  # noqa: N802
        return 2, [True, True], 2

    def getLibVersion(self) -> int:  # noqa: N802
        return self.version

    getVersion = getLibVersion  # noqa: N815


POOLS = (Pool("gold", "rbd", "", 10000.0), Pool("own", "dir", "/vms", 50.0))


def codes(parts: str = "", target: FakeTarget | None = None, *, snapshots: int = 0, blocking: bool = True,
          storage_copy: bool = False, held_huge_mib: float = 0.0, **options: object) -> set[str]:  # fmt: skip
    description = ET.fromstring(
        "<domain type='kvm'><name>web</name><memory unit='MiB'>512</memory>"
        f"<os><type arch='x86_64' machine='pc-q35-8.0'>hvm</type></os>{parts}</domain>"
    )
    subject = Subject(
        "web", "vm-1", DomainState("running", "here"), description, "", (), snapshots, {"vda": 100.0}, "host-1",
        11_000_000, 11_000_000, ET.fromstring("<cpu><arch>x86_64</arch></cpu>"),
    )  # fmt: skip
    there = Target(target or FakeTarget(), "kvm2", "host-2", POOLS, ("br0",), True, 0.0, held_huge_mib, options)
    found = findings(subject, there, MoveOrder("vm-1", "host-2", "r", storage_copy=storage_copy))
    return {finding.code for finding in found if finding.blocking is blocking}


SECURE = f"<os><type arch='x86_64'>hvm</type><loader secure='yes'>{LOADER}</loader></os>"
TPM = "<devices><tpm model='tpm-crb'><backend type='emulator' version='2.0'/></tpm></devices>"


def test_an_ordinary_vm_may_go() -> None:
    assert codes() == codes(blocking=False) == set()


def test_secure_boot_needs_the_same_firmware_and_a_host_that_can() -> None:
    without = FakeTarget(platform=PLATFORM.format(loader=LOADER, secure="no", tpm="emulator"))
    other = FakeTarget(platform=PLATFORM.format(loader="/other.fd", secure="yes", tpm="emulator"))
    assert firmware(SECURE) == set()
    assert firmware(SECURE, without) == {"secure_boot_unsupported"}
    assert firmware(SECURE, other) == {"firmware_unknown"}


def firmware(parts: str, target: FakeTarget | None = None) -> set[str]:
    """Return the codes for a VM whose only <os> is the given one."""
    description = ET.fromstring(f"<domain type='kvm'><name>web</name><memory unit='MiB'>512</memory>{parts}</domain>")
    subject = Subject(
        "web", "vm-1", DomainState("running", "here"), description, "", (), 0, {}, "host-1", 1, 1, None,
    )  # fmt: skip
    there = Target(target or FakeTarget(), "kvm2", "host-2", POOLS, ("br0",), True, 0.0, 0.0, {})
    return {finding.code for finding in findings(subject, there, MoveOrder("vm-1", "host-2", "r"))}


def test_a_tpm_needs_a_host_that_emulates_its_kind() -> None:
    assert codes(TPM) == set()
    assert codes(TPM, FakeTarget(platform=PLATFORM.format(loader=LOADER, secure="no", tpm="passthrough"))) == {
        "tpm_unsupported"
    }
    assert codes(TPM.replace("2.0", "1.2")) == codes(TPM.replace("crb", "tis")) == {"tpm_unsupported"}


@pytest.mark.parametrize(
    "parts",
    [
        f"<devices><tpm><backend type='emulator'><encryption secret='{SECRET}'/></backend></tpm></devices>",
        f"<devices><disk type='network'><source protocol='rbd' name='p/i'><auth><secret uuid='{SECRET}'/></auth>"
        f"<encryption format='luks'><secret uuid='{SECRET}'/></encryption></source><target dev='vda'/></disk>"
        "</devices>",
    ],
    ids=["TPM", "disk"],
)
def test_secrets_must_be_there_already(parts: str) -> None:
    assert codes(parts) == set()
    assert codes(parts, FakeTarget(secrets=())) == {"secret_missing"}


@pytest.mark.parametrize("page", ["", "<page size='2' unit='MiB'/>", "<page size='2048'/>"])
def test_a_vm_on_huge_pages_needs_them_free_or_held_for_it(page: str) -> None:
    parts = f"<memoryBacking><hugepages>{page}</hugepages></memoryBacking>"
    assert codes(parts) == set()
    assert codes(parts, FakeTarget(huge_pages=200)) == {"hugepages_short"}
    assert codes(parts, FakeTarget(huge_pages=0), held_huge_mib=512.0) == set()


def test_pages_of_a_size_that_the_host_does_not_have_are_missing() -> None:
    parts = "<memoryBacking><hugepages><page size='1' unit='GiB'/></hugepages></memoryBacking>"
    assert codes(parts) == {"hugepages_short"}


def test_snapshots_stand_in_the_way() -> None:
    assert codes(snapshots=2) == {"vm_has_snapshots"}


@pytest.mark.parametrize(
    "parts",
    [
        "<numatune><memory mode='strict' nodeset='0-1'/></numatune>",
        "<cputune><vcpupin vcpu='0' cpuset='0-3,^2'/></cputune>",
        "<vcpu cpuset='7'>1</vcpu>",
    ],
)
def test_what_a_vm_is_bound_to_must_be_there(parts: str) -> None:
    assert codes(parts) == {"binding_impossible"}


def test_bindings_that_the_host_has_are_no_hindrance() -> None:
    assert codes("<vcpu cpuset='0-1'>1</vcpu><numatune><memory nodeset='0'/></numatune>") == set()


DISK = "<devices><disk type='volume'><source pool='{pool}' volume='v'/><target dev='vda'/></disk></devices>"


def test_pools_are_compared_by_name_and_only_shared_ones_need_no_copy() -> None:
    assert codes(DISK.format(pool="gold")) == set()
    assert codes(DISK.format(pool="own")) == codes(DISK.format(pool="silver")) == {"storage_not_shared"}
    assert codes(DISK.format(pool="own"), storage_copy=True) == {"storage_full"}
    assert codes(DISK.format(pool="silver"), storage_copy=True) == {"storage_pool_missing"}


def test_disks_cannot_be_copied_through_a_tunnel() -> None:
    assert codes(DISK.format(pool="own"), storage_copy=True, migration_tunnelled=True) == {"storage_copy_unsupported"}
    assert codes(DISK.format(pool="gold"), storage_copy=True, migration_tunnelled=True) == set()


CPU = "<cpu mode='custom'><model>Skylake-Client</model></cpu>"


@pytest.mark.parametrize("parts", [CPU, "<cpu mode='host-passthrough'/>"])
def test_a_cpu_that_cannot_be_compared_is_a_warning_and_a_lesser_one_a_refusal(parts: str) -> None:
    assert codes(parts) == set()
    assert codes(parts, FakeTarget(cpu_fault="CPU_INCOMPATIBLE")) == {"cpu_incompatible"}
    unverified = FakeTarget(cpu_fault="NO_SUPPORT")
    assert codes(parts, unverified) == set()
    assert codes(parts, unverified, blocking=False) == {"cpu_unverified"}


def test_an_older_host_is_a_warning() -> None:
    old = FakeTarget(version=9_000_000)
    assert codes(target=old) == set()
    assert codes(target=old, blocking=False) == {"version_older"}


@pytest.mark.parametrize("kind", ["vdpa", "hostdev"])
def test_devices_that_cannot_travel_pin_the_vm(kind: str) -> None:
    assert codes(f"<devices><interface type='{kind}'/></devices>") == {"vm_pinned"}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sizes of placeholders, shares of CPU, and how orders become flags and parameters."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.connection import Connection
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.guarantee import needed_shares
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.holds import Holds
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.marks import (
    HOLD,
    is_placeholder,
    placeholder_uuid,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.placeholder import (
    MAX_PARTS,
    huge_page_kib,
    part_sizes,
    placeholder,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.settings import (
    MigrationSettings,
    flags_of,
    parameters_of,
    resume_flags,
    stream_parameters,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold, MoveOrder, Tuning
from hypothesis import given
from hypothesis import strategies as st

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

P2P = MigrationSettings.of({}, "qemu+tls://kvm2/system")


@given(st.floats(min_value=0.01, max_value=2**22))
def test_placeholders_hold_all_that_is_asked_and_hardly_more(memory_mib: float) -> None:
    sizes = part_sizes(memory_mib)
    assert 1 <= len(sizes) <= MAX_PARTS
    assert memory_mib <= sum(sizes) < memory_mib + 2 * len(sizes)
    assert all(size % 2 == 0 for size in sizes)


def test_parts_on_huge_pages_are_made_of_whole_ones() -> None:
    assert part_sizes(1500, page_mib=1024) == (2048,)
    assert part_sizes(4000, page_mib=1024) == (2048, 2048, 2048)


def test_the_huge_pages_taken_are_those_of_which_most_is_free() -> None:
    assert huge_page_kib({2048: 1000, 1048576: 1}) == 2048
    assert huge_page_kib({2048: 100, 1048576: 4}) == 1048576
    assert huge_page_kib({2048: 0, 1048576: 0}) == 2048
    assert huge_page_kib({}) is None


def test_nothing_asked_is_nothing_held() -> None:
    assert part_sizes(0) == part_sizes(-5) == ()


@given(
    others=st.integers(min_value=1, max_value=10**5),
    host=st.floats(min_value=1, max_value=512),
    share=st.floats(min_value=0.01, max_value=0.95),
)
def test_shares_grant_the_cores_when_everybody_wants_everything(others: int, host: float, share: float) -> None:
    shares = needed_shares(others, share * host, host, most=10**9)
    assert shares / (shares + others) * host == pytest.approx(share * host, rel=0.05, abs=host / others)


def test_shares_stay_within_what_the_kernel_takes() -> None:
    assert needed_shares(1024, 8.0, 8.0, most=10000) == 10000
    assert needed_shares(0, 1.0, 8.0, most=10000) == 1


CAPABILITIES = ET.fromstring(
    "<capabilities><host><cpu><arch>x86_64</arch></cpu><topology><cells><cell><cpus><cpu id='0'/><cpu id='1'/></cpus>"
    "</cell></cells></topology></host><guest><arch name='i686'><domain type='kvm'/></arch></guest>"
    "<guest><arch name='x86_64'><domain type='qemu'/></arch></guest></capabilities>"
)


@pytest.mark.parametrize("backing", ["allocated", "locked", "hugepages"])
def test_a_placeholder_is_memory_that_is_taken_at_once_and_says_for_whom(backing: str) -> None:
    hold = Hold("r'\"<&>", "host", "vm", Resources(1.5, 512.0, 3.0, 4.0), "hard")
    root = placeholder(CAPABILITIES, hold, 1, 256, backing, 2048)
    assert root.get("type") == "qemu"
    assert root.findtext("memory") == "256"
    uuid = root.findtext("uuid") or ""
    assert uuid == placeholder_uuid(hold.reservation_id, 1)
    assert is_placeholder(root.findtext("name") or "", uuid)
    allocation = root.find("memoryBacking/allocation")
    assert allocation is not None
    assert allocation.attrib == {"mode": "immediate", "threads": "2"}
    assert (root.find(f"memoryBacking/{backing}") is not None) is (backing != "allocated")
    mark = root.find(f"metadata/{{{HOLD}}}mark")
    assert mark is not None
    assert (mark.get("reservation"), mark.get("vm"), mark.get("part")) == (hold.reservation_id, "vm", "1")


def test_a_guest_that_only_looks_like_a_placeholder_is_none() -> None:
    assert not is_placeholder("foresight-hold-web01", "00000000-0000-4000-8000-000000000001")


def test_unknown_backings_and_modes_are_refused() -> None:
    with pytest.raises(InvalidOption):
        Holds(Connection("kvm1", {"uri": "test:///default"}), {"hold_backing": "swap"}, lambda: "")
    with pytest.raises(InvalidOption):
        MigrationSettings.of({"migration_mode": "cold"}, "qemu:///system")
    with pytest.raises(InvalidOption):
        MigrationSettings.of({"migration_tunnelled": True, "migration_mode": "direct"}, "qemu:///system")


def test_a_move_is_always_live_and_persistence_goes_with_the_vm() -> None:
    order = MoveOrder("vm", "host", "r")
    plain = flags_of(order, P2P, persistent=False)
    kept = flags_of(order, P2P, persistent=True)
    assert plain & libvirt.VIR_MIGRATE_LIVE
    assert plain & libvirt.VIR_MIGRATE_PEER2PEER
    assert kept & ~plain == libvirt.VIR_MIGRATE_PERSIST_DEST | libvirt.VIR_MIGRATE_UNDEFINE_SOURCE
    risky = libvirt.VIR_MIGRATE_POSTCOPY | libvirt.VIR_MIGRATE_UNSAFE | libvirt.VIR_MIGRATE_OFFLINE
    assert not (plain | kept) & risky


def test_every_means_of_an_order_becomes_its_flag() -> None:
    order = MoveOrder(
        "vm",
        "host",
        "r",
        auto_converge=True,
        post_copy=True,
        compression=True,
        parallel_connections=4,
        storage_copy=True,
    )
    flags = flags_of(order, P2P, persistent=False, copied=("vda",))
    for name in ("AUTO_CONVERGE", "POSTCOPY", "COMPRESSED", "PARALLEL", "NON_SHARED_DISK"):
        assert flags & getattr(libvirt, f"VIR_MIGRATE_{name}"), name


def test_parameters_are_whole_numbers_in_libvirts_units() -> None:
    target = MigrationSettings.of({"migration_address": "fd00::2"}, "qemu+tls://kvm2/system")
    order = MoveOrder(
        "vm", "host", "r", Tuning(bandwidth_mib_s=0.2), auto_converge=True, compression=True,
        options={"auto_converge_initial": "30", "xbzrle_cache_mib": 8},
    )  # fmt: skip
    assert parameters_of(order, target) == {
        libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: 1,
        libvirt.VIR_MIGRATE_PARAM_URI: "tcp://[fd00::2]",
        libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL: 30,
        libvirt.VIR_MIGRATE_PARAM_COMPRESSION: "xbzrle",
        libvirt.VIR_MIGRATE_PARAM_COMPRESSION_XBZRLE_CACHE: 8 * 2**20,
    }


def test_only_disks_that_are_named_are_copied() -> None:
    order = MoveOrder("vm", "host", "r", storage_copy=True)
    assert parameters_of(order, P2P, ("vda", "vdg")) == {libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS: ["vda", "vdg"]}
    # without any named, libvirt would copy disks that both hosts reach onto themselves
    assert not flags_of(order, P2P, persistent=False, copied=()) & libvirt.VIR_MIGRATE_NON_SHARED_DISK
    assert parameters_of(order, P2P) == {}


def test_a_post_copy_is_resumed_under_the_terms_of_its_start() -> None:
    target = MigrationSettings.of({"migration_tls": True, "migration_address": "10.0.0.2"}, "qemu+tls://kvm2/system")
    order = MoveOrder("vm", "host", "r", post_copy=True)
    start, resume = flags_of(order, target, persistent=True), resume_flags(target, persistent=True)
    assert resume & ~start == libvirt.VIR_MIGRATE_POSTCOPY_RESUME
    assert start & ~resume == libvirt.VIR_MIGRATE_ABORT_ON_ERROR
    assert resume & libvirt.VIR_MIGRATE_UNDEFINE_SOURCE  # or the source could start a second copy
    assert stream_parameters(target) == {libvirt.VIR_MIGRATE_PARAM_URI: "tcp://10.0.0.2"}


def test_a_bandwidth_cap_holds_in_post_copy_too() -> None:
    order = MoveOrder("vm", "host", "r", Tuning(bandwidth_mib_s=50.0), post_copy=True)
    parameters = parameters_of(order, P2P)
    assert parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] == 50


@pytest.mark.parametrize("options", [{"unsafe": True}, {"auto_converge_initial": 0}, {"xbzrle_cache_mib": "much"}])
def test_driver_options_that_mean_nothing_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        parameters_of(MoveOrder("vm", "host", "r", options=options), P2P)

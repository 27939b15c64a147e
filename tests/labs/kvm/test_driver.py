# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the libvirt driver tells of real hosts and guests, and what it holds on them."""

from __future__ import annotations

import statistics
import time

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.driver import LibvirtDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    DirtyRate,
    Hold,
    HoldRefused,
    PermissionDenied,
)

from .conftest import Site, endpoint_options
from .guests import GuestSpec
from .namespaces import wait_until

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

pytestmark = pytest.mark.lab

HOSTILE_TITLE = "{{ 1 + 1 }} '\"<&]]> $(reboot) ../../etc \u202e\U0001f4a5"


def test_inventory_shows_the_host_and_its_guest(site: Site) -> None:
    guest = site.start(GuestSpec(2, title=HOSTILE_TITLE))
    inventory = site.drivers[0].inventory()
    (host,) = inventory.hosts
    assert (host.host_id, host.name, host.family, host.state) == (site.lab.hosts[0].uuid, "labh1", "kvm", "up")
    assert host.capacity.memory_mib == site.lab.host_memory_mib
    assert host.capacity.cpu_cores >= 1
    assert "br0" in host.networks
    assert host.used is not None
    assert 100 < host.used.memory_mib < 600
    (vm,) = (found for found in inventory.vms if found.uuid == guest.uuid)
    assert (vm.uuid, vm.name, vm.host_key, vm.power_state) == (guest.uuid, "guest2", host.key, "running")
    assert vm.notes == HOSTILE_TITLE
    assert vm.allocated == Resources(cpu_cores=1.0, memory_mib=160.0)
    assert vm.networks == ("br0",)
    assert vm.pinned_by == ()
    assert 40 < vm.facts["resident_mib"] < 150


def test_rates_follow_what_the_guest_does(site: Site) -> None:
    guest = site.start(GuestSpec(1))
    first = site.drivers[0].read({})
    site.beats.tell(guest, "cpu 80")

    def rates() -> dict[tuple[str, str], float]:
        found = site.drivers[0].read(first.counters).samples
        columns = zip(found.entity_kind, found.metric, found.value, strict=True)
        return {(str(kind), str(metric)): float(value) for kind, metric, value in columns}

    seen: dict[tuple[str, str], float] = {}

    def show() -> bool:
        seen.update(rates())
        # of a machine that may be busy with other things; lxcfs counts the host's apart from the guest's, in ticks
        return min(seen.get(("vm", "cpu"), 0.0), seen.get(("host", "cpu"), 0.0)) > 0.03 and bool(
            seen.get(("vm", "network"))
        )

    wait_until(show, 60.0, "the rates do not follow the guest", step_s=0.5)
    assert seen["vm", "cpu"] < 1.3
    assert 100 < seen["vm", "memory"] < 300


def test_a_read_only_connection_collects_and_is_told_what_it_may_not_do(site: Site) -> None:
    guest = site.start(GuestSpec(1))
    host = site.lab.hosts[0]
    with LibvirtDriver("reader", endpoint_options(site.lab, host, readonly=True)) as reader:
        assert [vm.uuid for vm in reader.inventory().vms] == [guest.uuid]
        assert len(reader.read({}).samples) > 0
        assert not reader.capabilities().dirty_rate
        with pytest.raises(PermissionDenied) as refusal:
            reader.start_migration(site.order(guest), site.drivers[1])
    assert refusal.value.code == "permission_denied"


def dirty_rate(site: Site, guest: GuestSpec, seconds: float) -> DirtyRate:
    found = site.drivers[0].measure_dirty_rate(guest.uuid, seconds)
    assert found is not None
    return found


def test_measured_dirty_rate_is_what_the_guest_writes(site: Site) -> None:
    guest = site.start(GuestSpec(2, region_mib=64))
    for rate in (0, 10, 40):
        site.beats.tell(guest, f"rate {rate}")
        since_s = time.monotonic()
        found = [dirty_rate(site, guest, 3.0).dirty_mib_s for _turn in range(1 if rate == 0 else 3)]
        wrote_mib_s = site.beats.dirtied_mib_s(guest.name, since_s)  # a busy machine keeps it from writing as told
        # of three looks, for QEMU samples but 80 pages of this guest
        assert statistics.mean(found) == pytest.approx(wrote_mib_s, abs=max(4.0, 0.5 * wrote_mib_s))


def test_the_working_set_shows_when_a_guest_goes_round_in_it(site: Site) -> None:
    # large enough that some sixty of the pages that QEMU looks at are in it; the long look takes 9 s, so that a machine
    # that is busy with other things lets the guest get round all the same
    guest = site.start(GuestSpec(2, memory_mib=256, region_mib=128, rate_mib_s=-1))
    found = dirty_rate(site, guest, 10.0)
    assert found.working_set_mib is not None
    assert found.working_set_mib == pytest.approx(128, rel=0.5)


def free_mib(connection: libvirt.virConnect) -> float:
    """Return a host's memory that nobody uses; its page cache gives way to whoever wants it."""
    memory = connection.getMemoryStats(-1)
    return float(memory["free"] + memory["buffers"] + memory["cached"]) / 1024


def hard_hold(site: Site, reservation_id: str, memory_mib: float, host: int = 1) -> Hold:
    amount = Resources(cpu_cores=1.0, memory_mib=memory_mib, network_mbit_s=10.0, disk_mib_s=1.0)
    return Hold(reservation_id, site.lab.hosts[host].uuid, GuestSpec(1).uuid, amount, "hard")


def test_a_hard_hold_takes_the_memory_for_real_and_says_what_it_enforces(site: Site) -> None:
    destination = site.drivers[1]
    connection = libvirt.open(site.lab.hosts[1].uri)
    free_before = free_mib(connection)
    used_before = destination.observe_host(site.lab.hosts[1].uuid).memory_mib
    placed = destination.place_hold(hard_hold(site, "r-1", 600))
    assert free_before - free_mib(connection) >= 600
    assert placed.enforced_by == {"cpu": "hypervisor", "memory": "hypervisor", "network": "ledger", "disk": "ledger"}
    # placeholders are neither VMs nor use: the ledger counts them already
    assert destination.inventory().vms == ()
    wait_until(
        lambda: destination.observe_host(site.lab.hosts[1].uuid).memory_mib < used_before + 60,
        10.0,
        "what a placeholder takes counts as use of the host",
        step_s=0.2,
    )
    (found,) = destination.list_holds()
    assert (found.reservation_id, found.vm_uuid, found.tier) == ("r-1", placed.vm_uuid, "hard")
    assert (found.amount, found.enforced_by) == (placed.amount, placed.enforced_by)
    assert destination.place_hold(hard_hold(site, "r-1", 600)) == placed
    connection.close()


def test_a_hold_changes_its_size_and_is_released_once(site: Site) -> None:
    destination = site.drivers[1]
    destination.place_hold(hard_hold(site, "r-1", 200))
    destination.place_hold(hard_hold(site, "r-2", 100))
    destination.place_hold(hard_hold(site, "r-1", 300))
    assert {hold.reservation_id: hold.amount.memory_mib for hold in destination.list_holds()} == {
        "r-1": 300.0,
        "r-2": 100.0,
    }
    assert destination.release_hold("r-1", {})
    assert not destination.release_hold("r-1", {})
    assert [hold.reservation_id for hold in destination.list_holds()] == ["r-2"]


def test_a_hold_larger_than_the_free_memory_is_refused_and_leaves_nothing(site: Site) -> None:
    with pytest.raises(HoldRefused) as refusal:
        site.drivers[1].place_hold(hard_hold(site, "r-1", 4096))
    assert refusal.value.details["needed_mib"] >= 4096
    assert site.drivers[1].list_holds() == ()
    assert libvirt.open(site.lab.hosts[1].uri).listAllDomains() == []


def test_a_soft_hold_is_the_ledgers_alone(site: Site) -> None:
    soft = Hold("r-1", site.lab.hosts[1].uuid, GuestSpec(1).uuid, Resources(memory_mib=300.0), "soft")
    assert set(site.drivers[1].place_hold(soft).enforced_by.values()) == {"ledger"}
    assert site.drivers[1].list_holds() == ()


def test_a_hold_survives_the_daemon_and_dies_with_the_host(site: Site) -> None:
    site.drivers[1].place_hold(hard_hold(site, "r-1", 128))
    site.lab.hosts[1].stop_libvirtd("KILL")
    site.lab.hosts[1].start_libvirtd()
    assert [hold.amount.memory_mib for hold in site.drivers[1].list_holds()] == [128.0]
    site.lab.hosts[1].power_off()
    site.lab.hosts[1].boot()
    assert site.drivers[1].list_holds() == ()


def test_preflight_has_no_objection_between_equal_hosts(site: Site) -> None:
    guest = site.start(GuestSpec(1))
    order = site.order(guest)
    assert site.drivers[1].preflight(guest.uuid, site.drivers[0], order.destination_host_id, order) == ()


def codes(site: Site, guest: GuestSpec, **options: object) -> set[str]:
    order = site.order(guest, **options)
    found = site.drivers[1].preflight(guest.uuid, site.drivers[0], order.destination_host_id, order)
    return {finding.code for finding in found if finding.blocking}


def test_preflight_finds_a_bridge_and_a_name_that_stand_in_the_way(site: Site) -> None:
    guest = site.start(GuestSpec(1))
    site.lab.hosts[1].run("ip", "link", "set", "br0", "down")
    site.lab.hosts[1].run("ip", "link", "set", "br0", "name", "br9")
    other = GuestSpec(2)
    connection = libvirt.open(site.lab.hosts[1].uri)
    connection.defineXML(f"<domain type='qemu'><name>{guest.name}</name><uuid>{other.uuid}</uuid><memory>65536</memory>"
                         "<os><type arch='x86_64'>hvm</type></os></domain>")  # fmt: skip
    try:
        assert codes(site, guest) == {"network_missing", "name_taken"}
    finally:
        connection.close()
        site.lab.hosts[1].run("ip", "link", "set", "br9", "name", "br0")
        site.lab.hosts[1].run("ip", "link", "set", "br0", "up")


def test_preflight_finds_memory_that_is_not_free_unless_it_is_held_for_the_guest(site: Site) -> None:
    guest = site.start(GuestSpec(1))
    hog = Hold("other", site.lab.hosts[1].uuid, GuestSpec(2).uuid, Resources(memory_mib=600.0), "hard")
    site.drivers[1].place_hold(hard_hold(site, "r-1", 256))
    site.drivers[1].place_hold(hog)
    assert codes(site, guest) == set()
    site.drivers[1].release_hold("r-1", {})
    site.drivers[1].place_hold(Hold("more", hog.host_id, hog.vm_uuid, Resources(memory_mib=256.0), "hard"))
    assert codes(site, guest) == {"memory_short"}


def test_preflight_finds_a_disk_that_the_destination_does_not_share(site: Site) -> None:
    site.lab.hosts[0].run("qemu-img", "create", "-q", "-f", "raw", "/var/lib/libvirt/images/own.img", "16M")
    guest = site.start(GuestSpec(2, disk="/var/lib/libvirt/images/own.img"))
    assert codes(site, guest) == {"storage_not_shared"}
    assert codes(site, guest, storage_copy=True) == {"storage_pool_missing"}


def test_preflight_refuses_a_vm_that_does_not_run_or_is_there_already(site: Site) -> None:
    guest = site.start(GuestSpec(1))
    order = site.order(guest, to=0)
    found = site.drivers[0].preflight(guest.uuid, site.drivers[0], order.destination_host_id, order)
    assert [finding.code for finding in found] == ["already_there"]
    connection = libvirt.open(site.lab.hosts[0].uri)
    connection.lookupByName(guest.name).suspend()
    connection.close()
    assert codes(site, guest) == {"vm_not_running"}

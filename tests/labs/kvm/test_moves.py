# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Real guests really moved, by the driver alone; whether they live is told by their own heartbeats."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.driver import LibvirtDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.marks import (
    GUARANTEE,
    MOVE,
    write_mark,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Hold,
    HypervisorFault,
    Tuning,
)

from .conftest import Site, endpoint_options
from .guests import GuestSpec, race
from .namespaces import wait_until

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

pytestmark = pytest.mark.lab

#: Slow enough to look at a move while it lasts; 160 MiB guests have some 80 MiB to send.
SLOW_MIB_S = 16.0
#: Writes faster than that, round and round in its 16 MiB.
BUSY = GuestSpec(1, rate_mib_s=40)


def test_an_idle_guest_arrives_whole_and_the_job_tells_how_it_went(site: Site) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    # QEMU stops the guest as soon as the rest fits what it is given, and the hand-over comes on top
    job = site.drivers[0].start_migration(site.order(guest, max_downtime_ms=100.0), site.drivers[1])
    done = site.await_phase(job, "done")
    site.assert_alone(guest, on=1, since_s=since)
    assert done.downtime_ms is not None
    assert done.downtime_ms <= 300
    assert done.transferred_mib is not None
    assert 20 < done.transferred_mib < 400
    assert site.beats.life(guest.name, since).silence_ms < 3000
    assert site.drivers[0].find_migration(guest.uuid) is None


def test_a_persistent_guest_is_persistent_on_the_destination_and_gone_from_the_source(site: Site) -> None:
    guest, since = site.start(GuestSpec(2, persistent=True)), time.monotonic()
    job = site.drivers[0].start_migration(site.order(guest), site.drivers[1])
    site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)
    source, destination = (libvirt.open(host.uri) for host in site.lab.hosts[:2])
    assert guest.uuid not in [left.UUIDString() for left in source.listAllDomains()]
    domain = destination.lookupByUUIDString(guest.uuid)
    assert domain.isPersistent()
    source.defineXML(domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))  # as a daemon leaves it that is killed at the end
    assert site.drivers[0].drop_definition(guest.uuid)
    assert not site.drivers[0].drop_definition(guest.uuid)
    assert not site.drivers[1].drop_definition(guest.uuid)
    site.assert_alone(guest, on=1, since_s=since)
    hold = Hold("reservation-1", site.lab.hosts[1].uuid, guest.uuid, Resources(cpu_cores=1.0), "hard")
    site.drivers[1].settle_hold(hold)
    for flags in (0, libvirt.VIR_DOMAIN_XML_INACTIVE):
        description = domain.XMLDesc(flags)
        assert MOVE not in description
        assert GUARANTEE in description


def test_a_guest_that_writes_faster_than_the_link_ends_by_a_longer_downtime(site: Site) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    job = site.drivers[0].start_migration(site.order(guest, bandwidth_mib_s=SLOW_MIB_S), site.drivers[1])
    site.await_round(job, 5)
    site.drivers[0].tune(job, Tuning(max_downtime_ms=3000))
    site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)


def test_a_guest_that_writes_faster_than_the_link_ends_by_more_bandwidth(site: Site) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    job = site.drivers[0].start_migration(site.order(guest, bandwidth_mib_s=SLOW_MIB_S), site.drivers[1])
    site.await_round(job, 3)
    site.drivers[0].tune(job, Tuning(bandwidth_mib_s=400.0))
    site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)


def test_a_guest_that_writes_faster_than_the_link_ends_by_auto_converge(site: Site) -> None:
    guest, since = site.start(GuestSpec(1, rate_mib_s=-1, spin=20000)), time.monotonic()
    options = {"auto_converge_initial": 50, "auto_converge_increment": 20}
    order = site.order(guest, bandwidth_mib_s=SLOW_MIB_S, auto_converge=True, options=options)
    job = site.drivers[0].start_migration(order, site.drivers[1])
    site.drivers[0].tune(job, Tuning(throttle=True))
    site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)


def test_a_guest_that_writes_faster_than_the_link_ends_by_post_copy(site: Site) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    order = site.order(guest, bandwidth_mib_s=SLOW_MIB_S, post_copy=True)
    job = site.drivers[0].start_migration(order, site.drivers[1])
    site.await_round(job, 2)
    site.drivers[0].switch_to_post_copy(job)
    if site.await_phase(job, "postcopy", "done").phase == "postcopy":
        wait_until(lambda: site.running_on(guest) == [1], 10.0, "the guest does not run on its destination")
        with pytest.raises(HypervisorFault):
            site.drivers[0].abort(job)
    site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)


def test_throttling_is_refused_for_a_move_that_started_without_it(site: Site) -> None:
    guest = site.start(BUSY)
    job = site.drivers[0].start_migration(site.order(guest, bandwidth_mib_s=SLOW_MIB_S), site.drivers[1])
    site.await_phase(job, "precopy")
    with pytest.raises(HypervisorFault):
        site.drivers[0].tune(job, Tuning(throttle=True))
    site.drivers[0].abort(job)


@pytest.mark.parametrize("options", [{"compression": True}, {"compression": True, "parallel_connections": 2}])
def test_compressed_and_parallel_moves_arrive(site: Site, options: dict[str, object]) -> None:
    guest, since = site.start(GuestSpec(1, rate_mib_s=10)), time.monotonic()
    job = site.drivers[0].start_migration(site.order(guest, **options), site.drivers[1])
    site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)


def test_an_abort_leaves_the_guest_on_its_source_as_it_was(site: Site) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    connection = libvirt.open(site.lab.hosts[0].uri)
    domain = connection.lookupByUUIDString(guest.uuid)
    downtime_ms = domain.migrateGetMaxDowntime(0)
    order = site.order(guest, bandwidth_mib_s=SLOW_MIB_S, max_downtime_ms=downtime_ms / 2)
    job = site.drivers[0].start_migration(order, site.drivers[1])
    site.await_phase(job, "precopy")
    site.drivers[0].abort(job)
    assert domain.migrateGetMaxDowntime(0) == downtime_ms
    assert MOVE not in domain.XMLDesc()
    connection.close()
    assert site.drivers[0].progress(job).phase == "aborted"
    site.assert_alone(guest, on=0, since_s=since)
    assert site.beats.life(guest.name, since).silence_ms < 2000


def test_a_hold_gives_way_as_the_guest_arrives(site: Site) -> None:
    guest = site.start(BUSY)
    destination = site.drivers[1]
    amount = Resources(cpu_cores=1.0, memory_mib=512.0)
    hold = destination.place_hold(Hold("reservation-1", site.lab.hosts[1].uuid, guest.uuid, amount, "hard"))
    job = site.drivers[0].start_migration(site.order(guest, bandwidth_mib_s=SLOW_MIB_S), destination)
    site.await_phase(job, "precopy")
    destination.give_way("reservation-1", 10.0)
    assert [held.amount.memory_mib for held in destination.list_holds()] == [256.0]
    destination.give_way("reservation-1", 300.0)
    assert destination.list_holds() == ()
    site.drivers[0].tune(job, Tuning(max_downtime_ms=3000))
    site.await_phase(job, "done")
    assert destination.settle_hold(hold)["memory"] == "ledger"
    assert destination.settle_hold(hold) == destination.settle_hold(hold)


def test_after_the_move_the_guest_has_the_cpu_share_that_it_was_promised(site: Site) -> None:
    """Two guests want all of one CPU; the one with a guarantee of 3/4 of the host gets about three times as much."""
    first, second = site.start(GuestSpec(1)), site.start(GuestSpec(2))
    cores = site.drivers[0].inventory().hosts[0].capacity.cpu_cores
    hold = Hold("r", site.lab.hosts[0].uuid, first.uuid, Resources(cpu_cores=0.75 * cores), "hard")
    enforced = site.drivers[0].settle_hold(hold)
    if enforced["cpu"] != "hypervisor":
        pytest.skip("this machine gives lab hosts no CPU controller")
    connection = libvirt.open(site.lab.hosts[0].uri)
    domains = [connection.lookupByUUIDString(guest.uuid) for guest in (first, second)]
    for domain in domains:
        domain.pinVcpu(0, (True, *[False] * (int(cores) - 1)))
    for guest in (first, second):
        site.beats.tell(guest, "cpu 100")
    first_used, second_used = race(domains)
    connection.close()
    site.lab.hosts[0].run("virsh", "destroy", first.name)  # its shares must not reach the next test
    assert first_used > 1.8 * second_used


def controller(site: Site, guest: GuestSpec, folder: Path, **options: object) -> subprocess.Popen[bytes]:
    """Start a process that moves the guest from the first to the second host, and wait until it has begun."""
    source, destination = (endpoint_options(site.lab, host, **options) for host in site.lab.hosts[:2])
    order = site.order(guest, bandwidth_mib_s=SLOW_MIB_S)
    script = folder / "controller.py"
    script.write_text(
        "import sys, time\n"
        f"sys.path[:0] = {sys.path!r}\n"
        "from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt import driver\n"
        "from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import *\n"
        f"source, destination = driver.LibvirtDriver('a', {source!r}), driver.LibvirtDriver('b', {destination!r})\n"
        "source.connect(), destination.connect()\n"
        f"job = source.start_migration({order!r}, destination)\n"
        "while not source.progress(job).finished: time.sleep(0.1)\n"
    )
    process = subprocess.Popen([sys.executable, str(script)])
    wait_until(
        lambda: process.poll() is not None or site.drivers[0].find_migration(guest.uuid) is not None,
        60.0,
        "the move has not begun",
        step_s=0.1,
    )
    assert process.poll() is None
    return process


def test_a_move_goes_on_when_its_controller_is_killed_and_another_one_adopts_it(site: Site, tmp_path: Path) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    process = controller(site, guest, tmp_path)
    process.send_signal(signal.SIGKILL)
    process.wait()
    job = site.drivers[0].find_migration(guest.uuid)
    assert job is not None
    assert (job.reservation_id, job.destination_host_id) == ("reservation-1", site.lab.hosts[1].uuid)
    assert job.handle["endpoint"] == "b"
    site.drivers[0].tune(job, Tuning(bandwidth_mib_s=200.0, max_downtime_ms=3000))
    site.await_phase(job, "gone")
    site.assert_alone(guest, on=1, since_s=since)


def test_an_adopted_move_can_be_aborted(site: Site, tmp_path: Path) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    process = controller(site, guest, tmp_path)
    process.kill()
    process.wait()
    job = site.drivers[0].find_migration(guest.uuid)
    assert job is not None
    site.drivers[0].abort(job)
    assert site.drivers[0].progress(job).phase == "gone"
    site.assert_alone(guest, on=0, since_s=since)


def test_a_move_that_somebody_else_started_is_found_and_not_taken_for_one_of_ours(site: Site) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    connection = libvirt.open(site.lab.hosts[0].uri)
    domain = connection.lookupByUUIDString(guest.uuid)
    write_mark(domain, MOVE, {"reservation": "old", "destination": site.lab.hosts[2].uuid, "started_ts": "1.0"})
    flags = libvirt.VIR_MIGRATE_LIVE | libvirt.VIR_MIGRATE_PEER2PEER
    parameters = {libvirt.VIR_MIGRATE_PARAM_BANDWIDTH: int(SLOW_MIB_S)}
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(domain.migrateToURI3, site.lab.hosts[1].peer_uri, parameters, flags)
        wait_until(lambda: site.drivers[0].find_migration(guest.uuid), 20.0, "the move has not begun")
        job = site.drivers[0].find_migration(guest.uuid)
        assert job is not None
        assert (job.reservation_id, job.destination_host_id) == ("", "")
        order = site.order(guest, to=2)
        found = site.drivers[2].preflight(guest.uuid, site.drivers[0], order.destination_host_id, order)
        assert "vm_busy" in {finding.code for finding in found}
        site.drivers[0].abort(job)
        with pytest.raises(libvirt.libvirtError):
            call.result()
    connection.close()
    site.assert_well(guest, on=0, since_s=since)


def test_a_direct_move_ends_with_its_controller_and_the_guest_stays(site: Site, tmp_path: Path) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    process = controller(site, guest, tmp_path, migration_mode="direct")
    process.kill()
    process.wait()
    job = site.drivers[0].find_migration(guest.uuid)
    if job is not None:
        site.await_phase(job, "gone")
    site.assert_alone(guest, on=0, since_s=since)


def test_a_direct_move_arrives(site: Site) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    with LibvirtDriver("direct", endpoint_options(site.lab, site.lab.hosts[1], migration_mode="direct")) as target:
        job = site.drivers[0].start_migration(site.order(guest), target)
        site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)


def settled_vm(site: Site, guest: GuestSpec) -> Vm:
    """Return a VM of the first host once its memory has stopped to grow: by 3 MiB at most in five looks."""
    seen: list[Vm] = []

    def settled() -> bool:
        seen.extend(vm for vm in site.drivers[0].inventory().vms if vm.uuid == guest.uuid)
        sizes = [vm.facts["resident_mib"] for vm in seen[-5:]]
        return len(sizes) == 5 and max(sizes) - min(sizes) <= 3

    wait_until(settled, 60.0, "the guest's memory still grows", step_s=0.5)
    return seen[-1]


def test_a_disk_of_the_hosts_own_is_copied_along(site: Site) -> None:
    path = "/var/lib/libvirt/images/own.img"
    half_full = 'head -c 8M /dev/urandom > "$1" && truncate -s 16M "$1"'
    site.lab.hosts[0].run("bash", "-c", half_full, "make", path)
    guest, since = site.start(GuestSpec(2, disk=path)), time.monotonic()
    connection = libvirt.open(site.lab.hosts[1].uri)
    pool = connection.storagePoolCreateXML(
        "<pool type='dir'><name>images</name><target><path>/var/lib/libvirt/images</path></target></pool>", 0
    )
    vm = settled_vm(site, guest)
    site.beats.tell(guest, "dio 512")
    order = site.order(guest, storage_copy=True)
    assert site.drivers[1].preflight(guest.uuid, site.drivers[0], order.destination_host_id, order) == ()
    job = site.drivers[0].start_migration(order, site.drivers[1])
    done = site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)
    assert done.total_mib is not None
    assert done.total_mib > 160
    assert done.transferred_mib is not None
    assert vm.facts["disk_mib"] == pytest.approx(8, abs=1)
    assert done.transferred_mib == pytest.approx(vm.facts["resident_mib"] + vm.facts["disk_mib"], rel=0.15)
    pool.destroy()
    connection.close()


def test_a_disk_that_both_hosts_reach_is_not_copied_onto_itself(site: Site) -> None:
    path = str(site.lab.shared / "both.img")
    site.lab.hosts[0].run("qemu-img", "create", "-q", "-f", "raw", path, "512M")  # of holes
    guest, since = site.start(GuestSpec(2, disk=path)), time.monotonic()
    site.beats.tell(guest, "dio 512")
    order = site.order(guest, storage_copy=True)
    assert site.drivers[1].preflight(guest.uuid, site.drivers[0], order.destination_host_id, order) == ()
    job = site.drivers[0].start_migration(order, site.drivers[1])
    done = site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)
    assert done.total_mib is not None
    assert done.total_mib < 512


def test_two_moves_at_once_into_one_host_both_arrive(site: Site) -> None:
    first, second, since = site.start(GuestSpec(1)), site.start(GuestSpec(2), host=2), time.monotonic()
    jobs = {
        0: site.drivers[0].start_migration(site.order(first, bandwidth_mib_s=40.0), site.drivers[1]),
        2: site.drivers[2].start_migration(site.order(second, bandwidth_mib_s=40.0), site.drivers[1]),
    }
    for source, job in jobs.items():
        site.await_phase(job, "done", source=source)
    site.assert_well(first, on=1, since_s=since)
    site.assert_well(second, on=1, since_s=since)


def test_a_guest_goes_round_the_hosts_and_comes_home(site: Site) -> None:
    guest, since = site.start(GuestSpec(1, rate_mib_s=10)), time.monotonic()
    for source, target in ((0, 1), (1, 2), (2, 0)):
        job = site.drivers[source].start_migration(site.order(guest, to=target), site.drivers[target])
        site.await_phase(job, "done", source=source)
        site.assert_well(guest, on=target, since_s=since)

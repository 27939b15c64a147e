# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What holds take of a real host besides memory, what they leave to its VMs, and that all of it is given back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.driver import LibvirtDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.marks import GUARANTEE, RESTRAINT
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold, HoldRefused

from .conftest import MOVE_TIMEOUT_S, Site, endpoint_options
from .guests import GuestSpec, race
from .lab import LabHost
from .namespaces import wait_until
from .packages import LabUnavailable

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

pytestmark = pytest.mark.lab

LIVE = libvirt.VIR_DOMAIN_AFFECT_LIVE
#: Runs on the first host from one test to the next, so that few guests must boot, and must be left as it was.
STAYING = GuestSpec(1)
#: Most capacity is held on that host, for a guest that is said to come.
HELD = 0
ARRIVING = GuestSpec(9)


def hold(site: Site, cores: float, *, disk_mib_s: float = 0.0, network_mbit_s: float = 0.0,
         floors: Mapping[str, Resources] | None = None) -> Hold:  # fmt: skip
    amount = Resources(cores, 64.0, network_mbit_s, disk_mib_s)
    return Hold("r-1", site.lab.hosts[HELD].uuid, ARRIVING.uuid, amount, "hard", floors=floors or {})


@contextmanager
def driver(site: Site, host: int = HELD, **options: object) -> Iterator[LibvirtDriver]:
    with LibvirtDriver("held", endpoint_options(site.lab, site.lab.hosts[host], **options)) as opened:
        yield opened


@contextmanager
def domain(host: LabHost, spec: GuestSpec) -> Iterator[libvirt.virDomain]:
    connection = libvirt.open(host.uri)
    yield connection.lookupByUUIDString(spec.uuid)
    connection.close()


def kernel_shares(host: LabHost, spec: GuestSpec) -> int:
    """Return what the kernel's own file says of a guest's CPU shares."""
    script = f"cat /sys/fs/cgroup/cpu/machine/*-{spec.name}.libvirt-qemu/cpu.shares"
    return int(host.run("bash", "-c", script))


def marked(host: LabHost, spec: GuestSpec) -> bool:
    with domain(host, spec) as found:
        return RESTRAINT in found.XMLDesc()


def enforced(placed: Hold) -> set[str]:
    return {resource for resource, who in placed.enforced_by.items() if who == "hypervisor"}


def test_cpu_is_held_by_the_shares_of_who_runs_there_and_these_come_back(site: Site) -> None:
    host, residents = site.lab.hosts[HELD], (site.start(STAYING), site.start(GuestSpec(2), host=HELD))
    with domain(host, residents[1]) as second:
        second.setSchedulerParametersFlags({"cpu_shares": 2048}, LIVE)
    with driver(site) as target:
        cores = target.inventory().hosts[0].capacity.cpu_cores
        placed = target.place_hold(hold(site, 0.5 * cores))
        assert enforced(placed) == {"cpu", "memory"}
        shares = [kernel_shares(host, resident) for resident in residents]
        assert shares[1] == pytest.approx(2 * shares[0], abs=2)  # what one has against the other stays
        assert 1024 / (1024 + sum(shares)) == pytest.approx(0.5, rel=0.01)
        (found,) = target.list_holds()
        assert found.amount.cpu_cores == pytest.approx(0.5 * cores, rel=0.01)
        assert target.place_hold(hold(site, 0.5 * cores)) == placed
        assert [kernel_shares(host, resident) for resident in residents] == shares
        assert target.release_hold("r-1", placed.tokens)
    assert [kernel_shares(host, resident) for resident in residents] == [1024, 2048]
    assert not any(marked(host, resident) for resident in residents)


def test_a_guest_that_starts_beside_a_hold_is_told_and_placing_again_counts_it(site: Site) -> None:
    host, first, second = site.lab.hosts[HELD], site.start(STAYING), GuestSpec(2)
    with driver(site) as target:
        cores = target.inventory().hosts[0].capacity.cpu_cores
        target.place_hold(hold(site, 0.5 * cores))
        site.start(second, host=HELD)
        (found,) = target.list_holds()
        assert found.amount.cpu_cores < 0.4 * cores
        target.place_hold(hold(site, 0.5 * cores))
        (found,) = target.list_holds()
        assert found.amount.cpu_cores == pytest.approx(0.5 * cores, rel=0.01)
        assert kernel_shares(host, first) == kernel_shares(host, second)
        with domain(host, second) as changed:
            changed.setSchedulerParametersFlags({"cpu_shares": 700}, LIVE)
        target.release_hold("r-1", {})
    assert kernel_shares(host, first) == 1024
    assert kernel_shares(host, second) == 700  # somebody else's word


def test_a_hold_that_would_take_what_was_promised_to_another_guest_is_the_ledgers(site: Site) -> None:
    host, resident = site.lab.hosts[1], site.start(GuestSpec(2), host=1)
    with driver(site, host=1) as target:
        cores = target.inventory().hosts[0].capacity.cpu_cores
        promise = Hold("r-0", host.uuid, resident.uuid, Resources(cpu_cores=0.45 * cores, memory_mib=64.0), "hard")
        assert target.settle_hold(promise)["cpu"] == "hypervisor"
        promised = kernel_shares(host, resident)
        asked = {share: replace(hold(site, share * cores), host_id=host.uuid) for share in (0.7, 0.2)}
        assert enforced(target.place_hold(asked[0.7])) == {"memory"}
        assert kernel_shares(host, resident) == promised
        assert "cpu" in enforced(target.place_hold(asked[0.2]))


def test_two_guests_that_want_everything_get_the_cpu_by_their_shares(site: Site) -> None:
    """Four fifths are held for the second, which has the shares with which it would arrive."""
    host, _staying, second = site.lab.hosts[HELD], site.start(STAYING), site.start(GuestSpec(2), host=HELD)
    with driver(site) as target, domain(host, STAYING) as one, domain(host, second) as other:
        cores = target.inventory().hosts[0].capacity.cpu_cores
        pinned = tuple(number == 0 for number in range(int(cores)))  # so that they are in each other's way
        for each in (one, other):
            each.pinVcpu(0, pinned)
            each.pinEmulator(pinned)
        target.place_hold(replace(hold(site, 0.8 * cores), vm_uuid=second.uuid))
        for spec in (STAYING, second):
            site.beats.tell(spec, "cpu 100")
        used = race((one, other))
        for spec in (STAYING, second):
            site.beats.tell(spec, "cpu 0")
        one.pinVcpu(0, (True,) * int(cores))
        one.pinEmulator((True,) * int(cores))
        assert 0.65 < used[1] / sum(used) < 0.95
        assert target.release_hold("r-1", {})


def throughput_limit(host: LabHost, spec: GuestSpec) -> int:
    with domain(host, spec) as found:
        return int(found.blockIoTune("vda", LIVE)["total_bytes_sec"])


def writing_mib_s(found: libvirt.virDomain) -> float:
    """Return how fast a guest writes to its disk, over 2 MiB."""
    since_s, before = time.monotonic(), found.blockStats("vda")[3]
    wait_until(lambda: found.blockStats("vda")[3] - before >= 2 * 2**20, 60.0, "the guest does not write", step_s=0.1)
    return float(found.blockStats("vda")[3] - before) / 2**20 / (time.monotonic() - since_s)


def with_disk(site: Site, number: int, *, kib_s: int = 0) -> GuestSpec:
    path = f"/var/lib/libvirt/images/own{number}.img"
    site.lab.hosts[HELD].run("qemu-img", "create", "-q", "-f", "raw", path, "16M")
    return site.start(GuestSpec(number, disk=path, disk_kib_s=kib_s), host=HELD)


def test_disk_is_held_by_limits_that_leave_each_guest_its_forecast(site: Site) -> None:
    host, one, other = site.lab.hosts[HELD], with_disk(site, 2, kib_s=8192), with_disk(site, 3)
    floors = {one.uuid: Resources(disk_mib_s=1.0), other.uuid: Resources(disk_mib_s=2.0)}
    with driver(site, disk_mib_s=10.0, limit_residents=["disk"]) as target:
        placed = target.place_hold(hold(site, 0.1, disk_mib_s=7.0, floors=floors))
        assert enforced(placed) == {"cpu", "memory", "disk"}
        assert throughput_limit(host, one) == pytest.approx(1.0 * 2**20, rel=0.001)
        assert throughput_limit(host, other) == pytest.approx(2.0 * 2**20, rel=0.001)
        with domain(host, one) as writing:
            assert writing_mib_s(writing) < 1.4
        assert target.list_holds()[0].amount.disk_mib_s == pytest.approx(7.0, rel=0.001)
        # more than the forecasts leave is not taken from them
        assert "disk" not in enforced(target.place_hold(hold(site, 0.1, disk_mib_s=8.0, floors=floors)))
        assert throughput_limit(host, one) == 0
        target.place_hold(hold(site, 0.1, disk_mib_s=4.0, floors=floors))
        assert throughput_limit(host, one) == pytest.approx(2.5 * 2**20, rel=0.001)
        assert target.release_hold("r-1", {})
        assert throughput_limit(host, one) == throughput_limit(host, other) == 0
        assert not marked(host, one)
        with domain(host, one) as found:
            assert "iotune" not in found.XMLDesc()
        # one has limits of somebody else from now on; these stay, and who has no forecast is left alone
        with domain(host, one) as tuned:
            tuned.setBlockIoTune("vda", {"read_bytes_sec": 2**20, "write_bytes_sec": 2**20}, LIVE)
        assert "disk" not in enforced(target.place_hold(hold(site, 0.1, disk_mib_s=4.0)))
        floors = {other.uuid: Resources(disk_mib_s=1.0)}
        assert "disk" in enforced(target.place_hold(hold(site, 0.1, disk_mib_s=4.0, floors=floors)))
        assert throughput_limit(host, one) == 0
        assert throughput_limit(host, other) == pytest.approx(4.0 * 2**20, rel=0.001)
        target.release_hold("r-1", {})
    with domain(host, one) as tuned:
        assert tuned.blockIoTune("vda", LIVE)["write_bytes_sec"] == 2**20


def traffic_control(host: LabHost) -> str:
    return host.run("bash", "-c", "for d in /sys/class/net/vnet*; do tc class show dev ${d##*/}; done")


def can_shape(host: LabHost) -> bool:
    """Return whether this kernel has the parts of traffic control that libvirt uses."""
    try:
        host.run("bash", "-c", "ip link add tc0 type dummy && tc qdisc add dev tc0 root sfq && tc qdisc add dev tc0 "
                 "ingress && tc filter add dev tc0 parent ffff: protocol all u32 match u32 0 0 police rate 1mbit burst "
                 "10k drop flowid :1; status=$?; ip link del tc0; exit $status")  # fmt: skip
    except LabUnavailable:
        return False
    return True


def test_network_is_held_by_bandwidths_or_else_said_to_be_the_ledgers(site: Site) -> None:
    host, resident = site.lab.hosts[HELD], site.start(STAYING)
    before = traffic_control(host)
    floors = {resident.uuid: Resources(network_mbit_s=10.0)}
    with driver(site, network_mbit_s=100.0, limit_residents=["network"]) as target:
        placed = target.place_hold(hold(site, 0.1, network_mbit_s=60.0, floors=floors))
        if can_shape(host):
            assert "network" in enforced(placed)
            assert "rate 20Mbit" in traffic_control(host)
        else:  # the host's kernel cannot: nothing is left of the attempt, and nothing is claimed
            assert "network" not in enforced(placed)
            assert not marked(host, resident)
        target.release_hold("r-1", {})
    assert traffic_control(host) == before
    with domain(host, resident) as found:
        assert "<bandwidth>" not in found.XMLDesc()
    site.beats.next_beat(resident.name)


def test_what_is_left_of_a_hold_in_guests_is_found_and_put_back(site: Site) -> None:
    """As after a crash: the placeholders are gone, the guests are still restrained."""
    host, resident = site.lab.hosts[HELD], site.start(STAYING)
    with driver(site) as target:
        cores = target.inventory().hosts[0].capacity.cpu_cores
        placed = target.place_hold(hold(site, 0.8 * cores))
        with domain(host, resident) as found:
            for uuid in placed.tokens["placeholders"]:
                found.connect().lookupByUUIDString(uuid).destroy()
    with driver(site) as target:
        (left,) = target.list_holds()
        assert (left.reservation_id, left.host_id, left.amount.memory_mib) == ("r-1", host.uuid, 0.0)
        assert target.release_hold("r-1", {})
        assert not target.release_hold("r-1", {})
        assert target.list_holds() == ()
    assert kernel_shares(host, resident) == 1024


def test_huge_pages_are_held_from_the_hosts_pool_or_refused(site: Site) -> None:
    host = site.lab.hosts[HELD]
    connection = libvirt.open(host.uri)
    with driver(site, hold_backing="hugepages") as target:
        with pytest.raises(HoldRefused) as refusal:
            target.place_hold(hold(site, 0.1))
        assert "huge pages of 2 MiB" in refusal.value.message
        assert refusal.value.details == {"free_mib": 0, "needed_mib": 64}
        try:
            connection.allocPages({2048: 40}, 0, 1, libvirt.VIR_NODE_ALLOC_PAGES_SET)
            placed = target.place_hold(hold(site, 0.1))
            assert connection.getFreePages([2048], 0, 1)[0][2048] == 8
            assert target.list_holds()[0].amount.memory_mib == 64.0
            assert target.place_hold(hold(site, 0.1)) == placed
            assert target.release_hold("r-1", {})
            assert connection.getFreePages([2048], 0, 1)[0][2048] == 40
        finally:
            connection.allocPages({2048: 0}, 0, 1, libvirt.VIR_NODE_ALLOC_PAGES_SET)
            connection.close()


def may_lock(host: LabHost) -> bool:
    """Return whether the host's daemon may let its guests lock memory."""
    script = 'c=$(awk "/CapEff/ {print \\$2}" /proc/$(cat /run/libvirtd.pid)/status); echo $(( (0x$c >> 24) & 1 ))'
    return host.run("bash", "-c", script).strip() == "1"


def test_locked_memory_is_locked_or_refused_with_what_to_do(site: Site) -> None:
    host = site.lab.hosts[HELD]
    with driver(site, hold_backing="locked") as target:
        if may_lock(host):
            placed = target.place_hold(hold(site, 0.1))
            name = f"foresight-hold-{placed.tokens['placeholders'][0]}"
            status = host.run("bash", "-c", f"grep VmLck /proc/$(cat /run/libvirt/qemu/{name}.pid)/status")
            assert int(status.split()[1]) >= 64 * 1024
        else:
            with pytest.raises(HoldRefused) as refusal:
                target.place_hold(hold(site, 0.1))
            assert "CAP_SYS_RESOURCE" in (refusal.value.advice or "")
            assert target.list_holds() == ()


def test_a_restrained_guest_that_moves_on_gets_its_own_back(site: Site) -> None:
    resident, since = site.start(STAYING), time.monotonic()
    with driver(site) as target:
        cores = target.inventory().hosts[0].capacity.cpu_cores
        target.place_hold(hold(site, 0.8 * cores))
        job = target.start_migration(site.order(resident, to=2), site.drivers[2])
        wait_until(lambda: target.progress(job).finished, MOVE_TIMEOUT_S, "the move does not end", step_s=0.1)
        assert [found.reservation_id for found in site.drivers[2].list_holds()] == ["r-1"]
        arrival = Hold("r-2", site.lab.hosts[2].uuid, resident.uuid, Resources(memory_mib=64.0), "soft")
        site.drivers[2].settle_hold(arrival)
        assert site.drivers[2].list_holds() == ()
        assert kernel_shares(site.lab.hosts[2], resident) == 1024
        target.release_hold("r-1", {})
    site.assert_well(resident, on=2, since_s=since)
    site.await_phase(site.drivers[2].start_migration(site.order(resident, to=0), site.drivers[0]), "done", source=2)


@pytest.mark.parametrize("tier", ["soft", "hard"])
def test_after_the_move_the_guest_has_what_its_tier_says(site: Site, tier: str) -> None:
    host, arriving, since = site.lab.hosts[1], site.start(STAYING), time.monotonic()
    beside = site.start(GuestSpec(2), host=1) if tier == "hard" else None
    with driver(site, host=1) as target:
        cores = target.inventory().hosts[0].capacity.cpu_cores
        amount = Resources(0.6 * cores, 256.0, 5.0, 1.0)
        placed = target.place_hold(Hold("reservation-1", host.uuid, arriving.uuid, amount, tier))
        assert enforced(placed) == ({"cpu", "memory"} if tier == "hard" else set())
        site.await_phase(site.drivers[0].start_migration(site.order(arriving), target), "done")
        settled = target.settle_hold(placed)
        assert settled == {"cpu": "hypervisor" if tier == "hard" else "ledger", "memory": "ledger",
                           "network": "ledger", "disk": "ledger"}  # fmt: skip
        assert target.list_holds() == ()
        shares = kernel_shares(host, arriving)
        if beside is not None:
            assert kernel_shares(host, beside) == 1024
            assert shares / (shares + 1024) == pytest.approx(0.6, rel=0.01)
        else:
            assert shares == 1024
        with domain(host, arriving) as found:
            assert (GUARANTEE in found.XMLDesc()) is (tier == "hard")
    site.assert_well(arriving, on=1, since_s=since)
    if tier == "soft":
        site.await_phase(site.drivers[1].start_migration(site.order(arriving, to=0), site.drivers[0]), "done", source=1)

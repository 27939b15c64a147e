# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Preflight, moves and settlement: followed, found by others, cancelled, failing, refused and forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv import migration
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.driver import HypervDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Hold,
    HypervisorFault,
    Job,
    MoveOrder,
    Progress,
    Tuning,
)
from ansible_collections.foresight.migration.tests.labs.hyperv import sites
from ansible_collections.foresight.migration.tests.labs.hyperv.lab import Lab
from ansible_collections.foresight.migration.tests.labs.hyperv.model import failures
from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import ABSOLUTE, CREDSSP, NONE, WEIGHT
from ansible_collections.foresight.migration.tests.labs.hyperv.model.jobs import ACTIVE, TERMINATED
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import CLUSTER_DELAY_S, MovePlan, Site
from ansible_collections.foresight.migration.tests.labs.hyperv.sites import WEB, vm_id
from ansible_collections.foresight.migration.tests.stepped_clock import SteppedClock

Start = Callable[..., Lab]
Connect = Callable[..., HypervDriver]
VM = vm_id(WEB)
#: How often a move is looked at, and when it must have ended, by the site's clock.
LOOK_S, END_LIMIT_S = 0.1, 20.0


class Pair:
    """A running site with the driver of the VM's host and that of its destination."""

    def __init__(self, lab: Lab, connect: Connect, clock: SteppedClock) -> None:
        self.lab = lab
        self.clock = clock
        endpoints = lab.endpoints()
        self.source = connect(endpoints[0])
        self.target = self.source if lab.site.cluster else connect(endpoints[1])
        self.destination = list(lab.site.hosts)[1]
        self.order = MoveOrder(VM, self.destination, "")

    def findings(self) -> dict[str, bool]:
        """Return the codes of the preflight's findings, and whether each forbids the move."""
        found = self.target.preflight(VM, self.source, self.destination, self.order)
        return {finding.code: finding.blocking for finding in found}

    def blocking(self) -> list[str]:
        return [code for code, blocks in self.findings().items() if blocks]

    def begin(self) -> Job:
        return self.source.start_migration(self.order, self.target)

    def follow(self, job: Job) -> list[Progress]:
        """Return every progress until the job has ended."""
        seen = [self.source.progress(job)]
        until_ts = self.clock.now() + END_LIMIT_S
        while not seen[-1].finished:
            assert self.clock.now() < until_ts, seen[-1]
            self.clock.sleep(LOOK_S)
            seen.append(self.source.progress(job))
        return seen

    def host(self) -> str:
        """Return the host on which the VM is, by the drivers."""
        found = {where.host_id for driver in (self.source, self.target) for where in driver.locate(VM)}
        (host_id,) = found
        return host_id


@pytest.fixture
def pair_of(begin: Start, connect: Connect, clock: SteppedClock) -> Callable[..., Pair]:
    """A function that starts a site and connects to it."""
    return lambda site, transport="basic": Pair(begin(site, transport), connect, clock)


@pytest.fixture(params=["lone hosts", "cluster"])
def pair(request: pytest.FixtureRequest, pair_of: Callable[..., Pair]) -> Pair:
    """Lone hosts, and a cluster; both allow the move."""
    return pair_of(sites.lone_hosts() if request.param == "lone hosts" else sites.failover_cluster())


def test_a_move_tells_its_progress_and_ends_on_the_destination(pair: Pair) -> None:
    pair.lab.site.plan = MovePlan(duration_s=2.0)
    assert pair.blocking() == []
    seen = pair.follow(pair.begin())
    percents = [progress.percent for progress in seen if progress.percent is not None]
    assert percents == sorted(percents)
    assert len(set(percents)) > 2
    assert {progress.phase for progress in seen[:-1]} <= {"starting", "precopy"}
    assert seen[-1].phase == "done"
    assert pair.host() == pair.destination
    assert pair.lab.site.moves == [(VM, pair.lab.site.moves[0][1], pair.lab.site.hosts[pair.destination].name)]
    assert pair.lab.open_shells() == 0


def test_a_move_survives_its_starter_and_is_found_by_another_process(pair: Pair, connect: Connect) -> None:
    pair.lab.site.plan = MovePlan(duration_s=2.0)
    pair.begin()
    pair.source.close()
    other = connect(pair.lab.endpoints()[0])
    pair.clock.sleep(CLUSTER_DELAY_S)
    found = other.find_migration(VM)
    assert found is not None
    assert (found.vm_uuid, found.destination_host_id) == (VM, pair.destination)
    pair.clock.sleep(pair.lab.site.plan.duration_s)
    assert other.progress(found).phase == "done"
    assert pair.lab.site.host_of(VM).name.lower() == pair.destination
    assert other.find_migration(VM) is None


def test_an_aborted_move_leaves_the_vm_running_on_its_source(pair: Pair) -> None:
    pair.lab.site.plan = MovePlan(duration_s=60.0)
    here, job = pair.host(), pair.begin()
    pair.source.abort(job)
    assert pair.host() == here
    assert [one.state for one in pair.lab.site.jobs] == [TERMINATED]
    assert pair.source.progress(job).phase == "aborted"
    assert pair.source.find_migration(VM) is None
    assert pair.lab.open_shells() == 0


def test_an_abort_that_comes_too_late_says_so(pair: Pair) -> None:
    pair.lab.site.plan = MovePlan(duration_s=0.1)
    job = pair.begin()
    pair.follow(job)
    with pytest.raises(HypervisorFault, match="it had completed"):
        pair.source.abort(job)


def test_a_job_that_will_not_stop_is_not_called_stopped(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migration, "STOP_LIMIT_S", 3.0)
    pair.lab.site.plan = MovePlan(duration_s=60.0, uncancellable=True)
    job = pair.begin()
    with pytest.raises(HypervisorFault, match="did not stop"):
        pair.source.abort(job)
    assert [one.state for one in pair.lab.site.jobs] == [ACTIVE]


def test_a_job_that_fails_half_way_is_told_with_windows_reason(pair: Pair) -> None:
    pair.lab.site.plan = MovePlan(duration_s=2.0, fails_after_s=0.3, message_id=90009, error="Link lost (0x80072746)")
    here = pair.host()
    last = pair.follow(pair.begin())[-1]
    assert (last.phase, last.error) == ("failed", "Link lost (0x80072746)")
    assert pair.host() == here


def test_a_job_that_vanishes_is_gone_and_the_vm_is_looked_for(pair: Pair) -> None:
    pair.lab.site.plan = MovePlan(duration_s=0.4, vanishes=True)
    assert pair.follow(pair.begin())[-1].phase == "gone"
    assert pair.host() == pair.destination


def test_jobs_of_earlier_moves_are_not_taken_for_this_one(pair: Pair) -> None:
    pair.lab.site.plan = MovePlan(duration_s=5.0, fails_after_s=0.05, message_id=1, error="an old failure")
    assert pair.follow(pair.begin())[-1].phase == "failed"
    pair.lab.site.plan = MovePlan(duration_s=0.6)
    seen = pair.follow(pair.begin())
    assert {progress.phase for progress in seen} <= {"starting", "precopy", "done"}
    assert seen[-1].phase == "done"


def test_a_running_move_cannot_be_tuned(pair: Pair) -> None:
    pair.lab.site.plan = MovePlan(duration_s=1.0)
    job = pair.begin()
    with pytest.raises(HypervisorFault):
        pair.source.tune(job, Tuning(bandwidth_mib_s=10.0))
    pair.follow(job)


def without_switch(site: Site) -> None:
    list(site.hosts.values())[1].switches = []


def without_memory(site: Site) -> None:
    list(site.hosts.values())[1].own_memory_mib = 60000


def with_full_destination(site: Site) -> None:
    list(site.hosts.values())[1].max_migrations = 0


def without_migration(site: Site) -> None:
    list(site.hosts.values())[1].migration_enabled = False


def with_old_destination(site: Site) -> None:
    list(site.hosts.values())[1].vm_versions = ("8.0", "9.0")


def with_device(site: Site) -> None:
    site.vm(VM).pinned = ["PCIROOT(0)#PCI(0300)"]


@pytest.mark.parametrize("language", ["en-US", "de-DE"])
@pytest.mark.parametrize(
    ("change", "code"),
    [
        (without_switch, "network_missing"),
        (without_memory, "memory_short"),
        (with_full_destination, "migration_limit"),
        (without_migration, "migration_disabled"),
        (with_old_destination, "vm_version_unsupported"),
        (with_device, "vm_pinned"),
    ],
)
def test_what_the_destination_would_refuse_is_found_beforehand(
    pair_of: Callable[..., Pair], change: Callable[[Site], None], code: str, language: str
) -> None:
    site = sites.lone_hosts(language=language)
    change(site)
    pair = pair_of(site)
    assert pair.blocking() == [code]
    assert pair.lab.machine("HV1").asked("start_move") == []


@pytest.mark.parametrize("transport", ["basic", "ntlm", "ntlm over http", "certificate"])
def test_without_delegation_the_second_hop_is_refused_over_every_login(
    pair_of: Callable[..., Pair], transport: str
) -> None:
    pair = pair_of(sites.lone_hosts(delegates=False), transport)
    assert pair.blocking() == ["double_hop_refused"]
    last = pair.follow(pair.begin())[-1]
    assert last.phase == "failed"
    assert "0x8009030E" in last.error
    assert pair.host() == "hv1"


def test_hosts_set_to_credssp_are_warned_of_and_refuse_the_second_hop(pair_of: Callable[..., Pair]) -> None:
    site = sites.lone_hosts()
    for host in site.hosts.values():
        host.authentication = CREDSSP
    assert pair_of(site).findings() == {"migration_authentication": False, "double_hop_refused": True}


def test_a_cluster_needs_no_delegation(pair_of: Callable[..., Pair]) -> None:
    site = sites.failover_cluster()
    assert not any(host.delegates for host in site.hosts.values())
    pair = pair_of(site, "ntlm")
    assert pair.follow(pair.begin())[-1].phase == "done"


def test_memory_that_went_meanwhile_fails_the_job_and_not_the_vm(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of(sites.lone_hosts(language="de-DE"))
    assert pair.blocking() == []
    without_memory(pair.lab.site)
    last = pair.follow(pair.begin())[-1]
    assert last.phase == "failed"
    assert last.error == failures.no_memory("de-DE", WEB)
    assert pair.host() == "hv1"


def test_a_limit_that_was_reached_meanwhile_fails_the_job(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of(sites.lone_hosts())
    with_full_destination(pair.lab.site)
    last = pair.follow(pair.begin())[-1]
    assert (last.phase, "0x80070008" in last.error) == ("failed", True)


def hold(pair: Pair, tier: str = "hard") -> Hold:
    amount = Resources(cpu_cores=3.0, memory_mib=8192, network_mbit_s=500, disk_mib_s=10)
    return Hold("r-1", pair.destination, VM, amount, tier)


@pytest.mark.parametrize(("mode", "network"), [(ABSOLUTE, "hypervisor"), (WEIGHT, "hypervisor"), (NONE, "ledger")])
def test_settlement_gives_the_vm_what_its_tier_and_its_switch_allow(
    pair_of: Callable[..., Pair], mode: str, network: str
) -> None:
    site = sites.failover_cluster()
    for host in site.hosts.values():
        host.switches[0].bandwidth_mode = mode
    pair = pair_of(site)
    pair.follow(pair.begin())
    enforced = pair.source.settle_hold(hold(pair))
    assert dict(enforced) == {"cpu": "hypervisor", "memory": "hypervisor", "network": network, "disk": "ledger"}
    vm = site.vm(VM)
    assert vm.cpu_reserve == 75000  # 3 of its 4 processors, in thousandths of a per cent
    assert (vm.adapters[0].reserved_bits_s, vm.adapters[0].weight > 0) == (
        500_000_000 if mode == ABSOLUTE else 0,
        mode == WEIGHT,
    )
    calls = len(pair.lab.machine(pair.destination).asked("set_tuning"))
    assert dict(pair.source.settle_hold(hold(pair))) == dict(enforced)
    assert len(pair.lab.machine(pair.destination).asked("set_tuning")) == calls  # there was nothing left to do


def test_settlement_gives_back_what_an_earlier_one_gave(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of(sites.failover_cluster())
    vm = pair.lab.site.vm(VM)
    vm.notes, vm.cpu_reserve = "the owner's own notes", 5000
    pair.follow(pair.begin())
    pair.source.settle_hold(hold(pair))
    assert vm.notes.startswith("the owner's own notes\n")
    pair.source.settle_hold(hold(pair, tier="soft"))
    assert (vm.notes, vm.cpu_reserve, vm.adapters[0].reserved_bits_s) == ("the owner's own notes", 5000, 0)


def test_what_hyper_v_refuses_to_guarantee_is_told_as_the_ledgers(pair_of: Callable[..., Pair]) -> None:
    pair = pair_of(sites.failover_cluster())
    vm = pair.lab.site.vm(VM)
    vm.dynamic_memory, vm.memory_minimum_mib = True, 1024
    pair.lab.site.hosts[pair.destination].processors = 2
    pair.follow(pair.begin())
    enforced = pair.source.settle_hold(hold(pair))
    assert (enforced["cpu"], enforced["memory"]) == ("ledger", "ledger")
    assert (vm.cpu_reserve, vm.memory_minimum_mib) == (0, 1024)


def test_the_hold_on_a_destination_is_the_ledgers_and_says_so(pair: Pair) -> None:
    placed = pair.target.place_hold(hold(pair))
    assert set(placed.enforced_by.values()) == {"ledger"}
    assert pair.target.list_holds() == ()
    assert not pair.target.release_hold("r-1", placed.tokens)

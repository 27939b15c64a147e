# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The driver's reading of hosts and clusters, held to what the model knows to be true."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.driver import HypervDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.meter import OBSERVATION_S
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.usage import MIN_INTERVAL_S
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import EndpointUnreachable
from ansible_collections.foresight.migration.tests.labs.hyperv import sites
from ansible_collections.foresight.migration.tests.labs.hyperv.lab import SHARE, Lab
from ansible_collections.foresight.migration.tests.labs.hyperv.sites import CSV, DB, HOSTILE_NAMES, WEB, vm_id
from ansible_collections.foresight.migration.tests.stepped_clock import SteppedClock

Start = Callable[..., Lab]
Connect = Callable[..., HypervDriver]
BITS_PER_MIB = 8 * 1024 * 1024 / 1e6


@pytest.fixture(params=["en-US", "de-DE"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_cluster_is_read_whole_from_any_of_its_nodes(begin: Start, connect: Connect, language: str) -> None:
    lab = begin(sites.failover_cluster(language=language), "ntlm")
    seen = connect(lab.endpoint("cluster", "NODE2")).inventory()
    assert {(host.host_id, host.state, host.capacity.cpu_cores) for host in seen.hosts} == {
        ("node1", "up", 16.0), ("node2", "up", 16.0), ("node3", "up", 16.0),
    }  # fmt: skip
    truth = {
        vm.vm_id: (vm.name, f"cluster/{host.name.lower()}")
        for host in lab.site.hosts.values()
        for vm in host.vms.values()
    }
    assert {vm.uuid: (vm.name, vm.host_key) for vm in seen.vms} == truth
    assert {storage for vm in seen.vms for storage in vm.storages} == {"C:\\ClusterStorage\\Volume1"}
    assert [host.storages for host in seen.hosts] == [(CSV, SHARE)] * 3
    assert [(rule.kind, len(rule.vm_uuids), rule.mandatory) for rule in seen.rules] == [("vm_anti_affinity", 2, False)]
    assert [cluster.name for cluster in seen.clusters] == ["LABCLUSTER"]
    assert seen.warnings == ()
    assert lab.open_shells() == 0


def test_use_is_what_the_vms_demand_whatever_their_names(begin: Start, connect: Connect, language: str) -> None:
    lab = begin(sites.failover_cluster(language=language))
    seen = connect(lab.endpoint("cluster", "NODE1")).inventory()
    now = lab.site.now()
    for vm in seen.vms:
        demand = lab.site.vm(vm.uuid).demand
        assert vm.used is not None, vm.name
        assert vm.used.cpu_cores == pytest.approx(demand.at("cpu_cores", now), rel=0.05)
        assert vm.used.network_mbit_s == pytest.approx(demand.at("network_mib_s", now) * BITS_PER_MIB, rel=0.05)
        assert vm.used.disk_mib_s == pytest.approx(demand.at("disk_mib_s", now), rel=0.05)
        assert vm.used.memory_mib == lab.site.vm(vm.uuid).memory_mib
    assert {vm.name for vm in seen.vms} >= set(HOSTILE_NAMES)


def rates(samples: Samples, entity: str, metric: str) -> list[float]:
    chosen = (np.asarray(samples.entity_id) == entity) & (np.asarray(samples.metric) == metric)
    return [float(value) for value in np.asarray(samples.value)[chosen]]


def test_readings_are_rates_since_the_last_and_their_counters_survive_as_json(
    begin: Start, connect: Connect, clock: SteppedClock
) -> None:
    lab = begin(sites.lone_hosts())
    driver = connect(lab.endpoint("HV1"))
    first = driver.read({})
    clock.sleep(MIN_INTERVAL_S)
    again = connect(lab.endpoint("HV1"))
    second = again.read(json.loads(json.dumps(first.counters)))
    assert rates(second.samples, vm_id(WEB), "cpu") == [pytest.approx(2.0, rel=0.05)]
    assert rates(second.samples, vm_id(WEB), "memory") == [8192.0]
    assert len(rates(second.samples, "HV1/hv1", "cpu")) == 1


def test_a_vm_that_came_between_two_readings_has_no_wrong_rate(
    begin: Start, connect: Connect, clock: SteppedClock
) -> None:
    lab = begin(sites.failover_cluster())
    driver = connect(lab.endpoint("cluster", "NODE1"))
    counters = driver.read({}).counters
    with lab.site.lock:
        lab.site.plan.duration_s = 0.0
        lab.site.start(lab.site.vm(vm_id(DB)), lab.site.hosts["node1"], lab.site.hosts["node3"])
        lab.site.advance()
    clock.sleep(MIN_INTERVAL_S)
    second = driver.read(counters)
    assert all(0 <= value <= 8 for value in rates(second.samples, vm_id(DB), "cpu"))
    clock.sleep(MIN_INTERVAL_S)
    (settled,) = rates(driver.read(second.counters).samples, vm_id(DB), "cpu")
    assert 4.5 <= settled <= 6.5


def test_history_is_the_clusters_own_where_it_keeps_one_and_none_elsewhere(
    begin: Start, connect: Connect, clock: SteppedClock
) -> None:
    lab = begin(sites.failover_cluster(history_hours=30))
    driver = connect(lab.endpoint("cluster", "NODE1"))
    assert driver.capabilities().history
    now = clock.now()
    got: dict[float, float] = {}
    for samples in driver.history(now - 30 * 3600, now):
        chosen = (np.asarray(samples.entity_id) == vm_id(DB)) & (np.asarray(samples.metric) == "cpu")
        stamps = np.asarray(samples.ts)[chosen]
        got |= dict(zip(stamps.tolist(), np.asarray(samples.value)[chosen].tolist(), strict=True))
    demand = lab.site.vm(vm_id(DB)).demand
    assert all(value == pytest.approx(demand.at("cpu_cores", ts)) for ts, value in got.items())
    assert min(got) < now - 29 * 3600
    assert max(got) > now - 60
    lone = begin(sites.lone_hosts())
    other = connect(lone.endpoint("HV1"))
    assert not other.capabilities().history
    assert list(other.history(now - 3600, now)) == []
    assert lone.machine("HV1").asked("history") == []


def test_a_dead_entry_host_is_passed_over_and_a_dead_node_is_told(begin: Start, connect: Connect) -> None:
    lab = begin(sites.failover_cluster())
    lab.machine("NODE1").server.stop()
    seen = connect(lab.endpoint("cluster", "NODE1", "NODE2")).inventory()
    states = {host.host_id: host.state for host in seen.hosts}
    assert states == {"node1": "disconnected", "node2": "up", "node3": "up"}
    assert any("NODE1" in warning for warning in seen.warnings)
    assert not [vm for vm in seen.vms if vm.host_key == "cluster/node1"]


def test_nodes_that_the_cluster_calls_down_or_paused_are_not_destinations(begin: Start, connect: Connect) -> None:
    site = sites.failover_cluster()
    site.hosts["node2"].node_state, site.hosts["node3"].node_state = 2, 1
    lab = begin(site)
    seen = connect(lab.endpoint("cluster", "NODE1")).inventory()
    assert {host.host_id: host.state for host in seen.hosts} == {
        "node1": "up", "node2": "maintenance", "node3": "disconnected",
    }  # fmt: skip


def test_an_endpoint_of_which_nobody_answers_is_unreachable(begin: Start, connect: Connect) -> None:
    lab = begin(sites.lone_hosts())
    lab.machine("HV1").server.stop()
    with pytest.raises(EndpointUnreachable):
        connect(lab.endpoint("HV1"))


def test_the_servers_clock_is_told_so_that_skew_shows(begin: Start, connect: Connect, clock: SteppedClock) -> None:
    lab = begin(sites.lone_hosts())
    lab.site.now = lambda: clock.now() + 1000
    seen = connect(lab.endpoint("HV1")).inventory()
    assert seen.server_ts is not None
    assert seen.server_ts - clock.now() == pytest.approx(1000, abs=MIN_INTERVAL_S)


def test_watching_host_and_vm_is_cheap_and_true(begin: Start, connect: Connect, clock: SteppedClock) -> None:
    lab = begin(sites.lone_hosts())
    driver = connect(lab.endpoint("HV1"))
    driver.observe_host("hv1")
    clock.sleep(OBSERVATION_S)
    before = lab.shells_opened()
    used = driver.observe_host("hv1")
    assert lab.shells_opened() - before <= 1
    assert used.memory_mib == pytest.approx(3072 + 8192 + 24576 + 16384)
    vm = driver.observe_vm(vm_id(WEB))
    assert vm is not None
    assert vm.cpu_cores == pytest.approx(2.0, rel=0.05)

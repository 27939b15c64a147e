# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A simulated estate in the nouns of the protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ...estate.nouns import Cluster, Host, Rule, Vm
from ...estate.resources import Resources
from ..protocol import Job, Progress
from .contention import Service
from .mover import Move
from .world import NOWHERE, Moment, World


def hosts(
    endpoint: str, world: World, moment: Moment, service: Service, numbers: Sequence[int], traffic: Mapping[str, float]
) -> Iterator[Host]:
    """Yield the hosts of those numbers; ``traffic`` is what migrations take of a host's network, Mbit/s by host id."""
    for number in numbers:
        host, state = world.hosts[number], moment.host_states[number]
        used = Resources(*service.used[number, :, 0].tolist())
        wanted = Resources(*service.wanted[number, :, 0].tolist())
        yield Host(
            endpoint=endpoint,
            host_id=host.host_id,
            name=host.name,
            family=host.family,
            state=state,
            capacity=host.capacity,
            used=None if state in ("off", "disconnected") else used + migration_load(traffic, host.host_id),
            cluster=host.cluster,
            networks=host.networks,
            storages=host.storages,
            cpu_model=host.cpu_model,
            cpu_features=host.cpu_features,
            migration_link_mbit_s=host.migration_link_mbit_s,
            labels=host.labels,
            facts={
                "demand": wanted.as_dict(),
                "own_load": host.own_load.as_dict(),
                "migration_link_shared": host.migration_shares_vm_network,
            },
        )


def migration_load(traffic: Mapping[str, float], host_id: str) -> Resources:
    """Return what migrations take of the host."""
    return Resources(network_mbit_s=traffic.get(host_id, 0.0))


def vms(endpoint: str, world: World, moment: Moment, service: Service, host_numbers: Sequence[int]) -> Iterator[Vm]:
    """Yield the VMs on those hosts, and those that are nowhere but began there."""
    mine = set(host_numbers)
    demand = world.demand.at(moment.now_ts, moment.jumps)
    for number, vm in enumerate(world.vms):
        host = int(moment.host_of[number])
        if (world.host_number[vm.host_id] if host == NOWHERE else host) not in mine:
            continue
        running = moment.power_states[number] == "running"
        yield Vm(
            endpoint=endpoint,
            uuid=vm.uuid,
            name=vm.name,
            host_key=None if host == NOWHERE else host_key(endpoint, world.hosts[host].host_id),
            power_state=moment.power_states[number],
            allocated=vm.allocated,
            used=Resources(*service.served[number, :, 0].tolist()),
            guaranteed=Resources(*moment.guaranteed[number].tolist()),
            networks=vm.networks,
            storages=vm.storages,
            required_cpu_features=vm.required_cpu_features,
            pinned_by=vm.pinned_by,
            is_template=vm.is_template,
            labels=vm.labels,
            notes=vm.notes,
            facts={
                "disk_mib": vm.disk_mib,
                **({"demand": Resources(*demand[number].tolist()).as_dict()} if running else {}),
            },
        )


def rules(endpoint: str, world: World) -> tuple[Rule, ...]:
    """Return the scenario's rules."""
    return tuple(
        Rule(
            endpoint=endpoint,
            name=rule.name,
            kind=rule.kind,
            vm_uuids=rule.vm_uuids,
            host_keys=frozenset(host_key(endpoint, host_id) for host_id in rule.host_ids),
            mandatory=rule.mandatory,
        )
        for rule in world.scenario.rules
    )


def clusters(endpoint: str, world: World, host_numbers: Sequence[int]) -> tuple[Cluster, ...]:
    """Return the clusters that have any of those hosts."""
    members: dict[str, set[str]] = {}
    for number in host_numbers:
        host = world.hosts[number]
        if host.cluster is not None:
            members.setdefault(host.cluster, set()).add(host_key(endpoint, host.host_id))
    return tuple(
        Cluster(endpoint, cluster.name, frozenset(members[cluster.name]), cluster.rival_balancer)
        for cluster in world.scenario.clusters
        if cluster.name in members
    )


def host_key(endpoint: str, host_id: str) -> str:
    """Return the `Host.key` of a host."""
    return f"{endpoint}/{host_id}"


def job(number: int, move: Move) -> Job:
    """Return a migration as the protocol's job."""
    return Job(move.vm_uuid, move.source, move.destination, {"job": number}, move.reservation_id)


def progress(move: Move, now_ts: float) -> Progress:
    """Return how far a migration is at ``now_ts``."""
    copy = move.copy
    moving = copy.phase in ("precopy", "postcopy") and move.rate_mib_s > 0
    return Progress(
        phase=move.phase,
        elapsed_s=(now_ts if move.ended_ts is None else move.ended_ts) - move.started_ts,
        percent=100.0 if move.phase == "done" else min(99.9, copy.percent),
        transferred_mib=copy.wire_mib,
        total_mib=copy.total_mib,
        remaining_mib=copy.pending_mib,
        throughput_mib_s=move.rate_mib_s,
        dirty_mib_s=move.dirty_mib_s,
        iteration=copy.iteration,
        downtime_ms=copy.downtime_ms if move.phase in ("done", "postcopy") else None,
        expected_downtime_ms=1000.0 * copy.dirtied_mib / move.rate_mib_s if moving else None,
        error=move.error,
    )

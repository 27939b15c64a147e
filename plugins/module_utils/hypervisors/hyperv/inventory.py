# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All hosts and VMs of one endpoint, read on every host itself and put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ...clock import Clock
from ...errors import ForesightError
from ...estate.nouns import Host, Vm
from ...estate.resources import Resources
from ..protocol import Inventory
from ..usage import Usage
from .describe import cluster_noun, host_noun, node_state, rules_of, unread_host, vm_noun
from .meter import Meter, used_by
from .nodes import Nodes, host_id_of
from .scripts.reads import CLUSTER, HOST, VMS
from .usage import MIN_INTERVAL_S, Counters, as_resources, usage_between

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Membership:
    """What the cluster says: the states of its nodes by host id, its roles by VM, the paths of its shared volumes.

    All are empty for a standalone host.
    """

    states: Mapping[str, str]
    roles: Mapping[str, Answer]
    volumes: tuple[str, ...]

    @classmethod
    def of(cls, answer: Answer | None) -> Membership:
        """Return what an answer of the operation ``cluster`` says; None: there is no cluster."""
        if answer is None:
            return cls({}, {}, ())
        return cls(
            states={host_id_of(node["name"]): node_state(node) for node in answer["nodes"]},
            roles={role["vm_id"]: role for role in answer["roles"]},
            volumes=tuple(volume["path"] for volume in answer["volumes"]),
        )

    def state(self, host_id: str) -> str:
        """Return the state of a host."""
        return self.states.get(host_id, "up")


@dataclass(frozen=True, slots=True)
class HostAnswers:
    """What one host answered; ``problem`` says why ``facts`` and ``vms`` are missing."""

    facts: Answer | None = None
    vms: tuple[Answer, ...] = ()
    usage: Usage | None = None
    problem: ForesightError | None = None


def read_inventory(nodes: Nodes, meter: Meter, clock: Clock, options: Mapping[str, Any]) -> Inventory:
    """Return hosts, VMs, rules and the cluster, their use measured over the time that reading them took.

    A node of a cluster that does not answer is listed as disconnected, with a warning. Raises what the entry host
    answers when it cannot be read.
    """
    begun_ts = clock.now()
    answer = nodes.run(nodes.entry, CLUSTER) if nodes.cluster is not None else None
    membership = Membership.of(answer)
    asked = tuple(host_id for host_id in nodes.host_ids if membership.state(host_id) != "disconnected")
    answers = _ask(nodes, meter, clock, asked)
    entry = answers[nodes.entry]
    if entry.problem is not None:
        raise entry.problem
    hosts = {host_id: _host(nodes, host_id, answers, membership, options) for host_id in nodes.host_ids}
    warnings = [
        f"the node {nodes.node(host_id).name} could not be read: {seen.problem.message}"
        for host_id, seen in answers.items()
        if seen.problem is not None
    ]
    vms = [vm for host_id, seen in answers.items() for vm in _vms(hosts[host_id], seen, membership)]
    declared = tuple(options.get("shared_storage") or ())
    keys = frozenset(host.key for host in hosts.values())
    return Inventory(
        hosts=tuple(replace(host, storages=_storages(host, vms, membership, declared)) for host in hosts.values()),
        vms=without_doubles(vms, membership, warnings),
        rules=rules_of(answer, nodes.endpoint) if answer is not None else (),
        clusters=(cluster_noun(answer, nodes.endpoint, keys),) if answer is not None else (),
        warnings=tuple(warnings),
        server_ts=(begun_ts + clock.now()) / 2 + nodes.clock_ahead_s,
        facts={"cluster": nodes.cluster, "entry": nodes.entry, "performance_history": nodes.has_history},
    )


def _ask(nodes: Nodes, meter: Meter, clock: Clock, host_ids: tuple[str, ...]) -> dict[str, HostAnswers]:
    """Read hosts and VMs between two readings of the counters."""
    before, _errors = meter.read(host_ids)
    facts = nodes.run_on_all(HOST, host_ids=host_ids)
    vms = nodes.run_on_all(VMS, {"vm_ids": []}, host_ids=host_ids)
    begun_ts = max((counters.ts for counters in before.values()), default=clock.now())
    clock.sleep(max(0.0, begun_ts + MIN_INTERVAL_S - clock.now()))
    after, errors = meter.read(host_ids)
    return {
        host_id: _answers(facts[host_id], vms[host_id], before.get(host_id), after.get(host_id), errors.get(host_id))
        for host_id in host_ids
    }


def _answers(
    facts: Answer | ForesightError,
    vms: Answer | ForesightError,
    before: Counters | None,
    after: Counters | None,
    problem: ForesightError | None,
) -> HostAnswers:
    if isinstance(facts, ForesightError):
        return HostAnswers(problem=facts)
    if isinstance(vms, ForesightError):
        return HostAnswers(problem=vms)
    if after is None:
        return HostAnswers(problem=problem)
    return HostAnswers(facts, tuple(vms["vms"]), usage_between(before, after))


def _host(
    nodes: Nodes,
    host_id: str,
    answers: Mapping[str, HostAnswers],
    membership: Membership,
    options: Mapping[str, Any],
) -> Host:
    seen = answers.get(host_id)
    if seen is None or seen.facts is None:
        return unread_host(nodes.endpoint, host_id, nodes.node(host_id).fqdn, nodes.cluster)
    host = host_noun(seen.facts, nodes.endpoint, host_id, nodes.cluster, membership.state(host_id), options)
    if seen.usage is None or "cpu" not in seen.usage.host:
        return host
    return replace(host, used=as_resources(seen.usage.host))


def _storages(host: Host, vms: Sequence[Vm], membership: Membership, declared: Sequence[str]) -> tuple[str, ...]:
    """Return what the host reaches, as far as it can be seen: the cluster's volumes, what its own VMs use, every share
    that a VM of this endpoint uses, and the shares that the endpoint's options declare.

    No question to a host tells which shares its account may use; the check before a move tries it.
    """
    used = {storage for vm in vms for storage in vm.storages if vm.host_key == host.key or storage.startswith("\\\\")}
    return tuple(sorted(used | set(membership.volumes) | set(declared)))


def _vms(host: Host, seen: HostAnswers, membership: Membership) -> list[Vm]:
    switches = {switch["id"]: switch["name"] for switch in seen.facts["switches"]} if seen.facts is not None else {}
    roles, volumes = membership.roles, membership.volumes
    found = [vm_noun(row, host, roles.get(row["id"]), volumes, switches) for row in seen.vms]
    return [replace(vm, used=_vm_used(vm, seen.usage)) for vm in found]


def _vm_used(vm: Vm, usage: Usage | None) -> Resources | None:
    """Return what the VM uses; nothing when it does not run."""
    use = used_by(usage, vm.uuid) if usage is not None else None
    return Resources() if use is None and vm.power_state in ("off", "suspended") else use


def without_doubles(vms: list[Vm], membership: Membership, warnings: list[str]) -> tuple[Vm, ...]:
    """Return every VM once, and warn of doubles: a copy of its files registered on a second node has the same id.

    The one on the node that owns the cluster's role counts, else the one that runs.
    """
    chosen: dict[str, Vm] = {}
    for vm in vms:
        other = chosen.get(vm.uuid)
        if other is None:
            chosen[vm.uuid] = vm
            continue
        warnings.append(f"the VM {vm.uuid} is registered on {other.host_key} and on {vm.host_key}")
        role = membership.roles.get(vm.uuid)
        owner = f"{vm.endpoint}/{host_id_of(role['owner_node'])}" if role is not None else None
        chosen[vm.uuid] = max((other, vm), key=lambda seen: (seen.host_key == owner, seen.power_state == "running"))
    return tuple(chosen.values())

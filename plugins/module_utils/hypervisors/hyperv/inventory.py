# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All hosts and VMs of one endpoint, read on every host itself and put together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...clock import Clock
from ...errors import ForesightError
from ...estate.nouns import Host, Vm
from ..protocol import Inventory
from .describe import cluster_noun, host_noun, node_state, rules_of, unread_host, vm_noun
from .meter import Meter, used_by
from .nodes import Nodes, host_id_of
from .scripts.reads import CLUSTER, HOST, VMS
from .usage import MIN_INTERVAL_S, Usage, as_resources, usage_between

Answer = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Membership:
    """What the cluster says: the states of its nodes, its roles by VM, the paths of its shared volumes."""

    states: Mapping[str, str]
    roles: Mapping[str, Answer]
    volumes: tuple[str, ...]


def read_inventory(nodes: Nodes, meter: Meter, clock: Clock, options: Mapping[str, Any]) -> Inventory:
    """Return hosts, VMs, rules and the cluster, their use measured over the time that reading them took.

    A node of a cluster that does not answer is listed as disconnected, with a warning. Raises what the entry host
    answers when it cannot be read.
    """
    server_ts = clock.now() + nodes.clock_ahead_s
    answer = nodes.run(nodes.entry, CLUSTER) if nodes.cluster is not None else None
    membership = _membership(answer)
    asked = tuple(host_id for host_id in nodes.host_ids if membership.states.get(host_id, "up") != "disconnected")
    before, _errors = meter.read(asked)
    host_answers = nodes.run_on_all(HOST, host_ids=asked)
    vm_answers = nodes.run_on_all(VMS, {"vm_ids": []}, host_ids=asked)
    begun = max((counters.ts for counters in before.values()), default=clock.now())
    clock.sleep(max(0.0, begun + MIN_INTERVAL_S - clock.now()))
    after, _errors = meter.read(asked)
    usage = {host_id: usage_between(before.get(host_id), counters) for host_id, counters in after.items()}

    hosts: dict[str, Host] = {}
    vms: list[Vm] = []
    warnings: list[str] = []
    for host_id in nodes.host_ids:
        facts, rows = host_answers.get(host_id), vm_answers.get(host_id)
        problem = next((part for part in (facts, rows) if isinstance(part, ForesightError)), None)
        if problem is not None and host_id == nodes.entry:
            raise problem
        if problem is not None:
            warnings.append(f"the node {nodes.node(host_id).name} could not be read: {problem.message}")
        if facts is None or rows is None or isinstance(facts, ForesightError) or isinstance(rows, ForesightError):
            hosts[host_id] = unread_host(nodes.endpoint, host_id, nodes.node(host_id).fqdn, nodes.cluster)
            continue
        state = membership.states.get(host_id, "up")
        host = host_noun(facts, nodes.endpoint, host_id, nodes.cluster, state, options)
        host = replace(host, storages=_storages(host, membership.volumes))
        hosts[host_id] = _with_use(host, usage.get(host_id))
        vms += [
            _vm_with_use(vm_noun(row, host, membership.roles.get(row["id"]), membership.volumes), usage.get(host_id))
            for row in rows["vms"]
        ]
    keys = frozenset(host.key for host in hosts.values())
    return Inventory(
        hosts=tuple(hosts.values()),
        vms=_without_doubles(vms, membership, warnings),
        rules=rules_of(answer, nodes.endpoint) if answer is not None else (),
        clusters=(cluster_noun(answer, nodes.endpoint, keys),) if answer is not None else (),
        warnings=tuple(warnings),
        server_ts=server_ts,
        facts={"cluster": nodes.cluster, "entry": nodes.entry, "performance_history": nodes.has_history},
    )


def _membership(answer: Answer | None) -> _Membership:
    if answer is None:
        return _Membership({}, {}, ())
    return _Membership(
        states={host_id_of(node["name"]): node_state(node) for node in answer["nodes"]},
        roles={role["vm_id"]: role for role in answer["roles"]},
        volumes=tuple(volume["path"] for volume in answer["volumes"]),
    )


def _storages(host: Host, volumes: tuple[str, ...]) -> tuple[str, ...]:
    """Return the storages that the host has for certain: the cluster's volumes."""
    return volumes if host.cluster is not None else ()


def _with_use(host: Host, usage: Usage | None) -> Host:
    return host if usage is None or "cpu" not in usage.host else replace(host, used=as_resources(usage.host))


def _vm_with_use(vm: Vm, usage: Usage | None) -> Vm:
    return vm if usage is None else replace(vm, used=used_by(usage, vm.uuid))


def _without_doubles(vms: list[Vm], membership: _Membership, warnings: list[str]) -> tuple[Vm, ...]:
    """Return every VM once: a copy of its files registered on a second node has the same id.

    The cluster's owner counts, else the one that runs.
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

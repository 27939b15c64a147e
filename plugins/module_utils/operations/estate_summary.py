# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The estate of one collection put together, and told in a few figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from ..errors import ForesightError
from ..estate.nouns import Host, Vm
from ..estate.resources import RESOURCES, Resources
from ..estate.serialise import to_data
from ..estate.snapshot import EndpointStatus, Estate
from .gathering import Answer

Entity = TypeVar("Entity", Host, Vm)


def build_estate(answers: Mapping[str, Answer | ForesightError], types: Mapping[str, str], now_ts: float) -> Estate:
    """Return the estate that the endpoints' answers describe, with the status of each; no id yet."""
    given = [answer for answer in answers.values() if isinstance(answer, Answer)]
    use = _measured_use(given)
    hosts = [host for answer in given for host in answer.inventory.hosts]
    vms = [vm for answer in given for vm in answer.inventory.vms]
    return Estate(
        snapshot_id="",
        taken_ts=now_ts,
        endpoints=tuple(_status(name, types[name], answer, now_ts) for name, answer in answers.items()),
        hosts={host.key: _with_use(host, use.get(("host", host.key))) for host in hosts},
        vms={vm.key: _with_use(vm, use.get(("vm", vm.uuid))) for vm in vms},
        rules=tuple(rule for answer in given for rule in answer.inventory.rules),
        clusters=tuple(cluster for answer in given for cluster in answer.inventory.clusters),
    )


def with_others(estate: Estate, previous: Estate, oldest_ts: float) -> Estate:
    """Return ``estate`` with what ``previous`` has of endpoints that were not asked now.

    So collections of parts of an estate add up to a whole. An endpoint last seen before ``oldest_ts`` is left out;
    the status of one that is kept says when it was seen. A VM that has come to the endpoints asked now has left the one
    it was on.
    """
    asked = {status.name for status in estate.endpoints}
    were_here = {vm.uuid for vm in previous.vms.values() if vm.endpoint in asked}
    arrived = {vm.uuid for vm in estate.vms.values()} - were_here
    others = [
        one for one in previous.endpoints if one.reachable and one.name not in asked and one.taken_ts >= oldest_ts
    ]
    names = {status.name for status in others}
    return replace(
        estate,
        endpoints=(*estate.endpoints, *others),
        hosts={**estate.hosts, **{key: host for key, host in previous.hosts.items() if host.endpoint in names}},
        vms={
            **estate.vms,
            **{key: vm for key, vm in previous.vms.items() if vm.endpoint in names and vm.uuid not in arrived},
        },
        rules=(*estate.rules, *(rule for rule in previous.rules if rule.endpoint in names)),
        clusters=(*estate.clusters, *(cluster for cluster in previous.clusters if cluster.endpoint in names)),
    )


def summary_of(estate: Estate) -> dict[str, Any]:
    """Return counts by state, and capacity, allocation and use of the whole estate."""
    hosts, vms = list(estate.hosts.values()), list(estate.vms.values())
    return {
        "hosts": len(hosts),
        "hosts_by_state": dict(Counter(host.state for host in hosts)),
        "vms": len(vms),
        "vms_by_power_state": dict(Counter(vm.power_state for vm in vms)),
        "clusters": len(estate.clusters),
        "rules": len(estate.rules),
        "capacity": _total(host.capacity for host in hosts),
        "used": _total(host.used for host in hosts if host.used is not None),
        "vms_used": _total(vm.used for vm in vms if vm.used is not None),
        "allocated": _total(vm.allocated for vm in vms),
    }


def details_of(estate: Estate, vms: Sequence[str], hosts: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Return all that is known of the named VMs and hosts; raises what `Estate.find_vm` and `find_host` raise."""
    return {
        "vms": [{"key": vm.key, **to_data(vm)} for vm in map(estate.find_vm, vms)],
        "hosts": [_host_details(estate, estate.find_host(name)) for name in hosts],
    }


def _host_details(estate: Estate, host: Host) -> dict[str, Any]:
    residents = estate.vms_by_host[host.key]
    return {
        "key": host.key,
        **to_data(host),
        "vms": len(residents),
        "vms_running": sum(vm.power_state == "running" for vm in residents),
        "allocated": _total(vm.allocated for vm in residents),
        "vms_used": _total(vm.used for vm in residents if vm.used is not None),
    }


def _status(name: str, kind: str, answer: Answer | ForesightError, now_ts: float) -> EndpointStatus:
    if isinstance(answer, ForesightError):
        return EndpointStatus(name, kind, reachable=False, taken_ts=now_ts, error=answer.as_dict())
    return EndpointStatus(
        name,
        kind,
        reachable=True,
        taken_ts=now_ts,
        warnings=tuple(answer.warnings),
        facts=answer.inventory.facts,
    )


def _measured_use(answers: Iterable[Answer]) -> Mapping[tuple[str, str], Mapping[str, float]]:
    """Return the newest value of each resource by (entity kind, entity id), from the readings."""
    use: dict[tuple[str, str], dict[str, float]] = {}
    for answer in answers:
        if answer.reading is None:
            continue
        samples = answer.reading.samples
        columns = (samples.entity_kind, samples.entity_id, samples.metric, samples.value)
        for kind, entity, metric, value in zip(*(column.tolist() for column in columns), strict=True):
            if metric in RESOURCES:
                use.setdefault((kind, entity), {})[metric] = value
    return use


def _with_use(entity: Entity, measured: Mapping[str, float] | None) -> Entity:
    """Fill in the measured use where the inventory has none; with CPU or memory unknown it stays unknown."""
    if entity.used is not None or measured is None or not {"cpu", "memory"} <= measured.keys():
        return entity
    return replace(entity, used=Resources(*(measured.get(resource, 0.0) for resource in RESOURCES)))


def _total(amounts: Iterable[Resources]) -> dict[str, float]:
    total = sum(amounts, Resources())
    return {name: round(amount, 3) for name, amount in total.as_dict().items()}

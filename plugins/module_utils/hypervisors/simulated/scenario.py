# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The scenario: what a simulated estate consists of, read from YAML and checked before anything uses it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import InvalidOption
from ...estate.nouns import FAMILIES, HOST_STATES, POWER_STATES, RULE_KINDS
from ...estate.resources import RESOURCES, Resources
from ...libraries import library
from ..protocol import Capabilities
from .faults import Fault, read_fault
from .fields import Fields

if TYPE_CHECKING:
    import yaml
else:
    yaml = library("yaml", "PyYAML")

#: Version of the scenario format that this code reads.
SCENARIO_VERSION = 1
#: Estate time of a scenario without ``clock.start`` and without traces: 2026-01-05T09:00:00Z, a Monday.
DEFAULT_START_TS = 1767603600.0
#: Hours of history that the simulated platform keeps unless told otherwise: 14 days, as a forecast likes to have.
DEFAULT_HISTORY_HOURS = 336.0
#: Assumption where a VM does not say: memory that one busy core rewrites, MiB/s.
DEFAULT_DIRTY_MIB_S_PER_CORE = 40.0
#: Assumption where a VM does not say: share of the memory in use that is rewritten again and again.
DEFAULT_WORKING_SET_FRACTION = 0.25
#: Assumption where a VM does not say: share of the bytes left after compression.
DEFAULT_COMPRESSED_FRACTION = 0.5
_UUIDS = uuid.UUID("6f0c2a52-6b8e-5d0b-9b39-6d1f5a6b7c10")


@dataclass(frozen=True, slots=True)
class ClockPlan:
    """How estate time passes. ``start_ts`` None means: where the traces' recorded time ends minus 24 hours."""

    start_ts: float | None
    mode: str
    speed: float


@dataclass(frozen=True, slots=True)
class SimulatedHost:
    """A host as the scenario declares it. ``own_load`` is what it uses beside its VMs."""

    host_id: str
    name: str
    family: str
    capacity: Resources
    state: str = "up"
    own_load: Resources = Resources()
    cluster: str | None = None
    networks: tuple[str, ...] = ()
    storages: tuple[str, ...] = ()
    cpu_model: str = ""
    cpu_features: frozenset[str] = frozenset()
    migration_link_mbit_s: float = 10_000.0
    migration_shares_vm_network: bool = True
    links: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    endpoint: str | None = None


@dataclass(frozen=True, slots=True)
class SimulatedVm:
    """A VM as the scenario declares it.

    Its demand is ``demand`` (constant) plus its trace times ``scale``, read ``offset_s`` later than estate time, and
    never more than what is allocated. ``created_ts``: it has no history from before then. Until ``came_ts`` it ran on
    the host ``came_from``, when that is set.
    """

    uuid: str
    name: str
    host_id: str
    allocated: Resources
    power_state: str = "running"
    demand: Resources = Resources()
    trace: str | None = None
    offset_s: float = 0.0
    scale: Resources = Resources(1.0, 1.0, 1.0, 1.0)
    guaranteed: Resources = Resources()
    networks: tuple[str, ...] = ()
    storages: tuple[str, ...] = ()
    required_cpu_features: frozenset[str] = frozenset()
    pinned_by: tuple[str, ...] = ()
    is_template: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    disk_mib: float = 0.0
    created_ts: float | None = None
    came_from: str | None = None
    came_ts: float = 0.0
    dirty_mib_s_per_core: float = DEFAULT_DIRTY_MIB_S_PER_CORE
    working_set_fraction: float = DEFAULT_WORKING_SET_FRACTION
    dirty_burstiness: float = 0.0
    compressed_fraction: float = DEFAULT_COMPRESSED_FRACTION


@dataclass(frozen=True, slots=True)
class SimulatedCluster:
    """A cluster; which hosts belong to it they say themselves."""

    name: str
    rival_balancer: str | None = None


@dataclass(frozen=True, slots=True)
class SimulatedRule:
    """A placement rule over VM uuids and host ids."""

    name: str
    kind: str
    vm_uuids: frozenset[str]
    host_ids: frozenset[str]
    mandatory: bool


@dataclass(frozen=True)
class Scenario:
    """A whole simulated estate. ``digest`` names its exact text, so that a state file is never used with another."""

    path: Path
    digest: str
    clock: ClockPlan
    traces_path: Path | None
    hosts: tuple[SimulatedHost, ...]
    vms: tuple[SimulatedVm, ...]
    clusters: tuple[SimulatedCluster, ...]
    rules: tuple[SimulatedRule, ...]
    links: Mapping[str, float]
    faults: tuple[Fault, ...]
    capabilities: Capabilities
    history_hours: float
    description: str


def load_scenario(path: str) -> Scenario:
    """Read and check the scenario at ``path``; raises `InvalidOption` that names what is wrong with it."""
    source = Path(path).expanduser().absolute()
    try:
        text = source.read_bytes()
    except OSError as exc:
        raise InvalidOption("endpoints.scenario", f"{source} cannot be read: {exc.strerror}") from exc
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        data = yaml.load(text, Loader=loader)
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise InvalidOption("endpoints.scenario", f"{source} is not YAML: {exc}") from exc
    return _scenario(Fields(data, "scenario"), source, hashlib.sha256(text).hexdigest())


def _scenario(top: Fields, source: Path, digest: str) -> Scenario:
    version = top.integer("version", minimum=1)
    if version != SCENARIO_VERSION:
        raise InvalidOption("scenario.version", f"{version} is not the version {SCENARIO_VERSION} this code reads")
    links = {item.text("name"): _link(item) for item in top.items("links")}
    clusters = tuple(_cluster(item) for item in top.items("clusters"))
    hosts = tuple(host for item in top.items("hosts") for host in _hosts(item))
    _refuse_twice("scenario.hosts.id", [host.host_id for host in hosts])
    if not hosts:
        raise InvalidOption("scenario.hosts", "an estate needs at least one host")
    for host in hosts:
        _refuse_unknown("scenario.hosts.links", host.links, links)
        if host.cluster is not None:
            _refuse_unknown("scenario.hosts.cluster", [host.cluster], {cluster.name for cluster in clusters})
    traces_path = _traces(top.nested("traces"), source)
    vms = tuple(vm for item in top.items("vms") for vm in _vms(item, hosts))
    _refuse_twice("scenario.vms.uuid", [vm.uuid for vm in vms])
    scenario = Scenario(
        path=source,
        digest=digest,
        clock=_clock(top.nested("clock")),
        traces_path=traces_path,
        hosts=hosts,
        vms=vms,
        clusters=clusters,
        rules=tuple(_rule(item, hosts, vms) for item in top.items("rules")),
        links=links,
        faults=tuple(read_fault(item) for item in top.items("faults")),
        capabilities=_capabilities(top.nested("capabilities")),
        history_hours=top.nested("history").number("hours", DEFAULT_HISTORY_HOURS, minimum=0.0),
        description=top.text("description", ""),
    )
    top.refuse_unknown()
    return scenario


def _traces(item: Fields, source: Path) -> Path | None:
    path = item.optional_text("path")
    item.refuse_unknown()
    return None if path is None else (source.parent / path)


def _clock(item: Fields) -> ClockPlan:
    plan = ClockPlan(
        start_ts=item.optional_moment("start"),
        mode=item.choice("mode", ("stepped", "running"), "stepped"),
        speed=item.number("speed", 0.0, minimum=0.0),
    )
    item.refuse_unknown()
    if plan.mode == "running" and plan.speed == 0:
        raise InvalidOption("scenario.clock.speed", "a running clock needs a speed above 0")
    return plan


def _link(item: Fields) -> float:
    item.text("name")
    capacity = item.number("capacity_mbit_s", minimum=1.0)
    item.refuse_unknown()
    return capacity


def _cluster(item: Fields) -> SimulatedCluster:
    cluster = SimulatedCluster(item.text("name"), item.optional_text("rival_balancer"))
    item.refuse_unknown()
    return cluster


def _numbered(item: Fields) -> Iterator[tuple[int, str]]:
    """Yield (index, name): one, or ``count`` of them with ``{n}`` in the name replaced by the padded number."""
    name = item.text("name")
    if "count" not in item:
        yield 0, name
        return
    count = item.integer("count", minimum=0, maximum=1_000_000)
    if "{n}" not in name:
        raise InvalidOption(f"{item.path}.name", "needs {n} where the number goes, as count is given")
    width = len(str(count))
    for index in range(count):
        yield index, name.replace("{n}", str(index + 1).zfill(width))


def _hosts(item: Fields) -> list[SimulatedHost]:
    fixed_id = item.optional_text("id")
    options = {
        "family": item.choice("family", FAMILIES),
        "capacity": item.resources("capacity", required=True),
        "state": item.choice("state", HOST_STATES, "up"),
        "own_load": item.resources("own_load"),
        "cluster": item.optional_text("cluster"),
        "networks": item.texts("networks"),
        "storages": item.texts("storages"),
        "cpu_model": item.text("cpu_model", ""),
        "cpu_features": frozenset(item.texts("cpu_features")),
        "migration_link_mbit_s": item.number("migration_link_mbit_s", 10_000.0, minimum=1.0),
        "migration_shares_vm_network": item.flag("migration_shares_vm_network", True),
        "links": item.texts("links"),
        "labels": item.labels("labels"),
        "endpoint": item.optional_text("endpoint"),
    }
    hosts = [
        SimulatedHost(host_id=fixed_id or name, name=name, **options)  # type: ignore[arg-type]  # typed by the readers
        for _index, name in _numbered(item)
    ]
    item.refuse_unknown()
    return hosts


def _vms(item: Fields, hosts: Sequence[SimulatedHost]) -> list[SimulatedVm]:
    fixed_uuid = item.optional_text("uuid")
    homes = _homes(item, hosts)
    came_from, came_ts = _came_from(item, hosts)
    traces = (trace,) if (trace := item.optional_text("trace")) else item.texts("traces")
    offset_s = item.number("offset_hours", 0.0) * 3600.0
    stagger_s = item.number("stagger_hours", 0.0) * 3600.0
    options = {
        "allocated": item.resources("allocated", required=True),
        "power_state": item.choice("power_state", POWER_STATES, "running"),
        "demand": item.resources("demand"),
        "scale": _scale(item),
        "guaranteed": item.resources("guaranteed"),
        "networks": item.texts("networks"),
        "storages": item.texts("storages"),
        "required_cpu_features": frozenset(item.texts("required_cpu_features")),
        "pinned_by": item.texts("pinned_by"),
        "is_template": item.flag("is_template", False),
        "labels": item.labels("labels"),
        "notes": item.text("notes", ""),
        "disk_mib": item.number("disk_mib", 0.0, minimum=0.0),
        "created_ts": item.optional_moment("created"),
        "dirty_mib_s_per_core": item.number("dirty_mib_s_per_core", DEFAULT_DIRTY_MIB_S_PER_CORE, minimum=0.0),
        "working_set_fraction": item.number(
            "working_set_fraction", DEFAULT_WORKING_SET_FRACTION, minimum=0.0, maximum=1.0
        ),
        "dirty_burstiness": item.number("dirty_burstiness", 0.0, minimum=0.0, maximum=2.0),
        "compressed_fraction": item.number(
            "compressed_fraction", DEFAULT_COMPRESSED_FRACTION, minimum=0.05, maximum=1.0
        ),
    }
    vms = [
        SimulatedVm(
            uuid=(fixed_uuid or str(uuid.uuid5(_UUIDS, f"{item.path}/{index}/{name}"))).lower(),
            name=name,
            host_id=homes[index % len(homes)],
            trace=traces[index % len(traces)] if traces else None,
            offset_s=offset_s + index * stagger_s,
            came_from=came_from,
            came_ts=came_ts,
            **options,  # type: ignore[arg-type]  # typed by the readers
        )
        for index, name in _numbered(item)
    ]
    item.refuse_unknown()
    return vms


def _homes(item: Fields, hosts: Sequence[SimulatedHost]) -> list[str]:
    """Return the ids of the hosts on which the VMs of this entry start, in turn."""
    names = (name,) if (name := item.optional_text("host")) else item.texts("hosts")
    known = {key: host.host_id for host in hosts for key in (host.name, host.host_id)}
    if not names:
        raise InvalidOption(f"{item.path}.host", "is required (or hosts, on which the VMs are placed in turn)")
    if names == ("*",):
        return [host.host_id for host in hosts]
    _refuse_unknown(f"{item.path}.host", names, known)
    return [known[name] for name in names]


def _came_from(item: Fields, hosts: Sequence[SimulatedHost]) -> tuple[str | None, float]:
    """Return the id of the host on which the VMs ran before, and until when; (None, 0) when they were always here."""
    before = item.nested("came_from")
    if "came_from" not in item:
        return None, 0.0
    known = {key: host.host_id for host in hosts for key in (host.name, host.host_id)}
    name, at_ts = before.text("host"), before.moment("at")
    before.refuse_unknown()
    _refuse_unknown(f"{before.path}.host", [name], known)
    return known[name], at_ts


def _scale(item: Fields) -> Resources:
    value = item.raw("scale")
    if value is None:
        return Resources(1.0, 1.0, 1.0, 1.0)
    if isinstance(value, Mapping):
        return Resources(*({**dict.fromkeys(Resources().as_dict(), 1.0), **item.resources("scale").as_dict()}.values()))
    factor = item.number("scale", minimum=0.0)
    return Resources(factor, factor, factor, factor)


def _rule(item: Fields, hosts: Sequence[SimulatedHost], vms: Sequence[SimulatedVm]) -> SimulatedRule:
    host_ids = {key: host.host_id for host in hosts for key in (host.name, host.host_id)}
    uuids: dict[str, set[str]] = {}
    for vm in vms:
        uuids.setdefault(vm.name, set()).add(vm.uuid)
        uuids.setdefault(vm.uuid, set()).add(vm.uuid)
    named_vms, named_hosts = item.texts("vms"), item.texts("hosts")
    _refuse_unknown(f"{item.path}.vms", named_vms, uuids)
    _refuse_unknown(f"{item.path}.hosts", named_hosts, host_ids)
    rule = SimulatedRule(
        name=item.text("name"),
        kind=item.choice("kind", RULE_KINDS),
        vm_uuids=frozenset(uuid_ for name in named_vms for uuid_ in uuids[name]),
        host_ids=frozenset(host_ids[name] for name in named_hosts),
        mandatory=item.flag("mandatory", True),
    )
    item.refuse_unknown()
    return rule


def _capabilities(item: Fields) -> Capabilities:
    flags = {spec.name: item.flag(spec.name, True) for spec in fields(Capabilities) if spec.name not in ("enforces",)}
    enforces = frozenset(item.texts("enforces") if "enforces" in item else RESOURCES)
    item.refuse_unknown()
    return Capabilities(**flags, enforces=enforces)


def _refuse_twice(option: str, values: Sequence[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise InvalidOption(option, f"{value!r} is there twice")
        seen.add(value)


def _refuse_unknown(option: str, names: Sequence[str], known: Mapping[str, object] | set[str]) -> None:
    for name in names:
        if name not in known:
            raise InvalidOption(option, f"{name!r} is not defined in this scenario")

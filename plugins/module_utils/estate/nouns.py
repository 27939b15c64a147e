# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an estate is made of: hosts, VMs, clusters and the rules between them. Values only, JSON-able."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .resources import Resources

#: Hypervisor families; a live migration never leaves its family.
FAMILIES = ("vmware", "kvm", "hyperv")

#: States of a host. Only an ``up`` host may receive a VM.
HOST_STATES = ("up", "maintenance", "entering_maintenance", "disconnected", "off")
#: Power states of a VM. Only a ``running`` one can be live-migrated.
POWER_STATES = ("running", "paused", "suspended", "off")


@dataclass(frozen=True, slots=True)
class Host:
    """A physical host.

    ``host_id`` is the platform's stable id, unique within its endpoint; `key` is unique in the estate.
    ``capacity`` is what its VMs can use together. ``used`` is everything in use now, the host's own load included;
    ``used`` minus the sum of its VMs' ``used`` is its own (non-VM) load. Missing figures are None, never 0.
    ``migration_link_mbit_s`` is the bandwidth of the network that live migrations use. ``facts`` holds what only
    one driver understands (CPU model and features, NUMA, versions), as JSON-able values.
    """

    endpoint: str
    host_id: str
    name: str
    family: str
    state: str
    capacity: Resources
    used: Resources | None = None
    cluster: str | None = None
    networks: tuple[str, ...] = ()
    storages: tuple[str, ...] = ()
    cpu_model: str = ""
    cpu_features: frozenset[str] = frozenset()
    migration_link_mbit_s: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The id of this host in the estate, the metrics dataset and the ledger."""
        return f"{self.endpoint}/{self.host_id}"


@dataclass(frozen=True, slots=True)
class Vm:
    """A virtual machine, known by ``(endpoint, uuid)``; ``name`` is for people and may be anything a guest chose.

    ``host_key`` is the `Host.key` it runs on (None when it runs nowhere). ``allocated`` is its configured size
    (vCPUs as ``cpu_cores``; 0 for network and disk without a limit), ``guaranteed`` what the platform already
    reserves for it, ``used`` what it uses now (None: unknown). ``pinned_by`` names each device or setting that keeps
    it from being live-migrated.
    """

    endpoint: str
    uuid: str
    name: str
    host_key: str | None
    power_state: str
    allocated: Resources
    used: Resources | None = None
    guaranteed: Resources = Resources()
    networks: tuple[str, ...] = ()
    storages: tuple[str, ...] = ()
    required_cpu_features: frozenset[str] = frozenset()
    pinned_by: tuple[str, ...] = ()
    is_template: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    notes: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> str:
        """The id of this VM in the estate: ``endpoint/uuid``."""
        return f"{self.endpoint}/{self.uuid}"


#: Kinds of rules. The ``vm_host`` kinds tie ``vm_uuids`` to ``host_keys``; the others hold among ``vm_uuids``.
RULE_KINDS = ("vm_affinity", "vm_anti_affinity", "vm_host_affinity", "vm_host_anti_affinity")


@dataclass(frozen=True, slots=True)
class Rule:
    """A placement rule. A ``mandatory`` one filters, any other costs score."""

    endpoint: str
    name: str
    kind: str
    vm_uuids: frozenset[str]
    host_keys: frozenset[str] = frozenset()
    mandatory: bool = True


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster of hosts. ``rival_balancer`` names what else moves its VMs by itself (such as ``DRS``), or is None."""

    endpoint: str
    name: str
    host_keys: frozenset[str]
    rival_balancer: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sla:
    """What a migration and the VM after it must keep to. None means: no such limit.

    Limits named in ``soft`` cost score when violated; all others reject.
    ``max_overload_probability`` bounds the chance that any resource of the destination passes its limit in the
    window. ``max_latency_ms`` bounds the application's latency during the move. ``blackout`` holds (start, end)
    Unix seconds in which no move may run.
    """

    max_downtime_ms: float | None = None
    max_duration_s: float | None = None
    max_overload_probability: float | None = None
    max_latency_ms: float | None = None
    blackout: tuple[tuple[float, float], ...] = ()
    soft: frozenset[str] = frozenset()

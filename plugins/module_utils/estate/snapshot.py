# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The estate at one moment, and finding things in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..errors import ForesightError
from .nouns import Cluster, Host, Rule, Vm


class UnknownVm(ForesightError):
    """No VM answers to the given name or uuid."""

    code = "vm_unknown"


class AmbiguousVm(ForesightError):
    """Several VMs share the given name; ``details['candidates']`` lists them."""

    code = "vm_ambiguous"


class UnknownHost(ForesightError):
    """No host answers to the given name, id or key."""

    code = "host_unknown"


class AmbiguousHost(ForesightError):
    """Several hosts share the given name; ``details['candidates']`` lists them."""

    code = "host_ambiguous"


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """How the collection from one endpoint went. ``error`` is `ForesightError.as_dict` of what failed, or None."""

    name: str
    type: str
    reachable: bool
    taken_ts: float
    error: Mapping[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Estate:
    """Everything known of the estate at ``taken_ts`` (Unix seconds). Endpoints that failed are in ``endpoints``."""

    snapshot_id: str
    taken_ts: float
    endpoints: tuple[EndpointStatus, ...]
    hosts: Mapping[str, Host]
    vms: Mapping[str, Vm]
    rules: tuple[Rule, ...] = ()
    clusters: tuple[Cluster, ...] = ()

    @cached_property
    def vms_by_host(self) -> Mapping[str, tuple[Vm, ...]]:
        """`Host.key` -> the VMs on that host, hosts without VMs included."""
        residents: dict[str, list[Vm]] = {key: [] for key in self.hosts}
        for vm in self.vms.values():
            if vm.host_key is not None:
                residents.setdefault(vm.host_key, []).append(vm)
        return {key: tuple(vms) for key, vms in residents.items()}

    def seen_ts(self, host_key: str) -> float:
        """Return when it was seen what runs on that host: its endpoint may have been asked before the others."""
        return self._seen_ts.get(host_key.partition("/")[0], self.taken_ts)

    @cached_property
    def _seen_ts(self) -> Mapping[str, float]:
        return {status.name: status.taken_ts for status in self.endpoints}

    def find_vm(self, name_or_uuid: str, endpoint: str | None = None) -> Vm:
        """Return the one VM of that uuid or exact name, wherever it runs.

        Raises `UnknownVm`, or `AmbiguousVm` that lists the candidates; never picks among several.
        """
        wanted = name_or_uuid.lower()
        pool = [vm for vm in self.vms.values() if endpoint in (None, vm.endpoint)]
        found = [vm for vm in pool if vm.uuid.lower() == wanted] or [vm for vm in pool if vm.name == name_or_uuid]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousVm(
                f"{len(found)} VMs are called {name_or_uuid!r}",
                advice="Name the VM by its uuid, or give its endpoint too.",
                details={"candidates": [_candidate(vm) for vm in found]},
            )
        raise UnknownVm(
            f"No VM is called {name_or_uuid!r} or has that uuid on {self._searched(endpoint)}",
            advice="Check the name (it is case-sensitive) and that its endpoint was reachable.",
            details={"searched": self._searched(endpoint), "unreachable": self._unreachable()},
        )

    def find_host(self, name_or_key: str) -> Host:
        """Return the one host of that key, id or exact name; raises `UnknownHost` or `AmbiguousHost`."""
        if name_or_key in self.hosts:
            return self.hosts[name_or_key]
        found = [host for host in self.hosts.values() if name_or_key in (host.host_id, host.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise AmbiguousHost(
                f"{len(found)} hosts are called {name_or_key!r}",
                advice="Name the host by its key: endpoint/host_id.",
                details={"candidates": sorted(host.key for host in found)},
            )
        raise UnknownHost(
            f"No host is called {name_or_key!r} or has that id on {self._searched(None)}",
            advice="Check the name and that its endpoint was reachable.",
            details={"searched": self._searched(None), "unreachable": self._unreachable()},
        )

    def shared_names(self) -> Iterable[str]:
        """Yield every VM name that more than one VM has."""
        return (name for name, count in Counter(vm.name for vm in self.vms.values()).items() if count > 1)

    def _searched(self, endpoint: str | None) -> str:
        return endpoint or (", ".join(status.name for status in self.endpoints) or "no endpoint")

    def _unreachable(self) -> list[str]:
        return [status.name for status in self.endpoints if not status.reachable]


def _candidate(vm: Vm) -> dict[str, Any]:
    return {"name": vm.name, "uuid": vm.uuid, "endpoint": vm.endpoint, "host": vm.host_key}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The hosts behind one endpoint: a standalone host, or the nodes of a failover cluster, each asked over WinRM itself.

A node never asks another on our behalf: that would be the second hop that Windows refuses without delegation.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...clock import Clock
from ...errors import ForesightError, InvalidOption
from ..parallel import answer_all
from ..protocol import EndpointUnreachable, HypervisorFault, Whereabouts
from .faults import ModuleMissing
from .options import Connection, common_connection, connections
from .runner import Runner
from .scripts.reads import IDENTIFY, LOCATE
from .scripts.script import Script
from .states import power_state


@dataclass(frozen=True, slots=True)
class Node:
    """One host. ``host_id`` is its computer name in lower case, ``name`` as Windows spells it."""

    host_id: str
    name: str
    fqdn: str
    runner: Runner


def host_id_of(computer_name: str) -> str:
    """Return the id of the host with this computer name, which Windows compares without regard to case."""
    return computer_name.lower()


class Nodes:
    """Every host of one endpoint, known after `connect`.

    ``entry`` is the id of the host that answered first, ``cluster`` the name of the failover cluster (None: a
    standalone host), ``has_history`` whether the cluster records its performance, ``clock_ahead_s`` how much the
    entry's clock is ahead of ours.
    """

    def __init__(self, endpoint: str, options: Mapping[str, Any], clock: Clock) -> None:
        """Take the endpoint's name and options; raises `InvalidOption`, does no I/O."""
        self.endpoint = endpoint
        self._clock = clock
        self._entries = connections(options)
        self._common = common_connection(options)
        self._addresses = {
            host_id_of(name): str(address) for name, address in (options.get("winrm_node_addresses") or {}).items()
        }
        self._lock = threading.Lock()
        self._nodes: dict[str, Node] = {}
        self.entry = ""
        self.cluster: str | None = None
        self.has_history = False
        self.clock_ahead_s = 0.0

    def connect(self) -> None:
        """Find the first of the endpoint's hosts that answers, and the nodes of its cluster.

        Where several hosts are given they are nodes of one cluster; one whose cluster service does not run is passed
        over. Raises what was wrong with the last one when none will do.
        """
        problem: ForesightError | None = None
        for connection in self._entries:
            try:
                seen = Runner(self.endpoint, connection).run(IDENTIFY)
            except EndpointUnreachable as error:
                problem = error
                continue
            if seen["cluster"] is not None or len(self._entries) == 1:
                self._learn(connection, seen)
                return
            problem = InvalidOption(
                "endpoints.winrm_hosts",
                f"{seen['computer_name']} is no working node of a cluster",
                advice="Give every standalone host an endpoint of its own.",
            )
        if problem is not None:
            raise problem

    def _learn(self, connection: Connection, seen: Mapping[str, Any]) -> None:
        """Remember what the entry host, reached by ``connection``, said of itself; raises `ModuleMissing`."""
        name = str(seen["computer_name"])
        if not seen["hyperv_module"]:
            raise ModuleMissing(
                f"Endpoint {self.endpoint!r} ({name}) has no PowerShell module for Hyper-V",
                advice="Install it there: Install-WindowsFeature -Name Hyper-V-PowerShell.",
            )
        entry = self._node(name, seen["fqdn"], connection)
        nodes = {entry.host_id: entry}
        for other in seen["node_names"]:
            host_id = host_id_of(other)
            if host_id not in nodes:
                fqdn = f"{other}.{seen['domain']}" if seen["domain"] else other
                nodes[host_id] = self._node(other, fqdn, self._common.at(self._addresses.get(host_id, fqdn)))
        with self._lock:
            self._nodes, self.entry, self.cluster = nodes, entry.host_id, seen["cluster"]
            self.has_history = bool(seen["performance_history"])
            self.clock_ahead_s = seen["ts"] - self._clock.now()

    def _node(self, name: str, fqdn: str, connection: Connection) -> Node:
        return Node(host_id_of(name), name, fqdn, Runner(self.endpoint, connection, name))

    def close(self) -> None:
        """Forget the nodes; no connection outlives its call."""
        with self._lock:
            self._nodes = {}

    @property
    def host_ids(self) -> tuple[str, ...]:
        """The ids of all hosts, the one that answered first among them."""
        return tuple(self._nodes)

    def node(self, host_id: str) -> Node:
        """Return the host; raises `HypervisorFault` for one that this endpoint does not have."""
        node = self._nodes.get(host_id_of(host_id))
        if node is None:
            raise HypervisorFault(f"Endpoint {self.endpoint!r} has no host {host_id!r}")
        return node

    def run(
        self,
        host_id: str,
        script: Script,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> dict[str, Any]:
        """Return what ``script`` answers on the host; see `Runner.run`."""
        return self.node(host_id).runner.run(script, parameters, deadline_s=deadline_s)

    def run_on_all(
        self, script: Script, parameters: Mapping[str, object] | None = None, host_ids: Sequence[str] | None = None
    ) -> dict[str, dict[str, Any] | ForesightError]:
        """Run a reading script on the hosts (default: all) in parallel; return per host the answer or the error."""
        wanted = self.host_ids if host_ids is None else host_ids
        return answer_all({host_id: partial(self.run, host_id, script, parameters) for host_id in wanted})

    def locate(self, vm_uuid: str) -> tuple[Whereabouts, ...]:
        """Return where the VM is, as the hosts themselves say.

        Raises what a host answered when none knows the VM and that one could not be asked: it may be there.
        """
        answers = self.run_on_all(LOCATE, {"vm_id": vm_uuid})
        seen = [
            Whereabouts(vm_uuid, host_id, power_state(answer["enabled_state"]))
            for host_id, answer in answers.items()
            if not isinstance(answer, ForesightError) and answer["found"]
        ]
        problems = [answer for answer in answers.values() if isinstance(answer, ForesightError)]
        if not seen and problems:
            raise problems[0]
        return tuple(seen)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hyper-V hosts and failover clusters over WinRM. An endpoint is one standalone host or one cluster."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from ...estate.resources import Resources
from ...estate.series import Samples
from ..protocol import (
    Capabilities,
    Driver,
    Finding,
    Hold,
    HypervisorFault,
    Inventory,
    Job,
    MoveOrder,
    Progress,
    Reading,
    Tuning,
    Whereabouts,
)
from . import preflight
from .describe import FAMILY
from .history import read_history
from .holds import Holds
from .inventory import read_inventory
from .meter import Meter, host_rows, samples_of, used_by
from .migration import Migrations
from .nodes import Nodes
from .usage import as_resources


class HypervDriver(Driver):
    """One standalone Hyper-V host, or all nodes of one failover cluster."""

    TYPE: ClassVar[str] = "hyperv"
    FAMILY: ClassVar[str | None] = FAMILY

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._nodes = Nodes(name, options, self.clock)
        self._meter = Meter(self._nodes, self.clock)
        self._holds = Holds(self._nodes)
        self._migrations = Migrations(self._nodes, self.clock)

    def connect(self) -> None:
        """Find a host of the endpoint that answers, and the nodes of its cluster."""
        self._nodes.connect()

    def close(self) -> None:
        """Forget the hosts: no shell or connection outlives its call, and a migration under way needs none."""
        self._nodes.close()

    def capabilities(self) -> Capabilities:
        """Return what Hyper-V can do: it throttles, compresses and bounds nothing of one migration by itself.

        No part of a host can be held for a VM that is not there, so holds are the ledger's.
        """
        return Capabilities(history=self._nodes.has_history, storage_copy=True)

    def inventory(self) -> Inventory:
        """Return hosts, VMs, rules and the cluster, their use measured over the time that reading them took."""
        return read_inventory(self._nodes, self._meter, self.clock, self.options)

    def read(self, previous: Mapping[str, Any]) -> Reading:
        """Return the use since the previous reading; without one of the last hour, over a short time from now."""
        usage, errors = self._meter.usage_since(previous.get("hosts") or {}, self._nodes.host_ids)
        if errors and not usage:
            raise next(iter(errors.values()))
        rows = (row for host_id, use in usage.items() for row in host_rows(f"{self.name}/{host_id}", use))
        return Reading(
            samples=samples_of(rows),
            counters={"hosts": self._meter.to_data()},
            warnings=tuple(f"{self._nodes.node(host_id).name}: {error.message}" for host_id, error in errors.items()),
        )

    def history(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        """Yield what a cluster with Storage Spaces Direct has recorded; nothing elsewhere."""
        if not self._nodes.has_history:
            return iter(())
        return read_history(self._nodes, since_ts, until_ts, self.clock.now())

    def locate(self, vm_uuid: str) -> tuple[Whereabouts, ...]:
        """Return where the VM is, as the hosts themselves say."""
        return self._nodes.locate(vm_uuid)

    def observe_host(self, host_id: str) -> Resources:
        """Return what the host uses now."""
        return as_resources(self._meter.observe(self._nodes.node(host_id).host_id).host)

    def observe_vm(self, vm_uuid: str) -> Resources | None:
        """Return what the VM used when its host was last looked at; None where no host that was looked at has it."""
        return next((use for usage in self._meter.observed() if (use := used_by(usage, vm_uuid)) is not None), None)

    def preflight(self, vm_uuid: str, source: Driver, host_id: str, order: MoveOrder) -> tuple[Finding, ...]:
        """Compare the hosts' settings and let Hyper-V itself compare the VM with the destination."""
        if not isinstance(source, HypervDriver):
            return (Finding("other_family", f"a VM of a {source.TYPE} endpoint cannot move live to a Hyper-V host"),)
        return preflight.findings(vm_uuid, source._nodes, self._nodes, host_id, order)

    def place_hold(self, hold: Hold) -> Hold:
        """Return the hold as one that only the ledger keeps."""
        return self._holds.place(hold)

    def release_hold(self, reservation_id: str, tokens: Mapping[str, Any]) -> bool:
        """Remove the hold; there is none on the platform."""
        return self._holds.release(reservation_id, tokens)

    def list_holds(self) -> tuple[Hold, ...]:
        """Return the holds that are on the platform: none."""
        return self._holds.all()

    def settle_hold(self, hold: Hold) -> Mapping[str, str]:
        """Give the VM that has arrived what Hyper-V can guarantee it."""
        return self._holds.settle(hold)

    def start_migration(self, order: MoveOrder, destination: Driver) -> Job:
        """Start a live migration as a job of the host or the cluster and return at once."""
        if not isinstance(destination, HypervDriver):
            raise HypervisorFault(f"A Hyper-V VM cannot be migrated live to a {destination.TYPE} endpoint")
        return self._migrations.start(order, destination._nodes)

    def find_migration(self, vm_uuid: str) -> Job | None:
        """Return the VM's migration away from one of the hosts."""
        return self._migrations.find(vm_uuid)

    def progress(self, job: Job) -> Progress:
        """Return how far the migration is."""
        return self._migrations.progress(job)

    def tune(self, job: Job, tuning: Tuning) -> None:
        """Refuse: Hyper-V's limits hold for all migrations of a host."""
        self._migrations.tune(job, tuning)

    def abort(self, job: Job) -> None:
        """Cancel the migration and wait until the VM is known to run here."""
        self._migrations.abort(job)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""KVM hosts through libvirt. An endpoint is one host; several hosts are several endpoints of one estate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from ...estate.nouns import Vm
from ...estate.resources import Resources
from ...libraries import library
from ..protocol import (
    Capabilities,
    DirtyRate,
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
from ..usage import Usage
from .connection import Connection
from .dirtyrate import measure
from .disks import copied_disks, shared_paths
from .faults import is_code
from .guarantee import give_guarantee
from .holds import Holds
from .inventory import FAMILY, host_noun, read_host_facts, read_networks, read_pools, read_vms
from .migration import Migrations
from .preflight import Target, findings, read_subject
from .samples import (
    MAX_INTERVAL_S,
    MIN_INTERVAL_S,
    Counters,
    as_resources,
    as_samples,
    read_counters,
    usage_between,
)
from .settings import MigrationSettings
from .state import SITES_ELSEWHERE, domain_state
from .xml import parse, text

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: Between two readings when there is no earlier one to compare with.
SECOND_READING_S = 1.0
#: What the guard asks for several times a second is measured anew only so often.
OBSERVATION_S = 0.5


class LibvirtDriver(Driver):
    """One KVM host."""

    TYPE: ClassVar[str] = "libvirt"
    FAMILY: ClassVar[str | None] = FAMILY

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        super().__init__(name, options)
        self._connection = Connection(name, options)
        self._settings = MigrationSettings.of(options, self._connection.uri)
        self._holds = Holds(self._connection, options, lambda: self._host_id)
        self._migrations = Migrations(self._connection, lambda: self._host_id, self.clock)
        self._host_id = ""
        self._counters: Counters | None = None
        self._usage: Usage | None = None

    def connect(self) -> None:
        """Open the connection and learn the host's uuid."""
        capabilities = self._connection.ask(lambda raw: raw.getCapabilities(), "read the host's capabilities")
        self._host_id = text(parse(capabilities), "host/uuid")

    def close(self) -> None:
        """Close the connection; a peer-to-peer migration under way goes on without it."""
        self._connection.close()

    def capabilities(self) -> Capabilities:
        """Return what QEMU and libvirt can do; a move in tunnelled mode has one connection and no compression."""
        return Capabilities(
            post_copy=not self._settings.tunnelled,
            auto_converge=True,
            compression=not self._settings.tunnelled,
            parallel_connections=not self._settings.tunnelled,
            bandwidth_limit=True,
            downtime_limit=True,
            dirty_rate=not self.options.get("readonly"),
            storage_copy=not self._settings.tunnelled,
            compresses_first_pass=False,  # xbzrle sends what has changed in pages that were sent before
            enforces=self._holds.resources,
        )

    def inventory(self) -> Inventory:
        """Return the host and its VMs, their use measured over the time that reading them took."""
        before = self._read_counters()
        facts = self._connection.ask(read_host_facts, "read the host")
        host = self._connection.ask(lambda raw: host_noun(raw, facts, self.name, self.options), "read the host")
        vms = self._connection.ask(lambda raw: read_vms(raw, facts, self.name, self.options), "list the VMs")
        usage = self._usage_since(before, MIN_INTERVAL_S)
        return Inventory(
            hosts=(replace(host, used=as_resources(usage.host)),),
            vms=tuple(self._with_use(vm, usage) for vm in vms),
            warnings=facts.warnings,
        )

    def _with_use(self, vm: Vm, usage: Usage) -> Vm:
        """Return the VM with what it uses, and with what a move has to send: its memory but for unused pages, disks."""
        counters = self._counters.vms.get(vm.uuid) if self._counters is not None else None
        facts = dict(vm.facts)
        if counters is not None:
            facts["disk_mib"] = sum(counters.disks_mib.get(disk, 0.0) for disk in facts["copied_disks"])
            if counters.occupied_mib is not None:
                facts["resident_mib"] = counters.occupied_mib
        return replace(vm, used=_vm_used(usage, vm.uuid), facts=facts)

    def read(self, previous: Mapping[str, Any]) -> Reading:
        """Return the use since the previous reading; without one of the last hour, over a short time from now."""
        before = Counters.from_data(previous)
        if before is None or not MIN_INTERVAL_S <= self.clock.now() - before.ts <= MAX_INTERVAL_S:
            before = self._read_counters()
            usage = self._usage_since(before, SECOND_READING_S)
        else:
            usage = self._usage_since(before, 0.0)
        counters = self._counters.to_data() if self._counters is not None else {}
        return Reading(as_samples(usage, f"{self.name}/{self._host_id}"), counters)

    def _read_counters(self) -> Counters:
        self._counters = self._connection.ask(
            lambda raw: read_counters(raw, self.clock.now()), "read the statistics of its VMs"
        )
        return self._counters

    def _usage_since(self, before: Counters, at_least_s: float) -> Usage:
        """Read the counters again, not before ``at_least_s`` have passed, and return the use in between."""
        self.clock.sleep(max(0.0, before.ts + at_least_s - self.clock.now()))
        return usage_between(before, self._read_counters())

    def locate(self, vm_uuid: str) -> tuple[Whereabouts, ...]:
        """Return where this host sees the VM; not active while it only arrives here, or has left in post-copy."""

        def look(raw: libvirt.virConnect) -> tuple[Whereabouts, ...]:
            try:
                state = domain_state(raw.lookupByUUIDString(vm_uuid))
            except libvirt.libvirtError as error:
                if is_code(error, "NO_DOMAIN"):
                    return ()
                raise
            active = state.site not in SITES_ELSEWHERE
            return (Whereabouts(vm_uuid, self._host_id, state.power_state, active, not state.partial),)

        return self._connection.ask(look, "find the VM")

    def observe_host(self, host_id: str) -> Resources:
        """Return what the host uses now."""
        return as_resources(self._observed().host)

    def observe_vm(self, vm_uuid: str) -> Resources | None:
        """Return what the VM uses now; None when it is not here."""
        return _vm_used(self._observed(), vm_uuid)

    def _observed(self) -> Usage:
        """Return the use since the last look, or the last look's where that is only a moment ago."""
        before = self._counters or self._read_counters()
        if self._usage is None or self.clock.now() - self._usage.ts >= OBSERVATION_S:
            self._usage = self._usage_since(before, MIN_INTERVAL_S)
        return self._usage

    def preflight(self, vm_uuid: str, source: Driver, host_id: str, order: MoveOrder) -> tuple[Finding, ...]:
        """Compare what the VM needs with what this host has, as libvirt on both sides tells it."""
        if not isinstance(source, LibvirtDriver):
            return (Finding("other_family", f"a VM of a {source.TYPE} endpoint cannot move live to a KVM host"),)
        subject = source._connection.ask(lambda raw: read_subject(raw, vm_uuid), "read the VM")
        if subject is None:
            return (Finding("vm_unknown", f"endpoint {source.name!r} does not know the VM {vm_uuid}"),)
        held_mib, held_huge_mib = self._holds.held_mib(vm_uuid), self._holds.held_huge_mib(vm_uuid)

        def check(raw: libvirt.virConnect) -> tuple[Finding, ...]:
            unseen: list[str] = []
            networks = read_networks(raw, unseen)
            target = Target(
                raw=raw,
                name=self.name,
                host_uuid=self._host_id,
                pools=read_pools(raw, []),
                networks=networks,
                networks_known=not unseen,
                held_mib=held_mib,
                held_huge_mib=held_huge_mib,
                options=self.options,
            )
            return tuple(findings(subject, target, order))

        return self._connection.ask(check, "check the VM against this host")

    def place_hold(self, hold: Hold) -> Hold:
        """Hold a hard hold's memory by placeholders, and the rest by restraining the host's VMs; see `holds`."""
        if hold.host_id != self._host_id:
            raise HypervisorFault(f"Endpoint {self.name!r} is host {self._host_id}, not {hold.host_id}")
        return self._holds.place(hold)

    def release_hold(self, reservation_id: str, tokens: Mapping[str, Any]) -> bool:
        """Remove the reservation's placeholders, and give the host's VMs back what they had."""
        return self._holds.release(reservation_id)

    def list_holds(self) -> tuple[Hold, ...]:
        """Return the holds on this host, and what is left of some in restrained VMs."""
        return self._holds.all()

    def give_way(self, reservation_id: str, arrived_mib: float) -> None:
        """Give up as much of the hold as the arriving VM has taken itself."""
        self._holds.give_way(reservation_id, arrived_mib)

    def settle_hold(self, hold: Hold) -> Mapping[str, str]:
        """Remove the hold and give the VM what the platform can guarantee it."""
        others = self._holds.settle(hold)
        self._migrations.forget(hold.vm_uuid)
        guaranteed = give_guarantee(self._connection, hold, others)
        self._holds.restrain_again()
        return guaranteed

    def measure_dirty_rate(self, vm_uuid: str, seconds: float) -> DirtyRate | None:
        """Let QEMU measure how fast the VM writes to its memory."""
        return measure(self._connection, vm_uuid, seconds, self.clock)

    def start_migration(self, order: MoveOrder, destination: Driver) -> Job:
        """Start a live migration in the background and return at once."""
        target = self._peer(destination)
        copied = self._disks_to_copy(order.vm_uuid, target) if order.storage_copy else ()
        return self._migrations.start(order, target._connection, target._settings, target.name, copied)

    def _disks_to_copy(self, vm_uuid: str, target: LibvirtDriver) -> tuple[str, ...]:
        """Return the disks of the VM that the target does not reach."""
        description = self._connection.ask(
            lambda raw: parse(raw.lookupByUUIDString(vm_uuid).XMLDesc()), "read the VM's disks"
        )
        pools = target._connection.ask(lambda raw: read_pools(raw, []), "list the storage pools")
        return copied_disks(description, pools, shared_paths(target.options))

    def find_migration(self, vm_uuid: str) -> Job | None:
        """Return the VM's migration away from this host."""
        return self._migrations.find(vm_uuid)

    def progress(self, job: Job) -> Progress:
        """Return how far the migration is."""
        return self._migrations.progress(job)

    def tune(self, job: Job, tuning: Tuning) -> None:
        """Change bandwidth and longest downtime of the running migration."""
        self._migrations.tune(job, tuning)

    def switch_to_post_copy(self, job: Job) -> None:
        """Let the VM run on the destination while the rest of its memory follows."""
        self._migrations.switch_to_post_copy(job)

    def recover_post_copy(self, job: Job, destination: Driver) -> None:
        """Resume a post-copy whose connection broke."""
        target = self._peer(destination)
        self._migrations.recover(job, target._connection, target._settings)

    def drop_definition(self, vm_uuid: str) -> bool:
        """Undefine a VM here that one of our moves has brought elsewhere."""
        return self._migrations.drop_definition(vm_uuid)

    def abort(self, job: Job) -> None:
        """Abort the migration and wait until the VM is known to run here."""
        self._migrations.abort(job)

    def _peer(self, destination: Driver) -> LibvirtDriver:
        if not isinstance(destination, LibvirtDriver):
            raise HypervisorFault(f"A KVM guest cannot be migrated live to a {destination.TYPE} endpoint")
        return destination


def _vm_used(usage: Usage, vm_uuid: str) -> Resources | None:
    use = usage.vms.get(vm_uuid)
    return None if use is None else as_resources(use)

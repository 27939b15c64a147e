# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one protocol that every hypervisor driver speaks. A new hypervisor is one class of this kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from ..clock import Clock, SystemClock
from ..errors import ForesightError
from ..estate.nouns import Cluster, Host, Rule, Vm
from ..estate.reservation import Reservation
from ..estate.resources import RESOURCES, Resources
from ..estate.series import Samples


class EndpointUnreachable(ForesightError):
    """Nothing answered at the endpoint's address within its deadline."""

    code = "endpoint_unreachable"


class LoginRefused(ForesightError):
    """The endpoint answered, and refused the credentials."""

    code = "login_refused"


class PermissionDenied(ForesightError):
    """Logged in, but not allowed to do this. ``details['privilege']`` names what is missing where it is known."""

    code = "permission_denied"


class UntrustedCertificate(ForesightError):
    """The endpoint's TLS certificate could not be verified."""

    code = "certificate_untrusted"


class UnsupportedVersion(ForesightError):
    """The endpoint's software is too old, too new or lacks what this needs."""

    code = "version_unsupported"


class HypervisorFault(ForesightError):
    """The hypervisor refused or failed an operation. ``details['fault']`` is its own name for it."""

    code = "hypervisor_fault"


class HoldRefused(ForesightError):
    """The hypervisor would not enforce a hold. Nothing of it is left behind."""

    code = "hold_refused"


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a driver can do on its platform; the strategy is chosen among these.

    ``enforces`` names the resources for which the platform can hold capacity on a destination before the VM comes.
    ``compresses_first_pass`` is false where ``compression`` over one connection only shortens what is sent again.
    """

    post_copy: bool = False
    auto_converge: bool = False
    compression: bool = False
    parallel_connections: bool = False
    bandwidth_limit: bool = False
    downtime_limit: bool = False
    history: bool = False
    dirty_rate: bool = False
    storage_copy: bool = False
    compresses_first_pass: bool = True
    enforces: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Inventory:
    """What one endpoint consists of right now. ``used`` of hosts and VMs is filled where one call gives it.

    ``server_ts`` is the endpoint's own clock when it answered (None: it does not tell), to detect skew.
    """

    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]
    rules: tuple[Rule, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    warnings: tuple[str, ...] = ()
    server_ts: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reading:
    """Samples taken now. ``counters`` is JSON-able and comes back with the next call, to turn counters into rates."""

    samples: Samples
    counters: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One result of a preflight. Only a ``blocking`` one forbids the move."""

    code: str
    message: str
    blocking: bool = True
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Hold:
    """Capacity to be held (or found held) on a host for a VM that is to come.

    ``enforced_by`` says per resource ``hypervisor`` or ``ledger``; ``tokens`` is what the driver needs to find it.
    ``floors`` is what VMs that run there need themselves, by uuid, as far as that is known: no hold takes it from them.
    """

    reservation_id: str
    host_id: str
    vm_uuid: str
    amount: Resources
    tier: str
    enforced_by: Mapping[str, str] = field(default_factory=dict)
    tokens: Mapping[str, Any] = field(default_factory=dict)
    floors: Mapping[str, Resources] = field(default_factory=dict)

    @classmethod
    def of(cls, reservation: Reservation, floors: Mapping[str, Resources] | None = None) -> Hold:
        """Return the hold that stands for ``reservation`` on its host, where others need ``floors``."""
        return cls(
            reservation_id=reservation.reservation_id,
            host_id=reservation.host_key.partition("/")[2],
            vm_uuid=reservation.vm_uuid,
            amount=reservation.amount,
            tier=reservation.tier,
            enforced_by=reservation.enforced_by,
            tokens=reservation.tokens,
            floors=floors or {},
        )


@dataclass(frozen=True, slots=True)
class DirtyRate:
    """How fast a VM rewrites its memory, and over how much of it. ``method`` says how that was found.

    ``error_share`` is the standard error of both figures, as a share of them (0: exact, or not known).
    """

    dirty_mib_s: float
    working_set_mib: float | None
    method: str
    error_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Tuning:
    """Settings of a running migration; None leaves a setting as it is."""

    bandwidth_mib_s: float | None = None
    max_downtime_ms: float | None = None
    throttle: bool | None = None


@dataclass(frozen=True, slots=True)
class MoveOrder:
    """A live migration to be started. ``storage_copy`` moves non-shared disks too; ``options`` go to the driver."""

    vm_uuid: str
    destination_host_id: str
    reservation_id: str
    tuning: Tuning = Tuning()
    auto_converge: bool = False
    post_copy: bool = False
    compression: bool = False
    parallel_connections: int = 0
    storage_copy: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


#: Phases of a migration job. ``postcopy``: the VM already runs on the destination and must not be aborted.
PHASES = ("starting", "precopy", "postcopy", "stalled", "done", "failed", "aborted", "gone")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a migration is. Unknown figures are None. ``error`` says why when ``phase`` is ``failed``."""

    phase: str
    elapsed_s: float
    percent: float | None = None
    transferred_mib: float | None = None
    total_mib: float | None = None
    remaining_mib: float | None = None
    throughput_mib_s: float | None = None
    dirty_mib_s: float | None = None
    iteration: int | None = None
    downtime_ms: float | None = None
    expected_downtime_ms: float | None = None
    error: str = ""

    @property
    def finished(self) -> bool:
        """Whether the job has ended, well or badly."""
        return self.phase in ("done", "failed", "aborted", "gone")


@dataclass(frozen=True, slots=True)
class Job:
    """A migration in flight on its source endpoint. ``handle`` is JSON-able and works from another process."""

    vm_uuid: str
    source_host_id: str
    destination_host_id: str
    handle: Mapping[str, Any]
    reservation_id: str = ""


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a VM is, as one endpoint sees it. During post-copy both sides know it; ``active`` marks the running one.

    ``complete`` is false for one that runs while part of its memory is still on the host that it left.
    """

    vm_uuid: str
    host_id: str
    power_state: str
    active: bool = True
    complete: bool = True


class Driver(ABC):
    """A connection to one endpoint. Use it as a context manager; every call is bounded by the endpoint's deadline.

    Host ids, uuids and handles are those of this endpoint. Every method raises a `ForesightError` of this module
    (or a subclass that says more); nothing else escapes a driver for trouble on the wire or on the platform.
    """

    #: The endpoint ``type`` in playbooks.
    TYPE: ClassVar[str]
    #: The family of hosts behind it; the simulated driver has hosts of every family.
    FAMILY: ClassVar[str | None]

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        """Take the endpoint's ``name`` and its validated options; do no I/O."""
        self.name = name
        self.options = options

    def __enter__(self) -> Driver:
        self.connect()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def clock(self) -> Clock:
        """The clock by which this endpoint lives."""
        return SystemClock()

    @abstractmethod
    def connect(self) -> None:
        """Open the connection; raises `EndpointUnreachable`, `LoginRefused` or `UntrustedCertificate`."""

    @abstractmethod
    def close(self) -> None:
        """Log out and free everything; safe to call twice and after a failed `connect`."""

    @abstractmethod
    def capabilities(self) -> Capabilities:
        """Return what this endpoint can do."""

    @abstractmethod
    def inventory(self) -> Inventory:
        """Return hosts, VMs, rules and clusters, read in bulk."""

    @abstractmethod
    def read(self, previous: Mapping[str, Any]) -> Reading:
        """Return the use of all hosts and VMs now; ``previous`` is the last reading's ``counters`` (or empty)."""

    def history(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        """Yield the platform's own recorded history in batches; nothing where it keeps none."""
        return iter(())

    @abstractmethod
    def locate(self, vm_uuid: str) -> tuple[Whereabouts, ...]:
        """Return where this endpoint sees the VM now; empty when it does not know it. Never cached."""

    @abstractmethod
    def observe_host(self, host_id: str) -> Resources:
        """Return what the host uses right now, for the guard; cheap enough to be called every second."""

    def observe_vm(self, vm_uuid: str) -> Resources | None:
        """Return what the VM uses right now, for the guard; None where the platform cannot tell it cheaply."""
        return None

    @abstractmethod
    def preflight(self, vm_uuid: str, source: Driver, host_id: str, order: MoveOrder) -> tuple[Finding, ...]:
        """Ask the platform whether the VM at ``source`` could move to ``host_id`` here; changes nothing."""

    def foresee_hold(self, hold: Hold) -> Mapping[str, str]:
        """Return per resource who would enforce the hold, ``hypervisor`` or ``ledger``; changes nothing.

        Raises `HoldRefused` where the platform tells without being changed that it would not hold it.
        """
        able = self.capabilities().enforces if hold.tier == "hard" else frozenset[str]()
        return {name: "hypervisor" if name in able else "ledger" for name in RESOURCES}

    @abstractmethod
    def place_hold(self, hold: Hold) -> Hold:
        """Hold capacity as far as the platform can and return it with ``enforced_by`` and ``tokens`` filled.

        Idempotent per reservation; a changed amount updates the hold. Raises `HoldRefused` when a resource that
        this platform enforces cannot be held, leaving nothing behind.
        """

    @abstractmethod
    def release_hold(self, reservation_id: str, tokens: Mapping[str, Any]) -> bool:
        """Remove the hold; return whether there was one."""

    @abstractmethod
    def list_holds(self) -> tuple[Hold, ...]:
        """Return every hold of ours that is really in place on this endpoint, for precheck and reconcile."""

    def give_way(self, reservation_id: str, arrived_mib: float) -> None:
        """Give up as much of a hold as the VM, ``arrived_mib`` of whose memory is here by now, has taken itself.

        To be called on the destination during a move. Nothing to do where the platform's hold is no memory in use.
        """
        return

    @abstractmethod
    def settle_hold(self, hold: Hold) -> Mapping[str, str]:
        """After the VM has arrived: turn the hold into the VM's own guarantee as the tier says.

        Returns per resource ``hypervisor`` or ``ledger``. Idempotent.
        """

    def measure_dirty_rate(self, vm_uuid: str, seconds: float) -> DirtyRate | None:
        """Measure how fast the VM dirties memory; None where the platform cannot tell."""
        return None

    @abstractmethod
    def start_migration(self, order: MoveOrder, destination: Driver) -> Job:
        """Start a live migration from here to ``destination`` (which may be this driver) and return at once."""

    @abstractmethod
    def find_migration(self, vm_uuid: str) -> Job | None:
        """Return the migration of that VM in flight from this endpoint, whoever started it."""

    @abstractmethod
    def progress(self, job: Job) -> Progress:
        """Return how far the job is; ``gone`` when the endpoint knows of no such job any more."""

    @abstractmethod
    def tune(self, job: Job, tuning: Tuning) -> None:
        """Change settings of the running job; raises `HypervisorFault` when the platform refuses."""

    def switch_to_post_copy(self, job: Job) -> None:
        """Switch the running job to post-copy; only where `Capabilities.post_copy` and the order allowed it."""
        raise HypervisorFault(f"Endpoint {self.name!r} cannot switch a migration to post-copy")

    def recover_post_copy(self, job: Job, destination: Driver) -> None:
        """Resume a post-copy whose connection broke (``stalled`` after ``postcopy``): the VM stands until then."""
        raise HypervisorFault(f"Endpoint {self.name!r} cannot resume a broken post-copy")

    def drop_definition(self, vm_uuid: str) -> bool:
        """Remove what a move of ours has left defined here of a VM that runs elsewhere now; returns whether it had.

        To be called only once the VM is known to have arrived. Nothing to do where the platform sees to that.
        """
        return False

    @abstractmethod
    def abort(self, job: Job) -> None:
        """Stop the job so that the VM stays on its source; return when the platform has confirmed that."""

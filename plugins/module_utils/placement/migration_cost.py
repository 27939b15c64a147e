# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a live migration will cost: rounds, bytes, duration and downtime of pre-copy and post-copy.

Pre-copy (Clark et al., "Live Migration of Virtual Machines", NSDI 2005) sends all memory once and then, round by
round, what was written meanwhile, until what is left fits into the allowed downtime. The geometric recurrence over
rounds is that of Liu et al., "Performance and Energy Modeling for Live Migration of Virtual Machines", HPDC 2011;
bounding a round by the writable working set is Clark's observation put into that recurrence: a page written twice in
a round is sent once, so dD/dt = dirty rate x (1 - D / working set). The rule for stopping (what is left / bandwidth
<= allowed downtime) and the throttle are those of QEMU (migration/migration.c, ram.c, options.c).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..estate.nouns import Vm

#: QEMU's default of ``downtime-limit``, in ms (migration/options.c).
DEFAULT_MAX_DOWNTIME_MS = 300.0
#: Device state, switch-over and the first packet from the new host, in ms: idle guests on libvirt, which leave nothing
#: to send while they stand still, were silent for 190 to 225 ms (four moves of 160 MiB guests, software emulation).
DEFAULT_SWITCHOVER_MS = 200.0
#: While the VM stands still, its last pages arrive at this share of the link's rate: the sender's full socket buffer
#: goes first, and the stream ends with losses and acknowledgements. Guests that left 14 MiB to send over 200 Mbit/s
#: were silent for 1016 to 1131 ms, with the 200 ms above in it (three moves; docs/performance.md has the lab).
STANDSTILL_SHARE = 0.8
#: Connecting, checking and building the empty VM on the destination, in seconds: in the same moves the job reported
#: no transfer for the first 0.5 to 0.8 s.
DEFAULT_SETUP_S = 0.5
#: Rounds after which pre-copy counts as not ending; libxc likewise stopped after 29 (``DEF_MAX_ITERS``).
MAX_ROUNDS = 30
#: A round that leaves more than this share of the previous one has stopped making progress.
PROGRESS_SHARE = 0.99

#: QEMU's ``cpu-throttle-initial``, ``cpu-throttle-increment`` and ``max-cpu-throttle``, in percent.
THROTTLE_INITIAL_PERCENT = 20.0
THROTTLE_INCREMENT_PERCENT = 10.0
THROTTLE_MAX_PERCENT = 99.0
#: QEMU throttles when a round dirties more than this share of what it sent (``throttle-trigger-threshold``).
THROTTLE_TRIGGER_SHARE = 0.5
#: It does so after this many such rounds (``dirty_rate_high_cnt``, migration/ram.c).
THROTTLE_BAD_ROUNDS = 2

#: Taken where neither the platform nor a measurement tells: MiB/s of distinct pages written per busy core. A guess on
#: the safe side; predictions made from it say so.
ASSUMED_DIRTY_MIB_S_PER_CORE = 40.0
#: Likewise the share of the memory in use over which those writes go.
ASSUMED_WORKING_SET_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class MemoryActivity:
    """How fast a VM writes memory and over how much of it; ``method`` is ``platform`` or ``assumed``."""

    dirty_mib_s: float
    working_set_mib: float
    method: str


@dataclass(frozen=True, slots=True)
class MigrationDemand:
    """What there is to move, and over what.

    ``memory_mib`` is the memory in use that has to be sent; ``dirty_mib_s`` how fast the VM writes distinct pages;
    ``working_set_mib`` the most it can dirty in a round of any length (None: all of its memory).
    ``bandwidth_mib_s`` is what the link carries for this move; ``switchover_mib_s`` the rate while the VM stands
    still, where that differs (QEMU lifts its own cap then). ``max_downtime_ms`` is the limit handed to the
    hypervisor. ``compression_ratio`` is memory per byte on the wire, ``first_pass_ratio`` the same in the first round,
    where that differs. ``disk_mib`` of disks are copied along, before the memory and over the same link;
    what the VM writes to them meanwhile is not counted. ``error_share`` is the standard error of dirty rate and
    working set, as a share of them.
    """

    memory_mib: float
    dirty_mib_s: float
    bandwidth_mib_s: float
    working_set_mib: float | None = None
    max_downtime_ms: float = DEFAULT_MAX_DOWNTIME_MS
    switchover_mib_s: float | None = None
    switchover_ms: float = DEFAULT_SWITCHOVER_MS
    setup_s: float = DEFAULT_SETUP_S
    compression_ratio: float = 1.0
    first_pass_ratio: float | None = None
    disk_mib: float = 0.0
    error_share: float = 0.0

    def __post_init__(self) -> None:
        amounts = (self.memory_mib, self.dirty_mib_s, self.max_downtime_ms, self.switchover_ms, self.setup_s)
        if min(*amounts, self.disk_mib, self.error_share) < 0:
            raise ValueError("a migration's amounts cannot be negative")
        if min(self.bandwidth_mib_s, self.compression_ratio, self.first_ratio) <= 0:
            raise ValueError("a migration's bandwidth and compression ratio must be above 0")

    @property
    def send_mib_s(self) -> float:
        """MiB of guest memory that leave the source per second."""
        return self.bandwidth_mib_s * self.compression_ratio

    @property
    def first_ratio(self) -> float:
        """Memory per byte on the wire in the first round."""
        return self.compression_ratio if self.first_pass_ratio is None else self.first_pass_ratio

    @property
    def busiest(self) -> MigrationDemand:
        """The demand of the same VM when it writes as much more as the measurement's standard error leaves open."""
        return self._busier(1.0)

    def fastest(self, errors: float) -> MigrationDemand:
        """Return the demand of the same VM when it writes more by so many standard errors, and as fast as can be.

        That is over its whole working set in every round, however short. A sampled rate cannot exclude it once the
        working set shows: the VM may have gone round many times in the shortest wait.
        """
        busier = self._busier(errors)
        sampled = self.error_share > 0 and self.working_set_mib is not None
        return replace(busier, dirty_mib_s=math.inf) if sampled else busier

    def _busier(self, errors: float) -> MigrationDemand:
        share = 1.0 + errors * self.error_share
        working_set_mib = None if self.working_set_mib is None else self.working_set_mib * share
        return replace(self, dirty_mib_s=self.dirty_mib_s * share, working_set_mib=working_set_mib, error_share=0.0)

    @property
    def before_memory_s(self) -> float:
        """Seconds from the start until the first page of memory is sent."""
        return self.setup_s + self.disk_mib / self.bandwidth_mib_s

    @property
    def ceiling_mib(self) -> float:
        """The most memory that can be dirty at once, MiB."""
        return self.memory_mib if self.working_set_mib is None else min(self.working_set_mib, self.memory_mib)


@dataclass(frozen=True, slots=True)
class MigrationCost:
    """A prediction.

    ``duration_s`` runs from the start to the VM running on the destination with all its memory there,
    ``transferred_mib`` is what crosses the wire, ``downtime_ms`` how long the VM stands still. ``rounds`` counts
    copies of memory while the VM runs. When ``converges`` is false the move would not end by itself: the figures
    then are what stopping the VM at the last round would cost. ``throttle_percent`` is how far the VM's CPU would be
    slowed at most, ``degraded_s`` for how long it runs slowed, or with part of its memory still remote.
    """

    duration_s: float
    transferred_mib: float
    downtime_ms: float
    rounds: int
    converges: bool
    throttle_percent: float = 0.0
    degraded_s: float = 0.0


def predict_precopy(demand: MigrationDemand, *, auto_converge: bool = False) -> MigrationCost:
    """Predict an iterative pre-copy; with ``auto_converge`` the VM is slowed as QEMU does when rounds do not shrink.

    Round i sends V(i) in t = V(i) / bandwidth seconds, in which the VM dirties V(i+1) = W (1 - exp(-dirty rate t / W))
    of its working set W. The move ends when V(i+1) / bandwidth fits into ``max_downtime_ms``.
    """
    left_mib, sent_mib, elapsed_s, degraded_s, throttle = demand.memory_mib, 0.0, demand.before_memory_s, 0.0, 0.0
    converges, rounds, bad_rounds = False, 0, 0
    while rounds < MAX_ROUNDS:
        rounds += 1
        ratio = demand.first_ratio if rounds == 1 else demand.compression_ratio
        round_s = left_mib / (demand.bandwidth_mib_s * ratio)
        dirtied_mib = _dirtied(demand, round_s, throttle)
        sent_mib += left_mib / ratio
        elapsed_s += round_s
        degraded_s += round_s if throttle else 0.0
        shrinks, left_before_mib, left_mib = dirtied_mib < PROGRESS_SHARE * left_mib, left_mib, dirtied_mib
        converges = left_mib / demand.send_mib_s * 1000.0 <= demand.max_downtime_ms
        if converges:
            break
        if auto_converge and throttle < THROTTLE_MAX_PERCENT:
            bad_rounds += dirtied_mib > THROTTLE_TRIGGER_SHARE * left_before_mib
            if bad_rounds == THROTTLE_BAD_ROUNDS:
                throttle, bad_rounds = _next_throttle(throttle), 0
        elif not shrinks:
            break
    stop_s = left_mib / _switchover_rate(demand)
    return MigrationCost(
        duration_s=elapsed_s + stop_s + demand.switchover_ms / 1000.0,
        transferred_mib=demand.disk_mib + sent_mib + left_mib / demand.compression_ratio,
        downtime_ms=stop_s * 1000.0 + demand.switchover_ms,
        rounds=rounds,
        converges=converges,
        throttle_percent=throttle,
        degraded_s=degraded_s,
    )


def predict_post_copy(demand: MigrationDemand) -> MigrationCost:
    """Predict one round of pre-copy followed by post-copy: what was dirtied in it is fetched by the running VM.

    The VM stands still for the hand-over only, and runs with remote memory for ``degraded_s`` after it.
    """
    first_s = demand.memory_mib / (demand.bandwidth_mib_s * demand.first_ratio)
    left_mib = _dirtied(demand, first_s)
    remote_s = left_mib / demand.send_mib_s
    return MigrationCost(
        duration_s=demand.before_memory_s + first_s + demand.switchover_ms / 1000.0 + remote_s,
        transferred_mib=demand.disk_mib + demand.memory_mib / demand.first_ratio + left_mib / demand.compression_ratio,
        downtime_ms=demand.switchover_ms,
        rounds=1,
        converges=True,
        degraded_s=remote_s,
    )


def memory_to_send(vm: Vm) -> float:
    """Return the MiB of memory that a migration has to send at least once.

    ``facts`` ``resident_mib`` is the platform's own figure (what the VM has ever touched) where a driver fills it;
    otherwise the memory in use, and the configured size where not even that is known.
    """
    resident_mib = vm.facts.get("resident_mib")
    if resident_mib is not None:
        return float(resident_mib)
    return _memory_in_use(vm)


def disks_to_copy(vm: Vm) -> float | None:
    """Return the MiB of disks that a move with its storage copies; None where the platform does not tell.

    ``facts`` ``disk_mib`` is what the writable disks take where they are now, holes not counted.
    """
    disk_mib = vm.facts.get("disk_mib")
    return None if disk_mib is None else float(disk_mib)


def memory_activity(vm: Vm) -> MemoryActivity:
    """Return how the VM writes its memory as far as its inventory tells.

    ``facts`` ``dirty_mib_s`` and ``working_set_mib`` are the platform's own figures where a driver fills them;
    otherwise the documented assumptions of this module apply to the cores and memory in use.
    """
    working_set_mib = vm.facts.get("working_set_mib")
    if working_set_mib is None:
        working_set_mib = ASSUMED_WORKING_SET_SHARE * _memory_in_use(vm)
    dirty_mib_s = vm.facts.get("dirty_mib_s")
    if dirty_mib_s is None:
        cores = (vm.used or vm.allocated).cpu_cores
        return MemoryActivity(ASSUMED_DIRTY_MIB_S_PER_CORE * cores, float(working_set_mib), "assumed")
    return MemoryActivity(float(dirty_mib_s), float(working_set_mib), "platform")


def _memory_in_use(vm: Vm) -> float:
    used_mib = (vm.used or vm.allocated).memory_mib
    return min(used_mib, vm.allocated.memory_mib) if vm.allocated.memory_mib else used_mib


def _dirtied(demand: MigrationDemand, seconds: float, throttle_percent: float = 0.0) -> float:
    """Return the MiB that the VM dirties in ``seconds``, each page counted once."""
    working_set_mib = demand.ceiling_mib
    if working_set_mib <= 0:
        return 0.0
    written_mib = demand.dirty_mib_s * (1.0 - throttle_percent / 100.0) * seconds
    return -working_set_mib * math.expm1(-written_mib / working_set_mib)


def _next_throttle(percent: float) -> float:
    if percent == 0.0:
        return THROTTLE_INITIAL_PERCENT
    return min(percent + THROTTLE_INCREMENT_PERCENT, THROTTLE_MAX_PERCENT)


def _switchover_rate(demand: MigrationDemand) -> float:
    """Return the MiB of guest memory per second that leave while the VM stands still."""
    return (demand.switchover_mib_s or demand.bandwidth_mib_s) * demand.compression_ratio

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The physics of a live migration: iterative pre-copy, switch-over, post-copy. Pure; times and rates are given.

Iterative pre-copy as in Clark et al., "Live Migration of Virtual Machines", NSDI 2005: the first round sends all
memory while the VM runs on, each further round sends what was dirtied during the one before, until what is left can
be sent within the allowed downtime. A page written twice in a round is sent once, so that what a round leaves grows
towards the working set: dD/dt = dirty_rate * (1 - D / working_set).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

#: Connecting and negotiating before the first page is sent, seconds (assumption of this model).
SETUP_S = 0.5
#: Pause beyond the last pages: device state and the network's notice of the new place, ms (assumption).
SWITCH_OVER_MS = 60.0
#: Downtime that is allowed unless the order says otherwise, ms: QEMU's default of ``downtime-limit``.
DEFAULT_MAX_DOWNTIME_MS = 300.0
#: A round lasts at least so long, seconds: reading the bitmap of dirtied pages takes time (assumption).
MIN_ROUND_S = 0.05
#: QEMU's defaults of ``cpu-throttle-initial``, ``cpu-throttle-increment`` and ``max-cpu-throttle``, as fractions.
THROTTLE_INITIAL = 0.20
THROTTLE_INCREMENT = 0.10
THROTTLE_MAX = 0.99
#: QEMU's ``throttle-trigger-threshold``: a round that dirties more than this share of what it sent is a bad one.
THROTTLE_TRIGGER = 0.5
#: QEMU throttles after two bad rounds.
THROTTLE_BAD_ROUNDS = 2
#: What one connection carries, MiB/s: the line rate of 10 Gbit/s Ethernet (assumption; one thread feeds it).
STREAM_MIB_S = 1192.0
#: Cores that compressing takes on the source (assumption).
COMPRESSION_CORES = 1.0
#: A rest of less than this share of the whole is the rounding of floating-point sums: nothing is left.
_ROUNDING = 1e-12


@dataclass(slots=True)
class Precopy:
    """One migration's memory.

    At any time ``sent_mib`` + ``remaining_mib`` + ``dirtied_mib`` = ``total_mib`` + ``redirtied_mib``: every page
    that was ever to be sent has been sent, waits in this round or waits for the next. ``sent_mib`` counts memory,
    ``wire_mib`` what went over the network. ``phase_left_s`` is the rest of setting up or switching over.
    """

    total_mib: float
    remaining_mib: float
    dirtied_mib: float = 0.0
    redirtied_mib: float = 0.0
    sent_mib: float = 0.0
    wire_mib: float = 0.0
    round_sent_mib: float = 0.0
    round_s: float = 0.0
    iteration: int = 1
    phase: str = "starting"
    phase_left_s: float = SETUP_S
    throttle: float = 0.0
    bad_rounds: int = 0
    downtime_ms: float | None = None

    @classmethod
    def begin(cls, total_mib: float) -> Precopy:
        """Return a migration of ``total_mib`` that has just been ordered."""
        return cls(total_mib=total_mib, remaining_mib=total_mib)

    @property
    def pending_mib(self) -> float:
        """MiB that the destination does not have yet."""
        return self.remaining_mib + self.dirtied_mib

    @property
    def first_pass_percent(self) -> float:
        """How much of the first pass over memory has been sent, 0-100."""
        return 100.0 if self.total_mib <= 0 else min(100.0, 100.0 * self.sent_mib / self.total_mib)

    @property
    def percent(self) -> float:
        """How much of the memory the destination has, 0-100."""
        return 100.0 if self.total_mib <= 0 else max(0.0, 100.0 * (1.0 - self.pending_mib / self.total_mib))


@dataclass(frozen=True, slots=True)
class Rates:
    """What drives a migration: memory sent (after compression gains) and wire rate, memory dirtied; all MiB/s."""

    memory_mib_s: float
    wire_mib_s: float
    dirty_mib_s: float
    working_set_mib: float


def seconds_to_event(copy: Precopy, rates: Rates) -> float:
    """Return how long until a phase or round ends at these rates; infinite when nothing moves."""
    if copy.phase in ("starting", "switching"):
        return copy.phase_left_s
    if rates.memory_mib_s <= 0:
        return math.inf
    return max(copy.remaining_mib / rates.memory_mib_s, MIN_ROUND_S - copy.round_s, 0.0)


def seconds_to_percent(copy: Precopy, rates: Rates, percent: float) -> float:
    """Return how long until ``percent`` of the first pass has been sent; infinite when it is past or nothing moves."""
    missing = copy.total_mib * percent / 100.0 - copy.sent_mib
    if copy.phase != "precopy" or rates.memory_mib_s <= 0 or missing < 0:
        return math.inf
    return missing / rates.memory_mib_s


def advance(copy: Precopy, rates: Rates, seconds: float) -> None:
    """Let ``seconds`` pass, at most `seconds_to_event`."""
    if copy.phase in ("starting", "switching"):
        copy.phase_left_s = max(0.0, copy.phase_left_s - seconds)
        return
    sent = min(copy.remaining_mib, rates.memory_mib_s * seconds)
    if copy.remaining_mib - sent <= _ROUNDING * copy.total_mib:
        sent = copy.remaining_mib
    copy.remaining_mib -= sent
    copy.sent_mib += sent
    copy.round_sent_mib += sent
    copy.round_s += seconds
    if rates.memory_mib_s > 0:
        copy.wire_mib += sent * rates.wire_mib_s / rates.memory_mib_s
    if copy.phase == "precopy":
        dirtied = _dirtied_after(copy.dirtied_mib, rates, seconds)
        copy.redirtied_mib += dirtied - copy.dirtied_mib
        copy.dirtied_mib = dirtied


def _dirtied_after(already_mib: float, rates: Rates, seconds: float) -> float:
    """Solve dD/dt = rate * (1 - D / working_set) from D(0) = ``already_mib``."""
    if rates.dirty_mib_s <= 0 or rates.working_set_mib <= already_mib:
        return already_mib
    left = math.exp(-rates.dirty_mib_s * seconds / rates.working_set_mib)
    return rates.working_set_mib - (rates.working_set_mib - already_mib) * left


def end_phase(copy: Precopy, rates: Rates, max_downtime_ms: float, auto_converge: bool) -> None:
    """Go on after the event that `seconds_to_event` foretold has come.

    Phases: starting -> precopy (rounds) -> switching -> done; or postcopy -> done.
    """
    if copy.phase == "starting":
        copy.phase = "precopy"
    elif copy.phase == "switching":
        copy.phase = "done"
    elif copy.phase == "postcopy":
        if copy.remaining_mib <= 0:
            copy.phase = "done"
    elif copy.phase == "precopy" and copy.remaining_mib <= 0 and copy.round_s >= MIN_ROUND_S * (1 - 1e-9):
        last_ms = 1000.0 * copy.dirtied_mib / rates.memory_mib_s if rates.memory_mib_s > 0 else math.inf
        if last_ms <= max_downtime_ms:
            _switch_over(copy, rates, last_ms)
        else:
            _next_round(copy, auto_converge)


def _switch_over(copy: Precopy, rates: Rates, last_ms: float) -> None:
    """Pause the VM and send what is left."""
    copy.sent_mib += copy.dirtied_mib
    copy.wire_mib += copy.dirtied_mib * rates.wire_mib_s / rates.memory_mib_s if rates.memory_mib_s > 0 else 0.0
    copy.dirtied_mib = 0.0
    copy.downtime_ms = last_ms + SWITCH_OVER_MS
    copy.phase = "switching"
    copy.phase_left_s = copy.downtime_ms / 1000.0


def _next_round(copy: Precopy, auto_converge: bool) -> None:
    bad = copy.dirtied_mib > THROTTLE_TRIGGER * copy.round_sent_mib
    copy.bad_rounds = copy.bad_rounds + 1 if bad else 0
    if auto_converge and copy.bad_rounds >= THROTTLE_BAD_ROUNDS:
        step = THROTTLE_INCREMENT if copy.throttle else THROTTLE_INITIAL
        copy.throttle = min(THROTTLE_MAX, copy.throttle + step)
        copy.bad_rounds = 0
    copy.remaining_mib = copy.dirtied_mib
    copy.dirtied_mib = 0.0
    copy.round_sent_mib = 0.0
    copy.round_s = 0.0
    copy.iteration += 1


def switch_to_post_copy(copy: Precopy) -> None:
    """Let the VM run on at the destination now; what it does not have yet is pulled, each page once."""
    copy.remaining_mib += copy.dirtied_mib
    copy.dirtied_mib = 0.0
    copy.throttle = 0.0
    copy.downtime_ms = SWITCH_OVER_MS
    copy.phase = "postcopy"

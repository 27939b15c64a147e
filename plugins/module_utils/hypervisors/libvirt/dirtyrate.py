# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast a VM rewrites its memory, measured by QEMU before the move.

QEMU samples pages, hashes them, waits, and hashes them again (https://www.qemu.org/docs/master/interop/
qemu-qmp-ref.html, calc-dirty-rate). A page written many times counts once, so over a long wait a VM that goes round
in a small working set shows that set's size divided by the wait, and over a short one its true rate: two measurements
tell both. The mode that reads the dirty bitmap is not used: it crashes guests of QEMU 7.2 and tells 0 in 10.0.

QEMU looks at 512 pages of each GiB (``sample-pages`` in the same reference), others each time, so one page that it
finds changed stands for 2 MiB, and n of them tell the rate to within 1 / sqrt(n). libvirt cannot ask for more pages;
where few were found changed, it is therefore measured again.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ...clock import Clock
from ...libraries import library
from ..protocol import DirtyRate, HypervisorFault
from .connection import Connection

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: QEMU takes whole seconds in this range.
MIN_SECONDS, MAX_SECONDS = 1, 60
#: How long a measurement may take beyond its own time.
GRACE_S = 10.0
POLL_S = 0.1
#: The long wait must show less than this share of the short one's rate for its figure to be the working set.
SATURATED = 0.8


#: What one sampled page stands for, MiB.
RESOLUTION_MIB = 2.0
#: QEMU tells whole MiB/s, rounded down (migration/dirtyrate.c), which takes off half of one on average.
ROUNDED_OFF_MIB_S = 0.5
#: As many changed pages are wanted (an error of 14 %), in so many measurements at most.
ENOUGH_PAGES, MOST_ATTEMPTS = 50, 3


def measure(connection: Connection, vm_uuid: str, seconds: float, clock: Clock) -> DirtyRate:
    """Measure for about ``seconds`` (at least 3), up to three times as long for a VM of which few pages are sampled.

    ``working_set_mib`` is None when the VM writes over more memory than it got round in the time. Raises
    `HypervisorFault` when QEMU does not finish in time.
    """
    short_s = MIN_SECONDS
    long_s = max(2 * MIN_SECONDS, min(MAX_SECONDS, round(seconds) - short_s))
    short_mib = long_mib = 0.0
    times = 0
    while times < MOST_ATTEMPTS:
        times += 1
        short_mib += short_s * _sample(connection, vm_uuid, short_s, clock)
        long_mib += long_s * _sample(connection, vm_uuid, long_s, clock)
        pages = (short_mib + long_mib) / RESOLUTION_MIB
        if not 0 < pages < ENOUGH_PAGES:
            break
    short, long = short_mib / short_s / times, long_mib / long_s / times
    noise = RESOLUTION_MIB * math.hypot(_error(short_mib) / short_s, _error(long_mib) / long_s) / times
    saturated = long < SATURATED * short
    surely = SATURATED * short - long > noise  # else the shorter wait is no better a figure of the rate than both are
    return DirtyRate(
        dirty_mib_s=short if surely else (short_mib + long_mib) / (short_s + long_s) / times,
        working_set_mib=long * long_s if saturated else None,
        method=f"QEMU page sampling over {short_s} s and {long_s} s, {times} times",
        error_share=1 / math.sqrt(pages) if pages else 0.0,
    )


def _error(mib: float) -> float:
    """Return the standard error, in pages, of the number of changed pages that stand for so many MiB."""
    return math.sqrt(mib / RESOLUTION_MIB)


def _sample(connection: Connection, vm_uuid: str, seconds: int, clock: Clock) -> float:
    """Return the share of memory written within ``seconds``, as MiB/s."""
    connection.ask(
        lambda raw: raw.lookupByUUIDString(vm_uuid).startDirtyRateCalc(
            seconds, libvirt.VIR_DOMAIN_DIRTYRATE_MODE_PAGE_SAMPLING
        ),
        "measure the dirty rate",
    )
    deadline = clock.now() + seconds + GRACE_S
    while clock.now() < deadline:
        clock.sleep(POLL_S)
        status, rate = connection.ask(lambda raw: _result(raw, vm_uuid), "read the dirty rate")
        if status == libvirt.VIR_DOMAIN_DIRTYRATE_MEASURED:
            return rate
    raise HypervisorFault(f"QEMU did not tell the dirty rate within {seconds + GRACE_S:g} s")


def _result(raw: libvirt.virConnect, vm_uuid: str) -> tuple[int | None, float]:
    domain = raw.lookupByUUIDString(vm_uuid)
    stats = raw.domainListGetStats([domain], libvirt.VIR_DOMAIN_STATS_DIRTYRATE, 0)[0][1]
    whole_mib_s = stats.get("dirtyrate.megabytes_per_second", 0)
    return stats.get("dirtyrate.calc_status"), whole_mib_s + ROUNDED_OFF_MIB_S if whole_mib_s else 0.0

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast a VM rewrites its memory, measured by QEMU before the move.

QEMU samples pages, hashes them, waits, and hashes them again (https://www.qemu.org/docs/master/interop/
qemu-qmp-ref.html, calc-dirty-rate). A page written many times counts once, so over a long wait a VM that goes round
in a small working set shows that set's size divided by the wait, and over a short one its true rate: two measurements
tell both. The mode that reads the dirty bitmap is not used: it crashes guests of QEMU 7.2 and tells 0 in 10.0.
"""

from __future__ import annotations

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


def measure(connection: Connection, vm_uuid: str, seconds: float, clock: Clock) -> DirtyRate:
    """Measure for about ``seconds`` (at least 3); raises `HypervisorFault` when QEMU does not finish in time.

    ``working_set_mib`` is None when the VM writes over more memory than it got round in the time.
    """
    short_s = MIN_SECONDS
    long_s = max(2 * MIN_SECONDS, min(MAX_SECONDS, round(seconds) - short_s))
    short = _sample(connection, vm_uuid, short_s, clock)
    long = _sample(connection, vm_uuid, long_s, clock)
    saturated = short > 0 and long < SATURATED * short
    return DirtyRate(
        dirty_mib_s=max(short, long),
        working_set_mib=long * long_s if saturated else None,
        method=f"QEMU page sampling over {short_s} s and {long_s} s",
    )


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
    return stats.get("dirtyrate.calc_status"), float(stats.get("dirtyrate.megabytes_per_second", 0))

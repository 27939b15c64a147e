# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a VM that has arrived keeps of its reservation: a share of the CPU that the kernel grants it in contention.

QEMU has no memory guarantee and Linux bridges no bandwidth floor, so these stay with the ledger.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...estate.resources import RESOURCES
from ...libraries import library
from ..protocol import Hold
from .connection import Connection
from .faults import is_code
from .levers import SHARES, cpu_shares
from .marks import GUARANTEE, read_mark, scope, write_mark

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: The largest value that cgroup v1 (cpu.shares) and cgroup v2 (cpu.weight) take
#: (https://docs.kernel.org/admin-guide/cgroup-v2.html, https://libvirt.org/formatdomain.html#cpu-tuning).
MAX_SHARES_V1, MAX_WEIGHT_V2 = 262144, 10000


def needed_shares(others: int, cores: float, host_cores: float, most: int) -> int:
    """Return the shares with which a VM gets ``cores`` of ``host_cores`` while all others want everything.

    In contention each gets shares / sum of shares, hence shares = others * cores / (host_cores - cores).
    """
    if cores >= host_cores:
        return most
    return min(most, max(1, round(others * cores / (host_cores - cores))))


def give_guarantee(connection: Connection, hold: Hold, others: int) -> dict[str, str]:
    """Give a VM of the hard tier its CPU share and note that in its metadata; returns who enforces what.

    ``others`` are the shares of all other VMs on the host together. Shares are only ever raised. A host without
    cgroups leaves the CPU to the ledger too.
    """
    enforced = dict.fromkeys(RESOURCES, "ledger")
    if hold.tier == "hard" and hold.amount.cpu_cores > 0:
        given = connection.ask(lambda raw: _raise_shares(raw, hold, others), "give the VM its CPU share")
        enforced["cpu"] = "hypervisor" if given else "ledger"
    return enforced


def _raise_shares(raw: libvirt.virConnect, hold: Hold, others: int) -> bool:
    domain = raw.lookupByUUIDString(hold.vm_uuid)
    mark = read_mark(domain, GUARANTEE)
    if mark is not None and mark.get("reservation") == hold.reservation_id:
        return mark.get("cpu") == "hypervisor"
    own = cpu_shares(domain)
    given = own is not None
    if own is not None:
        wanted = needed_shares(others, hold.amount.cpu_cores, raw.getCPUMap()[0], MAX_SHARES_V1)
        given = wanted <= own or _set_shares(domain, wanted)
    amounts = {name: repr(value) for name, value in hold.amount.as_dict().items()}
    mark = {"reservation": hold.reservation_id, "cpu": "hypervisor" if given else "ledger", **amounts}
    write_mark(domain, GUARANTEE, mark)
    return given


def _set_shares(domain: libvirt.virDomain, wanted: int) -> bool:
    """Set the shares, or as many as the host's kernel takes; returns whether that is all of them.

    Which cgroups the kernel has, it tells only by what it refuses.
    """
    try:
        domain.setSchedulerParametersFlags({SHARES: wanted}, scope(domain))
        return True
    except libvirt.libvirtError as error:
        if wanted <= MAX_WEIGHT_V2 or not is_code(error, "INVALID_ARG"):
            raise
        domain.setSchedulerParametersFlags({SHARES: MAX_WEIGHT_V2}, scope(domain))
        return False

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
from .marks import GUARANTEE, is_placeholder, read_mark, scope, write_mark

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

SHARES = "cpu_shares"
#: The largest value that cgroup v1 (cpu.shares) and cgroup v2 (cpu.weight) take; their defaults tell them apart
#: (https://docs.kernel.org/admin-guide/cgroup-v2.html, https://libvirt.org/formatdomain.html#cpu-tuning).
MAX_SHARES_V1, MAX_WEIGHT_V2 = 262144, 10000
DEFAULT_SHARES_V1, DEFAULT_WEIGHT_V2 = 1024, 100


def needed_shares(others: int, cores: float, host_cores: float, most: int) -> int:
    """Return the shares with which a VM gets ``cores`` of ``host_cores`` while all others want everything.

    In contention each gets shares / sum of shares, hence shares = others * cores / (host_cores - cores).
    """
    if cores >= host_cores:
        return most
    return min(most, max(1, round(others * cores / (host_cores - cores))))


def give_guarantee(connection: Connection, hold: Hold) -> dict[str, str]:
    """Give a VM of the hard tier its CPU share and note that in its metadata; returns who enforces what.

    Shares are only ever raised. A host without cgroups leaves the CPU to the ledger too.
    """
    enforced = dict.fromkeys(RESOURCES, "ledger")
    if hold.tier == "hard" and hold.amount.cpu_cores > 0:
        given = connection.ask(lambda raw: _raise_shares(raw, hold), "give the VM its CPU share")
        enforced["cpu"] = "hypervisor" if given else "ledger"
    return enforced


def _raise_shares(raw: libvirt.virConnect, hold: Hold) -> bool:
    domain = raw.lookupByUUIDString(hold.vm_uuid)
    mark = read_mark(domain, GUARANTEE)
    if mark is not None and mark.get("reservation") == hold.reservation_id:
        return mark.get("cpu") == "hypervisor"
    own = _shares(domain)
    given = own is not None
    if own is not None:
        most = MAX_WEIGHT_V2 if own == DEFAULT_WEIGHT_V2 else MAX_SHARES_V1
        wanted = needed_shares(_shares_of_others(raw, hold.vm_uuid), hold.amount.cpu_cores, raw.getCPUMap()[0], most)
        if wanted > own:
            domain.setSchedulerParametersFlags({SHARES: wanted}, scope(domain))
    write_mark(
        domain,
        GUARANTEE,
        {
            "reservation": hold.reservation_id,
            "cpu": "hypervisor" if given else "ledger",
            "cpu_cores": repr(hold.amount.cpu_cores),
        },
    )
    return given


def _shares(domain: libvirt.virDomain) -> int | None:
    """Return a running domain's shares; None where there is no CPU controller."""
    try:
        shares: int | None = domain.schedulerParametersFlags(libvirt.VIR_DOMAIN_AFFECT_LIVE).get(SHARES)
    except libvirt.libvirtError as error:
        if is_code(error, "OPERATION_INVALID", "OPERATION_UNSUPPORTED", "NO_DOMAIN"):
            return None
        raise
    return shares or None


def _shares_of_others(raw: libvirt.virConnect, vm_uuid: str) -> int:
    others = (
        domain
        for domain in raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)
        if domain.UUIDString() != vm_uuid and not is_placeholder(domain.name(), domain.UUIDString())
    )
    return sum(_shares(domain) or 0 for domain in others)

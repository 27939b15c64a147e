# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an order and the destination's options become libvirt's migration flags and parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption
from ...libraries import library
from ..protocol import MoveOrder

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

MODES = ("p2p", "direct")
#: Throttling of auto-converge in percent: where it begins and how much it grows each round. libvirt's own defaults
#: (20 and 10) take twice as many rounds until a busy VM gives way.
AUTO_CONVERGE_INITIAL = 40
AUTO_CONVERGE_INCREMENT = 20
MIB = 2**20
#: Cache for pages already sent, as a share of the VM's memory, and the least that is of use.
XBZRLE_CACHE_MIB = 64


@dataclass(frozen=True, slots=True)
class MigrationSettings:
    """How a destination wants to be migrated to.

    ``peer_uri`` is the URI by which the source's daemon reaches the destination's; ``address`` the destination's
    address for the data stream (empty: as its libvirt decides).
    """

    peer_to_peer: bool
    tunnelled: bool
    tls: bool
    peer_uri: str
    address: str

    @classmethod
    def of(cls, options: Mapping[str, Any], uri: str) -> MigrationSettings:
        """Read a destination endpoint's options; ``uri`` is the one the controller uses.

        Raises `InvalidOption` for settings that exclude each other.
        """
        mode = options.get("migration_mode") or "p2p"
        if mode not in MODES:
            raise InvalidOption("endpoints.migration_mode", f"unknown mode {mode!r}; known are {', '.join(MODES)}")
        tunnelled, tls = bool(options.get("migration_tunnelled")), bool(options.get("migration_tls"))
        if tunnelled and (mode != "p2p" or tls):
            raise InvalidOption("endpoints.migration_tunnelled", "goes only with mode p2p, and not with migration_tls")
        return cls(
            mode == "p2p", tunnelled, tls, options.get("migration_uri") or uri, options.get("migration_address") or ""
        )


def flags_of(order: MoveOrder, target: MigrationSettings, persistent: bool) -> int:
    """Return the flags. A VM that was persistent is persistent on the destination and gone from the source."""
    chosen = {
        libvirt.VIR_MIGRATE_LIVE: True,
        libvirt.VIR_MIGRATE_ABORT_ON_ERROR: True,
        libvirt.VIR_MIGRATE_PERSIST_DEST: persistent,
        libvirt.VIR_MIGRATE_UNDEFINE_SOURCE: persistent,
        libvirt.VIR_MIGRATE_PEER2PEER: target.peer_to_peer,
        libvirt.VIR_MIGRATE_TUNNELLED: target.tunnelled,
        libvirt.VIR_MIGRATE_TLS: target.tls,
        libvirt.VIR_MIGRATE_AUTO_CONVERGE: order.auto_converge,
        libvirt.VIR_MIGRATE_POSTCOPY: order.post_copy,
        libvirt.VIR_MIGRATE_COMPRESSED: order.compression,
        libvirt.VIR_MIGRATE_PARALLEL: order.parallel_connections > 1,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK: order.storage_copy,
    }
    return sum(flag for flag, wanted in chosen.items() if wanted)


def parameters_of(order: MoveOrder, target: MigrationSettings) -> dict[str, Any]:
    """Return the typed parameters.

    Compression is xbzrle on one connection and zstd on several, since each works only there.
    """
    parameters: dict[str, Any] = {}
    if order.tuning.bandwidth_mib_s is not None:
        bandwidth = max(1, round(order.tuning.bandwidth_mib_s))
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = bandwidth
    if target.address and not target.tunnelled:
        host = f"[{target.address}]" if ":" in target.address else target.address
        parameters[libvirt.VIR_MIGRATE_PARAM_URI] = f"tcp://{host}"
    if order.auto_converge:
        parameters[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INITIAL] = AUTO_CONVERGE_INITIAL
        parameters[libvirt.VIR_MIGRATE_PARAM_AUTO_CONVERGE_INCREMENT] = AUTO_CONVERGE_INCREMENT
    if order.parallel_connections > 1:
        parameters[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = order.parallel_connections
    if order.compression and order.parallel_connections > 1:
        parameters[libvirt.VIR_MIGRATE_PARAM_COMPRESSION] = "zstd"
    elif order.compression:
        parameters[libvirt.VIR_MIGRATE_PARAM_COMPRESSION] = "xbzrle"
        parameters[libvirt.VIR_MIGRATE_PARAM_COMPRESSION_XBZRLE_CACHE] = XBZRLE_CACHE_MIB * MIB
    return parameters

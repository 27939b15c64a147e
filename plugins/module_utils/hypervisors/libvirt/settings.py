# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How an order and the destination's options become libvirt's migration flags and parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
MIB = 2**20
#: Memory on the source in which QEMU keeps pages already sent, to send only what changed in them.
XBZRLE_CACHE_MIB = 64
#: What an order's ``options`` may hold. Throttling is in percent: where auto-converge begins (QEMU: 20) and how much
#: it grows from round to round (QEMU: 10).
ORDER_OPTIONS = ("auto_converge_initial", "auto_converge_increment", "xbzrle_cache_mib")


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


def flags_of(order: MoveOrder, target: MigrationSettings, persistent: bool, copied: Sequence[str] = ()) -> int:
    """Return the flags. A VM that was persistent is persistent on the destination and gone from the source.

    ``copied`` are the targets of the disks that are copied along; the order's wish alone is not enough, see
    `disks.copied_disks`.
    """
    chosen = {
        **_ways(target, persistent),
        libvirt.VIR_MIGRATE_ABORT_ON_ERROR: True,
        libvirt.VIR_MIGRATE_AUTO_CONVERGE: order.auto_converge,
        libvirt.VIR_MIGRATE_POSTCOPY: order.post_copy,
        libvirt.VIR_MIGRATE_COMPRESSED: order.compression,
        libvirt.VIR_MIGRATE_PARALLEL: order.parallel_connections > 1,
        libvirt.VIR_MIGRATE_NON_SHARED_DISK: bool(copied),
    }
    return sum(flag for flag, wanted in chosen.items() if wanted)


def resume_flags(target: MigrationSettings, persistent: bool) -> int:
    """Return the flags that resume a post-copy.

    They say again what becomes of the definitions: libvirt's confirmation goes by this call's flags. Where libvirt
    keeps the source's definition all the same, `Migrations.drop_definition` removes it.
    """
    chosen = {
        **_ways(target, persistent),
        libvirt.VIR_MIGRATE_POSTCOPY: True,
        libvirt.VIR_MIGRATE_POSTCOPY_RESUME: True,
    }
    return sum(flag for flag, wanted in chosen.items() if wanted)


def _ways(target: MigrationSettings, persistent: bool) -> dict[int, bool]:
    """Return the flags that a move keeps from its start to its end."""
    return {
        libvirt.VIR_MIGRATE_LIVE: True,
        libvirt.VIR_MIGRATE_PERSIST_DEST: persistent,
        libvirt.VIR_MIGRATE_UNDEFINE_SOURCE: persistent,
        libvirt.VIR_MIGRATE_PEER2PEER: target.peer_to_peer,
        libvirt.VIR_MIGRATE_TUNNELLED: target.tunnelled,
        libvirt.VIR_MIGRATE_TLS: target.tls,
    }


def stream_parameters(target: MigrationSettings) -> dict[str, str]:
    """Return the typed parameter that says where the data goes; none where libvirt on the destination decides."""
    if not target.address or target.tunnelled:
        return {}
    host = f"[{target.address}]" if ":" in target.address else target.address
    return {libvirt.VIR_MIGRATE_PARAM_URI: f"tcp://{host}"}


def parameters_of(order: MoveOrder, target: MigrationSettings, copied: Sequence[str] = ()) -> dict[str, Any]:
    """Return the typed parameters; raises `InvalidOption` for an unknown one in the order's ``options``.

    Compression is xbzrle on one connection and zstd on several, since each works only there.
    """
    options = _order_options(order)
    parameters: dict[str, Any] = dict(stream_parameters(target))
    if copied:
        parameters[libvirt.VIR_MIGRATE_PARAM_MIGRATE_DISKS] = list(copied)
    if order.tuning.bandwidth_mib_s is not None:
        bandwidth = max(1, round(order.tuning.bandwidth_mib_s))
        parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH] = bandwidth
        if order.post_copy:
            parameters[libvirt.VIR_MIGRATE_PARAM_BANDWIDTH_POSTCOPY] = bandwidth
    if order.auto_converge:
        for name in ("auto_converge_initial", "auto_converge_increment"):
            if name in options:
                parameters[getattr(libvirt, f"VIR_MIGRATE_PARAM_{name.upper()}")] = options[name]
    if order.parallel_connections > 1:
        parameters[libvirt.VIR_MIGRATE_PARAM_PARALLEL_CONNECTIONS] = order.parallel_connections
    if order.compression and order.parallel_connections > 1:
        parameters[libvirt.VIR_MIGRATE_PARAM_COMPRESSION] = "zstd"
    elif order.compression:
        parameters[libvirt.VIR_MIGRATE_PARAM_COMPRESSION] = "xbzrle"
        cache_mib = options.get("xbzrle_cache_mib", XBZRLE_CACHE_MIB)
        parameters[libvirt.VIR_MIGRATE_PARAM_COMPRESSION_XBZRLE_CACHE] = cache_mib * MIB
    return parameters


def _order_options(order: MoveOrder) -> dict[str, int]:
    """Return the order's ``options`` as whole numbers above 0; raises `InvalidOption`."""
    options = {}
    for name, value in order.options.items():
        if name not in ORDER_OPTIONS:
            raise InvalidOption("driver_options", f"unknown {name!r}; libvirt knows {', '.join(ORDER_OPTIONS)}")
        try:
            options[name] = int(value)
        except (TypeError, ValueError):
            raise InvalidOption(f"driver_options.{name}", f"{value!r} is not a whole number") from None
        if options[name] < 1:
            raise InvalidOption(f"driver_options.{name}", "must be above 0")
    return options

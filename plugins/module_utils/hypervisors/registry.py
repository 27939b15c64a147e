# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which driver serves which endpoint type.

The imports are written out because Ansible finds what a module needs by reading them, and stand inside functions so
that only the drivers in use are loaded. A new hypervisor adds one function here.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import InvalidOption
from .protocol import Driver


def _simulated() -> type[Driver]:
    from .simulated.driver import SimulatedDriver

    return SimulatedDriver


def _vmware() -> type[Driver]:
    from .vmware.driver import VmwareDriver

    return VmwareDriver


def _libvirt() -> type[Driver]:
    from .libvirt.driver import LibvirtDriver

    return LibvirtDriver


def _hyperv() -> type[Driver]:
    from .hyperv.driver import HypervDriver

    return HypervDriver


_DRIVERS: dict[str, Callable[[], type[Driver]]] = {
    "simulated": _simulated,
    "vmware": _vmware,
    "libvirt": _libvirt,
    "hyperv": _hyperv,
}

#: Endpoint types that playbooks may name.
TYPES: tuple[str, ...] = tuple(_DRIVERS)


def driver_class(endpoint_type: str) -> type[Driver]:
    """Return the driver for an endpoint type; raises `InvalidOption` that lists the known ones."""
    if endpoint_type not in _DRIVERS:
        raise InvalidOption("endpoints.type", f"unknown type {endpoint_type!r}; known are {', '.join(TYPES)}")
    return _DRIVERS[endpoint_type]()

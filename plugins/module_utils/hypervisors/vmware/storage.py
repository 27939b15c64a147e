# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The datastore for the disks of a VM that goes to a host which does not reach them where they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..protocol import HypervisorFault, MoveOrder
from .names import plain_name
from .properties import Record, moid_of, read_objects
from .session import Session

#: The option of a `MoveOrder` that names the datastore.
OPTION = "datastore"
_PATHS = ("name", "summary.accessible", "summary.maintenanceMode", "summary.freeSpace")


class NoDatastore(HypervisorFault):
    """The destination has no datastore that the VM's disks could go to."""

    code = "datastore_missing"


def missing(needed: Iterable[Any] | None, offered: Iterable[Any] | None) -> list[str]:
    """Return the ids of the references that are needed and not offered, sorted."""
    there = {moid_of(reference) for reference in offered or ()}
    return sorted(str(moid_of(reference)) for reference in needed or () if moid_of(reference) not in there)


def destination(session: Session, order: MoveOrder, vm: Record, host: Record) -> Any:
    """Return the datastore that the VM's disks must go to; None where the host reaches all of them, or none may move.

    ``vm`` and ``host`` have been read with ``datastore``. It is the one that the order's option names, by its name or
    id, else the accessible one with the most free space. Raises `NoDatastore`.
    """
    if not order.storage_copy or not missing(vm.get("datastore"), host.get("datastore")):
        return None
    asked = str(order.options.get(OPTION) or "")
    usable = [found for found in read_objects(session, host.get("datastore") or (), _PATHS) if _is_usable(found)]
    chosen = [found for found in usable if not asked or asked in _names_of(found)]
    if not chosen:
        wanted = f"the datastore {asked!r}" if asked else "any datastore"
        raise NoDatastore(
            f"Host {host.moid} does not have {wanted} that is accessible and not in maintenance",
            advice="Give the name of one of its datastores as driver_options.datastore.",
            details={"datastores": [plain_name(found.get("name")) for found in usable]},
        )
    return max(chosen, key=lambda found: int(found.get("summary.freeSpace") or 0)).reference


def _is_usable(datastore: Record) -> bool:
    return bool(datastore.get("summary.accessible")) and datastore.get("summary.maintenanceMode") in (None, "normal")


def _names_of(datastore: Record) -> tuple[str, ...]:
    """Return all that may mean the datastore: its name, that with its id as the inventory shows it, its id."""
    name = plain_name(datastore.get("name"))
    return name, f"{name} ({datastore.moid})", datastore.moid

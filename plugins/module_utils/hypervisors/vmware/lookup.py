# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finding one VM or host among the thousands, with a call or two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..protocol import HypervisorFault
from .properties import Record, moid_of, read_one
from .sdk import pyvmomi
from .session import Session


class VmNotHere(HypervisorFault):
    """This endpoint does not know the VM."""

    code = "vm_not_here"


class HostNotHere(HypervisorFault):
    """This endpoint does not know the host."""

    code = "host_not_here"


def find_vm(session: Session, vm_uuid: str) -> Any:
    """Return the VM of that instance uuid, or None."""
    index = session.content.searchIndex
    return session.read("find a VM", lambda: index.FindByUuid(None, vm_uuid, True, True))


def read_vm(session: Session, vm_uuid: str, paths: Sequence[str]) -> Record:
    """Return the VM of that instance uuid with the paths given; raises `VmNotHere`."""
    reference = find_vm(session, vm_uuid)
    record = read_one(session, reference, paths) if reference is not None else None
    if record is None:
        raise VmNotHere(f"Endpoint {session.endpoint!r} knows no VM with the instance uuid {vm_uuid}")
    return record


def read_host(session: Session, host_id: str, paths: Sequence[str]) -> Record:
    """Return the host of that id with the paths given; raises `HostNotHere`."""
    record = read_one(session, reference(session, "HostSystem", host_id), paths)
    if record is None:
        raise HostNotHere(f"Endpoint {session.endpoint!r} knows no host with the id {host_id!r}")
    return record


def reference(session: Session, kind: str, moid: str) -> Any:
    """Return the object of that kind and id, bound to this session, without asking whether it exists."""
    return getattr(pyvmomi.vim, kind)(moid, session.stub)


def host_of(record: Record) -> str:
    """Return the id of the host that a VM record with ``runtime.host`` is on, "" for none."""
    return moid_of(record.get("runtime.host")) or ""


def entry_pool(session: Session, source: Any, destination: Any) -> Any:
    """Return the pool in which a VM from host ``source`` is to arrive on host ``destination``.

    That is the root pool of the destination's cluster, or None within one cluster, where the VM keeps its pool.
    """
    left = read_host(session, moid_of(source) or "", ["parent"])
    owner = read_host(session, moid_of(destination) or "", ["parent"]).get("parent")
    if moid_of(left.get("parent")) == moid_of(owner):
        return None
    record = read_one(session, owner, ["resourcePool"])
    return record.get("resourcePool") if record is not None else None

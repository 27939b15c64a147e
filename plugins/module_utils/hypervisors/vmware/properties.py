# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Properties of many objects in few calls: whole inventories in pages, by leaf paths."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .faults import GoneFromInventory
from .sdk import pyvmomi
from .session import Session

#: Objects per answer. An answer of this many VMs is about 2 MB.
PAGE_OBJECTS = 500


@dataclass(frozen=True, slots=True)
class Record:
    """One object's properties by path. A property that is unset or must not be read is absent from ``values``."""

    reference: Any
    values: Mapping[str, Any]

    @property
    def moid(self) -> str:
        """The object's id, unique within its vCenter, such as ``vm-61``."""
        return str(self.reference._moId)

    @property
    def kind(self) -> str:
        """vSphere's name of the object's type, such as ``VirtualMachine``."""
        return str(self.reference._wsdlName)

    def get(self, path: str, default: Any = None) -> Any:
        """Return the property at ``path``, or ``default`` where it has none."""
        return self.values.get(path, default)


def moid_of(reference: Any) -> str | None:
    """Return the id of a reference, None for none."""
    return None if reference is None else str(reference._moId)


def read_everywhere(session: Session, wanted: Mapping[str, Sequence[str]]) -> list[Record]:
    """Return all objects of the endpoint that are of the ``wanted`` types (vSphere's names), with the paths given.

    Takes one call per `PAGE_OBJECTS` objects, plus two for the view.
    """
    return session.read("read its inventory", lambda: _pages_of_view(session, wanted))


def read_objects(session: Session, references: Iterable[Any], paths: Sequence[str]) -> list[Record]:
    """Return the given objects (all of one type) with the paths given. Those that are gone are left out."""
    objects = list(references)
    if not objects:
        return []
    collector = pyvmomi.vmodl.query.PropertyCollector
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=reference) for reference in objects],
        propSet=[collector.PropertySpec(type=type(objects[0]), pathSet=list(paths))],
        reportMissingObjectsInResults=True,
    )
    return session.read("read properties", lambda: list(_pages(session, spec)))


def read_one(session: Session, reference: Any, paths: Sequence[str]) -> Record | None:
    """Return one object with the paths given, or None when it is gone."""
    try:
        records = read_objects(session, [reference], paths)
    except GoneFromInventory:
        return None
    return records[0] if records else None


def _pages_of_view(session: Session, wanted: Mapping[str, Sequence[str]]) -> list[Record]:
    collector = pyvmomi.vmodl.query.PropertyCollector
    types = {getattr(pyvmomi.vim, name): list(paths) for name, paths in wanted.items()}
    content = session.content
    view = content.viewManager.CreateContainerView(content.rootFolder, list(types), True)
    members = collector.TraversalSpec(name="members", type=pyvmomi.vim.view.ContainerView, path="view", skip=False)
    spec = collector.FilterSpec(
        objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[members])],
        propSet=[collector.PropertySpec(type=kind, pathSet=paths) for kind, paths in types.items()],
    )
    records = list(_pages(session, spec))
    view.Destroy()  # a failed read leaves it to the end of the session, which it cannot outlive
    return records


def _pages(session: Session, spec: Any) -> Iterator[Record]:
    collector = session.content.propertyCollector
    options = pyvmomi.vmodl.query.PropertyCollector.RetrieveOptions(maxObjects=PAGE_OBJECTS)
    page = collector.RetrievePropertiesEx([spec], options)
    while page is not None:
        for found in page.objects:
            if _exists(found):
                yield Record(found.obj, {item.name: item.val for item in found.propSet})
        page = collector.ContinueRetrievePropertiesEx(page.token) if page.token else None


def _exists(found: Any) -> bool:
    """Return whether the object still exists.

    Raises the fault that an expired session leaves on each property instead of failing the call.
    """
    faults = [missing.fault for missing in found.missingSet or ()]
    for fault in faults:
        if isinstance(fault, pyvmomi.vim.fault.NotAuthenticated):
            raise fault
    return not any(isinstance(fault, pyvmomi.vmodl.fault.ManagedObjectNotFound) for fault in faults)

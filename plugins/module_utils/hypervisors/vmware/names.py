# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names for references: networks, datastores, clusters and custom attributes, as people know them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .properties import Record

_ESCAPED = re.compile("%(2[Ff]|5[Cc]|25)")
_MEANT = {"2f": "/", "5c": "\\", "25": "%"}


def plain_name(name: Any) -> str:
    """Return the name of an object as people know it: a vCenter escapes slash, backslash and percent sign in it.

    (vSphere Web Services API, ManagedEntity.name.)
    """
    return _ESCAPED.sub(lambda found: _MEANT[found.group(1).lower()], str(name))


@dataclass(frozen=True, slots=True)
class Names:
    """What references stand for. ``name_of`` and ``cluster_of`` go by object id, ``attribute_of`` by custom field key.

    Two objects of one kind may share a name (port groups of two datacenters); each then has its id added, so that
    equal names always mean the same object.
    """

    name_of: Mapping[str, str]
    cluster_of: Mapping[str, str]
    attribute_of: Mapping[int, str]

    @classmethod
    def build(cls, named: Iterable[Record], clusters: Iterable[Record], attributes: Iterable[Any]) -> Names:
        """Build from the records of networks and datastores, of clusters, and the custom attributes' definitions."""
        return cls(
            name_of=_distinct(named),
            cluster_of=_distinct(clusters),
            attribute_of={int(field.key): str(field.name) for field in attributes},
        )

    def of(self, references: Iterable[Any] | None) -> tuple[str, ...]:
        """Return the names of the references, sorted; those that the user may not see are left out."""
        found = (self.name_of.get(str(reference._moId)) for reference in references or ())
        return tuple(sorted(name for name in found if name is not None))

    def labels(self, record: Record) -> dict[str, str]:
        """Return the custom attributes of an object by their names."""
        values = record.get("customValue") or ()
        return {self.attribute_of[value.key]: str(value.value) for value in values if value.key in self.attribute_of}


def _distinct(records: Iterable[Record]) -> dict[str, str]:
    names = {record.moid: plain_name(record.get("name")) for record in records}
    shared = {name for name, count in Counter(names.values()).items() if count > 1}
    return {moid: f"{name} ({moid})" if name in shared else name for moid, name in names.items()}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which datastore a VM's disks go to, when they must go to another at all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware import storage
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.properties import Record
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.storage import (
    NoDatastore,
    destination,
)

GIB = 2**30
SOURCE = SimpleNamespace(_moId="ds-0")


def datastore(moid: str, name: str, free: int, *, accessible: bool = True, mode: str = "normal") -> Record:
    values = {
        "name": name,
        "summary.accessible": accessible,
        "summary.maintenanceMode": mode,
        "summary.freeSpace": free,
    }
    return Record(SimpleNamespace(_moId=moid), values)


THERE = [
    datastore("ds-1", "local%2f1", 100 * GIB),
    datastore("ds-2", "twin", 300 * GIB),
    datastore("ds-3", "dead", 900 * GIB, accessible=False),
    datastore("ds-4", "leaving", 900 * GIB, mode="enteringMaintenance"),
    datastore("ds-5", "twin", 200 * GIB),
]


@pytest.fixture(autouse=True)
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    def read_objects(session: Any, references: Any, paths: Any) -> list[Record]:
        wanted = {reference._moId for reference in references}
        return [found for found in THERE if found.moid in wanted]

    monkeypatch.setattr(storage, "read_objects", read_objects)


def chosen(asked: str | None = None, *, copy: bool = True, reached: bool = False) -> str | None:
    vm = Record(SimpleNamespace(_moId="vm-1"), {"datastore": [SOURCE]})
    offered = [found.reference for found in THERE] + ([SOURCE] if reached else [])
    host = Record(SimpleNamespace(_moId="host-1"), {"datastore": offered})
    options = {} if asked is None else {"datastore": asked}
    order = MoveOrder("uuid", "host-1", "", storage_copy=copy, options=options)
    found = destination(SimpleNamespace(), order, vm, host)  # type: ignore[arg-type] # nothing is asked of it here
    return None if found is None else str(found._moId)


def test_disks_go_to_the_usable_datastore_with_the_most_room() -> None:
    assert chosen() == "ds-2"


@pytest.mark.parametrize(("asked", "moid"), [("local/1", "ds-1"), ("ds-1", "ds-1"), ("twin (ds-5)", "ds-5")])
def test_a_datastore_is_asked_for_by_name_by_id_or_as_the_inventory_shows_it(asked: str, moid: str) -> None:
    assert chosen(asked) == moid


def test_disks_stay_where_they_are_unless_they_may_and_must_move() -> None:
    assert chosen(copy=False) is None
    assert chosen(reached=True) is None
    assert chosen("local/1", reached=True) is None


@pytest.mark.parametrize("asked", ["dead", "leaving", "elsewhere", "%2f"])
def test_a_datastore_that_cannot_be_used_is_refused_with_those_that_can(asked: str) -> None:
    with pytest.raises(NoDatastore) as refused:
        chosen(asked)
    assert refused.value.details["datastores"] == ["local/1", "twin", "twin"]
    assert refused.value.advice


def test_a_host_without_any_is_told() -> None:
    vm = Record(SimpleNamespace(_moId="vm-1"), {"datastore": [SOURCE]})
    order = MoveOrder("uuid", "host-1", "", storage_copy=True)
    with pytest.raises(NoDatastore, match="any datastore"):
        destination(SimpleNamespace(), order, vm, Record(SimpleNamespace(_moId="host-1"), {}))  # type: ignore[arg-type] # as above

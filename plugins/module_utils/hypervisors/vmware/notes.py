# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Notes of ours on vSphere's objects: JSON in a custom attribute, which only a vCenter has."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..protocol import HypervisorFault
from .properties import Record, read_one
from .session import Session


def field_key(session: Session, name: str) -> int | None:
    """Return the key of the custom attribute ``name``; None where there is none (yet)."""
    manager = session.content.customFieldsManager
    record = read_one(session, manager, ["field"]) if manager is not None else None
    fields = record.get("field", ()) if record else ()
    return next((int(field.key) for field in fields if field.name == name), None)


def write_note(session: Session, entity: Any, name: str, note: Mapping[str, Any]) -> bool:
    """Put the note on the object, making the attribute where it is missing. Return False where there can be none."""
    manager = session.content.customFieldsManager
    if manager is None:
        return False
    key = field_key(session, name)
    if key is None:
        key = _add_field(session, manager, type(entity), name)
    text = json.dumps(note, separators=(",", ":"))
    session.write("set a custom attribute", lambda: manager.SetField(entity, key, text))
    return True


def read_note(record: Record, key: int | None) -> dict[str, Any]:
    """Return the note on an object read with ``customValue``; empty where there is none that we could have written."""
    values: Sequence[Any] = record.get("customValue") or ()
    text = next((value.value for value in values if value.key == key), None)
    try:
        note = json.loads(text) if text else {}
    except json.JSONDecodeError:
        return {}  # a person has written something else into our attribute
    return note if isinstance(note, dict) else {}


def _add_field(session: Session, manager: Any, kind: Any, name: str) -> int:
    try:
        added = session.write("add a custom attribute", lambda: manager.AddCustomFieldDef(name, kind))
    except HypervisorFault as fault:
        key = field_key(session, name) if fault.details.get("fault") == "DuplicateName" else None
        if key is None:
            raise
        return key  # another run has made it in the meantime
    return int(added.key)

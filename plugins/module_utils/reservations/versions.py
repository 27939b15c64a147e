# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger's versions: how one becomes the next, and who may work beside whom.

Each version names the oldest one whose code can still work with its tables (``readable_from``). Code that finds a
newer ledger goes on when it is named there, and refuses otherwise; it looks in every transaction, so a process that
was started before a migration notices it too.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..libraries import library
from .ledger_errors import LedgerTooNew
from .schema import tables

if TYPE_CHECKING:
    import sqlalchemy as sa
else:
    sa = library("sqlalchemy")


@dataclass(frozen=True, slots=True)
class Version:
    """One version of the tables. ``upgrade`` makes it from the one before, inside the caller's transaction."""

    number: int
    readable_from: int
    upgrade: Callable[[sa.Connection], None] | None = None


#: Every version in order; the first has nothing before it. A new one is appended, none is ever changed. The tables
#: of `schema.tables` are those of the last.
VERSIONS: tuple[Version, ...] = (Version(1, readable_from=1),)


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a ledger says of itself. ``ledger_id`` is part of the id of every reservation made in it."""

    version: int
    readable_from: int
    ledger_id: str


def is_present(connection: sa.Connection) -> bool:
    """Return whether the database holds a ledger at all."""
    return bool(sa.inspect(connection).has_table("ledger_schema"))


def read_stamp(connection: sa.Connection, versions: Sequence[Version] = VERSIONS) -> Stamp:
    """Return the stamp of a ledger that this code can work with; raises `LedgerTooNew` for any other."""
    schema = tables().schema
    row = connection.execute(sa.select(schema.c.version, schema.c.readable_from, schema.c.ledger_id)).one()
    stamp = Stamp(int(row.version), int(row.readable_from), str(row.ledger_id))
    newest = versions[-1].number
    if stamp.readable_from > newest:
        raise LedgerTooNew(
            f"The ledger has version {stamp.version}; this collection knows versions up to {newest}",
            advice="Use the newer version of foresight.migration everywhere this ledger is used.",
            details={"version": stamp.version, "readable_from": stamp.readable_from, "known": newest},
        )
    return stamp


def migrate(connection: sa.Connection, versions: Sequence[Version] = VERSIONS) -> Stamp:
    """Bring the tables to the newest of ``versions`` and return the stamp.

    The caller's transaction must be one in which nobody else works on the ledger. Raises `LedgerTooNew`.
    """
    schema = tables().schema
    if is_present(connection):
        stamp = read_stamp(connection, versions)
        for version in versions:
            if version.number > stamp.version and version.upgrade:
                version.upgrade(connection)
                stamp = Stamp(version.number, version.readable_from, stamp.ledger_id)
    else:
        tables().metadata.create_all(connection)
        stamp = Stamp(versions[-1].number, versions[-1].readable_from, ledger_id=secrets.token_hex(4))
    connection.execute(sa.delete(schema))
    connection.execute(
        sa.insert(schema).values(version=stamp.version, readable_from=stamp.readable_from, ledger_id=stamp.ledger_id)
    )
    return stamp

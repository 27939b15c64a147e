# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger's tables, the same on every database.

Identifiers and texts are stored JSON-escaped as ASCII, so that whatever a guest or a platform chose as a name (NUL,
lone surrogates, any script) passes through every database encoding unharmed and still compares equal.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from ..libraries import library

if TYPE_CHECKING:
    import sqlalchemy as sa
else:
    sa = library("sqlalchemy")


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of the current version.

    ``schema`` has one row: which version the tables have and who may still work with them. ``hosts`` and ``vms``
    have a row for each that was ever claimed, made on first use, to be locked while it is decided about.
    ``transitions`` has one row per generation of a reservation, so no change can go unrecorded.
    """

    metadata: sa.MetaData
    schema: sa.Table
    hosts: sa.Table
    vms: sa.Table
    reservations: sa.Table
    transitions: sa.Table


@cache
def tables() -> Tables:
    """Return the tables' definitions; raises `MissingLibrary` where SQLAlchemy is not installed."""
    metadata = sa.MetaData()
    return Tables(
        metadata=metadata,
        schema=_schema(metadata),
        hosts=_hosts(metadata),
        vms=_vms(metadata),
        reservations=_reservations(metadata),
        transitions=_transitions(metadata),
    )


@cache
def _text() -> type[Any]:
    """Return the column type of texts."""

    class EscapedText(sa.types.TypeDecorator[str]):
        """Text stored as the inside of an ASCII JSON string."""

        impl = sa.Text
        cache_ok = True

        def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
            return None if value is None else json.dumps(value)[1:-1]

        def process_result_value(self, value: str | None, dialect: sa.Dialect) -> str | None:
            # Most texts hold nothing that had to be escaped.
            return value if value is None or "\\" not in value else str(json.loads(f'"{value}"'))

    return EscapedText


@cache
def _document() -> type[Any]:
    """Return the column type of JSON objects, stored as text."""

    class Document(sa.types.TypeDecorator[dict[str, Any]]):
        """A JSON object stored as ASCII text."""

        impl = sa.Text
        cache_ok = True

        def process_bind_param(self, value: Any, dialect: sa.Dialect) -> str:
            return json.dumps(value or {}, sort_keys=True)

        def process_result_value(self, value: str | None, dialect: sa.Dialect) -> dict[str, Any]:
            return dict(json.loads(value)) if value and value != "{}" else {}

    return Document


def _schema(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "ledger_schema",
        metadata,
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("readable_from", sa.Integer, nullable=False),
        sa.Column("ledger_id", sa.Text, nullable=False),
    )


def _hosts(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "ledger_hosts",
        metadata,
        sa.Column("host_key", _text(), primary_key=True),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("seen_ts", sa.Double, nullable=False),
    )


def _vms(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "ledger_vms",
        metadata,
        sa.Column("vm_uuid", _text(), primary_key=True),
    )


def _reservations(metadata: sa.MetaData) -> sa.Table:
    table = sa.Table(
        "ledger_reservations",
        metadata,
        sa.Column("reservation_id", sa.Text, primary_key=True),
        sa.Column("host_key", _text(), nullable=False),
        sa.Column("vm_uuid", _text(), nullable=False),
        sa.Column("vm_name", _text(), nullable=False),
        sa.Column("purpose", _text(), nullable=False),
        sa.Column("owner", _text(), nullable=False),
        sa.Column("tier", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("cpu_cores", sa.Double, nullable=False),
        sa.Column("memory_mib", sa.Double, nullable=False),
        sa.Column("network_mbit_s", sa.Double, nullable=False),
        sa.Column("disk_mib_s", sa.Double, nullable=False),
        sa.Column("start_ts", sa.Double, nullable=False),
        sa.Column("end_ts", sa.Double, nullable=False),
        sa.Column("lease_expires_ts", sa.Double, nullable=False),
        sa.Column("enforced_by", _document(), nullable=False),
        sa.Column("tokens", _document(), nullable=False),
        sa.Column("created_ts", sa.Double, nullable=False),
        sa.Column("updated_ts", sa.Double, nullable=False),
        sa.CheckConstraint("end_ts > start_ts", name="ledger_window"),
        sa.CheckConstraint(
            "cpu_cores >= 0 AND memory_mib >= 0 AND network_mbit_s >= 0 AND disk_mib_s >= 0", name="ledger_amount"
        ),
    )
    sa.Index("ledger_reservations_host", table.c.host_key, table.c.state)
    sa.Index("ledger_reservations_vm", table.c.vm_uuid, table.c.state)
    sa.Index("ledger_reservations_lease", table.c.state, table.c.lease_expires_ts)
    active = table.c.state == "active"
    sa.Index(
        "ledger_reservations_claim",
        table.c.host_key,
        table.c.vm_uuid,
        table.c.purpose,
        unique=True,
        sqlite_where=active,
        postgresql_where=active,
    )
    return table


def _transitions(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "ledger_transitions",
        metadata,
        sa.Column("reservation_id", sa.Text, sa.ForeignKey("ledger_reservations.reservation_id"), primary_key=True),
        sa.Column("generation", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ts", sa.Double, nullable=False),
        sa.Column("actor", _text(), nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("from_state", sa.Text, nullable=False),
        sa.Column("to_state", sa.Text, nullable=False),
        sa.Column("reason", _text(), nullable=False),
        sa.Column("change", _document(), nullable=False),
    )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reservations in and out of the tables."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..estate.reservation import Reservation
from ..estate.resources import FIELD_OF, Resources
from ..libraries import library
from .claims import Transition
from .ledger_errors import GenerationConflict, ReservationUnknown
from .schema import tables

if TYPE_CHECKING:
    import sqlalchemy as sa
else:
    sa = library("sqlalchemy")


def _reservation(row: Mapping[str, Any]) -> Reservation:
    values = {name: value for name, value in row.items() if name not in FIELD_OF.values()}
    return Reservation(amount=Resources(**{name: row[name] for name in FIELD_OF.values()}), **values)


def _values(reservation: Reservation) -> dict[str, Any]:
    values: dict[str, Any] = {
        field.name: getattr(reservation, field.name) for field in fields(reservation) if field.name != "amount"
    }
    return {**values, **reservation.amount.as_dict()}


class LostRace(GenerationConflict):
    """The row was changed between reading and writing it; reading it again resolves that."""


def fetch(connection: sa.Connection, reservation_id: str) -> Reservation:
    """Return the reservation of that id; raises `ReservationUnknown`."""
    table = tables().reservations
    row = connection.execute(sa.select(table).where(table.c.reservation_id == reservation_id)).mappings().first()
    if row is None:
        raise ReservationUnknown(
            f"The ledger has no reservation {reservation_id!r}",
            advice="Check the id, and that 'ledger' is the one it was made in.",
            details={"reservation_id": reservation_id},
        )
    return _reservation(dict(row))


def search(
    connection: sa.Connection,
    *,
    host_keys: Collection[str] | None = None,
    vm_uuids: Collection[str] | None = None,
    vms: Collection[str] | None = None,
    reservation_ids: Collection[str] | None = None,
    states: Collection[str] | None = None,
    lapsed_at_ts: float | None = None,
    start_ts: float | None = None,
    end_ts: float | None = None,
) -> tuple[Reservation, ...]:
    """Return the reservations that meet every condition given, oldest first.

    ``vms`` are uuids or names. Those active and lapsed at ``lapsed_at_ts`` have a lease or window that has ended by
    then. Windows overlap [start_ts, end_ts).
    """
    table = tables().reservations
    query = sa.select(table).order_by(table.c.created_ts, table.c.reservation_id)
    for column, wanted in (
        (table.c.reservation_id, reservation_ids),
        (table.c.host_key, host_keys),
        (table.c.vm_uuid, vm_uuids),
        (table.c.state, states),
    ):
        if wanted is not None:
            query = query.where(column.in_(list(wanted)))
    if vms is not None:
        uuids = [*vms, *(vm.lower() for vm in vms)]
        query = query.where(sa.or_(table.c.vm_uuid.in_(uuids), table.c.vm_name.in_(list(vms))))
    if lapsed_at_ts is not None:
        ended = sa.or_(table.c.lease_expires_ts <= lapsed_at_ts, table.c.end_ts <= lapsed_at_ts)
        query = query.where(table.c.state == "active", ended)
    if start_ts is not None:
        query = query.where(table.c.end_ts > start_ts)
    if end_ts is not None:
        query = query.where(table.c.start_ts < end_ts)
    return tuple(_reservation(dict(row)) for row in connection.execute(query).mappings())


def insert(connection: sa.Connection, reservation: Reservation) -> None:
    """Add a new reservation."""
    connection.execute(sa.insert(tables().reservations).values(_values(reservation)))


def replace_row(connection: sa.Connection, old: Reservation, new: Reservation) -> None:
    """Write ``new`` over ``old``; raises `LostRace` when the stored one is no longer ``old``."""
    table = tables().reservations
    written = connection.execute(
        sa.update(table)
        .where(table.c.reservation_id == old.reservation_id, table.c.generation == old.generation)
        .values(_values(new))
    )
    if written.rowcount != 1:
        raise LostRace(
            f"Reservation {old.reservation_id} was changed by somebody else at the same time",
            advice="Try again.",
            details={"reservation_id": old.reservation_id, "generation": old.generation},
        )


def record(connection: sa.Connection, transition: Transition) -> None:
    """Add one line to the audit trail."""
    values = {field.name: getattr(transition, field.name) for field in fields(transition)}
    connection.execute(sa.insert(tables().transitions).values(values))


def trail(connection: sa.Connection, reservation_id: str) -> tuple[Transition, ...]:
    """Return the audit trail of a reservation, oldest first."""
    table = tables().transitions
    query = sa.select(table).where(table.c.reservation_id == reservation_id).order_by(table.c.generation)
    return tuple(Transition(**row) for row in connection.execute(query).mappings())


def known_hosts(connection: sa.Connection) -> tuple[str, ...]:
    """Return the key of every host that was ever claimed, sorted."""
    return tuple(sorted(connection.execute(sa.select(tables().hosts.c.host_key)).scalars()))


def hosts_with_lapsed(connection: sa.Connection, now_ts: float) -> tuple[str, ...]:
    """Return the keys of hosts that have a lapsed reservation nobody has marked yet, sorted."""
    return tuple(sorted({reservation.host_key for reservation in search(connection, lapsed_at_ts=now_ts)}))


def ended_before(connection: sa.Connection, before_ts: float, at_most: int | None = None) -> tuple[str, ...]:
    """Return the ids of reservations that ended, and whose windows passed, before ``before_ts``, longest ago first.

    With ``at_most`` no more than so many, and kept from being changed until the transaction ends; those that
    somebody is changing are passed over.
    """
    table = tables().reservations
    query = (
        sa.select(table.c.reservation_id)
        .where(table.c.state != "active", table.c.end_ts < before_ts, table.c.updated_ts < before_ts)
        .order_by(table.c.updated_ts, table.c.reservation_id)
    )
    if at_most is not None:
        query = query.limit(at_most).with_for_update(skip_locked=True)
    return tuple(connection.execute(query).scalars())


def delete(connection: sa.Connection, reservation_ids: Collection[str]) -> None:
    """Remove the reservations of those ids with their audit trails."""
    for table in (tables().transitions, tables().reservations):
        connection.execute(sa.delete(table).where(table.c.reservation_id.in_(list(reservation_ids))))

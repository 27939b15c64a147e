# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger: who holds how much of which host, when, and until when. Atomic, leased, audited."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..estate.reservation import Reservation
from ..libraries import library
from . import rows
from .claims import ClaimRequest, ClaimResult, Transition, check_ttl
from .database import Database
from .decision import Decision, decide, difference, next_reservation
from .host_calendar import HostCalendar, HostRoom, build_calendar, is_lapsed
from .ledger_errors import ClockWentBack, GenerationConflict, ReservationNotActive
from .location import masked, parse_url
from .postgresql_database import PostgresqlDatabase
from .schema import tables
from .sqlite_database import SqliteDatabase
from .versions import VERSIONS, Version

if TYPE_CHECKING:
    import sqlalchemy as sa
else:
    sa = library("sqlalchemy")

#: How far clocks of controllers may differ, in seconds, before a claim is refused.
CLOCK_TOLERANCE_S = 300.0
#: Ended reservations removed in one transaction.
FORGOTTEN_AT_ONCE = 500
#: Stands for the id that a reservation would get, in the answer to a dry run.
FORESEEN_ID = "r-foreseen"


def open_ledger(url: str, *, actor: str, writable: bool = True, versions: Sequence[Version] = VERSIONS) -> Ledger:
    """Return the ledger at ``url``, without connecting yet; ``actor`` goes into its audit trail.

    With ``writable=False`` nothing is created or changed, and a ledger that does not exist reads as empty.
    Raises `InvalidOption` for a URL that cannot be used and `LedgerUnsafeLocation` for a file on a network file system.
    """
    parsed = parse_url(url)
    kind = SqliteDatabase if parsed.drivername == "sqlite" else PostgresqlDatabase
    return Ledger(kind(parsed, writable=writable, versions=versions), actor, masked(url))


class Ledger:
    """Reservations in one database. Use it as a context manager; safe to use from several threads.

    Times are Unix seconds (``now_ts`` is the caller's clock). Besides the errors named, every method raises those of
    `Database.write` or `Database.read`.
    """

    def __init__(self, database: Database, actor: str, shown_url: str) -> None:
        self._database = database
        self._actor = actor
        #: The URL without secrets.
        self.shown_url = shown_url
        self._ledger_id = ""

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._database.close()

    # ---- claiming -----------------------------------------------------------------------------------------------

    def claim(self, request: ClaimRequest, room: HostRoom, now_ts: float, *, dry_run: bool = False) -> ClaimResult:
        """Hold the amount asked for, or change the reservation of the same (VM, host, purpose) to it.

        The same request again changes nothing, except that the lease is renewed once half of it has passed. What
        only gives back is always granted. With ``dry_run`` the answer is the true one and nothing is written.
        Raises `InvalidOption`, `ClaimRefused` with the shortfall, `VmReservedElsewhere`, `ClockWentBack`.
        """
        request.check(now_ts)
        if dry_run:
            return self._database.read(lambda connection: self._foreseen(connection, request, room, now_ts))
        new_id = f"r-{self.ledger_id()}-{secrets.token_hex(8)}"
        return self._database.write(lambda connection: self._claimed(connection, request, room, now_ts, new_id))

    def ledger_id(self) -> str:
        """Return the id of this ledger, the middle part of the id of every reservation made in it."""
        if not self._ledger_id:
            self._ledger_id = self._database.stamp().ledger_id
        return self._ledger_id

    def _foreseen(self, connection: sa.Connection, request: ClaimRequest, room: HostRoom, now_ts: float) -> ClaimResult:
        self._check_clock(connection, request.host_key, now_ts)
        decision = self._decide(connection, request, room, now_ts)
        lapsed = rows.search(connection, host_keys=[request.host_key], lapsed_at_ts=now_ts)
        expired = tuple(replace(reservation, state="expired") for reservation in lapsed)
        return decision.result(next_reservation(decision, request, now_ts, FORESEEN_ID), expired)

    def _claimed(
        self, connection: sa.Connection, request: ClaimRequest, room: HostRoom, now_ts: float, new_id: str
    ) -> ClaimResult:
        self._lock_host(connection, request.host_key, now_ts)
        self._check_clock(connection, request.host_key, now_ts)
        self._database.lock(connection, tables().vms.c.vm_uuid, request.vm_uuid)
        expired = self._expire_host(connection, request.host_key, now_ts)
        decision = self._decide(connection, request, room, now_ts)
        new = next_reservation(decision, request, now_ts, new_id)
        current = decision.current
        if current is None:
            rows.insert(connection, new)
            self._record(connection, None, new, "created", now_ts)
        elif current.reservation_id == new_id:
            # A first attempt did commit, though its connection was lost before it could say so.
            decision = replace(decision, action="created", current=None)
        elif decision.action != "unchanged":
            new = self._change(connection, current, new, decision.action, now_ts)
        if expired or decision.action != "unchanged":
            self._touch_host(connection, request.host_key, now_ts)
        return decision.result(new, expired)

    def _decide(self, connection: sa.Connection, request: ClaimRequest, room: HostRoom, now_ts: float) -> Decision:
        on_host = rows.search(connection, host_keys=[request.host_key], states=("active", "consumed"), start_ts=now_ts)
        of_vm = rows.search(connection, vm_uuids=[request.vm_uuid], states=("active",))
        return decide(request, room, on_host, of_vm, now_ts)

    # ---- keeping and ending -------------------------------------------------------------------------------------

    def renew(self, reservation_id: str, ttl_s: float, now_ts: float) -> Reservation:
        """Let the lease live until ``now_ts + ttl_s``, never shorter than it does; returns the reservation.

        Raises `ReservationUnknown`, `ReservationNotActive` (also when it has just lapsed: somebody else may
        already have its room), `ClockWentBack`.
        """
        check_ttl(ttl_s)

        def work(connection: sa.Connection, found: Reservation) -> Reservation:
            self._check_clock(connection, found.host_key, now_ts)
            _require_active(found, now_ts)
            lease = max(found.lease_expires_ts, now_ts + ttl_s)
            return self._change(connection, found, replace(found, lease_expires_ts=lease), "renewed", now_ts)

        return self._on(reservation_id, now_ts, work)

    def record_enforcement(
        self,
        reservation_id: str,
        enforced_by: Mapping[str, str],
        tokens: Mapping[str, Any],
        now_ts: float,
        *,
        generation: int | None = None,
    ) -> Reservation:
        """Note who enforces the reservation, per resource, and how its hold is found again.

        With ``generation`` given, raises `GenerationConflict` unless the reservation is still of that generation,
        that is, unless the hold was placed for what it now says. Raises `ReservationUnknown`, `ReservationNotActive`.
        """

        def work(connection: sa.Connection, found: Reservation) -> Reservation:
            _require_active(found, now_ts)
            if dict(found.enforced_by) == dict(enforced_by) and dict(found.tokens) == dict(tokens):
                return found
            noted = replace(found, enforced_by=dict(enforced_by), tokens=dict(tokens))
            return self._change(connection, found, noted, "enforced", now_ts)

        return self._on(reservation_id, now_ts, work, generation)

    def release(self, reservation_id: str, now_ts: float, reason: str = "") -> Reservation:
        """Give the room back and return the reservation; one that has ended already is returned as it is.

        Raises `ReservationUnknown`.
        """

        def work(connection: sa.Connection, found: Reservation) -> Reservation:
            if found.state != "active":
                return found
            return self._change(connection, found, replace(found, state="released"), "released", now_ts, reason)

        return self._on(reservation_id, now_ts, work)

    def consume(self, reservation_id: str, now_ts: float) -> Reservation:
        """Note that the VM now runs there, and return the reservation.

        It counts on the host until its window ends or a later snapshot shows the VM there. Also one whose lease ran
        out in the meantime can be consumed: the VM is there, whatever the ledger said. Idempotent.
        Raises `ReservationUnknown`, `ReservationNotActive` when it was released.
        """

        def work(connection: sa.Connection, found: Reservation) -> Reservation:
            if found.state == "consumed":
                return found
            if found.state == "released":
                raise _not_active(found)
            return self._change(connection, found, replace(found, state="consumed"), "consumed", now_ts)

        return self._on(reservation_id, now_ts, work)

    def expire(self, now_ts: float, *, dry_run: bool = False) -> tuple[Reservation, ...]:
        """Mark every lapsed reservation as expired and return them; with ``dry_run`` only return them."""
        if dry_run:
            lapsed = self._database.read(lambda connection: rows.search(connection, lapsed_at_ts=now_ts))
            return tuple(replace(reservation, state="expired") for reservation in lapsed)
        hosts = self._database.read(lambda connection: rows.hosts_with_lapsed(connection, now_ts))
        found: list[Reservation] = []
        for host_key in hosts:
            found.extend(self._database.write(partial(self._sweep, host_key=host_key, now_ts=now_ts)))
        return tuple(found)

    def forget(self, before_ts: float, *, dry_run: bool = False) -> int:
        """Remove what ended, with its window, before ``before_ts``, audit trail included; return how many it were.

        With ``dry_run`` only count them. `FORGOTTEN_AT_ONCE` go in one transaction, so that nobody waits long.
        """
        if dry_run:
            return len(self._database.read(lambda connection: rows.ended_before(connection, before_ts)))
        forgotten = 0
        while batch := self._database.write(partial(_forget_some, before_ts=before_ts)):
            forgotten += batch
        return forgotten

    def hosts_ahead(self, now_ts: float) -> tuple[str, ...]:
        """Return the keys of the hosts last changed later than ``now_ts``, which is what a clock set back leaves."""
        return self._database.read(lambda connection: _ahead(connection, now_ts))

    def accept_clock(self, now_ts: float) -> tuple[str, ...]:
        """Take ``now_ts`` as the true time on all `hosts_ahead` of it, and return their keys."""
        hosts = tables().hosts

        def work(connection: sa.Connection) -> tuple[str, ...]:
            keys = _ahead(connection, now_ts)
            if keys:
                connection.execute(sa.update(hosts).where(hosts.c.host_key.in_(keys)).values(seen_ts=now_ts))
            return keys

        return self._database.write(work)

    # ---- reading ------------------------------------------------------------------------------------------------

    def get(self, reservation_id: str) -> Reservation:
        """Return the reservation as it is recorded; raises `ReservationUnknown`."""
        return self._database.read(lambda connection: rows.fetch(connection, reservation_id))

    def find(
        self,
        host_keys: Collection[str] | None = None,
        vm_uuids: Collection[str] | None = None,
        states: Collection[str] | None = None,
        start_ts: float | None = None,
        end_ts: float | None = None,
        *,
        vms: Collection[str] | None = None,
        reservation_ids: Collection[str] | None = None,
        now_ts: float | None = None,
    ) -> tuple[Reservation, ...]:
        """Return the reservations that meet every condition given, oldest first.

        ``vms`` are uuids or names, as they were when the reservations were made. Windows overlap
        [start_ts, end_ts). With ``now_ts`` lapsed ones are shown (and selected) as ``expired``, even where nobody
        has marked them yet.
        """
        asked = None if states is None else {*states, *(("active",) if now_ts is not None else ())}
        found = self._database.read(
            lambda connection: rows.search(
                connection,
                host_keys=host_keys,
                vm_uuids=vm_uuids,
                vms=vms,
                reservation_ids=reservation_ids,
                states=asked,
                start_ts=start_ts,
                end_ts=end_ts,
            )
        )
        if now_ts is not None:
            found = tuple(replace(r, state="expired") if is_lapsed(r, now_ts) else r for r in found)
        return tuple(r for r in found if states is None or r.state in states)

    def known_hosts(self) -> tuple[str, ...]:
        """Return the key of every host that was ever claimed, sorted."""
        return self._database.read(rows.known_hosts)

    def transitions(self, reservation_id: str) -> tuple[Transition, ...]:
        """Return the reservation's audit trail, oldest first; empty for an unknown id."""
        return self._database.read(lambda connection: rows.trail(connection, reservation_id))

    def calendar(
        self,
        host_key: str,
        room: HostRoom,
        now_ts: float,
        *,
        start_ts: float | None = None,
        end_ts: float | None = None,
    ) -> HostCalendar:
        """Return what the host carries and holds, by default over the steps that ``room`` covers."""
        start = room.start_ts if start_ts is None else start_ts
        end = room.start_ts + room.step_s * room.load.shape[1] if end_ts is None else end_ts
        held = self.find([host_key], states=("active", "consumed"), start_ts=start, end_ts=end)
        return build_calendar(room, held, start, end, now_ts)

    # ---- inside a transaction -----------------------------------------------------------------------------------

    def _on(
        self,
        reservation_id: str,
        now_ts: float,
        work: Callable[[sa.Connection, Reservation], Reservation],
        generation: int | None = None,
    ) -> Reservation:
        """Run ``work`` on a reservation with its host and VM locked."""

        def locked(connection: sa.Connection) -> Reservation:
            host_key = rows.fetch(connection, reservation_id).host_key
            self._lock_host(connection, host_key, now_ts)
            found = rows.fetch(connection, reservation_id)
            self._database.lock(connection, tables().vms.c.vm_uuid, found.vm_uuid)
            if generation is not None and found.generation != generation:
                raise GenerationConflict(
                    f"Reservation {reservation_id} is of generation {found.generation}, not {generation} any more",
                    advice="Read it again and decide anew.",
                    details={"reservation_id": reservation_id, "generation": found.generation},
                )
            result = work(connection, found)
            if result is not found:
                self._touch_host(connection, host_key, now_ts)
            return result

        return self._database.write(locked)

    def _lock_host(self, connection: sa.Connection, host_key: str, now_ts: float) -> None:
        self._database.lock(connection, tables().hosts.c.host_key, host_key, generation=0, seen_ts=now_ts)

    def _touch_host(self, connection: sa.Connection, host_key: str, now_ts: float) -> None:
        hosts = tables().hosts
        latest = sa.case((hosts.c.seen_ts > now_ts, hosts.c.seen_ts), else_=now_ts)
        connection.execute(
            sa.update(hosts)
            .where(hosts.c.host_key == host_key)
            .values(generation=hosts.c.generation + 1, seen_ts=latest)
        )

    def _check_clock(self, connection: sa.Connection, host_key: str, now_ts: float) -> None:
        hosts = tables().hosts
        seen = connection.execute(sa.select(hosts.c.seen_ts).where(hosts.c.host_key == host_key)).scalar()
        if seen is not None and now_ts < seen - CLOCK_TOLERANCE_S:
            raise ClockWentBack(
                f"The time is {to_iso(now_ts)}, but host {host_key} was changed at {to_iso(seen)}",
                advice="Set the clock right; if the time is right now, state=reconciled makes the ledger take it.",
                details={"now": to_iso(now_ts), "host": host_key, "seen": to_iso(seen)},
            )

    def _sweep(self, connection: sa.Connection, host_key: str, now_ts: float) -> tuple[Reservation, ...]:
        self._lock_host(connection, host_key, now_ts)
        expired = self._expire_host(connection, host_key, now_ts)
        if expired:
            self._touch_host(connection, host_key, now_ts)
        return expired

    def _expire_host(self, connection: sa.Connection, host_key: str, now_ts: float) -> tuple[Reservation, ...]:
        # Recorded at once, so that a clock that jumps back cannot bring a lapsed reservation back to life.
        return tuple(
            self._change(connection, reservation, replace(reservation, state="expired"), "expired", now_ts)
            for reservation in rows.search(connection, host_keys=[host_key], lapsed_at_ts=now_ts)
        )

    def _change(
        self,
        connection: sa.Connection,
        old: Reservation,
        new: Reservation,
        action: str,
        now_ts: float,
        reason: str = "",
    ) -> Reservation:
        new = replace(new, generation=old.generation + 1, updated_ts=now_ts)
        rows.replace_row(connection, old, new)
        self._record(connection, old, new, action, now_ts, reason)
        return new

    def _record(
        self,
        connection: sa.Connection,
        old: Reservation | None,
        new: Reservation,
        action: str,
        now_ts: float,
        reason: str = "",
    ) -> None:
        rows.record(
            connection,
            Transition(
                reservation_id=new.reservation_id,
                generation=new.generation,
                ts=now_ts,
                actor=self._actor,
                action=action,
                from_state=old.state if old else "",
                to_state=new.state,
                reason=reason,
                change=difference(old, new),
            ),
        )


def _forget_some(connection: sa.Connection, before_ts: float) -> int:
    ids = rows.ended_before(connection, before_ts, FORGOTTEN_AT_ONCE)
    if ids:
        rows.delete(connection, ids)
    return len(ids)


def _ahead(connection: sa.Connection, now_ts: float) -> tuple[str, ...]:
    hosts = tables().hosts
    query = sa.select(hosts.c.host_key).where(hosts.c.seen_ts > now_ts + CLOCK_TOLERANCE_S)
    return tuple(sorted(connection.execute(query).scalars()))


def _require_active(reservation: Reservation, now_ts: float) -> None:
    if reservation.state != "active" or is_lapsed(reservation, now_ts):
        raise _not_active(reservation)


def _not_active(reservation: Reservation) -> ReservationNotActive:
    state = "expired" if reservation.state == "active" else reservation.state
    return ReservationNotActive(
        f"Reservation {reservation.reservation_id} is {state}",
        advice="Make a new one.",
        details={"reservation_id": reservation.reservation_id, "state": state},
    )

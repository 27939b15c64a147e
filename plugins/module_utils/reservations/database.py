# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One transaction at a time on whichever database the ledger is in: begun, retried within a bound, committed."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from ..errors import ForesightError
from ..libraries import library
from .ledger_errors import LedgerReadOnly, LedgerUnavailable
from .location import without_secrets
from .rows import LostRace
from .versions import VERSIONS, Stamp, Version, is_present, migrate, read_stamp

if TYPE_CHECKING:
    import sqlalchemy as sa
else:
    sa = library("sqlalchemy")

T = TypeVar("T")
Work = Callable[["sa.Connection"], T]

#: How often a transaction is tried in all before its error is let through.
ATTEMPTS = 8
#: Longest pause before the second attempt, in seconds; it doubles with each further one. All pauses together take
#: about ten seconds, in which a database server can restart.
FIRST_PAUSE_S = 0.1


class Database(ABC):
    """Runs work in transactions. ``read`` never writes; ``write`` has the ledger's tables migrated before.

    Work may be run several times, since a transaction is retried when it lost a race or its connection: it must
    read what it builds on inside the transaction.
    """

    def __init__(self, url: sa.URL, *, writable: bool, versions: Sequence[Version] = VERSIONS) -> None:
        self._url = url
        self._writable = writable
        self._versions = versions
        self._engine_made: sa.Engine | None = None
        self._migrated = False

    def read(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction that changes nothing; a ledger that is not there yet reads as empty."""
        return self._attempts(lambda: self._read_once(work))

    def write(self, work: Work[T]) -> T:
        """Run ``work`` in a transaction and commit it.

        Raises `LedgerBusy`, `LedgerUnavailable`, `GenerationConflict` (each after the bound), `LedgerReadOnly`,
        `LedgerDenied`, `LedgerTooNew`, or what ``work`` raises; then nothing was changed, except that after
        `LedgerUnavailable` the change may have been made when the connection was lost during the commit.
        """
        if not self._writable:
            raise LedgerReadOnly("The ledger was opened for reading only", advice="Open it for writing.")
        return self._attempts(lambda: self._write_once(work))

    def stamp(self) -> Stamp:
        """Return what the ledger says of itself; a writable one is created or migrated first."""
        run = self.write if self._writable else self.read
        return run(lambda connection: read_stamp(connection, self._versions))

    def close(self) -> None:
        """Close every connection; a later use opens new ones."""
        if self._engine_made is not None:
            self._engine_made.dispose()
            self._engine_made = None

    @abstractmethod
    def lock(self, connection: sa.Connection, column: sa.Column[str], key: str, **defaults: object) -> None:
        """Make the row whose primary key ``column`` is ``key`` if need be, and keep others from locking it."""

    @abstractmethod
    def _is_there(self) -> bool:
        """Return whether there is a database to connect to."""

    @abstractmethod
    def _make(self) -> None:
        """Make the database, without tables, where there is none and making one is not somebody else's task."""

    @abstractmethod
    def _make_engine(self) -> sa.Engine:
        """Return the engine, without connecting."""

    @abstractmethod
    def _begin(self, connection: sa.Connection, *, writing: bool) -> None:
        """Start the transaction in the way this database needs."""

    @abstractmethod
    def _lock_out_migrations(self, connection: sa.Connection) -> None:
        """Keep others from making or migrating the tables until the transaction ends."""

    @abstractmethod
    def _lock_out_everybody(self, connection: sa.Connection) -> None:
        """Keep every other user of the ledger out until the transaction ends, for a migration."""

    @abstractmethod
    def _is_transient(self, error: sa.exc.DBAPIError) -> bool:
        """Return whether the same transaction may well succeed when tried again."""

    @abstractmethod
    def _translated(self, error: sa.exc.DBAPIError) -> ForesightError:
        """Return the error as one the user can act on."""

    def _engine(self) -> sa.Engine:
        if self._engine_made is None:
            self._engine_made = self._make_engine()
        return self._engine_made

    def _read_once(self, work: Work[T]) -> T:
        if self._is_there():
            with self._engine().connect() as connection:
                self._begin(connection, writing=False)
                if is_present(connection):
                    read_stamp(connection, self._versions)
                    return work(connection)
        with empty_ledger() as connection:
            return work(connection)

    def _write_once(self, work: Work[T]) -> T:
        if not self._migrated:
            self._migrate()
        with self._engine().connect() as connection:
            self._begin(connection, writing=True)
            read_stamp(connection, self._versions)
            result = work(connection)
            connection.commit()
            return result

    def _migrate(self) -> None:
        """Make or migrate the tables where that is needed; a current ledger is only read."""
        self._make()
        with self._engine().connect() as connection:
            self._begin(connection, writing=False)
            current = self._is_current(connection)
        if not current:
            with self._engine().connect() as connection:
                self._begin(connection, writing=True)
                self._lock_out_migrations(connection)
                if not self._is_current(connection):
                    self._lock_out_everybody(connection)
                    migrate(connection, self._versions)
                connection.commit()
        self._migrated = True

    def _is_current(self, connection: sa.Connection) -> bool:
        if not is_present(connection):
            return False
        return read_stamp(connection, self._versions).version >= self._versions[-1].number

    def _attempts(self, attempt: Callable[[], T]) -> T:
        for number in range(1, ATTEMPTS + 1):
            try:
                return attempt()
            except LostRace:
                if number == ATTEMPTS:
                    raise
            except sa.exc.DBAPIError as error:
                if number == ATTEMPTS or not self._is_transient(error):
                    raise self._translated(error) from None
            # Random, so that processes that collided once do not collide again.
            time.sleep(random.uniform(0.5, 1.0) * FIRST_PAUSE_S * 2 ** (number - 1))
        raise AssertionError("the last attempt returns or raises")

    def _text_of(self, error: sa.exc.DBAPIError) -> str:
        """Return what the database said, in one line and without secrets."""
        return without_secrets(" ".join(str(error.orig).split()), self._url)

    def _unavailable(self, error: sa.exc.DBAPIError) -> ForesightError:
        return LedgerUnavailable(
            f"The ledger's database failed: {self._text_of(error)}",
            advice="Check that it is running and reachable from where the task runs.",
        )


@contextmanager
def empty_ledger() -> Iterator[sa.Connection]:
    """Give a connection to a ledger without any entry, in memory."""
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        migrate(connection)
        yield connection
    engine.dispose()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger in a SQLite file: one writer at a time, safe against kill at any point."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ..errors import ForesightError
from ..libraries import library
from .database import Database
from .ledger_errors import LedgerBusy, LedgerDamaged, LedgerReadOnly, LedgerUnavailable
from .location import check_file_system
from .versions import VERSIONS, Version

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.dialects import sqlite
else:
    sa = library("sqlalchemy")
    sqlite = library("sqlalchemy.dialects.sqlite")

#: How long one attempt waits for others to finish writing, in seconds.
BUSY_TIMEOUT_S = 10.0


class SqliteDatabase(Database):
    """A ledger in the file that the URL names, created with mode 0600 on the first write."""

    def __init__(self, url: sa.URL, *, writable: bool, versions: Sequence[Version] = VERSIONS) -> None:
        """Take an absolute path; raises `LedgerUnsafeLocation` on a network file system."""
        super().__init__(url, writable=writable, versions=versions)
        self._path = str(url.database)
        self._wal = check_file_system(self._path)

    def lock(self, connection: sa.Connection, column: sa.Column[str], key: str, **defaults: object) -> None:
        # BEGIN IMMEDIATE has locked the whole file already.
        table = column.table
        connection.execute(sqlite.insert(table).values({column.name: key, **defaults}).on_conflict_do_nothing())

    def _make_engine(self) -> sa.Engine:
        pool = sa.pool.QueuePool if self._writable else sa.pool.NullPool
        return sa.create_engine("sqlite://", creator=self._connect, poolclass=pool, hide_parameters=True)

    def _is_there(self) -> bool:
        return os.path.exists(self._path)

    def _make(self) -> None:
        """Create the file with its final mode, before anything can be in it; an existing one is left as it is."""
        try:
            os.makedirs(os.path.dirname(self._path), mode=0o700, exist_ok=True)
            descriptor = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        except FileExistsError:
            return
        except OSError as error:
            raise LedgerUnavailable(
                f"The ledger {self._path} cannot be created: {error.strerror}",
                advice="Set 'store' or 'ledger' to a place this user may write to.",
            ) from error
        try:
            os.fchmod(descriptor, 0o600)
        finally:
            os.close(descriptor)

    def _connect(self) -> sqlite3.Connection:
        if not self._writable:
            return self._opened(self._reading_uri())
        connection = self._opened(f"{_file_uri(self._path)}?mode=rw")
        if self._wal:
            connection.execute("PRAGMA journal_mode=WAL")
        # A commit must outlive a power failure: capacity granted and then forgotten would be granted twice.
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA foreign_keys=ON")
        return connection

    def _reading_uri(self) -> str:
        folder_writable = os.access(os.path.dirname(self._path), os.W_OK)
        if folder_writable or os.path.exists(self._path + "-wal"):
            return f"{_file_uri(self._path)}?mode=ro"
        # A WAL database cannot be opened where its side files cannot be made; without them nobody is writing.
        return f"{_file_uri(self._path)}?mode=ro&immutable=1"

    def _opened(self, uri: str) -> sqlite3.Connection:
        return sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)

    def _begin(self, connection: sa.Connection, *, writing: bool) -> None:
        # IMMEDIATE takes the write lock now: what is read afterwards cannot be changed by others before the commit.
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    def _lock_out_migrations(self, connection: sa.Connection) -> None:
        """Nothing to do: the transaction holds the file's only write lock."""

    def _lock_out_everybody(self, connection: sa.Connection) -> None:
        """Nothing to do: the transaction holds the file's only write lock."""

    def _is_transient(self, error: sa.exc.DBAPIError) -> bool:
        return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)

    def _translated(self, error: sa.exc.DBAPIError) -> ForesightError:
        code = _code(error)
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return LedgerBusy(
                f"Others kept the ledger {self._path} locked for too long",
                advice="Try again; for many writers at once use a PostgreSQL ledger.",
            )
        if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return LedgerReadOnly(
                f"The ledger {self._path} is read-only for this user",
                advice="Give the user write access to the file and its folder, or set 'ledger' elsewhere.",
            )
        if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
            return LedgerDamaged(
                f"The ledger {self._path} is not a sound SQLite database: {self._text_of(error)}",
                advice="Restore it from a backup, or move it away and run state=reconciled.",
            )
        return self._unavailable(error)


def _file_uri(path: str) -> str:
    """Return the path as SQLite's file URI; see https://www.sqlite.org/uri.html."""
    return "file:" + quote(path)


def _code(error: sa.exc.DBAPIError) -> int | None:
    """Return SQLite's primary result code (https://www.sqlite.org/rescode.html)."""
    code: Any = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF

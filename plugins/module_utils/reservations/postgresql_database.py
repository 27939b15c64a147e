# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger in a PostgreSQL database, shared by any number of controllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import ForesightError
from ..libraries import library, require
from .database import Database
from .ledger_errors import LedgerBusy, LedgerDenied, LedgerReadOnly

if TYPE_CHECKING:
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql
else:
    sa = library("sqlalchemy")
    postgresql = library("sqlalchemy.dialects.postgresql")

#: How long to wait for the server to answer a new connection, in seconds, unless the URL says otherwise.
CONNECT_TIMEOUT_S = 10
#: What every session keeps to, whatever the server's defaults: after waiting for a lock it sees what its holder
#: committed; bounds for waiting for a lock, running one statement and holding locks without doing anything (a frozen
#: controller must not keep a host locked); noticing a peer that is gone.
SESSION_SETTINGS = {
    "default_transaction_isolation": "read committed",
    "lock_timeout": "20s",
    "statement_timeout": "30s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}

#: SQLSTATE codes (https://www.postgresql.org/docs/current/errcodes-appendix.html).
_LOCK_NOT_AVAILABLE = "55P03"
_READ_ONLY_TRANSACTION = "25006"
_UNIQUE_VIOLATION = "23505"
_UNDEFINED_TABLE = "42P01"
_SERIALIZATION_FAILURE = "40001"
_DEADLOCK = "40P01"
#: Classes: 28 invalid authorisation, 42501 insufficient privilege; 08 connection, 53 resources, 57 operator.
_DENIED = ("28", "42501")
_CONNECTION_TROUBLE = ("08", "53", "57P")


class PostgresqlDatabase(Database):
    """A ledger in the database that the URL names; its parameters (``sslmode`` and the like) go to libpq."""

    def lock(self, connection: sa.Connection, column: sa.Column[str], key: str, **defaults: object) -> None:
        table = column.table
        connection.execute(postgresql.insert(table).values({column.name: key, **defaults}).on_conflict_do_nothing())
        connection.execute(sa.select(column).where(column == key).with_for_update())

    def _is_there(self) -> bool:
        return True

    def _make(self) -> None:
        """Nothing to do: the database is its administrator's to make."""

    def _make_engine(self) -> sa.Engine:
        require("psycopg", "psycopg[binary]")
        defaults = {"connect_timeout": CONNECT_TIMEOUT_S, "application_name": "foresight.migration"}
        arguments = {name: value for name, value in defaults.items() if name not in self._url.query}
        engine = sa.create_engine(self._url, connect_args=arguments, pool_size=2, hide_parameters=True)
        sa.event.listen(engine, "connect", _set_session)
        return engine

    def _begin(self, connection: sa.Connection, *, writing: bool) -> None:
        if not writing:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def _lock_out_migrations(self, connection: sa.Connection) -> None:
        # Not a lock on a table: two that both find no ledger must not both create it.
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))

    def _lock_out_everybody(self, connection: sa.Connection) -> None:
        if sa.inspect(connection).has_table("ledger_schema"):
            # Every other transaction reads the version first and so waits here, or is waited for.
            connection.exec_driver_sql("LOCK TABLE ledger_schema IN ACCESS EXCLUSIVE MODE")

    def _is_transient(self, error: sa.exc.DBAPIError) -> bool:
        state = _state(error)
        if error.connection_invalidated or state in (_SERIALIZATION_FAILURE, _DEADLOCK, _UNIQUE_VIOLATION):
            return True
        # A refused connection carries no state: a server that restarts is worth waiting for.
        return state.startswith(_CONNECTION_TROUBLE) or (not state and _is_operational(error))

    def _translated(self, error: sa.exc.DBAPIError) -> ForesightError:
        state = _state(error)
        text = self._text_of(error)
        if state in (_LOCK_NOT_AVAILABLE, _SERIALIZATION_FAILURE, _DEADLOCK):
            return LedgerBusy(f"Others kept the ledger locked for too long: {text}", advice="Try again.")
        if state == _READ_ONLY_TRANSACTION:
            return LedgerReadOnly(
                f"The ledger's database is read-only: {text}",
                advice="Point 'ledger' at the primary server, not at a standby.",
            )
        if state.startswith(_DENIED) or _is_refused_login(error):
            return LedgerDenied(
                f"The ledger's database denied access: {text}",
                advice="Check the role, its password and its privileges; docs/reservations.md lists those it needs.",
            )
        return self._unavailable(error)


#: Key of the advisory lock around making and migrating the tables: any fixed number, the same for every version.
_MIGRATION_LOCK = 0x666F7265


def _set_session(connection: Any, _record: Any) -> None:
    """Bound every session of the engine; listens to its ``connect`` event."""
    with connection.cursor() as cursor:
        for name, value in SESSION_SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.commit()


def _state(error: sa.exc.DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _is_operational(error: sa.exc.DBAPIError) -> bool:
    return isinstance(error, sa.exc.OperationalError)


def _is_refused_login(error: sa.exc.DBAPIError) -> bool:
    """Return whether the server answered a new connection with a refusal (libpq gives no code for these)."""
    text = str(error.orig)
    return "authentication failed" in text or "no pg_hba.conf entry" in text

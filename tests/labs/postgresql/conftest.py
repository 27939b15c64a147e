# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A PostgreSQL server for the tests here, and what they need to look into its databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .server import PostgresServer


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgresServer]:
    """A running server, shared by the tests; each makes a database of its own."""
    from ansible_collections.foresight.migration.tests.labs.postgresql.server import programs, running

    if programs() is None:
        pytest.skip("no PostgreSQL server is installed (Debian package: postgresql)")
    with running() as server:
        yield server


@pytest.fixture
def database(postgresql: PostgresServer) -> str:
    """The name of a fresh, empty database."""
    return postgresql.database()


@pytest.fixture
def rows(postgresql: PostgresServer, database: str) -> Callable[[str], list[dict[str, Any]]]:
    """A function that reads rows with plain SQL; a database without the tables yet has none."""
    import psycopg
    from psycopg.rows import dict_row

    def read(query: str) -> list[dict[str, Any]]:
        with postgresql.connect(database) as connection, connection.cursor(row_factory=dict_row) as cursor:
            try:
                return cursor.execute(query.encode()).fetchall()
            except psycopg.errors.UndefinedTable:
                return []

    return read

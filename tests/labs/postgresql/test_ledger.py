# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What PostgreSQL adds: connections that are lost, roles that may little, TLS, servers that stand still."""

from __future__ import annotations

import signal
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.reservations import ledger as ledger_module
from ansible_collections.foresight.migration.plugins.module_utils.reservations import postgresql_database, rows
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger, open_ledger
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import (
    ClaimRefused,
    LedgerBusy,
    LedgerDenied,
    LedgerReadOnly,
    LedgerTooNew,
    LedgerUnavailable,
    VmReservedElsewhere,
)
from ansible_collections.foresight.migration.plugins.module_utils.reservations.versions import VERSIONS, Version
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.reservations.claims_for_tests import (
    NOW,
    OTHER_VM,
    check_forgetting,
    claim,
    room,
)

if TYPE_CHECKING:
    from .server import PostgresServer

Rows = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def ledger(postgresql: PostgresServer, database: str) -> Iterator[Ledger]:
    with open_ledger(postgresql.url(database), actor="tests") as opened:
        yield opened


def test_a_dry_run_on_an_empty_database_answers_and_creates_nothing(
    postgresql: PostgresServer, database: str, rows: Rows
) -> None:
    with open_ledger(postgresql.url(database), actor="tests", writable=False) as reader:
        assert reader.claim(claim(), room(), NOW, dry_run=True).action == "created"
        assert reader.find() == ()
    assert rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") == []


def test_any_text_passes_through_unharmed(ledger: Ledger) -> None:
    text = "{{ x }} '; DROP TABLE ledger_hosts; -- \x00 \ud800 東\\"
    held = ledger.claim(claim(vm_uuid=text, vm_name=text, owner=text, host_key=f"e/{text}"), room(), NOW).reservation
    assert ledger.find([f"e/{text}"], vms=[text]) == (held,)


def _kill_sessions(postgresql: PostgresServer, database: str) -> None:
    with postgresql.connect() as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
            (database,),
        )


def test_a_connection_lost_in_the_middle_of_a_transaction_is_opened_again_and_nothing_is_done_twice(
    postgresql: PostgresServer, database: str, ledger: Ledger, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    _lose_once(monkeypatch, "insert", lambda: _kill_sessions(postgresql, database))
    result = ledger.claim(claim(4.0), room(), NOW)
    assert result.action == "created"
    assert [row["reservation_id"] for row in rows("SELECT * FROM ledger_reservations")] == [
        result.reservation.reservation_id
    ]
    assert len(rows("SELECT * FROM ledger_transitions")) == 1


def test_a_claim_sees_what_was_committed_while_it_waited_whatever_the_servers_default(
    postgresql: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgresql.url(database)
    with open_ledger(url, actor="before") as ledger:
        for host in ("e/h1", "e/h2"):
            ledger.release(ledger.claim(claim(host_key=host), room(), NOW).reservation.reservation_id, NOW)
    with postgresql.connect() as admin:
        admin.execute(f"ALTER DATABASE {database} SET default_transaction_isolation = 'repeatable read'".encode())
    with open_ledger(url, actor="first") as first, open_ledger(url, actor="second") as second:
        lock, others = second._database.lock, [claim(host_key="e/h1")]

        def late(*arguments: Any, **defaults: Any) -> None:
            if others:
                first.claim(others.pop(), room(), NOW)
            lock(*arguments, **defaults)

        monkeypatch.setattr(second._database, "lock", late)
        with pytest.raises(VmReservedElsewhere):
            second.claim(claim(host_key="e/h2"), room(), NOW)


def _lose_once(monkeypatch: pytest.MonkeyPatch, function: str, lose: Callable[[], None]) -> None:
    """Lose the connection once, right after the ledger's ``rows.function`` has written."""
    really, lost = getattr(rows, function), []

    def losing(*arguments: Any) -> Any:
        answer = really(*arguments)
        if not lost:
            lost.append(True)
            lose()
        return answer

    monkeypatch.setattr(rows, function, losing)


def test_a_commit_whose_answer_is_lost_is_recognised_as_done(
    postgresql: PostgresServer, database: str, ledger: Ledger, rows: Rows
) -> None:
    ledger.ledger_id()  # the tables are there before
    engine = ledger._database._engine()
    lost: list[bool] = []

    @sa.event.listens_for(engine, "commit")
    def commit_and_lose(connection: sa.Connection) -> None:
        if not lost:
            lost.append(True)
            connection.connection.dbapi_connection.commit()  # type: ignore[union-attr]
            _kill_sessions(postgresql, database)
            connection.exec_driver_sql("SELECT 1")

    result = ledger.claim(claim(4.0), room(), NOW)
    assert lost
    assert (result.action, result.previous) == ("created", None)
    assert len(rows("SELECT * FROM ledger_reservations")) == 1
    assert ledger.release(result.reservation.reservation_id, NOW).state == "released"


def test_a_server_that_crashes_and_comes_back_is_waited_for_and_has_forgotten_nothing(
    postgresql: PostgresServer, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ledger.claim(claim(4.0), room(), NOW).reservation
    pauses: list[float] = []

    def start_in_the_first(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            monkeypatch.undo()
            postgresql.start()

    postgresql.stop(signal.SIGQUIT)  # before: waiting for its end pauses too
    monkeypatch.setattr("time.sleep", start_in_the_first)
    assert ledger.claim(claim(4.0, vm_uuid=OTHER_VM), room(), NOW).action == "created"
    assert pauses, "the server was never missed"
    assert ledger.get(held.reservation_id) == held


def test_a_server_that_is_not_there_is_a_clear_error_without_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://u:hunter2@127.0.0.1:{nobody.getsockname()[1]}/d?connect_timeout=2"
        with open_ledger(url, actor="tests") as ledger, pytest.raises(LedgerUnavailable) as failure:
            ledger.claim(claim(), room(), NOW)
    assert "hunter2" not in str(failure.value.as_dict())


def test_a_wrong_password_is_a_refused_login_and_is_not_shown(postgresql: PostgresServer, database: str) -> None:
    url = postgresql.url(database, password="hunter2")
    with open_ledger(url, actor="tests") as ledger, pytest.raises(LedgerDenied) as failure:
        ledger.find()
    assert "hunter2" not in "".join(traceback.format_exception(failure.value))
    assert "hunter2" not in str(failure.value.as_dict())
    assert "hunter2" not in ledger.shown_url


@contextmanager
def _role(postgresql: PostgresServer, database: str, *grants: str) -> Iterator[str]:
    """Make a role with these privileges in the database, and give its name."""
    name = f"controller_{database}"
    with postgresql.connect(database) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        for grant in grants:
            admin.execute(f"{grant} TO {name}".encode())
    yield name


#: As docs/reservations.md gives them.
LEAST_PRIVILEGES = (
    "GRANT SELECT ON ledger_schema",
    "GRANT SELECT, INSERT, UPDATE ON ledger_hosts, ledger_vms, ledger_reservations",
    "GRANT SELECT, INSERT ON ledger_transitions",
)


def test_a_role_with_the_least_privileges_can_do_everything_but_change_the_tables(
    postgresql: PostgresServer, database: str, ledger: Ledger
) -> None:
    ledger.ledger_id()
    with _role(postgresql, database, *LEAST_PRIVILEGES) as name:
        with open_ledger(postgresql.url(database, name, "secret"), actor="tests") as limited:
            held = limited.claim(claim(4.0, ttl_s=60.0), room(), NOW).reservation
            limited.claim(claim(5.0), room(), NOW)
            limited.renew(held.reservation_id, 100.0, NOW)
            limited.record_enforcement(held.reservation_id, {"cpu": "ledger"}, {}, NOW)
            assert len(limited.expire(NOW + 9000)) == 1
            assert limited.consume(held.reservation_id, NOW + 9000).state == "consumed"
            limited.accept_clock(NOW - 9999)
            assert len(limited.transitions(held.reservation_id)) == 6
        newer = (*VERSIONS, Version(2, readable_from=2, upgrade=lambda connection: None))
        url = postgresql.url(database, name, "secret")
        with open_ledger(url, actor="tests", versions=newer) as migrating, pytest.raises(LedgerDenied):
            migrating.claim(claim(), room(), NOW)


def test_reading_needs_no_more_than_select(postgresql: PostgresServer, database: str, ledger: Ledger) -> None:
    held = ledger.claim(claim(), room(), NOW).reservation
    everything = "ledger_schema, ledger_hosts, ledger_vms, ledger_reservations, ledger_transitions"
    with _role(postgresql, database, f"GRANT SELECT ON {everything}") as name:
        url = postgresql.url(database, name, "secret")
        with open_ledger(url, actor="reader", writable=False) as reader:
            assert reader.find() == (held,)
            assert reader.claim(claim(5.0), room(), NOW, dry_run=True).action == "updated"
            assert len(reader.transitions(held.reservation_id)) == 1
        with open_ledger(url, actor="reader") as writer, pytest.raises(LedgerDenied):
            writer.release(held.reservation_id, NOW)


def test_a_role_that_may_not_make_the_tables_says_so(postgresql: PostgresServer, database: str) -> None:
    with postgresql.connect(database) as admin:
        admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    with _role(postgresql, database) as name:
        url = postgresql.url(database, name, "secret")
        with open_ledger(url, actor="tests") as limited, pytest.raises(LedgerDenied) as failure:
            limited.claim(claim(), room(), NOW)
    assert "docs/reservations.md" in failure.value.advice


def test_a_read_only_database_is_named_as_such(postgresql: PostgresServer, database: str, ledger: Ledger) -> None:
    held = ledger.claim(claim(), room(), NOW).reservation
    with postgresql.connect(database) as admin:
        admin.execute(f"ALTER DATABASE {database} SET default_transaction_read_only = on".encode())
    with open_ledger(postgresql.url(database), actor="tests") as standby:
        assert standby.find() == (held,)
        with pytest.raises(LedgerReadOnly):
            standby.release(held.reservation_id, NOW)


def test_tls_is_verified_as_the_url_asks(postgresql: PostgresServer, database: str) -> None:
    verified = {"sslmode": "verify-full", "sslrootcert": str(postgresql.certificate)}
    by_name = postgresql.url(database, **verified).replace("@127.0.0.1", "@localhost") + "&hostaddr=127.0.0.1"
    with open_ledger(by_name, actor="tests") as ledger:
        ledger.claim(claim(), room(), NOW)
        encrypted = ledger._database.read(
            lambda connection: connection.execute(
                sa.text("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
            ).scalar()
        )
        assert encrypted is True
    with open_ledger(postgresql.url(database, **verified), actor="tests") as ledger, pytest.raises(ForesightError):
        ledger.find()  # the certificate is for localhost, not for 127.0.0.1


def test_a_host_locked_by_somebody_who_stands_still_is_given_up_within_a_bound(
    postgresql: PostgresServer, database: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.claim(claim(1.0), room(), NOW)
    monkeypatch.setitem(postgresql_database.SESSION_SETTINGS, "lock_timeout", "200ms")
    with postgresql.connect(database) as frozen, frozen.transaction():
        frozen.execute("SELECT * FROM ledger_hosts FOR UPDATE")
        with open_ledger(postgresql.url(database), actor="tests") as waiting:
            with pytest.raises(LedgerBusy):
                waiting.claim(claim(2.0), room(), NOW)
            assert waiting.claim(claim(2.0, host_key="e/h2", vm_uuid=OTHER_VM), room(), NOW).action == "created"


def test_a_controller_frozen_in_a_transaction_does_not_keep_its_host_for_ever(
    postgresql: PostgresServer, database: str, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.claim(claim(1.0), room(), NOW)
    monkeypatch.setitem(postgresql_database.SESSION_SETTINGS, "idle_in_transaction_session_timeout", "500ms")
    with open_ledger(postgresql.url(database), actor="frozen") as frozen:
        engine = frozen._database._engine()
        with engine.connect() as connection:
            connection.execute(sa.text("SELECT * FROM ledger_hosts FOR UPDATE"))
            assert ledger.claim(claim(2.0), room(), NOW).action == "updated"
            connection.invalidate()


def test_two_that_both_find_no_ledger_make_one(postgresql: PostgresServer, database: str, rows: Rows) -> None:
    errors: list[BaseException] = []
    gate = threading.Barrier(6)

    def begin(number: int) -> None:
        try:
            with open_ledger(postgresql.url(database), actor="tests") as ledger:
                gate.wait()
                ledger.claim(claim(1.0, vm_uuid=f"vm-{number}"), room(), NOW)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=begin, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(rows("SELECT * FROM ledger_schema")) == 1
    assert len(rows("SELECT * FROM ledger_reservations")) == 6


def test_a_process_started_before_a_migration_notices_it(
    postgresql: PostgresServer, database: str, ledger: Ledger
) -> None:
    ledger.claim(claim(1.0), room(), NOW)
    newer = (*VERSIONS, Version(2, readable_from=2, upgrade=lambda connection: None))
    with open_ledger(postgresql.url(database), actor="new", versions=newer) as new:
        assert new.claim(claim(2.0), room(), NOW).action == "updated"
    with pytest.raises(LedgerTooNew):
        ledger.claim(claim(3.0), room(), NOW)


def test_claims_of_one_vm_on_two_hosts_at_once_end_with_one(postgresql: PostgresServer, database: str) -> None:
    answers: list[str] = []
    gate = threading.Barrier(8)

    def ask(number: int) -> None:
        with open_ledger(postgresql.url(database), actor="tests") as ledger:
            ledger.find()
            gate.wait()
            try:
                answers.append(ledger.claim(claim(1.0, host_key=f"e/h{number}"), room(), NOW).action)
            except ForesightError as error:
                answers.append(error.code)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == ["created"] + ["vm_reserved_elsewhere"] * 7


def test_the_ledger_refuses_on_postgresql_as_on_sqlite(ledger: Ledger) -> None:
    ledger.claim(claim(8.0), room(), NOW)
    with pytest.raises(ClaimRefused) as refusal:
        ledger.claim(claim(5.0, vm_uuid=OTHER_VM), room(), NOW)
    assert refusal.value.details["shortfall"][0]["missing"] == 1.0


def test_only_what_ended_long_ago_is_forgotten_on_postgresql_too(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "FORGOTTEN_AT_ONCE", 2)
    check_forgetting(ledger)


def test_what_somebody_is_changing_is_not_forgotten_and_not_waited_for(
    postgresql: PostgresServer, database: str, ledger: Ledger
) -> None:
    kept, gone = (
        ledger.claim(claim(1.0, vm_uuid=vm), room(), NOW).reservation.reservation_id for vm in ("vm-1", "vm-2")
    )
    ledger.expire(NOW + 9000)
    with postgresql.connect(database) as other, other.transaction():
        other.execute("SELECT * FROM ledger_reservations WHERE reservation_id = %s FOR UPDATE", (kept,))
        assert ledger.forget(NOW + 99 * 86400) == 1
    assert [held.reservation_id for held in ledger.find()] == [kept]
    assert len(ledger.transitions(kept)) == 2
    assert ledger.transitions(gone) == ()


def test_a_role_that_may_not_delete_is_refused_and_nothing_is_lost(
    postgresql: PostgresServer, database: str, ledger: Ledger
) -> None:
    held = ledger.claim(claim(1.0), room(), NOW).reservation
    ledger.release(held.reservation_id, NOW)
    with (
        _role(postgresql, database, *LEAST_PRIVILEGES) as name,
        open_ledger(postgresql.url(database, name, "secret"), actor="tests") as limited,
    ):
        assert limited.forget(NOW + 99 * 86400, dry_run=True) == 1
        with pytest.raises(LedgerDenied):
            limited.forget(NOW + 99 * 86400)
    assert len(ledger.transitions(held.reservation_id)) == 2

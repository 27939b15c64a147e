# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger's file: its mode, who may not open it, and what a dry run leaves alone."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError, InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.reservations import sqlite_database
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import (
    LedgerBusy,
    LedgerDamaged,
    LedgerReadOnly,
    LedgerTooNew,
    LedgerUnavailable,
    LedgerUnsafeLocation,
)
from ansible_collections.foresight.migration.plugins.module_utils.reservations.location import (
    check_file_system,
    ledger_url,
    masked,
    parse_url,
)
from ansible_collections.foresight.migration.plugins.module_utils.reservations.versions import VERSIONS, Version
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.reservations.claims_for_tests import (
    NOW,
    OTHER_VM,
    claim,
    room,
)


def test_the_file_is_for_its_owner_only_whatever_the_umask(tmp_path: Path) -> None:
    path = tmp_path / "store" / "ledger.db"
    before = os.umask(0)
    try:
        with open_ledger(f"sqlite:///{path}", actor="tests") as ledger:
            ledger.claim(claim(), room(), NOW)
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_dry_run_on_nothing_answers_and_creates_nothing(tmp_path: Path) -> None:
    with open_ledger(f"sqlite:///{tmp_path}/store/ledger.db", actor="tests", writable=False) as ledger:
        assert ledger.claim(claim(), room(), NOW, dry_run=True).action == "created"
        assert ledger.find() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_writes_nothing_to_a_ledger_that_is_there(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with open_ledger(url, actor="tests") as ledger:
        held = ledger.claim(claim(4.0, ttl_s=60.0), room(), NOW).reservation
    before = (tmp_path / "ledger.db").read_bytes()
    with open_ledger(url, actor="tests", writable=False) as ledger:
        foreseen = ledger.claim(claim(6.0, vm_uuid=OTHER_VM), room(), NOW + 61, dry_run=True)
        assert [each.reservation_id for each in foreseen.expired] == [held.reservation_id]
        assert len(ledger.expire(NOW + 61, dry_run=True)) == 1
        with pytest.raises(LedgerReadOnly):
            ledger.release(held.reservation_id, NOW)
    assert (tmp_path / "ledger.db").read_bytes() == before


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, unlike ``tmp_path``."""
    folder = Path(tempfile.mkdtemp(prefix="foresight-ledger-"))
    folder.chmod(0o755)
    yield folder
    folder.chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(work: Callable[[], list[str]]) -> list[str]:
    """Run ``work`` in a forked process without root's power over permissions and return its words."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setgid(65534)
                os.setuid(65534)
            os.write(writing, " ".join(work()).encode())
        except BaseException as error:  # noqa: BLE001 - nothing may get back into the test from here
            os.write(writing, repr(error).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as stream:
        words = stream.read().split()
    os.waitpid(child, 0)
    return words


def test_a_read_only_ledger_can_be_read_and_says_that_it_cannot_be_written(open_folder: Path) -> None:
    url = f"sqlite:///{open_folder}/ledger.db"
    with open_ledger(url, actor="tests") as ledger:
        held = ledger.claim(claim(), room(), NOW).reservation
    with open_ledger(url, actor="tests", writable=False) as ledger:
        assert ledger.find() == (held,)  # also loads what the forked process may not read from disk
    for file in open_folder.iterdir():
        file.chmod(0o444)
    open_folder.chmod(0o555)

    def read_and_write() -> list[str]:
        words = []
        with open_ledger(url, actor="reader", writable=False) as ledger:
            words.append(str(len(ledger.find())))
        try:
            with open_ledger(url, actor="writer") as ledger:
                ledger.release(held.reservation_id, NOW)
        except ForesightError as error:
            words.append(error.code)
        return words

    assert as_nobody(read_and_write) == ["1", "ledger_read_only"]


def test_a_ledger_of_a_newer_version_is_refused_unless_it_says_that_this_one_may_work_beside_it(
    tmp_path: Path,
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"

    def add_note(connection: sa.Connection) -> None:
        connection.execute(sa.text("ALTER TABLE ledger_reservations ADD COLUMN note TEXT"))

    def rename(connection: sa.Connection) -> None:
        connection.execute(sa.text("ALTER TABLE ledger_reservations RENAME COLUMN note TO remark"))

    friendly = (*VERSIONS, Version(2, readable_from=1, upgrade=add_note))
    hostile = (*friendly, Version(3, readable_from=3, upgrade=rename))
    with open_ledger(url, actor="old") as old:
        old.claim(claim(1.0), room(), NOW)
        with open_ledger(url, actor="new", versions=friendly) as new:
            assert new.claim(claim(2.0), room(), NOW).action == "updated"
        assert old.claim(claim(3.0), room(), NOW).action == "updated"
        with open_ledger(url, actor="newest", versions=hostile) as newest:
            assert newest.claim(claim(1.0), room(), NOW).action == "updated"
        with pytest.raises(LedgerTooNew) as refusal:
            old.claim(claim(2.0), room(), NOW)  # opened long before the migration
    assert refusal.value.details == {"version": 3, "readable_from": 3, "known": 1}
    with pytest.raises(LedgerTooNew), open_ledger(url, actor="old", writable=False) as old:
        old.find()


def test_an_older_ledger_is_migrated_once_and_keeps_its_reservations(tmp_path: Path) -> None:
    url, runs = f"sqlite:///{tmp_path}/ledger.db", []
    with open_ledger(url, actor="old") as old:
        held = old.claim(claim(1.0), room(), NOW).reservation
    newer = (*VERSIONS, Version(2, readable_from=1, upgrade=runs.append))
    for _unused in range(2):
        with open_ledger(url, actor="new", versions=newer) as new:
            assert new.renew(held.reservation_id, 9000.0, NOW).reservation_id == held.reservation_id
    assert len(runs) == 1


def test_a_migration_that_fails_leaves_the_ledger_as_it_was(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    with open_ledger(url, actor="old") as old:
        old.claim(claim(1.0), room(), NOW)

    def half(connection: sa.Connection) -> None:
        connection.execute(sa.text("ALTER TABLE ledger_reservations ADD COLUMN note TEXT"))
        connection.execute(sa.text("SELECT * FROM missing"))

    newer = (*VERSIONS, Version(2, readable_from=2, upgrade=half))
    with open_ledger(url, actor="new", versions=newer) as new, pytest.raises(LedgerUnavailable):
        new.claim(claim(2.0), room(), NOW)
    with open_ledger(url, actor="old") as old:
        assert old.claim(claim(2.0), room(), NOW).action == "updated"
    columns = sqlite3.connect(tmp_path / "ledger.db").execute("PRAGMA table_info(ledger_reservations)").fetchall()
    assert "note" not in {column[1] for column in columns}


def test_something_else_than_a_database_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database, " * 500)
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", actor="tests") as ledger, pytest.raises(LedgerDamaged):
        ledger.claim(claim(), room(), NOW)
    assert (tmp_path / "ledger.db").read_bytes().startswith(b"not a database")


def test_a_writer_that_never_ends_is_waited_for_within_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_database, "BUSY_TIMEOUT_S", 0.05)
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", actor="tests") as ledger:
        held = ledger.claim(claim(), room(), NOW).reservation
        blocker = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerBusy):
            ledger.claim(claim(2.0), room(), NOW)
        assert ledger.find() == (held,)  # readers are not kept out
        blocker.execute("ROLLBACK")
        assert ledger.claim(claim(2.0), room(), NOW).action == "updated"
        blocker.close()


MOUNTS = """\
22 1 254:0 / / rw - ext4 /dev/vda rw
30 22 0:40 / /mnt/team rw shared:9 - nfs4 nas:/team rw
31 22 0:41 / /mnt/team/local rw - xfs /dev/sdb rw
32 22 0:42 / /mnt/with\\040space rw - cifs //nas/x rw
33 22 0:43 / /mnt/s3 rw - fuse.s3fs s3fs rw
34 22 0:44 / /mnt/odd rw - hammer2 x rw
35 22 0:45 / /mnt/pod rw - fuse.fuse-overlayfs x rw
""".splitlines()


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/mnt/team/ledger.db", "nfs4"), ("/mnt/with space/l.db", "cifs"), ("/mnt/s3/l.db", "fuse.s3fs")],
)
def test_network_file_systems_are_refused_by_name(path: str, kind: str) -> None:
    with pytest.raises(LedgerUnsafeLocation) as refusal:
        check_file_system(path, MOUNTS)
    assert refusal.value.details["file_system"] == kind


@pytest.mark.parametrize(
    ("path", "wal"),
    [("/var/ledger.db", True), ("/mnt/team/local/ledger.db", True), ("/mnt/odd/l.db", False), ("/mnt/pod/l.db", False)],
)
def test_the_write_ahead_log_is_used_only_where_it_is_known_to_be_safe(path: str, wal: bool) -> None:
    assert check_file_system(path, MOUNTS) is wal


def test_opening_a_ledger_on_a_network_file_system_touches_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sqlite_database, "check_file_system", lambda path: check_file_system("/mnt/team/x", MOUNTS))
    with pytest.raises(LedgerUnsafeLocation):
        open_ledger(f"sqlite:///{tmp_path}/store/ledger.db", actor="tests")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "ledger.db",
        "sqlite:///relative.db",
        "sqlite://",
        "sqlite:////x.db?mode=ro",
        "mysql://u:hunter2@h/d",
        "postgresql://u:hunter2@h:port/d",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_being_quoted(url: str) -> None:
    with pytest.raises(InvalidOption) as refusal:
        open_ledger(url, actor="tests")
    assert "hunter2" not in str(refusal.value.as_dict())


def test_the_url_is_shown_without_any_secret() -> None:
    shown = masked("postgresql://u:hunter2@h/d?sslmode=verify-full&password=hunter3&sslpassword=hunter4")
    assert "hunter" not in shown
    assert shown.startswith("postgresql+psycopg://u:***@h/d")
    assert "sslmode=verify-full" in shown


def test_the_ledger_lies_in_a_local_store_and_must_be_named_for_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/op")
    assert ledger_url(None, "~/.foresight") == "sqlite:////home/op/.foresight/ledger.db"
    assert ledger_url("postgresql://h/d", "s3://bucket") == "postgresql://h/d"
    assert parse_url("sqlite:///~/x/../ledger.db").database == "/home/op/ledger.db"
    with pytest.raises(InvalidOption) as refusal:
        ledger_url(None, "s3://bucket/prefix")
    assert refusal.value.details["option"] == "ledger"

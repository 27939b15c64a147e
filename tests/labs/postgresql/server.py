# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A PostgreSQL server of its own: private data directory, free port on loopback, unprivileged user, gone afterwards."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from ansible_collections.foresight.migration.tests.labs.loopback import free_port, make_certificate

START_DEADLINE_S = 60.0


def programs() -> Path | None:
    """Return the folder of the newest installed server's programs, or None without one."""
    folders = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    on_path = shutil.which("postgres")
    if on_path:
        folders.append(Path(on_path).parent)
    return max(folders, key=lambda folder: folder.parent.name, default=None)


class PostgresServer:
    """One server. ``url`` is a superuser's; `database` makes further databases. Use `running` to get one."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        self._programs = programs()
        self._folder = folder
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        # postgres refuses to run as root; the Debian package brings a user for it.
        self._user = "postgres" if os.geteuid() == 0 else None
        self.password = "p@ss/" + secrets.token_hex(8)
        self.port = free_port()

    def create(self) -> None:
        """Make the data directory, with password logins only and a self-signed certificate for TLS."""
        self._folder.chmod(0o700)
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        make_certificate(self._folder)
        if self._user:
            account = pwd.getpwnam(self._user)
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, account.pw_uid, account.pw_gid)
        self._run("initdb", "-D", self._data, "-U", "admin", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C",
                  f"--pwfile={password_file}", *([] if self._durable else ["--no-sync"]))  # fmt: skip

    def start(self) -> None:
        """Start the server and return when it answers."""
        settings = {
            "port": str(self.port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "200",
            "ssl": "on",
            "ssl_cert_file": str(self._folder / "server.crt"),
            "ssl_key_file": str(self._folder / "server.key"),
            "fsync": "on" if self._durable else "off",
        }
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self._folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(
                [self._program("postgres"), "-D", self._data, *arguments],
                stdout=log, stderr=log, user=self._user, cwd="/",
            )  # fmt: skip
        self._wait_until_it_answers()

    def stop(self, sign: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT closes cleanly, SIGQUIT leaves it to recovery, as a crash does."""
        if self._process is not None:
            self._process.send_signal(sign)
            self._process.wait(timeout=START_DEADLINE_S)
            self._process = None

    def url(self, database: str = "postgres", user: str = "admin", password: str | None = None, **query: str) -> str:
        """Return a ledger URL for that database and role."""
        secret = (password or self.password).replace("@", "%40").replace("/", "%2F")
        text = "&".join(f"{name}={value}" for name, value in query.items())
        return f"postgresql+psycopg://{user}:{secret}@127.0.0.1:{self.port}/{database}" + (f"?{text}" if text else "")

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """Return a superuser's connection that commits every statement."""
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user="admin", password=self.password, dbname=database, autocommit=True
        )

    def database(self) -> str:
        """Make a fresh, empty database and return its name."""
        name = "ledger_" + secrets.token_hex(4)
        with self.connect() as connection:
            connection.execute(f"CREATE DATABASE {name}".encode())
        return name

    @property
    def certificate(self) -> Path:
        """The certificate that ``sslrootcert`` may name; valid for the host name localhost only."""
        return self._folder / "server.crt"

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _program(self, name: str) -> str:
        assert self._programs is not None
        return str(self._programs / name)

    def _run(self, name: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._program(name), *arguments], capture_output=True, text=True, user=self._user, cwd="/", check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                log = (self._folder / "server.log").read_text(errors="replace")
                assert self._process.poll() is None, log
                assert time.monotonic() < deadline, log
                time.sleep(0.05)
            else:
                return


@contextmanager
def running(*, durable: bool = False) -> Iterator[PostgresServer]:
    """Give a running server; without ``durable`` it does not wait for the disk."""
    folder = Path(tempfile.mkdtemp(prefix="foresight-postgresql-"))
    server = PostgresServer(folder, durable=durable)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(folder)

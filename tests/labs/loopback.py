# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What servers of the labs need to listen on this machine: a port that stays free, and a certificate."""

from __future__ import annotations

import random
import socket
import subprocess
from pathlib import Path

#: Below the ports that Linux gives to outgoing connections, one of which could take the port before its server does.
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue  # taken
            return port


def make_certificate(folder: Path) -> None:
    """Write a self-signed certificate for the host name localhost to ``folder``: server.crt and server.key."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "server.key", "-out", folder / "server.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    (folder / "server.key").chmod(0o600)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A small HTTP proxy on loopback that opens tunnels (RFC 9110, section 9.3.6), or refuses to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

#: How long a tunnel's ends wait for each other to connect.
CONNECT_TIMEOUT_S = 10


class Proxy(ThreadingHTTPServer):
    """A listening proxy. ``tunnels`` holds what was asked for; with a ``refusal`` status it grants none of it."""

    daemon_threads = True

    def __init__(self, refusal: int | None) -> None:
        super().__init__(("127.0.0.1", 0), _Tunneller)
        self.refusal = refusal
        self.tunnels: list[str] = []


class _Tunneller(BaseHTTPRequestHandler):
    server: Proxy

    def do_CONNECT(self) -> None:
        self.server.tunnels.append(self.path)
        if self.server.refusal is not None:
            self.send_error(self.server.refusal)
            return
        host, port = self.path.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S) as target:
            target.settimeout(None)
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(target, self.connection), daemon=True)
            back.start()
            _pour(self.connection, target)
            back.join()
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Pass on all that comes until the source has ended, then tell the sink so."""
    with suppress(OSError):  # either end may go away at any time
        while data := source.recv(65536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(refusal: int | None = None) -> Iterator[Proxy]:
    """Run a proxy until the block ends."""
    server = Proxy(refusal)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)

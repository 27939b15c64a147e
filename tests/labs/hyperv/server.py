# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The HTTP(S) listener of a WinRM host on a free port of loopback, a thread for each connection."""

from __future__ import annotations

import hashlib
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from ansible_collections.foresight.migration.tests.labs.hyperv import encryption
from ansible_collections.foresight.migration.tests.labs.hyperv.authentication import (
    Authenticator,
    Identity,
    Logins,
    Refusal,
)
from ansible_collections.foresight.migration.tests.labs.hyperv.certificates import KeyPair
from ansible_collections.foresight.migration.tests.labs.hyperv.faults import Troubles
from ansible_collections.foresight.migration.tests.labs.hyperv.shells import Shells

_SOAP = "application/soap+xml;charset=UTF-8"
_ACTION = re.compile(rb"<(?:\w+:)?Action[^>]*>[^<]*/(\w+)\s*<")
_HANDSHAKE_TIMEOUT_S = 10.0


class WinrmServer:
    """A WinRM listener in front of ``shells``.

    ``tls`` makes it HTTPS (and channel bindings are checked against ``bound_to``, by default that certificate);
    without, only encrypted messages are let in, unless ``allow_unencrypted``. ``client_ca`` lets clients present
    certificates.
    """

    def __init__(
        self,
        shells: Shells,
        logins: Logins,
        *,
        tls: KeyPair | None = None,
        bound_to: bytes | None = None,
        client_ca: Path | None = None,
        allow_unencrypted: bool = False,
    ) -> None:
        self.shells = shells
        self.logins = logins
        self.troubles = Troubles()
        self.identities: list[Identity] = []
        self.refusals = 0
        self.requests: list[bytes] = []
        self.allow_unencrypted = allow_unencrypted
        self.certificate_hash = b"" if tls is None else (bound_to or tls.sha256)
        self.context = None if tls is None else _server_context(tls, client_ca)
        self._http = _Listener(("127.0.0.1", 0), _Connection)
        self._http.winrm = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        shells.address = self.url

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Its WS-Management address."""
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}/wsman"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End it and everything that hangs in it."""
        self.troubles.released.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=10)


@contextmanager
def running(server: WinrmServer) -> Iterator[WinrmServer]:
    """Run ``server`` until the block ends."""
    server.start()
    try:
        yield server
    finally:
        server.stop()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    winrm: WinrmServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients of these tests leave connections and refuse certificates on purpose."""


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "Microsoft-HTTPAPI/2.0", ""
    disable_nagle_algorithm = True
    server: _Listener
    request: socket.socket

    def setup(self) -> None:
        winrm, peer = self.server.winrm, ""
        if winrm.context is not None:  # in this connection's thread: a mute client must not stop the listener
            self.request.settimeout(_HANDSHAKE_TIMEOUT_S)
            secured = winrm.context.wrap_socket(self.request, server_side=True)
            secured.settimeout(None)
            presented = secured.getpeercert(binary_form=True)
            peer = hashlib.sha256(presented).hexdigest() if presented else ""
            self.request = secured
        self.authenticator = Authenticator(
            winrm.logins,
            certificate_hash=winrm.certificate_hash,
            peer=peer,
        )
        super().setup()

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_POST(self) -> None:
        winrm = self.server.winrm
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.lower() != "/wsman":
            self._reply(404)
            return
        who = self.authenticator.authenticate(self.headers.get("Authorization", ""))
        if isinstance(who, Refusal):
            winrm.refusals += 1
            self._reply(401, challenges=who.challenges)
            return
        if not winrm.identities or winrm.identities[-1] != who:
            winrm.identities.append(who)
        challenges = (self.authenticator.final_token,) if self.authenticator.final_token else ()
        self.authenticator.final_token = ""
        if not body:
            self._reply(200, challenges=challenges)
            return
        self._message(body, who, challenges)

    def _message(self, body: bytes, who: Identity, challenges: tuple[str, ...]) -> None:
        winrm = self.server.winrm
        content_type = self.headers.get("Content-Type", "")
        sealed = encryption.is_encrypted(content_type)
        if sealed:
            body = encryption.decrypt(self.authenticator.context, body)
        elif winrm.context is None and not winrm.allow_unencrypted:
            self._reply(500, challenges=challenges)  # as Windows does: empty, the reason is in its event log only
            return
        winrm.requests.append(body)
        found = _ACTION.search(body)
        trouble = winrm.troubles.next(found.group(1).decode() if found else "")
        if trouble is not None and trouble.kind == "hang":
            winrm.troubles.hang()
            self.close_connection = True
            return
        if trouble is not None and trouble.fault is not None:
            status, answer = winrm.shells.refuse(body, trouble.fault)
        else:
            status, answer = winrm.shells.answer(body, who)
        kind = _SOAP
        if sealed:
            kind, answer = encryption.encrypt(self.authenticator.context, content_type, answer)
        self._reply(status, answer, kind, challenges, half=trouble is not None and trouble.kind == "close")

    def _reply(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = _SOAP,
        challenges: tuple[str, ...] = (),
        *,
        half: bool = False,
    ) -> None:
        self.send_response(status)
        for challenge in challenges:
            self.send_header("WWW-Authenticate", challenge)
        if body:
            self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if half else body)
        if half:
            self.wfile.flush()
            self.close_connection = True


def _server_context(tls: KeyPair, client_ca: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    if client_ca is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(client_ca)
    return context

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One session with a vCenter or an ESXi host: opened bounded, renewed once per call, always logged out."""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from ...clock import Clock
from ...errors import InvalidOption
from ..protocol import EndpointUnreachable, UnsupportedVersion
from .faults import WIRE_ERRORS, SessionExpired, translated
from .sdk import pyvmomi

T = TypeVar("T")

#: The vSphere API that is spoken, whatever newer one the server offers too: 6.5 has all this driver uses.
API_VERSION = "vim.version.version11"
OLDEST_API = (6, 5)
#: A pooled connection idle for longer is not used again: the server may have closed it in the meantime.
IDLE_CONNECTION_S = 10


@dataclass(frozen=True, slots=True)
class Address:
    """Where and as whom to connect. ``password`` never appears in its text."""

    hostname: str
    username: str
    password: str = field(repr=False)
    port: int = 443
    validate_certs: bool = True
    ca_path: str | None = None
    proxy_host: str | None = None
    proxy_port: int = 3128
    timeout_s: float = 60.0

    @property
    def text(self) -> str:
        """``host:port`` and the proxy on the way, for messages."""
        way = f" by way of the proxy {self.proxy_host}:{self.proxy_port}" if self.proxy_host else ""
        return f"{self.hostname}:{self.port}{way}"

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Address:
        """Build from the endpoint's options; raises `InvalidOption` for a missing one."""
        for name in ("hostname", "username", "password"):
            if not options.get(name):
                raise InvalidOption(f"endpoints.{name}", "is needed for an endpoint of type vmware")
        given = {name: options[name] for name in cls.__dataclass_fields__ if options.get(name) is not None}
        return cls(**given)


class Session:
    """A logged-in session. Thread-safe; `read` and `write` are the ways to call the server."""

    def __init__(self, endpoint: str, address: Address, clock: Clock) -> None:
        self.endpoint = endpoint
        self.address = address
        self.clock = clock
        self._stub: Any = None
        self._content: Any = None
        self._logins = 0
        self._renewal = threading.Lock()
        #: How far the server's clock is ahead of ours, in seconds.
        self.clock_ahead_s = 0.0

    @property
    def content(self) -> Any:
        """The server's `ServiceContent`: its managers and its root folder."""
        if self._content is None:
            raise EndpointUnreachable(f"Endpoint {self.endpoint!r} is not connected")
        return self._content

    @property
    def is_vcenter(self) -> bool:
        """Whether this is a vCenter rather than a lone ESXi host."""
        return bool(self.content.about.apiType == "VirtualCenter")

    @property
    def stub(self) -> Any:
        """What objects that are known by id only are bound to."""
        return self._stub

    @property
    def instance(self) -> Any:
        """The server's `vim.ServiceInstance`."""
        return pyvmomi.vim.ServiceInstance("ServiceInstance", self._stub)

    def server_now_ts(self) -> float:
        """Return the server's time in Unix seconds, by the difference found when the session was opened."""
        return self.clock.now() + self.clock_ahead_s

    @property
    def open(self) -> bool:
        """Whether `connect` has succeeded and `close` has not been called since."""
        return self._content is not None

    def connect(self) -> None:
        """Connect and log in.

        Raises `EndpointUnreachable`, `UntrustedCertificate`, `LoginRefused`, `PermissionDenied` or
        `UnsupportedVersion`.
        """
        try:
            with translated(self.endpoint, self.address.text, "open a session"):
                self._stub = self._new_stub()
                instance = self.instance
                content = instance.RetrieveContent()
                self._require_supported(content.about)
                content.sessionManager.Login(self.address.username, self.address.password, None)
                self._content = content
                self._logins += 1
                self.clock_ahead_s = instance.CurrentTime().timestamp() - self.clock.now()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Log out and drop all connections; safe at any time."""
        content, self._content = self._content, None
        stub, self._stub = self._stub, None
        if content is not None:
            # Nobody is left to be told: an unreachable server ends the session itself, an ended one is what we want.
            with contextlib.suppress(pyvmomi.vmodl.MethodFault, *WIRE_ERRORS):
                content.sessionManager.Logout()
        if stub is not None:
            stub.DropConnections()

    def read(self, doing: str, question: Callable[[], T]) -> T:
        """Return the answer of ``question``, which calls the server and changes nothing there.

        It is asked again, from its beginning, after an expired session was renewed or once when the connection broke.
        """
        try:
            return self._call(doing, question)
        except EndpointUnreachable as error:
            if not isinstance(error.__cause__, ConnectionError):
                raise
            return self._call(doing, question)

    def write(self, doing: str, command: Callable[[], T]) -> T:
        """Return the answer of ``command``, a single call that changes something.

        It is repeated only when the server refused it for an expired session, so that nothing is done twice.
        """
        return self._call(doing, command)

    def _call(self, doing: str, call: Callable[[], T]) -> T:
        login = self._logins
        with translated(self.endpoint, self.address.text, doing):
            try:
                return call()
            except pyvmomi.vim.fault.NotAuthenticated:
                self._renew(login)
            try:
                return call()
            except pyvmomi.vim.fault.NotAuthenticated as fault:
                raise SessionExpired(
                    f"Endpoint {self.endpoint!r} ended the session again right after it was renewed",
                    advice="Look for a limit on sessions or for something that ends them.",
                ) from fault

    def _renew(self, login: int) -> None:
        """Log in again, unless another thread has done so since login number ``login``."""
        with self._renewal:
            if self._logins != login or self._stub is None:
                return
            self.content.sessionManager.Login(self.address.username, self.address.password, None)
            self._logins += 1

    def _new_stub(self) -> Any:
        address = self.address
        return pyvmomi.SoapStubAdapter(
            host=address.hostname,
            port=address.port,
            version=API_VERSION,
            sslContext=tls_context(address),
            httpConnectionTimeout=address.timeout_s,
            connectionPoolTimeout=IDLE_CONNECTION_S,
            httpProxyHost=address.proxy_host,
            httpProxyPort=address.proxy_port,
        )

    def _require_supported(self, about: Any) -> None:
        numbers = tuple(int(part) for part in str(about.apiVersion).split(".")[:2] if part.isdigit())
        if numbers < OLDEST_API:
            raise UnsupportedVersion(
                f"Endpoint {self.endpoint!r} runs {about.fullName} with API {about.apiVersion}",
                advice="This driver needs vSphere 6.5 or later.",
            )


def tls_context(address: Address) -> ssl.SSLContext:
    """Return how to check the server's certificate.

    One is always made, since pyVmomi by itself skips verification for localhost. Raises `InvalidOption` when
    ``ca_path`` cannot be used.
    """
    if not address.validate_certs:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        return ssl.create_default_context(cafile=address.ca_path)
    except (OSError, ssl.SSLError) as error:
        raise InvalidOption("endpoints.ca_path", f"{address.ca_path!r} cannot be used: {error}") from error

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One connection to one libvirt host, every use of it bounded in time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from ...errors import InvalidOption
from ...libraries import library
from ..protocol import EndpointUnreachable
from .faults import call_fault, connect_fault, is_code

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

T = TypeVar("T")

#: A silent peer is given up after (count + 1) intervals.
KEEPALIVE_INTERVAL_S = 5
KEEPALIVE_COUNT = 3
#: Options of an endpoint that libvirt takes as parameters of its URI (https://libvirt.org/uri.html).
URI_PARAMETERS = ("keyfile", "known_hosts", "known_hosts_verify", "pkipath")


def connection_uri(options: Mapping[str, Any]) -> str:
    """Return the URI to open: the endpoint's ``uri`` with its key, host-key and PKI options as parameters.

    Transports that run ssh never prompt. Raises `InvalidOption` for a URI without a driver, with a password, with
    a parameter that an option gives too, or with an option that its transport does not know.
    """
    uri = str(options.get("uri") or "")
    parts = urlsplit(uri)
    if not parts.scheme:
        raise InvalidOption(
            "endpoints.uri",
            f"{uri!r} is not a libvirt URI",
            advice="Give one such as qemu+ssh://root@kvm1.example.com/system.",
        )
    if parts.password is not None:
        raise InvalidOption("endpoints.uri", "a URI must not hold a password", advice="Use sasl_password.")
    parameters = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in URI_PARAMETERS:
        if options.get(name):
            if name in parameters:
                raise InvalidOption(f"endpoints.{name}", "is given twice, here and in the URI")
            parameters[name] = str(options[name])
    if parts.scheme.endswith("+ssh"):
        _check_ssh_client(options)
        parameters.setdefault("no_tty", "1")
    query = urlencode(parameters, quote_via=quote, safe="/")
    # put together by hand: urlunsplit drops the empty authority of qemu:///system, which libvirt needs
    return f"{parts.scheme}://{parts.netloc}{parts.path}" + (f"?{query}" if query else "")


def _check_ssh_client(options: Mapping[str, Any]) -> None:
    """Refuse what libvirt passes to its ssh libraries only: the ssh client would trust hosts by its own files."""
    for name in ("known_hosts", "known_hosts_verify"):
        if options.get(name):
            raise InvalidOption(
                f"endpoints.{name}",
                "has no effect on the transport ssh",
                advice="Use qemu+libssh, or have the user's own ssh files know the host's key.",
            )


class Connection:
    """A libvirt connection that opens within a deadline, is watched by keepalive, and reopens after it has died."""

    def __init__(self, endpoint: str, options: Mapping[str, Any]) -> None:
        """Take the endpoint's name and options; raises `InvalidOption`, does no I/O."""
        self.endpoint = endpoint
        self.uri = connection_uri(options)
        self.timeout_s = float(options.get("timeout_s") or 60.0)
        self._readonly = bool(options.get("readonly"))
        self._credentials = (options.get("sasl_username"), options.get("sasl_password"))
        self._raw: Any = None
        self._lock = threading.Lock()

    def open(self) -> Any:
        """Return the open libvirt connection, opening it when there is none or it has died.

        Raises `EndpointUnreachable`, `LoginRefused`, `UntrustedCertificate` or `UnsupportedVersion`.
        """
        with self._lock:
            if self._raw is not None and self._raw.isAlive():
                return self._raw
            self._raw = None
            start_event_loop()
            try:
                self._raw = within(self.timeout_s, self._open)
            except libvirt.libvirtError as error:
                raise connect_fault(error, self.endpoint, self.uri) from error
            except FutureTimeoutError:
                raise self._silent("open the connection") from None
            return self._raw

    def _open(self) -> Any:
        wanted = [libvirt.VIR_CRED_AUTHNAME, libvirt.VIR_CRED_PASSPHRASE]
        flags = libvirt.VIR_CONNECT_RO if self._readonly else 0
        raw = libvirt.openAuth(self.uri, [wanted, self._answer_credentials, None], flags)
        try:
            raw.setKeepAlive(KEEPALIVE_INTERVAL_S, KEEPALIVE_COUNT)
        except libvirt.libvirtError as error:
            if not is_code(error, "NO_SUPPORT"):  # a driver within this process needs none
                raise
        return raw

    def _answer_credentials(self, credentials: list[list[Any]], _data: object) -> int:
        username, password = self._credentials
        for credential in credentials:
            value = username if credential[0] == libvirt.VIR_CRED_AUTHNAME else password
            if value is None:
                return -1
            credential[4] = value
        return 0

    def ask(self, question: Callable[[Any], T], doing: str, *, timeout_s: float | None = None) -> T:
        """Put ``question`` to the open libvirt connection and return its answer.

        ``doing`` completes "could not ..." in errors. Raises `EndpointUnreachable` when the connection dies or nothing
        comes within the endpoint's deadline, and otherwise what `call_fault` makes of libvirt's error.
        """
        raw = self.open()
        try:
            return within(timeout_s or self.timeout_s, lambda: question(raw))
        except libvirt.libvirtError as error:
            if not raw.isAlive():
                raise EndpointUnreachable(
                    f"Endpoint {self.endpoint!r}: the connection to {self.uri} broke while trying to {doing}",
                    advice="Check that the host and its libvirt daemon are up; a later call connects anew.",
                    details={"uri": self.uri},
                ) from error
            raise call_fault(error, self.endpoint, doing) from error
        except FutureTimeoutError:
            raise self._silent(doing) from None

    def close(self) -> None:
        """Close the connection; does nothing when there is none."""
        with self._lock:
            raw, self._raw = self._raw, None
        if raw is not None:
            try:
                within(self.timeout_s, raw.close)
            except (libvirt.libvirtError, FutureTimeoutError):
                return  # a dead connection has nothing left to close

    def _silent(self, doing: str) -> EndpointUnreachable:
        return EndpointUnreachable(
            f"Endpoint {self.endpoint!r}: {self.uri} did not {doing} within {self.timeout_s:g} s",
            advice="Check the host's load and its libvirt daemon, or raise timeout_s.",
            details={"uri": self.uri, "timeout_s": self.timeout_s},
        )


def within(seconds: float, action: Callable[[], T]) -> T:
    """Return what ``action`` returns, run in a thread that is left behind when it takes longer.

    Raises `concurrent.futures.TimeoutError` then, and otherwise what ``action`` raises.
    """
    future: Future[T] = Future()

    def work() -> None:
        try:
            future.set_result(action())
        except Exception as error:  # noqa: BLE001  # raised again in the caller's thread
            future.set_exception(error)

    threading.Thread(target=work, daemon=True, name="libvirt-call").start()
    return future.result(seconds)


_loop_lock = threading.Lock()
_loop_thread: list[threading.Thread] = []


def start_event_loop() -> None:
    """Start libvirt's event loop, which keepalive needs, once per process and before the first connection."""
    with _loop_lock:
        if _loop_thread:
            return
        libvirt.registerErrorHandler(lambda _context, _error: None, None)  # by default it prints to stderr
        libvirt.virEventRegisterDefaultImpl()
        thread = threading.Thread(target=_turn_event_loop, daemon=True, name="libvirt-events")
        thread.start()
        _loop_thread.append(thread)


def _turn_event_loop() -> None:
    while True:
        libvirt.virEventRunDefaultImpl()

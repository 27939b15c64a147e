# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who is at the other end of a connection: Basic, Negotiate (NTLM) and client certificates, as Windows does them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import spnego
from spnego.channel_bindings import GssChannelBindings
from spnego.exceptions import SpnegoError

#: What a client sends as Authorization header when its certificate is to be its login.
CERTIFICATE_SCHEME = "http://schemas.dmtf.org/wbem/wsman/1/wsman/secprofile/https/mutual"
_REALM = 'Basic realm="WSMAN"'


@dataclass(frozen=True)
class Identity:
    """A user and how the wire proved who it is (``basic``, ``ntlm`` or ``certificate``)."""

    user: str
    method: str


@dataclass(frozen=True)
class Logins:
    """Who may log in to a host and how.

    ``users`` maps names (lower case) to passwords; ``certificates`` maps SHA-256 fingerprints of client certificates
    to users. NTLM's passwords come from the file that NTLM_USER_FILE names, which is pyspnego's interface.
    """

    users: Mapping[str, str]
    methods: tuple[str, ...] = ("negotiate", "basic")
    certificates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Refusal:
    """A 401 with these challenges."""

    challenges: tuple[str, ...]


class Authenticator:
    """The authentication of one connection.

    NTLM authenticates a connection, Basic every request. ``context`` is the security context, which also encrypts.
    """

    def __init__(self, logins: Logins, *, certificate_hash: bytes = b"", peer: str = "") -> None:
        self._logins = logins
        self._certificate_hash = certificate_hash
        self._peer = peer
        self._identity: Identity | None = None
        self.context: Any = None
        #: The token that completes the client's side, to be sent with the answer.
        self.final_token = ""

    def authenticate(self, header: str) -> Identity | Refusal:
        """Return who sent a request with this Authorization header, or how it is refused."""
        if not header:
            return self._identity or self._refusal()
        scheme, value = header.partition(" ")[::2]
        if header == CERTIFICATE_SCHEME and "certificate" in self._logins.methods:
            user = self._logins.certificates.get(self._peer)
            return Identity(user, "certificate") if user else self._refusal()
        try:
            token = base64.b64decode(value, validate=True)
        except binascii.Error:
            return self._refusal()
        if scheme.lower() == "basic" and "basic" in self._logins.methods:
            return self._basic(token)
        if scheme.lower() in ("negotiate", "ntlm") and "negotiate" in self._logins.methods:
            return self._negotiate(scheme, token)
        return self._refusal()

    def _basic(self, token: bytes) -> Identity | Refusal:
        user, password = token.decode("utf-8", "replace").partition(":")[::2]
        known = self._logins.users.get(user.lower())
        if known is None or known != password:
            return self._refusal()
        return Identity(user, "basic")

    def _negotiate(self, scheme: str, token: bytes) -> Identity | Refusal:
        try:
            if self.context is None or self.context.complete:
                self._identity = None
                self.context = spnego.server(
                    hostname="lab", service="HTTP", protocol="negotiate", channel_bindings=self._bindings()
                )
            answer = self.context.step(token)
        except SpnegoError:
            self.context = None
            return self._refusal()
        encoded = f"{scheme} {base64.b64encode(answer or b'').decode()}".strip()
        if not self.context.complete:
            return Refusal((encoded,))
        self.final_token = encoded if answer else ""
        self._identity = Identity(self.context.client_principal, self.context.negotiated_protocol)
        return self._identity

    def _bindings(self) -> GssChannelBindings | None:
        if not self._certificate_hash:
            return None
        return GssChannelBindings(application_data=b"tls-server-end-point:" + self._certificate_hash)

    def _refusal(self) -> Refusal:
        names = {"negotiate": "Negotiate", "basic": _REALM}
        return Refusal(tuple(names[method] for method in self._logins.methods if method in names))

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""libvirt's errors as errors of the driver protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...errors import ForesightError
from ...libraries import library
from ..protocol import (
    EndpointUnreachable,
    HypervisorFault,
    LoginRefused,
    PermissionDenied,
    UnsupportedVersion,
    UntrustedCertificate,
)

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: What libvirt and the ssh client say when they do not trust the other side. libvirt has no code of its own for it.
_UNTRUSTED = ("certificate", "host key verification", "host key for server", "tls handshake")
#: What the ssh client and libssh say when they were refused, and libvirt when a TLS server hangs up on the client's
#: certificate.
_REFUSED = (
    "permission denied (",
    "too many authentication failures",
    "access denied",
    "private key",
    "unable to read tls confirmation",
)


def is_code(error: libvirt.libvirtError, *names: str) -> bool:
    """Return whether the error has one of libvirt's codes, named without ``VIR_ERR_``."""
    return error.get_error_code() in {getattr(libvirt, f"VIR_ERR_{name}") for name in names}


def lacks_part(raw: libvirt.virConnect, error: libvirt.libvirtError) -> bool:
    """Return whether a call failed since the host does not run that part of libvirt, or we may not use it.

    Beside virtqemud each part has a daemon of its own (https://libvirt.org/daemons.html), and a host may do without
    it: then the call fails to reach that daemon's socket while the connection itself lives.
    """
    if is_code(error, "NO_SUPPORT", "OPERATION_DENIED", "ACCESS_DENIED"):
        return True
    unreached = is_code(error, "SYSTEM_ERROR") and error.get_error_domain() == libvirt.VIR_FROM_RPC
    return unreached and bool(raw.isAlive())


def text_of(error: libvirt.libvirtError) -> str:
    """Return libvirt's message on one line."""
    return " ".join(str(error).split())


def connect_fault(error: libvirt.libvirtError, endpoint: str, uri: str) -> ForesightError:
    """Return what a failed attempt to connect means."""
    text = text_of(error)
    lowered = text.lower()
    details = {"fault": error.get_error_code(), "uri": uri}
    if any(phrase in lowered for phrase in _UNTRUSTED):
        return UntrustedCertificate(
            f"Endpoint {endpoint!r}: the identity of {uri} could not be verified: {text}",
            advice="Check pkipath and the server's certificate, or known_hosts and the server's host key.",
            details=details,
        )
    if is_code(error, "AUTH_FAILED", "AUTH_CANCELLED", "AUTH_UNAVAILABLE") or any(p in lowered for p in _REFUSED):
        return LoginRefused(
            f"Endpoint {endpoint!r}: {uri} refused the login: {text}",
            advice="Check sasl_username, sasl_password, keyfile, the client's certificate in pkipath, and the host's "
            "polkit rule for that user.",
            details=details,
        )
    if is_code(error, "NO_SUPPORT", "NO_CONNECT", "CONFIG_UNSUPPORTED", "INVALID_ARG"):
        return UnsupportedVersion(
            f"Endpoint {endpoint!r}: this libvirt client cannot open {uri}: {text}",
            advice="Check the URI's driver and transport, for example qemu+ssh://root@host/system.",
            details=details,
        )
    return EndpointUnreachable(
        f"Endpoint {endpoint!r}: nothing answers at {uri}: {text}",
        advice="Check that the host is up and that libvirtd or virtproxyd listens on that transport.",
        details=details,
    )


def call_fault(error: libvirt.libvirtError, endpoint: str, doing: str) -> ForesightError:
    """Return what a failed call on an open connection means. ``doing`` completes "could not ..."."""
    text = text_of(error)
    details = {"fault": error.get_error_code()}
    if is_code(error, "OPERATION_DENIED", "ACCESS_DENIED"):
        return PermissionDenied(
            f"Endpoint {endpoint!r} does not allow to {doing}: {text}",
            advice="Open the endpoint read-write, and allow this in the host's polkit rules (see docs/kvm.md).",
            details={**details, "privilege": text},
        )
    if is_code(error, "NO_SUPPORT", "ARGUMENT_UNSUPPORTED"):
        return UnsupportedVersion(
            f"Endpoint {endpoint!r} is too old to {doing}: {text}",
            advice="Update libvirt and QEMU on that host.",
            details=details,
        )
    return HypervisorFault(
        f"Endpoint {endpoint!r} could not {doing}: {text}",
        advice="Look at what the libvirt daemon of that host has logged (journalctl -u virtqemud -u libvirtd).",
        details=details,
    )

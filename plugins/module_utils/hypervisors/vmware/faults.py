# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What vSphere, TLS and the network say went wrong, as this project's errors."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from xml.parsers.expat import ExpatError

from ...errors import ForesightError
from ..protocol import EndpointUnreachable, HypervisorFault, LoginRefused, PermissionDenied, UntrustedCertificate
from .sdk import pyvmomi

#: Trouble on the wire: refused, reset, timed out, or an answer that is not SOAP.
WIRE_ERRORS = (OSError, http.client.HTTPException, ExpatError)


class SessionExpired(ForesightError):
    """vCenter has ended the session and would not let it be renewed."""

    code = "session_expired"


class GoneFromInventory(HypervisorFault):
    """The object that a call names does not exist (any more)."""

    code = "object_gone"


@contextmanager
def translated(endpoint: str, address: str, doing: str) -> Iterator[None]:
    """Turn what pyVmomi raises in this block into this project's errors.

    ``doing`` completes the sentence "<endpoint> failed to ...". `vim.fault.NotAuthenticated` passes through: whoever
    owns the session decides about it.
    """
    try:
        yield
    except ForesightError:
        raise
    except ssl.SSLCertVerificationError as error:
        raise UntrustedCertificate(
            f"The certificate of {address} is not trusted: {error.verify_message}",
            advice="Give the CA that signed it as ca_path, or set validate_certs: false if you accept the risk.",
        ) from error
    except ssl.SSLError as error:
        raise EndpointUnreachable(f"{address} does not speak TLS as expected: {error}") from error
    except WIRE_ERRORS as error:
        raise unreachable(endpoint, address, doing, error) from error
    except pyvmomi.vim.fault.NotAuthenticated:
        raise
    except pyvmomi.vmodl.MethodFault as error:
        raise from_fault(endpoint, doing, error) from error


def unreachable(endpoint: str, address: str, doing: str, error: BaseException) -> EndpointUnreachable:
    """Return the error for trouble on the wire."""
    reason = "it did not answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
    return EndpointUnreachable(
        f"Endpoint {endpoint!r} ({address}) failed to {doing}: {reason}",
        advice="Check the address, the port and the network; raise timeout_s if the server is only slow.",
    )


def fault_name(fault: object) -> str:
    """Return vSphere's own name of a fault, such as ``InsufficientMemoryResourcesFault``."""
    return type(fault).__name__.rpartition(".")[2]


def fault_text(fault: object) -> str:
    """Return what vSphere says about a fault, its detailed messages included, as one line."""
    texts = [str(getattr(fault, "msg", None) or "")]
    texts += [str(message.message) for message in getattr(fault, "faultMessage", None) or () if message.message]
    said = "; ".join(dict.fromkeys(text for text in texts if text))
    return f"{fault_name(fault)}: {said}" if said else fault_name(fault)


def from_fault(endpoint: str, doing: str, fault: BaseException) -> ForesightError:
    """Return the error for a fault that vSphere answered to an attempt to ``doing``."""
    vim, vmodl = pyvmomi.vim, pyvmomi.vmodl
    details = {"fault": fault_name(fault)}
    if isinstance(fault, vim.fault.InvalidLogin):
        return LoginRefused(
            f"Endpoint {endpoint!r} refused the user name or the password",
            advice="Check both, with the domain as in user@vsphere.local, and that the account is not locked.",
            details=details,
        )
    if isinstance(fault, vim.fault.NoPermission):
        privilege = str(fault.privilegeId or "")
        return PermissionDenied(
            f"Endpoint {endpoint!r} does not allow its user to {doing}",
            advice=f"Grant the privilege {privilege} (docs/vmware.md lists all that are needed)." if privilege else "",
            details={**details, "privilege": privilege},
        )
    if isinstance(fault, vmodl.fault.ManagedObjectNotFound):
        return GoneFromInventory(f"Endpoint {endpoint!r} failed to {doing}: the object is gone", details=details)
    return HypervisorFault(f"Endpoint {endpoint!r} failed to {doing}: {fault_text(fault)}", details=details)

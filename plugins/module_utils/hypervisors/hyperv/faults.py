# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Windows, PowerShell, WS-Management and the network say went wrong, as this project's errors.

Decided on numbers and ids, which are the same in every language of Windows, never on the wording of a message. Win32
and HRESULT codes: "Win32 Error Codes" and "HRESULT Values" of [MS-ERREF]; WMI codes: "WMI Error Constants".
"""

from __future__ import annotations

import re
import struct
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...errors import ForesightError, MissingLibrary
from ...libraries import library
from ..protocol import (
    EndpointUnreachable,
    HypervisorFault,
    LoginRefused,
    PermissionDenied,
    UnsupportedVersion,
    UntrustedCertificate,
)
from .options import Connection

if TYPE_CHECKING:
    import requests
    import spnego.exceptions as spnego_exceptions
    import winrm.exceptions as winrm_exceptions
else:
    requests = library("requests")
    spnego_exceptions = library("spnego.exceptions", "pyspnego")
    winrm_exceptions = library("winrm.exceptions", "pywinrm")

#: SEC_E_NO_CREDENTIALS: the host has nothing to log in with at the next one.
NO_CREDENTIALS = "0X8009030E"
#: E_ACCESSDENIED, WBEM_E_ACCESS_DENIED and HRESULT_FROM_WIN32(ERROR_PRIVILEGE_NOT_HELD).
ACCESS_DENIED = frozenset({"0X80070005", "0X80041003", "0X80070522"})
#: WBEM_E_INVALID_NAMESPACE: root\virtualization\v2 comes with the Hyper-V role.
INVALID_NAMESPACE = "0X8004100E"
WIN32_ACCESS_DENIED = 5
#: ERROR_WSMAN_QUOTA_LIMIT, _MAX_SHELLS, _MAX_OPERATIONS, _USER, _SYSTEM, _MAX_SHELLUSERS, and those of a plug-in's
#: quotas (wsmerror.h): limits that Windows does not always tell as QuotaLimit.
WSMAN_QUOTAS = frozenset({0x8033803F, *range(0x803381A5, 0x803381A9), 0x803381AB, *range(0x803381E4, 0x803381EA)})
#: WBEM_E_INVALID_CLASS.
INVALID_CLASS = "0X80041010"
#: What pywinrm's Kerberos raises; the module that has these classes is there only when Kerberos is installed.
_KERBEROS_ERRORS = ("KerberosExchangeError", "MutualAuthenticationError")
_CODE = re.compile(r"0[xX][0-9A-Fa-f]{8}\b")
_MESSAGE_LENGTH = 600


class ConnectionBroken(EndpointUnreachable):
    """The connection was there and ended, or spoke nonsense, before the answer was complete."""


class AnswerTimedOut(EndpointUnreachable):
    """The host took the call and gave no answer within its deadline."""

    code = "endpoint_timeout"


class BadAnswer(HypervisorFault):
    """PowerShell ended without a whole answer."""

    code = "answer_invalid"


class WinrmQuota(HypervisorFault):
    """The host's WinRM service has reached one of its limits for this user."""

    code = "winrm_quota"


class DoubleHop(HypervisorFault):
    """The source host may not use the caller's login at the destination host."""

    code = "double_hop_refused"


class OtherHost(HypervisorFault):
    """Another host answered than the one that was meant; nothing was run there."""

    code = "other_host_answered"


class ObjectGone(HypervisorFault):
    """Something that a script looked at is not there (any more), or may not be seen."""

    code = "object_gone"


class RoleMissing(UnsupportedVersion):
    """The host does not have the Hyper-V role."""

    code = "hyperv_role_missing"


class ModuleMissing(UnsupportedVersion):
    """A PowerShell module that this needs is not installed on the host."""

    code = "powershell_module_missing"


def wire_errors() -> tuple[type[BaseException], ...]:
    """Return what pywinrm and requests raise for trouble on the wire, or for an answer that is not WS-Management."""
    return (
        requests.exceptions.RequestException,
        winrm_exceptions.WinRMError,
        winrm_exceptions.WinRMTransportError,
        winrm_exceptions.WinRMOperationTimeoutError,
        OSError,
        ET.ParseError,
        spnego_exceptions.SpnegoError,
        # what pywinrm does when an element, its text or a part of an encrypted message is not there or not to the point
        StopIteration,
        AttributeError,
        LookupError,
        ValueError,
        AssertionError,
        struct.error,
    )


def from_wire(connection: Connection, endpoint: str, error: BaseException) -> ForesightError:
    """Return the error for what pywinrm or requests raised while talking to ``connection``."""
    where = f"Endpoint {endpoint!r} ({connection.url})"
    if isinstance(error, winrm_exceptions.AuthenticationError) or type(error).__name__ in _KERBEROS_ERRORS:
        return _refused(connection, where, error)
    if isinstance(error, winrm_exceptions.WSManFaultError):
        return _from_fault(where, error)
    if isinstance(error, winrm_exceptions.WinRMOperationTimeoutError | requests.exceptions.ReadTimeout):
        return AnswerTimedOut(
            f"{where} took the call and did not answer in time",
            advice="Check the load of the host, or raise timeout_s.",
        )
    if isinstance(error, requests.exceptions.SSLError):
        return _from_tls(connection, where, error)
    if isinstance(error, requests.exceptions.ConnectTimeout):
        return EndpointUnreachable(f"{where} cannot be reached: no answer in time", advice=_REACH_ADVICE)
    if isinstance(error, winrm_exceptions.WinRMTransportError):
        return ConnectionBroken(
            f"{where} answered with HTTP status {error.code} and no WS-Management message",
            advice="Check that this is the address and the port of WinRM, and its event log on the host.",
            details={"http_status": error.code},
        )
    if isinstance(error, winrm_exceptions.WinRMError) and "not installed" in str(error):
        return MissingLibrary(
            f"{where} cannot be asked over {connection.transport}: {error}",
            advice=f"Install what that transport needs: python3 -m pip install 'pywinrm[{connection.transport}]'",
        )
    if isinstance(error, requests.exceptions.ConnectionError) and "NewConnectionError" in repr(error):
        return EndpointUnreachable(f"{where} cannot be reached: {_short(error)}", advice=_REACH_ADVICE)
    return ConnectionBroken(
        f"{where} broke the connection or answered something that is not WS-Management: {_short(error)}",
        advice="Check the host's WinRM service and what stands between it and here; a later call connects anew.",
    )


_REACH_ADVICE = "Check the name, the port (5986 for https, 5985 for http), the firewall and that WinRM listens there."


def _refused(connection: Connection, where: str, error: BaseException) -> LoginRefused:
    if connection.transport == "kerberos":
        return LoginRefused(
            f"{where} cannot be logged in at over kerberos: {_short(error)}",
            advice="Get a ticket (kinit), and give hosts by the names under which the domain knows them.",
        )
    return LoginRefused(
        f"{where} refused the login over {connection.transport}",
        advice="Check user name and password, that the account may log on from the network, and that WinRM on the host "
        f"allows {connection.transport} (winrm get winrm/config/service/auth).",
    )


def _from_tls(connection: Connection, where: str, error: BaseException) -> ForesightError:
    if "CERTIFICATE_VERIFY_FAILED" in repr(error):
        return UntrustedCertificate(
            f"The certificate of {connection.url} is not trusted: {_short(error)}",
            advice="Give the CA that signed it as winrm_ca_path, or set winrm_validate_certs: false if you accept the "
            "risk.",
        )
    return EndpointUnreachable(f"{where} does not speak TLS as expected: {_short(error)}", advice=_REACH_ADVICE)


def _from_fault(where: str, error: Any) -> ForesightError:
    """Return the error for a fault of the WS-Management service itself."""
    details = {"fault": str(error.fault_subcode or error.fault_code or ""), "wsman_fault": error.wsman_fault_code}
    if details["fault"].rpartition(":")[2] == "QuotaLimit" or error.wsman_fault_code in WSMAN_QUOTAS:
        return WinrmQuota(
            f"{where} has reached a limit of its WinRM service: {error.reason}",
            advice="Raise MaxShellsPerUser or MaxConcurrentOperationsPerUser (winrm set winrm/config/winrs), or close "
            "the shells that others left open.",
            details=details,
        )
    if error.wsman_fault_code == WIN32_ACCESS_DENIED:
        return PermissionDenied(
            f"{where} does not let this user use WinRM",
            advice="Add the user to the host's group Remote Management Users or Administrators.",
            details=details,
        )
    return ConnectionBroken(f"{where} refused the call: {error.reason}", details=details)


def from_script(where: str, operation: str, error: Mapping[str, Any]) -> ForesightError:
    """Return the error for what PowerShell answered instead of a result; see `framing` for the shape of ``error``.

    ``details`` holds ``operation``, ``fault`` (the FullyQualifiedErrorId), ``category``, ``activity`` and ``codes``:
    the HRESULTs of the exceptions and those that the message names.
    """
    message = " ".join(str(error.get("message") or "").split())[:_MESSAGE_LENGTH]
    fault = str(error.get("id") or "")
    codes = {str(code).upper() for code in error.get("hresults") or ()}
    codes |= {code.upper() for code in _CODE.findall(message) + _CODE.findall(fault)}
    category = str(error.get("category") or "")
    details = {
        "operation": operation,
        "fault": fault,
        "category": category,
        "activity": str(error.get("activity") or ""),
        "codes": sorted(code.replace("0X", "0x") for code in codes),
    }
    kind, advice = _kind_of(fault, str(error.get("target") or ""), category, codes)
    return kind(f"{where} failed at {operation}: {message}", advice=advice, details=details)


def _kind_of(fault: str, target: str, category: str, codes: set[str]) -> tuple[type[ForesightError], str]:
    """Return the class of error and the advice that fit what PowerShell said."""
    if fault == "OtherHost":
        return OtherHost, (
            "The address leads to another host than it did. Give addresses of hosts as winrm_hosts, not the name of a "
            "cluster, and check winrm_node_addresses."
        )
    if NO_CREDENTIALS in codes:
        return DoubleHop, (
            "The source host cannot log in at the destination with your login. Use winrm_transport kerberos and let "
            "each host's computer account delegate to the others (services cifs and Microsoft Virtual System Migration "
            "Service, any protocol), as docs/hyperv.md describes. CredSSP does not work on Windows Server 2025."
        )
    if codes & ACCESS_DENIED or category == "PermissionDenied":
        return PermissionDenied, (
            "The user needs to be in the host's group Hyper-V Administrators or Administrators, and for a cluster to "
            "have full access to it (Grant-ClusterAccess)."
        )
    if INVALID_NAMESPACE in codes:
        return RoleMissing, "Install the Hyper-V role: Install-WindowsFeature -Name Hyper-V -IncludeManagementTools."
    if fault.partition(",")[0] == "CommandNotFoundException":
        feature = "RSAT-Clustering-PowerShell" if "Cluster" in target else "Hyper-V-PowerShell"
        return ModuleMissing, f"Install the module that has {target}: Install-WindowsFeature -Name {feature}."
    if INVALID_CLASS in codes:
        return UnsupportedVersion, (
            "The host's Windows does not know a class that this driver reads: it is older than Windows Server 2016, or "
            "its performance counters are not registered (winmgmt /resyncperf)."
        )
    if category == "ObjectNotFound":
        return ObjectGone, (
            "Run it again if a VM was just removed or moved. Otherwise check that the service vmms runs there and that "
            "the user is in the host's group Hyper-V Administrators or Administrators."
        )
    return HypervisorFault, ""


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text[:_MESSAGE_LENGTH]

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""WS-Management messages: what a request says, and the envelopes and faults that Windows answers with.

Shapes are those of [MS-WSMV] and of recordings of Windows hosts, to which test_recordings.py holds them; numbers of
errors are those of wsmerror.h.
"""

from __future__ import annotations

import re
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from xml.sax.saxutils import escape

NAMESPACES = {
    "s": "http://www.w3.org/2003/05/soap-envelope",
    "a": "http://schemas.xmlsoap.org/ws/2004/08/addressing",
    "x": "http://schemas.xmlsoap.org/ws/2004/09/transfer",
    "w": "http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd",
    "p": "http://schemas.microsoft.com/wbem/wsman/1/wsman.xsd",
    "rsp": "http://schemas.microsoft.com/wbem/wsman/1/windows/shell",
}
SHELL_RESOURCE = NAMESPACES["rsp"] + "/cmd"
_ANONYMOUS = NAMESPACES["a"] + "/role/anonymous"
_FAULT_ACTION = "http://schemas.dmtf.org/wbem/wsman/1/wsman/fault"
_FAULT_DETAIL = "http://schemas.dmtf.org/wbem/wsman/1/wsman/faultDetail/"
_DEFAULT_TIMEOUT_S = 60.0
_DEFAULT_ENVELOPE_BYTES = 153600


@dataclass(eq=False)
class Fault(Exception):
    """A fault as a client sees it: SOAP code and subcode, the text, and the Windows error code with its message."""

    sender: bool
    subcode: str
    text: str
    error_code: int
    message: str = ""
    detail: str = ""
    from_provider: bool = False


def timed_out() -> Fault:
    """Return the fault by which Windows says that an operation's own timeout has passed."""
    return Fault(
        False,
        "w:TimedOut",
        "The WS-Management service cannot complete the operation within the time specified in OperationTimeout.  ",
        2150858793,
    )


def shell_quota(limit: int) -> Fault:
    """Return the fault for more shells than a user may have."""
    service = "The WS-Management service cannot process the request. "
    return Fault(
        True,
        "w:QuotaLimit",
        f"{service}The maximum number of concurrent shells for this user has been exceeded. Close existing shells or "
        "raise the quota for this user. ",
        2150859173,
        f"{service}This user is allowed a maximum number of {limit} concurrent shells, which has been exceeded. Close "
        "existing shells or raise the quota for this user. ",
    )


def operation_quota(limit: int) -> Fault:
    """Return the fault for more operations than a user may have under way, which is no QuotaLimit by its subcode."""
    return Fault(
        False,
        "w:InternalError",
        f"The WS-Management service cannot process the request. This user is allowed a maximum number of {limit} "
        "concurrent operations, which has been exceeded. Close existing operations for this user, or raise the quota "
        "for this user. ",
        2150859174,
    )


def access_denied() -> Fault:
    """Return the fault for a login that may not open shells."""
    return Fault(True, "w:AccessDenied", "Access is denied. ", 5)


def no_such_shell(shell_id: str) -> Fault:
    """Return the fault for a shell that does not exist (any more)."""
    return _unexpected_selectors(
        f"The request for the Windows Remote Shell with ShellId {shell_id} failed because the shell was not found "
        "on the server. Possible causes are: the specified ShellId is incorrect or the shell no longer exists on "
        "the server. Provide the correct ShellId or create a new shell and retry the operation. "
    )


def no_such_command() -> Fault:
    """Return the fault for a command that does not exist (any more)."""
    return _unexpected_selectors(
        "The Windows Remote Shell received a request to perform an operation on a command identifier that does "
        "not exist. Either the command has completed execution or the client specified an invalid command "
        "identifier. "
    )


def incorrect_parameter() -> Fault:
    """Return the fault for a request in which a value is missing."""
    return Fault(
        True, "w:InvalidParameter", "The parameter is incorrect. ", 87, detail="InvalidValue", from_provider=True
    )


def file_not_found() -> Fault:
    """Return the fault for a program without a path, where no cmd.exe looks for it."""
    text = "The system cannot find the file specified. "
    return Fault(False, "w:InternalError", text, 2147942402, from_provider=True)


def not_xml() -> Fault:
    """Return the fault for a request that is no SOAP message."""
    return Fault(
        True,
        "w:SchemaValidationError",
        "The SOAP XML in the message does not match the corresponding XML schema definition. Change the XML and "
        "retry. ",
        2150858817,
    )


def envelope_too_large() -> Fault:
    """Return the fault for a request above MaxEnvelopeSizekb."""
    return Fault(
        True,
        "w:EncodingLimit",
        "The WS-Management service cannot process the request because the encoding of the request exceeds an internal "
        "encoding limit. Reconfigure the client to send messages which fit the encoding limits of the service. ",
        2150858805,
    )


def unknown_resource(uri: str) -> Fault:
    """Return the fault for a resource other than the command shell."""
    return Fault(
        True,
        "a:DestinationUnreachable",
        f"The WS-Management service cannot process the request. The resource URI ({uri}) was not found in the "
        "WS-Management catalog. ",
        2150858752,
    )


def unsupported_action(action: str) -> Fault:
    """Return the fault for an action that a shell does not have."""
    return Fault(True, "a:ActionNotSupported", f"The action {action} is not supported by the service. ", 2150858771)


def _unexpected_selectors(message: str) -> Fault:
    return Fault(
        True,
        "w:InvalidSelectors",
        "The WS-Management service cannot process the request because the request contained invalid selectors for "
        "the resource. ",
        2150858843,
        message,
        detail="UnexpectedSelectors",
    )


@dataclass(frozen=True)
class Request:
    """What one request says."""

    message_id: str
    action: str
    resource_uri: str
    shell_id: str
    options: Mapping[str, str]
    timeout_s: float
    envelope_bytes: int
    body: ET.Element

    @property
    def operation(self) -> str:
        """The last word of the action: Create, Command, Send, Receive, Signal or Delete."""
        return self.action.rpartition("/")[2]

    def element(self, path: str) -> ET.Element | None:
        """Return the element of the body at ``path`` (with this module's prefixes)."""
        return self.body.find(path, NAMESPACES)

    def elements(self, path: str) -> list[ET.Element]:
        """Return all elements of the body at ``path``."""
        return self.body.findall(path, NAMESPACES)


def parse(message: bytes) -> Request:
    """Return what ``message`` says; raises `Fault` when it is no SOAP message."""
    try:
        root = ET.fromstring(message)
    except ET.ParseError as error:
        raise not_xml() from error
    header, body = root.find("s:Header", NAMESPACES), root.find("s:Body", NAMESPACES)
    if header is None or body is None:
        raise not_xml()

    def text(path: str) -> str:
        return (header.findtext(path, "", NAMESPACES) or "").strip()

    timeout = re.fullmatch(r"PT([\d.]+)S", text("w:OperationTimeout"))
    selectors = {one.get("Name"): one.text or "" for one in header.findall("w:SelectorSet/w:Selector", NAMESPACES)}
    return Request(
        message_id=text("a:MessageID"),
        action=text("a:Action"),
        resource_uri=text("w:ResourceURI"),
        shell_id=selectors.get("ShellId", "").upper(),
        options={one.get("Name", ""): one.text or "" for one in header.findall("w:OptionSet/w:Option", NAMESPACES)},
        timeout_s=float(timeout.group(1)) if timeout else _DEFAULT_TIMEOUT_S,
        envelope_bytes=int(text("w:MaxEnvelopeSize") or _DEFAULT_ENVELOPE_BYTES),
        body=body,
    )


def response(request: Request, body: str) -> bytes:
    """Return the envelope that answers ``request`` with ``body`` (XML)."""
    return _envelope(request.action + "Response", request.message_id, body)


def fault_response(message_id: str, fault: Fault) -> bytes:
    """Return the envelope of a fault."""
    message = escape(fault.message or fault.text)
    if fault.from_provider:
        message = (
            '<f:ProviderFault provider="Shell cmd plugin" path="%systemroot%\\system32\\winrscmd.dll">'
            f"{message}</f:ProviderFault>"
        )
    detail = f"<w:FaultDetail>{_FAULT_DETAIL}{fault.detail}</w:FaultDetail>" if fault.detail else ""
    return _envelope(
        _FAULT_ACTION,
        message_id,
        f"<s:Fault><s:Code><s:Value>s:{'Sender' if fault.sender else 'Receiver'}</s:Value><s:Subcode><s:Value>"
        f'{fault.subcode}</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">{escape(fault.text)}'
        f"</s:Text></s:Reason><s:Detail>{detail}"
        '<f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" '
        f'Code="{fault.error_code}" Machine="lab"><f:Message>{message}</f:Message></f:WSManFault>'
        "</s:Detail></s:Fault>",
    )


def _envelope(action: str, relates_to: str, body: str) -> bytes:
    prefixes = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in NAMESPACES.items())
    return (
        f'<s:Envelope xml:lang="en-US" {prefixes}><s:Header><a:Action>{action}</a:Action>'
        f"<a:MessageID>uuid:{str(uuid.uuid4()).upper()}</a:MessageID><a:To>{_ANONYMOUS}</a:To>"
        f"<a:RelatesTo>{escape(relates_to)}</a:RelatesTo></s:Header><s:Body>{body}</s:Body></s:Envelope>"
    ).encode()

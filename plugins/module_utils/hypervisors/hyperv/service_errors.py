# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What Hyper-V's management service says of a job that failed, by number and not by wording."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import dataclass

_CODE = re.compile(r"0[xX][0-9A-Fa-f]{8}\b")
_MESSAGE_LENGTH = 600
#: Return values of the service's methods (Microsoft, "MigrateVirtualSystemToHost method").
RETURN_VALUES = {
    32768: "failed",
    32769: "access denied",
    32770: "not supported",
    32771: "status is unknown",
    32772: "timed out",
    32773: "invalid parameter",
    32774: "system is in use",
    32775: "invalid state for this operation",
    32776: "incorrect data type",
    32777: "system is not available",
    32778: "out of memory",
}
JOB_STARTED = 4096


@dataclass(frozen=True, slots=True)
class ServiceError:
    """One instance of Msvm_Error. ``message_id`` is 0 where none was given; ``message`` is in the host's language."""

    message_id: int
    message: str

    @property
    def codes(self) -> frozenset[str]:
        """The HRESULTs that the message names, as ``0x8009030E``."""
        return frozenset("0x" + code[2:].upper() for code in _CODE.findall(self.message))


def read_errors(embedded: Iterable[str]) -> tuple[ServiceError, ...]:
    """Return the errors from their CIM-XML, as GetErrorEx gives them; what is no such XML is taken as a message."""
    return tuple(_read(text) for text in embedded)


def _read(text: str) -> ServiceError:
    try:
        instance = ET.fromstring(text)
    except ET.ParseError:
        return ServiceError(0, _one_line(text))
    values = {
        element.get("NAME", "").lower(): (element.findtext("VALUE") or "") for element in instance.iter("PROPERTY")
    }
    number = values.get("messageid", "").strip()
    return ServiceError(int(number) if number.isdecimal() else 0, _one_line(values.get("message", "")))


def _one_line(text: str) -> str:
    return " ".join(text.split())[:_MESSAGE_LENGTH]


def said(errors: Iterable[ServiceError], otherwise: str = "") -> str:
    """Return all messages as one line, each once; ``otherwise`` where there is none."""
    messages = dict.fromkeys(error.message for error in errors if error.message)
    return "; ".join(messages) or _one_line(otherwise)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Encrypted messages of WinRM over HTTP ([MS-WSMV] 2.2.9.1): one multipart body per message."""

from __future__ import annotations

import re
import struct
from typing import Any

_BOUNDARY = b"--Encrypted Boundary"
_OCTETS = b"\tContent-Type: application/octet-stream\r\n"


class NotDecrypted(Exception):
    """A body that is not what its headers say."""


def is_encrypted(content_type: str) -> bool:
    """Return whether a body of this type is encrypted."""
    return content_type.startswith("multipart/encrypted")


def decrypt(context: Any, body: bytes) -> bytes:
    """Return the message in an encrypted body; ``context`` is the security context of the connection."""
    parts = [part for part in body.split(_BOUNDARY) if part.strip(b"-\r\n")]
    message = b""
    for head, data in zip(parts[::2], parts[1::2], strict=True):
        told = re.search(rb"Length=(\d+)", head)
        sealed = data.partition(_OCTETS)[2]
        if told is None or len(sealed) < 4:
            raise NotDecrypted("a part has no length or no content")
        signature = struct.unpack("<i", sealed[:4])[0]
        part = context.unwrap_winrm(sealed[4 : 4 + signature], sealed[4 + signature :])
        if len(part) != int(told.group(1)):
            raise NotDecrypted(f"{len(part)} bytes where {told.group(1)!r} were announced")
        message += part
    return message


def encrypt(context: Any, content_type: str, message: bytes) -> tuple[str, bytes]:
    """Return the type and the body that carry ``message`` encrypted; ``content_type`` is the request's."""
    found = re.search(r'protocol="([^"]+)"', content_type)
    if found is None:
        raise NotDecrypted("the request names no protocol")
    protocol = found.group(1)
    sealed = context.wrap_winrm(message)
    body = b"".join((
        _BOUNDARY, b"\r\n\tContent-Type: ", protocol.encode(),
        b"\r\n\tOriginalContent: type=application/soap+xml;charset=UTF-8;Length=",
        str(len(message) + sealed.padding_length).encode(), b"\r\n", _BOUNDARY, b"\r\n", _OCTETS,
        struct.pack("<i", len(sealed.header)), sealed.header, sealed.data, _BOUNDARY, b"--\r\n",
    ))  # fmt: skip
    return f'multipart/encrypted;protocol="{protocol}";boundary="Encrypted Boundary"', body

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names from outside made safe as one part of a path, and back."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from ..errors import InvalidOption

#: File systems allow 255 bytes per part of a path; the rest is for a prefix such as ``endpoint=`` and a suffix.
LONGEST_PART = 200
#: What an id that this collection made consists of.
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


def encode_part(name: str, option: str) -> str:
    """Return ``name`` percent-encoded, without ``/`` and never ``.`` or ``..``; `decode_part` gives it back.

    Raises `InvalidOption` naming ``option`` for an empty name or one whose encoding is too long for a file system.
    """
    encoded = quote(name, safe="", errors="surrogatepass").replace(".", "%2E").replace("~", "%7E")
    if not encoded:
        raise InvalidOption(option, "a name is needed, this one is empty")
    if len(encoded) > LONGEST_PART:
        raise InvalidOption(option, f"the name beginning {name[:30]!r} is too long to be stored", advice="Shorten it.")
    return encoded


def decode_part(encoded: str) -> str:
    """Return the name that `encode_part` encoded."""
    return unquote(encoded, errors="surrogatepass")


def check_id(identifier: str, option: str) -> str:
    """Return ``identifier`` when it is safe as a file name; raises `InvalidOption` naming ``option`` otherwise."""
    if not _ID.fullmatch(identifier):
        raise InvalidOption(option, f"{identifier[:60]!r} is not an id that this collection gives out")
    return identifier

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The frames in which a call goes to PowerShell and its answer comes back.

To standard input: one JSON object in ASCII, then the end of the stream::

    {"operation": "vms", "frame": "8f0c...", "host": "HV1", "script": "param($p) ...", "parameters": {"vm_ids": []}}

``operation`` names the script for whoever logs or plays the host; PowerShell does not read it. ``frame`` is a random
word. ``host`` is the computer name of the host that is meant ("": any); another one runs nothing and answers an error
whose ``id`` is ``OtherHost``. From standard output: anything, then one JSON object in UTF-8 between two lines made of
that word, then anything::

    <<<8f0c...
    {"ok": true, "answer": {...}}
    8f0c...>>>

or ``{"ok": false, "error": {"message", "id", "category", "activity", "target", "hresults"}}``, where ``id`` is the
FullyQualifiedErrorId and ``hresults`` are those of the exception and its causes as ``0x8009030E``. Standard error and
the exit code say nothing about success: PowerShell writes its progress to the one, and the frame is what counts.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any

from .scripts.script import Script


class BrokenFrame(ValueError):
    """The output holds no complete frame of this call."""


def new_frame() -> str:
    """Return a word that no output contains by chance or by intent."""
    return secrets.token_hex(16)


def encode_call(script: Script, parameters: Mapping[str, object], frame: str, host: str = "") -> bytes:
    """Return the call as bytes for standard input; ``host`` is the computer name of the only host to run it."""
    call = {
        "operation": script.operation,
        "frame": frame,
        "host": host,
        "script": script.text,
        "parameters": dict(parameters),
    }
    return json.dumps(call, ensure_ascii=True).encode("ascii")


def decode_reply(output: bytes, frame: str) -> dict[str, Any]:
    """Return the reply, ``{"ok": true, "answer": {...}}`` or ``{"ok": false, "error": {...}}``.

    Raises `BrokenFrame` when the output holds none that is whole.
    """
    start, end = f"<<<{frame}".encode("ascii"), f"{frame}>>>".encode("ascii")
    _before, found, rest = output.partition(start)
    body, closed, _after = rest.rpartition(end)
    if not found or not closed:
        raise BrokenFrame("no complete answer in the output")
    try:
        reply = json.loads(body.decode("utf-8"))
    except ValueError as error:
        raise BrokenFrame(f"the answer is not JSON in UTF-8: {error}") from error
    ok = reply.get("ok") if isinstance(reply, dict) else None
    if not isinstance(ok, bool) or not isinstance(reply.get("answer" if ok else "error"), dict):
        raise BrokenFrame("the answer is not a reply of the bootstrap")
    return dict(reply)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes to PowerShell and comes back: no value in a script's text, no frame that can be forged."""

from __future__ import annotations

import json

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.framing import (
    BrokenFrame,
    decode_reply,
    encode_call,
    new_frame,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.reads import VMS
from hypothesis import given
from hypothesis import strategies as st

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


def framed(body: bytes, frame: str) -> bytes:
    return b"\n<<<" + frame.encode() + b"\n" + body + b"\n" + frame.encode() + b">>>\n"


@given(st.dictionaries(st.text(max_size=20), JSON, max_size=4))
def test_whatever_the_parameters_hold_the_script_is_the_constant_and_the_call_is_ascii(
    parameters: dict[str, object],
) -> None:
    call = json.loads(encode_call(VMS, parameters, "f", "HV1").decode("ascii"))
    assert call == {"operation": "vms", "frame": "f", "host": "HV1", "script": VMS.text, "parameters": parameters}


@given(st.dictionaries(st.text(max_size=9), JSON), st.binary(max_size=60), st.binary(max_size=60))
def test_an_answer_is_found_whatever_stands_around_it(answer: dict[str, object], before: bytes, after: bytes) -> None:
    frame = new_frame()
    body = json.dumps({"ok": True, "answer": answer}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return  # half of a surrogate pair is no text that Windows can send as UTF-8
    assert decode_reply(before + framed(body, frame) + after, frame) == {"ok": True, "answer": answer}


def test_a_name_that_looks_like_a_frame_does_not_end_the_answer() -> None:
    frame, name = new_frame(), '<<<f\n{"ok":true}\nf>>>'
    body = json.dumps({"ok": True, "answer": {"name": name}}).encode()
    assert decode_reply(framed(body, frame), frame)["answer"]["name"] == name


@pytest.mark.parametrize("kept", [0, 10, 45, -10])
def test_an_answer_that_was_cut_off_is_never_taken_for_one(kept: int) -> None:
    frame = new_frame()
    whole = framed(b'{"ok": true, "answer": {}}', frame)
    with pytest.raises(BrokenFrame):
        decode_reply(whole[:kept], frame)


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", b'{"ok": 1}', b'{"ok": true, "answer": []}', b'{"ok": false}', b"\xff", b"{", b""]
)
def test_something_else_between_the_frames_is_no_answer(body: bytes) -> None:
    with pytest.raises(BrokenFrame):
        decode_reply(framed(body, "f"), "f")


def test_another_call_s_frame_is_not_ours() -> None:
    with pytest.raises(BrokenFrame):
        decode_reply(framed(b'{"ok": true}', new_frame()), new_frame())

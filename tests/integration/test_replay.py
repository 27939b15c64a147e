# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""estate_replay as playbooks run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conftest import Estate

Module = Callable[..., dict[str, Any]]


def test_a_replay_changes_nothing_and_says_the_same_in_check_mode(
    make_estate: Callable[..., Estate], module: Module
) -> None:
    estate = make_estate()
    ask = {"endpoints": [dict(estate.endpoint)], "store": str(estate.store), "moves": [{"vm": "web01", "host": "kvm2"}]}
    answer = module("estate_replay", ask)
    assert not answer.get("failed"), answer
    assert answer["changed"] is False
    assert answer["moves"][0]["to"] == "lab/kvm2"
    foreseen = module("estate_replay", ask, "--check")
    for part in ("as_is", "with_moves", "saved_host_hours", "window"):
        assert foreseen[part] == answer[part]


def test_a_replay_of_an_unknown_vm_fails_with_its_code(make_estate: Callable[..., Estate], module: Module) -> None:
    estate = make_estate()
    ask = {"endpoints": [dict(estate.endpoint)], "store": str(estate.store), "moves": [{"vm": "none", "host": "kvm2"}]}
    answer = module("estate_replay", ask)
    assert answer["failed"]
    assert answer["error"]["code"] == "vm_unknown"

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""host_select as playbooks run it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conftest import Estate, Playbook

Module = Callable[..., dict[str, Any]]

SHOWN = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - foresight.migration.host_select:
        endpoints: "{{ foresight_endpoints }}"
        store: "{{ foresight_store }}"
        vm: web01
        hosts: [kvm4]
        explain: true
"""


def test_check_mode_decides_the_same_and_every_verdict_has_its_reasons(estate: Estate, module: Module) -> None:
    ask = {"endpoints": [dict(estate.endpoint)], "store": str(estate.store), "vm": "web01", "hosts": ["kvm4"]}
    foreseen, done = module("host_select", ask, "--check"), module("host_select", ask)
    assert (done["decision"], done["destination"], done["changed"]) == ("move", "lab/kvm2", False)
    for key in ("decision", "destination", "score", "ranking", "rejected", "asked"):
        assert foreseen[key] == done[key]
    assert done["rejected_by_reason"] == {"host_not_up": 1, "no_capacity": 1}
    assert done["asked"][0]["reasons"][0]["code"] == "host_not_up"
    refused = module("host_select", {**ask, "filter": "name == 'kvm4'"})
    assert (refused["failed"], refused["error"]["code"]) == (True, "no_host_fits")
    assert refused["error"]["details"]["reasons"] == {"filtered_by_user": 2, "host_not_up": 1}


def test_the_table_is_shown_while_the_task_runs(estate: Estate, playbook: Playbook) -> None:
    source = estate.folder / "explain.yml"
    source.write_text(SHOWN, encoding="utf-8")
    code, output = playbook.run(str(source), estate.variables())
    assert code == 0, output
    assert "web01: move to kvm2" in output
    assert "= kvm1 (stay)" in output
    assert "kvm4: rejected: the host's state is maintenance [host_not_up]" in output

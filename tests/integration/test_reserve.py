# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""host_reserve and host_reserve_info as playbooks run them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conftest import Estate, Playbook

Module = Callable[..., dict[str, Any]]

#: A database that nobody serves, and a password that must never be seen.
SECRET_LEDGER = "postgresql+psycopg://controller:hunter2@127.0.0.1:1/ledger?connect_timeout=1&sslpassword=hunter3"


def test_reserving_is_foreseen_done_once_and_given_back_with_the_same_diff(estate: Estate, module: Module) -> None:
    common = {"endpoints": [dict(estate.endpoint)], "store": str(estate.store)}
    ask = {**common, "vm": "web01", "host": "kvm2", "owner": "tests"}
    foreseen = module("host_reserve", ask, "--check", "--diff")
    assert (foreseen["changed"], foreseen["action"]) == (True, "created")
    assert module("host_reserve_info", common)["reservations"] == []
    done = module("host_reserve", ask, "--diff")
    assert done["reservation"]["amount"] == foreseen["reservation"]["amount"]
    assert done["diff"]["before"] == {}
    assert set(done["enforced_by"].values()) == {"hypervisor"}
    again = module("host_reserve", ask)
    assert (again["changed"], again["reservation_id"]) == (False, done["reservation_id"])
    listed = module("host_reserve_info", {**common, "vms": ["web01"], "states": ["active"], "calendar": True})
    assert [each["reservation_id"] for each in listed["reservations"]] == [done["reservation_id"]]
    assert listed["calendars"]["lab/kvm2"]
    assert module("host_reserve", {**common, "state": "absent", "vm": "web01"})["changed"]
    assert not module("host_reserve", {**common, "state": "absent", "vm": "web01"})["changed"]
    assert not module("host_reserve", {**common, "state": "reconciled"}, "--check")["changed"]


def test_a_refusal_names_the_shortfall_in_the_tasks_result(estate: Estate, module: Module) -> None:
    answer = module(
        "host_reserve",
        {
            "endpoints": [dict(estate.endpoint)],
            "store": str(estate.store),
            "vm": "web01",
            "host": "kvm3",
            "amount": {"cpu_cores": 6},
        },
    )
    assert answer["failed"]
    assert answer["error"]["code"] == "capacity_short"
    assert answer["error"]["details"]["shortfall"][0]["resource"] == "cpu"
    assert "cpu lacks" in answer["msg"]


@pytest.mark.parametrize("given", ["option", "environment"])
def test_the_ledgers_password_is_in_no_output_however_verbose(
    make_estate: Callable[..., Estate], playbook: Playbook, given: str
) -> None:
    made = make_estate()
    task: dict[str, Any] = {"endpoints": [dict(made.endpoint)], "store": str(made.store)}
    if given == "option":
        task["ledger"] = "{{ secret_ledger }}"
    else:
        playbook.environment["FORESIGHT_LEDGER"] = SECRET_LEDGER
    source = made.folder / "secret.yml"
    source.write_text(
        "- hosts: localhost\n  gather_facts: false\n  tasks:\n"
        f"    - foresight.migration.host_reserve_info: {task}\n      ignore_errors: true\n"
        f"    - foresight.migration.host_reserve: {task | {'state': 'reconciled'}}\n",
        encoding="utf-8",
    )
    secrets = made.folder / "secret-variables.yml"
    secrets.write_text(f"secret_ledger: {SECRET_LEDGER}\n", encoding="utf-8")
    code, output = playbook.run(str(source), {}, "-e", f"@{secrets}", "-vvv")
    assert code == 2
    assert "ledger_unavailable" in output
    assert "hunter" not in output

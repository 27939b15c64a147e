# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reserving that dies half-way: whatever it leaves is finished, repaired or gone after its lease."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.operations.reserve_site import Site


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


def _dies(*_arguments: object) -> None:
    raise Killed


def test_the_claim_of_a_dead_maker_is_finished_by_asking_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(SimulatedDriver, "place_hold", _dies)
        with pytest.raises(Killed):
            site.run()
    assert site.holds() == {}
    again = site.run()
    assert (again.changed, again.result["action"]) == (True, "unchanged")
    assert site.holds().keys() == {again.result["reservation_id"]}


def test_a_change_that_died_before_it_was_held_is_finished_by_asking_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = site.run(amount={"cpu_cores": 2}).result["reservation_id"]
    with monkeypatch.context() as dying:
        dying.setattr(SimulatedDriver, "place_hold", _dies)
        with pytest.raises(Killed):
            site.run(amount={"cpu_cores": 3})
    (left,) = site.active()
    assert (left["amount"]["cpu_cores"], left["enforced_by"]) == (3.0, {}), "the hypervisor holds the old amount"
    assert site.run(amount={"cpu_cores": 3}).changed
    assert site.holds()[held].amount.cpu_cores == 3.0
    assert set(site.active()[0]["enforced_by"].values()) == {"hypervisor"}


def test_a_claim_that_was_never_enforced_is_taken_back_when_it_cannot_be(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(SimulatedDriver, "place_hold", _dies)
        with pytest.raises(Killed):
            site.run()
    site.estate.driver().inject({"kind": "hold_refused", "host": "host-c"})
    assert site.fails().details["rolled_back"] is True
    assert site.active() == []


#: Everything by which reserving touches the world. A process can die before and after each.
STEPS_TO_DIE_AT = [
    (owner, method, when)
    for owner, method in (
        (Ledger, "claim"),
        (SimulatedDriver, "place_hold"),
        (Ledger, "record_enforcement"),
        (SimulatedDriver, "release_hold"),
        (Ledger, "release"),
    )
    for when in ("before", "after")
]


def _dying(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, when: str) -> None:
    really: Callable[..., Any] = getattr(owner, method)

    def dies(*arguments: Any, **keywords: Any) -> None:
        if when == "after":
            really(*arguments, **keywords)
        raise Killed

    monkeypatch.setattr(owner, method, dies)


@pytest.mark.parametrize(
    ("owner", "method", "when"), STEPS_TO_DIE_AT, ids=lambda value: getattr(value, "__name__", value)
)
@pytest.mark.parametrize("task", ["create", "grow", "shrink", "release", "refused"])
def test_whatever_a_death_leaves_is_repaired_while_the_lease_lives_and_gone_after_it(
    site: Site, monkeypatch: pytest.MonkeyPatch, task: str, owner: type, method: str, when: str
) -> None:
    if task in ("grow", "shrink", "release"):
        site.run(amount={"cpu_cores": 3})
    driver = site.estate.driver()
    fault = driver.inject({"kind": "hold_refused", "host": "host-c", "times": 1}) if task == "refused" else ""
    with monkeypatch.context() as dying:
        _dying(dying, owner, method, when)
        try:
            if task == "release":
                site.run(state="absent", vm="web01")
            else:
                site.run(amount={"cpu_cores": {"grow": 4, "shrink": 2}.get(task, 1)})
        except (Killed, ForesightError):
            pass
    site.run(state="reconciled")
    held, active = site.holds(), {each["reservation_id"]: each for each in site.active()}
    assert held.keys() <= active.keys()
    for reservation_id, hold in held.items():
        assert hold.amount.as_dict() == active[reservation_id]["amount"]
        assert set(active[reservation_id]["enforced_by"].values()) == {"hypervisor"}
    for reservation_id in active.keys() - held.keys():
        assert active[reservation_id]["enforced_by"] == {}, "said to be enforced, and is not"
    assert not site.run(state="reconciled").changed
    driver.clear_fault(fault)
    site.pass_time(3 * 3600)
    site.run(state="reconciled")
    assert (site.holds(), site.active()) == ({}, [])
    assert site.run().result["action"] == "created"

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reserving as a task does it: from a store, in a ledger, with a simulated estate that enforces it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context, Outcome
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve import reserve
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_info import (
    ReserveInfoRequest,
    reserve_info,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_request import ReserveRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations import ledger as ledger_module
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger, open_ledger
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import LedgerDenied
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate
from ansible_collections.foresight.migration.tests.unit.stores import take_stock

HOST = "sim/host-c"


class Site:
    """A store, a ledger and a simulated estate, and the calls a task makes on them."""

    def __init__(self, estate: SimulatedEstate, folder: Path) -> None:
        self.estate = estate
        self.store = str(folder / "store")
        self.demand: dict[str, Resources] = {}

    def run(self, check_mode: bool = False, **options: Any) -> Outcome:
        """Reserve with these options on top of web01 and host-c; the result must be JSON-able and small."""
        values: dict[str, Any] = {"endpoints": [self.estate.endpoint()], "store": self.store, "owner": "job 7"}
        if options.get("state", "present") == "present":
            values |= {"vm": "web01", "host": "host-c"}
        outcome = reserve(ReserveRequest(**{**values, **options}), Context(check_mode=check_mode))
        assert len(json.dumps(outcome.result)) < 60_000
        return outcome

    def fails(self, **options: Any) -> ForesightError:
        """Return the error that reserving raises."""
        with pytest.raises(ForesightError) as caught:
            self.run(**options)
        return caught.value

    def info(self, **options: Any) -> Mapping[str, Any]:
        request = ReserveInfoRequest(endpoints=[self.estate.endpoint()], store=self.store, **options)
        outcome = reserve_info(request, Context())
        assert not outcome.changed
        return outcome.result

    def ledger(self) -> Ledger:
        return open_ledger(f"sqlite:///{self.store}/ledger.db", actor="tests")

    def active(self) -> list[Mapping[str, Any]]:
        """Return the reservations that hold something now."""
        found: list[Mapping[str, Any]] = self.info(states=["active"])["reservations"]
        return found

    def holds(self) -> dict[str, Hold]:
        """Return what the hypervisor really holds, by reservation."""
        return {hold.reservation_id: hold for hold in self.estate.driver().list_holds()}

    def pass_time(self, seconds: float) -> None:
        self.estate.driver().clock.sleep(seconds)


@pytest.fixture
def site(simulated_estate: SimulatedEstate, tmp_path: Path) -> Site:
    built = Site(simulated_estate, tmp_path)
    take_stock(simulated_estate, built.store, built.demand)
    return built


# ---- present


def test_a_claim_is_held_by_the_hypervisor_and_says_so(site: Site) -> None:
    outcome = site.run()
    assert outcome.changed
    assert outcome.result["action"] == "created"
    assert set(outcome.result["enforced_by"].values()) == {"hypervisor"}
    held = site.holds()[outcome.result["reservation_id"]]
    assert held.amount.as_dict() == outcome.result["reservation"]["amount"]
    assert (outcome.diff or {})["before"] == {}


def test_the_hypervisor_is_told_what_the_vms_that_run_there_need_themselves(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Hold] = []
    place = SimulatedDriver.place_hold

    def watch(driver: SimulatedDriver, hold: Hold) -> Hold:
        seen.append(hold)
        return place(driver, hold)

    monkeypatch.setattr(SimulatedDriver, "place_hold", watch)
    site.run(host="host-b")
    assert seen[0].floors == {site.estate.vm_uuid("batch01"): Resources(3.0, 2048.0, 100.0, 5.0)}


def test_the_amount_is_the_vms_forecast_peak_unless_it_is_given(site: Site) -> None:
    by_forecast = site.run().result["reservation"]["amount"]
    assert by_forecast == {"cpu_cores": 1.0, "memory_mib": 4096.0, "network_mbit_s": 100.0, "disk_mib_s": 5.0}
    given = site.run(amount={"cpu_cores": 3}).result["reservation"]["amount"]
    assert given == {"cpu_cores": 3.0, "memory_mib": 0.0, "network_mbit_s": 0.0, "disk_mib_s": 0.0}


def test_cpu_and_memory_are_never_more_than_the_vm_can_use(simulated_estate: SimulatedEstate, tmp_path: Path) -> None:
    site = Site(simulated_estate, tmp_path)
    take_stock(simulated_estate, site.store, {"web01": Resources(9.0, 99999.0, 10.0, 10.0)})
    amount = site.run(limits={"cpu": 1.0}).result["reservation"]["amount"]
    assert (amount["cpu_cores"], amount["memory_mib"]) == (4.0, 8192.0)


def test_the_hosts_own_forecast_load_is_counted_and_what_it_is_now_where_there_is_none(
    simulated_estate: SimulatedEstate, tmp_path: Path
) -> None:
    simulated_estate.scenario["hosts"][1]["own_load"] = {"cpu_cores": 3.5}
    site = Site(simulated_estate, tmp_path)
    take_stock(simulated_estate, site.store, {"sim/host-c": Resources(6.5, 64.0)})
    for host, available in (("host-c", 0.7), ("host-b", 0.7)):
        refusal = site.fails(host=host)
        assert refusal.code == "capacity_short"
        (lack,) = refusal.details["shortfall"]
        assert (lack["resource"], lack["available"]) == ("cpu", pytest.approx(available, abs=0.01))
    small = {"cpu_cores": 0.5}
    assert site.run(host="host-c", amount=small).warnings == ()
    (told,) = site.run(host="host-b", amount=small, allow_second_host=True).warnings
    assert "cpu 3.5 cores as now (the forecast does not hold it)" in told


def test_the_residents_forecast_load_is_counted(simulated_estate: SimulatedEstate, tmp_path: Path) -> None:
    site = Site(simulated_estate, tmp_path)
    take_stock(simulated_estate, site.store, {"batch01": Resources(6.5, 2048.0, 10.0, 10.0)})
    refusal = site.fails(host="host-b")
    assert refusal.code == "capacity_short"
    (lack,) = refusal.details["shortfall"]
    assert (lack["resource"], lack["available"]) == ("cpu", pytest.approx(0.7))
    assert site.holds() == {}


def test_asking_again_changes_nothing_also_some_time_later(site: Site) -> None:
    first = site.run()
    site.pass_time(600)
    again = site.run()
    assert not again.changed
    assert again.result["action"] == "unchanged"
    assert again.result["reservation"] == first.result["reservation"]
    assert (again.diff or {})["before"] == (again.diff or {})["after"]


def test_check_mode_foresees_every_answer_and_writes_nothing(site: Site) -> None:
    assert site.run(check_mode=True).result["action"] == "created"
    assert not (Path(site.store) / "ledger.db").exists()
    done = site.run()
    assert not site.run(check_mode=True).changed
    bigger = site.run(check_mode=True, amount={"cpu_cores": 2})
    assert (bigger.changed, bigger.result["action"]) == (True, "updated")
    assert site.fails(check_mode=True, amount={"cpu_cores": 99}).code == "capacity_short"
    assert site.run(check_mode=True, state="absent", vm="web01").changed
    assert site.active() == [done.result["reservation"]]
    assert site.holds().keys() == {done.result["reservation_id"]}


def test_check_mode_shows_the_reservation_that_then_comes_true(site: Site) -> None:
    foreseen = site.run(check_mode=True).result["reservation"]
    real = site.run().result["reservation"]
    differing = {name for name in real if real[name] != foreseen[name]}
    assert differing == {"reservation_id", "generation"}


def test_a_changed_amount_changes_the_hold(site: Site) -> None:
    first = site.run(amount={"cpu_cores": 2})
    grown = site.run(amount={"cpu_cores": 3})
    assert grown.result["action"] == "updated"
    assert grown.result["reservation_id"] == first.result["reservation_id"]
    assert site.holds()[first.result["reservation_id"]].amount.cpu_cores == 3.0
    before, after = (grown.diff or {})["before"], (grown.diff or {})["after"]
    assert (before["amount"]["cpu_cores"], after["amount"]["cpu_cores"]) == (2.0, 3.0)


def test_a_hard_claim_that_the_hypervisor_refuses_is_taken_back(site: Site) -> None:
    site.estate.driver().inject({"kind": "hold_refused", "host": "host-c", "times": 1})
    refusal = site.fails()
    assert (refusal.code, refusal.details["rolled_back"]) == ("hold_refused", True)
    assert site.active() == []
    assert site.holds() == {}
    assert site.run().result["action"] == "created"


def test_a_change_that_the_hypervisor_refuses_leaves_the_reservation_as_it_was(site: Site) -> None:
    first = site.run(amount={"cpu_cores": 2}).result
    site.estate.driver().inject({"kind": "hold_refused", "host": "host-c", "times": 1})
    refusal = site.fails(amount={"cpu_cores": 3})
    assert refusal.details["rolled_back"] is True
    (kept,) = site.active()
    assert kept["amount"]["cpu_cores"] == 2.0
    assert site.holds()[first["reservation_id"]].amount.cpu_cores == 2.0


def test_an_endpoint_that_goes_away_while_holding_has_the_claim_taken_back(site: Site) -> None:
    site.estate.driver().inject({"kind": "endpoint_unreachable", "calls": ["place_hold"]})
    refusal = site.fails()
    assert (refusal.code, refusal.details["rolled_back"]) == ("endpoint_unreachable", True)
    assert site.active() == []


def test_a_soft_claim_that_the_hypervisor_refuses_stays_with_the_ledger_and_warns(site: Site) -> None:
    site.estate.driver().inject({"kind": "hold_refused", "host": "host-c"})
    outcome = site.run(tier="soft")
    assert set(outcome.result["enforced_by"].values()) == {"ledger"}
    assert any("holds nothing" in warning for warning in outcome.warnings)
    assert outcome.result["likelihood"] == 1.0


def test_a_vm_that_is_there_already_needs_no_reservation(site: Site) -> None:
    outcome = site.run(host="host-a")
    assert (outcome.changed, outcome.result["action"]) == (False, "not_needed")
    assert site.active() == []


def test_the_claim_of_a_dead_maker_is_finished_by_asking_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as dying:
        dying.setattr(SimulatedDriver, "place_hold", _dies)
        with pytest.raises(Killed):
            site.run()
    assert site.holds() == {}
    again = site.run()
    assert (again.changed, again.result["action"]) == (True, "unchanged")
    assert site.holds().keys() == {again.result["reservation_id"]}


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


@pytest.mark.parametrize(
    ("code", "options"),
    [
        ("host_unknown", {"host": "host-z"}),
        ("vm_unknown", {"vm": "web99"}),
        ("invalid_option", {"amount": {"cpu_cores": -1}}),
        ("invalid_option", {"amount": {"cpu_cores": 0}}),
        ("invalid_option", {"amount": {"gpu": 1}}),
        ("invalid_option", {"amount": {"cpu_cores": "many"}}),
        ("invalid_option", {"window_hours": -1.0}),
        ("invalid_option", {"window_hours": 0.0}),
        ("invalid_option", {"window_start": "2020-01-01T00:00:00Z", "window_hours": 1.0}),
        ("invalid_option", {"window_start": "tonight"}),
        ("invalid_option", {"ttl_minutes": 0.0}),
        ("invalid_option", {"level": 0.42}),
        ("invalid_option", {"limits": {"cpu": 1.5}}),
        ("invalid_option", {"state": "gone"}),
        ("forecast_stale", {"window_start": "2027-01-05T09:00:00Z"}),
        ("artefact_missing", {"forecast_id": "fc77"}),
        ("artefact_missing", {"snapshot_id": "20200101T000000000Z-000000000000"}),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_bad_input_is_refused_by_name_and_changes_nothing(
    site: Site, code: str, options: dict[str, Any], check_mode: bool
) -> None:
    assert site.fails(check_mode=check_mode, **options).code == code
    assert not (Path(site.store) / "ledger.db").exists()


def test_a_host_in_maintenance_is_refused(simulated_estate: SimulatedEstate, tmp_path: Path) -> None:
    site = Site(simulated_estate, tmp_path)
    simulated_estate.driver().inject({"kind": "host_state", "host": "host-c", "state": "maintenance"})
    take_stock(simulated_estate, site.store, {})
    assert site.fails().code == "host_unusable"


def test_a_vm_reserved_elsewhere_is_refused_unless_both_are_wanted(site: Site) -> None:
    first = site.run(owner="playbook one").result
    refusal = site.fails(host="host-b", owner="playbook two")
    assert refusal.code == "vm_reserved_elsewhere"
    (named,) = refusal.details["reservations"]
    assert (named["reservation_id"], named["owner"]) == (first["reservation_id"], "playbook one")
    assert site.run(host="host-b", allow_second_host=True).result["action"] == "created"


def test_an_expired_claim_found_on_the_way_loses_its_hold_too(site: Site) -> None:
    lapsed = site.run(ttl_minutes=1.0).result["reservation_id"]
    site.pass_time(120)
    outcome = site.run(vm="db01")
    assert outcome.result["expired"] == [lapsed]
    assert site.holds().keys() == {outcome.result["reservation_id"]}


# ---- absent


def test_giving_back_removes_hold_and_claim_and_nothing_to_give_back_is_fine(site: Site) -> None:
    held = site.run().result["reservation_id"]
    outcome = site.run(state="absent", vm="web01")
    assert outcome.changed
    assert [each["reservation_id"] for each in outcome.result["released"]] == [held]
    assert (outcome.diff or {})["after"][held]["state"] == "released"
    assert (site.active(), site.holds()) == ([], {})
    for again in ({"vm": "web01"}, {"reservation_id": held}, {"reservation_id": "r-never"}, {"vm": "nobody"}):
        assert not site.run(state="absent", **again).changed


def test_only_what_is_held_on_the_named_host_is_given_back(site: Site) -> None:
    site.run()
    site.run(host="host-b", allow_second_host=True)
    site.run(state="absent", vm="web01", host="host-b")
    assert [each["host"] for each in site.active()] == [HOST]


# ---- reconciled


def test_reconciling_what_is_in_order_changes_nothing(site: Site) -> None:
    site.run()
    outcome = site.run(state="reconciled")
    assert not outcome.changed
    assert not any(outcome.result.values())


def test_expired_claims_and_their_holds_are_removed_and_named(site: Site) -> None:
    lapsed = site.run(ttl_minutes=1.0).result["reservation_id"]
    site.pass_time(120)
    foreseen = site.run(check_mode=True, state="reconciled")
    assert site.holds().keys() == {lapsed}
    outcome = site.run(state="reconciled")
    assert foreseen.result == outcome.result
    assert foreseen.diff == outcome.diff
    assert [each["reservation_id"] for each in outcome.result["expired"]] == [lapsed]
    assert [each["reservation_id"] for each in outcome.result["removed_holds"]] == [lapsed]
    assert site.holds() == {}
    assert not site.run(state="reconciled").changed


def test_what_ended_long_ago_is_forgotten_after_the_days_asked_for(site: Site) -> None:
    held = site.run().result["reservation_id"]
    site.run(state="absent", reservation_id=held)
    site.pass_time(40 * 86400.0)
    assert not site.run(state="reconciled").changed
    foreseen = site.run(check_mode=True, state="reconciled", retention_days=30)
    outcome = site.run(state="reconciled", retention_days=30)
    assert (
        (foreseen.changed, foreseen.result["forgotten"]) == (outcome.changed, outcome.result["forgotten"]) == (True, 1)
    )
    assert site.info()["reservations"] == []
    assert not site.run(state="reconciled", retention_days=30).changed
    for days in (0.5, -1.0, float("nan")):
        assert site.fails(state="reconciled", retention_days=days).code == "invalid_option"


def test_a_ledger_that_may_not_be_deleted_from_keeps_what_ended_and_says_so(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.run(state="absent", reservation_id=site.run().result["reservation_id"])
    site.pass_time(100 * 86400.0)

    def refuse(connection: object, before_ts: float) -> int:
        raise LedgerDenied("permission denied for table ledger_transitions")

    monkeypatch.setattr(ledger_module, "_forget_some", refuse)
    outcome = site.run(state="reconciled")
    assert (outcome.changed, outcome.result["forgotten"]) == (False, 0)
    assert any("1 reservations that ended more than 90 days ago are kept" in each for each in outcome.warnings)


def test_holds_of_another_ledger_are_reported_and_left_alone(site: Site) -> None:
    site.run()
    foreign = Hold("r-deadbeef-0123456789abcdef", "host-b", site.estate.vm_uuid("db01"), Resources(1.0), "hard")
    site.estate.driver().place_hold(foreign)
    outcome = site.run(state="reconciled")
    assert not outcome.changed
    assert [each["reservation_id"] for each in outcome.result["foreign_holds"]] == [foreign.reservation_id]
    assert foreign.reservation_id in site.holds()
    assert site.run(state="absent", reservation_id=foreign.reservation_id).changed
    assert foreign.reservation_id not in site.holds()


def test_a_hold_of_this_ledger_that_it_does_not_know_is_removed(site: Site) -> None:
    ours = site.run().result["reservation_id"]
    lost = ours[:-1] + ("0" if ours[-1] != "0" else "1")
    site.estate.driver().place_hold(Hold(lost, "host-b", site.estate.vm_uuid("db01"), Resources(1.0), "hard"))
    outcome = site.run(state="reconciled")
    assert [each["reservation_id"] for each in outcome.result["removed_holds"]] == [lost]
    assert site.holds().keys() == {ours}


def test_a_hold_that_vanished_or_holds_another_amount_is_placed_again(site: Site) -> None:
    held = site.run(amount={"cpu_cores": 3}).result["reservation_id"]
    site.estate.driver().release_hold(held, {})
    assert [each["reservation_id"] for each in site.run(state="reconciled").result["placed_again"]] == [held]
    site.estate.driver().place_hold(Hold(held, "host-c", site.estate.vm_uuid("web01"), Resources(1.0), "hard"))
    assert site.run(state="reconciled").changed
    assert site.holds()[held].amount.cpu_cores == 3.0
    assert not site.run(state="reconciled").changed


def test_a_host_that_shrank_below_what_is_reserved_is_reported(site: Site) -> None:
    site.run(amount={"cpu_cores": 3})
    snapshots = Workspace.open(site.store).snapshots
    seen = snapshots.latest()
    smaller = replace(seen.hosts[HOST], capacity=Resources(2.0, 32768.0, 10000.0, 500.0))
    snapshots.write(replace(seen, taken_ts=seen.taken_ts + 60, hosts={**seen.hosts, HOST: smaller}))
    outcome = site.run(state="reconciled")
    (entry,) = outcome.result["overcommitted"]
    assert entry["host"] == HOST
    (excess,) = entry["resources"]
    assert (excess["resource"], excess["excess"]) == ("cpu", pytest.approx(3 - 1.8))
    assert any(HOST in warning for warning in outcome.warnings)


def test_an_endpoint_that_does_not_answer_is_reported_and_its_holds_are_left_alone(site: Site) -> None:
    held = site.run().result["reservation_id"]
    driver = site.estate.driver()
    fault = driver.inject({"kind": "endpoint_unreachable", "calls": ["list_holds"]})
    outcome = site.run(state="reconciled")
    assert not outcome.changed
    assert outcome.result["unreachable"]["sim"]["code"] == "endpoint_unreachable"
    driver.clear_fault(fault)
    assert site.holds().keys() == {held}


def test_a_reservation_consumed_without_settling_its_hold_is_cleared(site: Site) -> None:
    held = site.run().result["reservation_id"]
    with site.ledger() as ledger:
        ledger.consume(held, site.estate.driver().clock.now())
    outcome = site.run(state="reconciled")  # the VM never came: the hold has nothing to guarantee
    assert [each["reservation_id"] for each in outcome.result["removed_holds"]] == [held]


def test_a_clock_set_back_is_found_and_accepted(site: Site) -> None:
    held = site.run(ttl_minutes=6000).result["reservation_id"]
    with site.ledger() as ledger:
        ledger.renew(held, 9e6, site.estate.driver().clock.now() + 36000)
    assert site.fails(vm="db01").code == "clock_went_back"
    assert site.run(state="reconciled").result["clocks_corrected"] == [HOST]
    assert site.run(vm="db01").result["action"] == "created"


class Killed(BaseException):
    """Stands for kill -9: nothing after it runs."""


def _dies(*_arguments: object) -> None:
    raise Killed


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


# ---- info


def test_info_narrows_by_host_vm_state_and_window_and_shows_calendar_and_audit(site: Site) -> None:
    held = site.run().result
    site.run(vm="db01", host="host-b")
    assert site.info()["count"] == 2
    assert [each["vm_name"] for each in site.info(hosts=["host-c"])["reservations"]] == ["web01"]
    assert [each["host"] for each in site.info(vms=["db01"])["reservations"]] == ["sim/host-b"]
    assert site.info(states=["consumed"])["count"] == 0
    assert site.info(window_start="2027-01-01T00:00:00Z")["count"] == 0
    detailed = site.info(reservation_ids=[held["reservation_id"]], audit=True, calendar=True)
    assert [line["action"] for line in detailed["reservations"][0]["audit"]] == ["created", "enforced"]
    assert detailed["calendars"][HOST][0]["hard"]["cpu_cores"] == 1.0


def test_info_of_a_ledger_that_is_not_there_is_empty_and_creates_nothing(site: Site) -> None:
    assert site.info()["reservations"] == []
    assert not (Path(site.store) / "ledger.db").exists()


@pytest.mark.parametrize(
    ("code", "options"),
    [("host_unknown", {"hosts": ["host-z"]}), ("invalid_option", {"states": ["held"]})],
)
def test_info_refuses_what_it_does_not_know(site: Site, code: str, options: dict[str, Any]) -> None:
    with pytest.raises(ForesightError) as refusal:
        site.info(**options)
    assert refusal.value.code == code

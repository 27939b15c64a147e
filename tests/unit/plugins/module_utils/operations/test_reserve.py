# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reserving, giving back and asking as tasks do it: from a store, in a ledger, with an estate that enforces it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import EndpointStatus
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold, MoveOrder, Tuning
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import CollectRequest, collect
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context, Outcome
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast import (
    ForecastVmsRequest,
    forecast_vms,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve import reserve
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_request import ReserveRequest
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.operations.reserve_site import HOST, Site
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate
from ansible_collections.foresight.migration.tests.unit.stores import take_stock

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


def test_a_vm_that_came_after_its_host_was_last_seen_counts_though_others_were_seen_since(site: Site) -> None:
    held = site.run(amount={"cpu_cores": 5}).result["reservation_id"]
    snapshots, clock = Workspace.open(site.store).snapshots, site.estate.driver().clock
    seen = snapshots.latest()
    site.pass_time(60)
    with site.ledger() as ledger:
        ledger.consume(held, clock.now())
    site.pass_time(60)
    kept = EndpointStatus("sim", "simulated", True, taken_ts=seen.taken_ts)
    snapshots.write(replace(seen, taken_ts=clock.now(), endpoints=(kept,)))
    assert site.fails(vm="db01", amount={"cpu_cores": 4}).code == "capacity_short"
    site.estate.driver().release_hold(held, {})
    snapshots.write(replace(seen, taken_ts=clock.now() + 1, endpoints=(replace(kept, taken_ts=clock.now()),)))
    assert site.run(vm="db01", amount={"cpu_cores": 4}).result["action"] == "created"


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


def test_check_mode_tells_that_the_hypervisor_would_refuse(site: Site) -> None:
    site.run(amount={"cpu_cores": 1})
    fault = site.estate.driver().inject({"kind": "hold_refused", "host": "host-c"})
    assert site.fails(check_mode=True, vm="db01").code == site.fails(vm="db01").code == "hold_refused"
    assert site.fails(check_mode=True, amount={"cpu_cores": 2}).code == "hold_refused"
    soft = site.run(check_mode=True, vm="db01", tier="soft")
    assert soft.result["enforced_by"] == site.run(vm="db01", tier="soft").result["enforced_by"]
    assert any("holds nothing" in warning for warning in soft.warnings)
    site.estate.driver().clear_fault(fault)
    assert site.run(check_mode=True, amount={"cpu_cores": 2}).result["action"] == "updated"


def test_another_length_of_the_window_is_a_change(site: Site) -> None:
    first = site.run(window_hours=6).result["reservation"]
    site.pass_time(600)
    assert not site.run(window_hours=6).changed
    longer = site.run(window_hours=8)
    assert (longer.changed, longer.result["action"]) == (True, "updated")
    assert longer.result["reservation"]["window_end"] > first["window_end"]
    assert site.run(window_hours=4).result["action"] == "updated"


def test_a_user_without_a_name_can_reserve(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def nameless() -> str:
        raise KeyError("getpwuid(): uid not found: 1000710000")

    monkeypatch.setattr("getpass.getuser", nameless)
    assert site.run(owner=None).result["reservation"]["owner"].startswith("uid ")


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
        ("invalid_option", {"window_hours": float("nan")}),
        ("invalid_option", {"window_hours": 1e300}),
        ("invalid_option", {"soft_overcommit": float("nan"), "tier": "soft"}),
        ("invalid_option", {"soft_overcommit": 0.0, "tier": "soft"}),
        ("invalid_option", {"ttl_minutes": 1e300}),
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


def test_sweeping_an_expired_claim_away_counts_as_a_change_also_where_nothing_else_does(site: Site) -> None:
    kept = site.run(vm="db01").result["reservation_id"]
    lapsed = site.run(ttl_minutes=1.0).result["reservation_id"]
    site.pass_time(120)
    foreseen, done = site.run(vm="db01", check_mode=True), site.run(vm="db01")
    assert site.holds().keys() == {kept}
    for outcome in (foreseen, done):
        assert (outcome.changed, outcome.result["action"]) == (True, "unchanged")
        assert (outcome.diff or {})["before"]["expired"] == {lapsed: "lapsed"}
        assert (outcome.diff or {})["after"]["expired"] == {lapsed: "expired"}
    assert not site.run(vm="db01").changed


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


def test_what_a_vm_is_on_its_way_into_is_neither_changed_nor_given_back(site: Site) -> None:
    held = site.run().result["reservation_id"]
    driver, uuid = site.estate.driver(), site.estate.vm_uuid("web01")
    job = driver.start_migration(MoveOrder(uuid, "host-c", held, tuning=Tuning(bandwidth_mib_s=1)), driver)
    for options in ({"vm": "web01"}, {"reservation_id": held}, {"vm": "web01", "check_mode": True}):
        assert site.fails(state="absent", **options).code == "reservation_in_use"
    assert site.fails(amount={"cpu_cores": 2}).code == "reservation_in_use"
    assert not site.run().changed
    assert (len(site.active()), site.holds().keys()) == (1, {held})
    driver.abort(job)
    assert site.run(state="absent", vm="web01").changed
    assert site.holds() == {}


def test_the_endpoint_of_a_vm_tells_namesakes_apart_wherever_they_are_reserved(
    simulated_estate: SimulatedEstate, tmp_path: Path
) -> None:
    for host, endpoint in zip(simulated_estate.scenario["hosts"], ("one", "two", "three"), strict=True):
        host["endpoint"] = endpoint
    simulated_estate.scenario["vms"][2]["name"] = "web01"  # on two, beside the one on one
    endpoints = [simulated_estate.endpoint(name) for name in ("one", "two", "three")]
    store = str(tmp_path / "store")
    collect(CollectRequest(endpoints, store, history_hours=2), Context())
    forecast_vms(ForecastVmsRequest(store, horizon_hours=1, on_no_history="allocated"), Context())

    def run(**options: Any) -> Outcome:
        return reserve(ReserveRequest(endpoints, store, **options), Context())

    kept = run(vm="web01", vm_endpoint="two", host="host-c").result["reservation_id"]
    held = run(vm="web01", vm_endpoint="one", host="host-c").result["reservation_id"]
    given_back = run(state="absent", vm="web01", vm_endpoint="one").result["released"]
    assert [each["reservation_id"] for each in given_back] == [held]
    assert not run(state="absent", vm="web01", vm_endpoint="one").changed
    assert run(vm="web01", vm_endpoint="two", host="host-c").result["reservation_id"] == kept


def test_only_what_is_held_on_the_named_host_is_given_back(site: Site) -> None:
    site.run()
    site.run(host="host-b", allow_second_host=True)
    site.run(state="absent", vm="web01", host="host-b")
    assert [each["host"] for each in site.active()] == [HOST]


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
    [
        ("host_unknown", {"hosts": ["host-z"]}),
        ("invalid_option", {"states": ["held"]}),
        ("invalid_option", {"window_hours": float("nan"), "hosts": ["host-c"], "calendar": True}),
        ("invalid_option", {"window_hours": 1e9, "hosts": ["host-c"], "calendar": True}),
    ],
)
def test_info_refuses_what_it_does_not_know(site: Site, code: str, options: dict[str, Any]) -> None:
    with pytest.raises(ForesightError) as refusal:
        site.info(**options)
    assert refusal.value.code == code

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Selecting as a task does it: from a store, with a simulated estate behind it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.estate.reservation import Reservation
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.operations import select as select_module
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.select import (
    SelectRequest,
    select_destination,
)
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate
from ansible_collections.foresight.migration.tests.unit.stores import constant_forecast, take_stock


class Site:
    """A store with a snapshot and a forecast of a simulated estate, and the options to select on it."""

    def __init__(self, estate: SimulatedEstate, folder: Path) -> None:
        self.estate = estate
        self.store = str(folder / "store")
        self.demand: dict[str, Resources] = {}
        self.lines: list[str] = []

    def prepare(self) -> None:
        """Take a snapshot and forecast that nothing changes, but for what ``demand`` says (by VM name)."""
        take_stock(self.estate, self.store, self.demand)

    def select(self, vm: str = "web01", **options: Any) -> Mapping[str, Any]:
        """Run the operation and return its result, which must be JSON-able and small."""
        request = SelectRequest(
            **{"endpoints": [self.estate.endpoint()], "store": self.store, "vm": vm, "min_gain": -100.0, **options}
        )
        outcome = select_destination(request, Context(report=lambda line, _data: self.lines.append(line)))
        assert not outcome.changed
        assert len(json.dumps(outcome.result)) < 100_000
        return {**outcome.result, "warnings": outcome.warnings}


@pytest.fixture
def site(simulated_estate: SimulatedEstate, tmp_path: Path) -> Site:
    return Site(simulated_estate, tmp_path)


def failure(site: Site, **options: Any) -> ForesightError:
    """Return the error that selecting raises."""
    with pytest.raises(ForesightError) as caught:
        site.select(**options)
    return caught.value


def test_the_empty_host_is_chosen_over_the_busy_one_and_the_result_says_what_the_move_costs(site: Site) -> None:
    site.prepare()
    result = site.select(explain=True)
    assert (result["decision"], result["destination"]) == ("move", "sim/host-c")
    assert result["ranking"][0]["components"].keys() == {"risk", "impact", "migration", "sla", "balance"}
    assert result["migration_cost"]["duration_s"] > 0
    assert result["explanation"] == site.lines
    assert any("host-c" in line for line in site.lines)


def test_staying_is_the_answer_when_no_move_gains_enough(site: Site) -> None:
    site.prepare()
    result = site.select(min_gain=50.0)
    assert (result["decision"], result["destination"]) == ("stay", None)
    assert result["reasons"][0]["code"] == "gain_too_small"


def test_a_host_that_will_be_overloaded_tonight_is_left_for_one_that_will_not(site: Site) -> None:
    site.demand = {"db01": Resources(7.5, 6144, 100, 5), "batch01": Resources(0.5, 1024, 10, 1)}
    site.prepare()
    result = site.select("batch01", hosts=["host-a"])
    assert result["destination"] == "sim/host-c"
    (asked,) = result["asked"]
    assert asked["status"] == "rejected"
    assert asked["reasons"][0]["code"] == "no_capacity"


def test_what_the_hypervisor_refuses_is_rejected_in_its_words_and_the_next_best_taken(site: Site) -> None:
    site.prepare()
    site.estate.driver()
    real = select_module._preflight

    def refuse_host_c(question: Any, host: Any, fleet: Any) -> Any:
        if host.host_id == "host-c":
            return select_module.Reason("preflight", "the hypervisor refuses: no hugepages"), []
        return real(question, host, fleet)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select_module, "_preflight", refuse_host_c)
        result = site.select(hosts=["host-c"])
    assert result["destination"] == "sim/host-b"
    assert "no hugepages" in result["asked"][0]["why"]


def test_a_host_on_which_the_ledger_would_not_hold_the_need_is_passed_over_unless_nothing_is_to_be_held(
    site: Site,
) -> None:
    site.prepare()
    forecasts = Workspace.open(site.store).forecasts
    usual = forecasts.read(forecasts.latest() or "")
    (web01,) = [vm.uuid for vm in site.estate.driver().inventory().vms if vm.name == "web01"]
    peaks = usual.peak_quantiles.copy()
    peaks[usual.keys.index(SeriesKey("vm", web01, "network"))] = 1e6
    forecasts.write("fc-peak", replace(usual, peak_quantiles=peaks))
    error = failure(site, forecast_id="fc-peak")
    assert error.code == "no_host_fits"
    assert "reservation" in json.dumps(error.details)
    assert "network" in json.dumps(error.details)
    assert site.select(forecast_id="fc-peak", tier="none")["destination"] == "sim/host-c"


def test_hosts_of_an_endpoint_that_was_not_given_are_no_candidates(site: Site) -> None:
    site.estate.scenario["hosts"][2]["endpoint"] = "elsewhere"
    site.prepare()
    snapshots = Workspace.open(site.store).snapshots
    whole = snapshots.latest()
    stranger = replace(whole.hosts["sim/host-b"], endpoint="elsewhere", host_id="host-c", name="host-c")
    snapshots.write(replace(whole, taken_ts=whole.taken_ts + 1, hosts={**whole.hosts, stranger.key: stranger}))
    result = site.select(hosts=["host-c"])
    assert result["destination"] == "sim/host-b"
    assert "not among the given endpoints" in result["asked"][0]["why"]


def test_when_the_hypervisor_refuses_host_after_host_its_words_are_the_error(site: Site) -> None:
    hosts = site.estate.scenario["hosts"]
    hosts.append({**hosts[0], "name": "spare{n}", "count": 12})
    site.prepare()
    with pytest.MonkeyPatch.context() as patch:
        refusal = select_module.Reason("preflight", "the hypervisor refuses: a snapshot is being made")
        patch.setattr(select_module, "_preflight", lambda question, host, fleet: (refusal, []))
        error = failure(site)
    assert error.code == "no_host_fits"
    assert "a snapshot is being made" in error.message
    assert len(error.details["refusals"]) == select_module.MOST_REFUSALS


def test_reserved_capacity_is_not_given_away_twice(site: Site) -> None:
    from ansible_collections.foresight.migration.plugins.module_utils.operations import select

    site.prepare()
    now_ts = site.estate.driver().clock.now()
    held = Reservation(
        "r1", "sim/host-c", "another", Resources(7.0, 1024), "hard", now_ts, now_ts + 86400, now_ts + 7200, "me"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(select, "_reservations", lambda request, estate, at: (held,))
        result = site.select()
    assert result["destination"] == "sim/host-b"


def test_when_nothing_fits_the_error_names_every_reason(site: Site) -> None:
    site.prepare()
    error = failure(site, filter="name == 'nowhere'")
    assert error.code == "no_host_fits"
    assert error.details["reasons"] == {"filtered_by_user": 2}
    assert set(error.details["hosts"]) == {"sim/host-b", "sim/host-c"}


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"vm": "nobody"}, "vm_unknown"),
        ({"hosts": ["nowhere"]}, "host_unknown"),
        ({"policy": "best"}, "invalid_option"),
        ({"weights": {"luck": 1}}, "invalid_option"),
        ({"weights": {"risk": "much"}}, "invalid_option"),
        ({"limits": {"cpu": 1.2}}, "invalid_option"),
        ({"limits": {"gpu": 0.5}}, "invalid_option"),
        ({"cooldown_minutes": -1}, "invalid_option"),
        ({"cooldown_minutes": float("nan")}, "invalid_option"),
        ({"min_gain": float("nan")}, "invalid_option"),
        ({"window_hours": 0}, "invalid_option"),
        ({"endpoints": []}, "invalid_option"),
        ({"filter": "name =="}, "invalid_option"),
        ({"snapshot_id": "20200101T000000000Z-000000000000"}, "artefact_missing"),
        ({"forecast_id": "none"}, "artefact_missing"),
        ({"sla": {"max_downtime_ms": -5}}, "invalid_option"),
    ],
)
def test_what_cannot_be_used_is_refused_with_a_stable_code(site: Site, options: dict[str, Any], code: str) -> None:
    site.prepare()
    assert failure(site, **options).code == code


def test_a_vm_that_the_forecast_left_out_is_refused_with_the_forecasts_own_reason(site: Site) -> None:
    site.prepare()
    forecasts = Workspace.open(site.store).forecasts
    whole = forecasts.read("latest")
    uuid = site.estate.vm_uuid("web01")
    kept = {key.entity_id: Resources(1.0, 1000.0) for key in whole.keys if key.entity_id != uuid}
    reason = {SeriesKey("vm", uuid, "cpu"): "no history: nothing was measured"}
    forecasts.write("partial", replace(constant_forecast(kept, whole.origin_ts), abstained=reason))
    error = failure(site, forecast_id="partial")
    assert error.code == "vm_not_forecast"
    assert "nothing was measured" in error.message
    assert site.select("db01", forecast_id="partial")["decision"] == "move"


def test_a_vm_just_moved_stays_as_the_record_of_migrations_tells(site: Site) -> None:
    site.prepare()
    now_ts = site.estate.driver().clock.now()
    record = {"vm_uuid": site.estate.vm_uuid("web01"), "outcome": "moved", "ended_ts": now_ts - 300.0}
    Workspace.open(site.store).migrations.append(record)
    assert site.select()["reasons"][0]["code"] == "cooldown"
    assert site.select(cooldown_minutes=5)["decision"] == "move"


def test_a_move_that_failed_lately_keeps_nobody_from_moving(site: Site) -> None:
    site.prepare()
    now_ts = site.estate.driver().clock.now()
    record = {"vm_uuid": site.estate.vm_uuid("web01"), "outcome": "migration_failed", "ended_ts": now_ts - 300.0}
    Workspace.open(site.store).migrations.append(record)
    assert site.select()["decision"] == "move"


def test_records_of_long_ago_are_not_read(site: Site) -> None:
    site.prepare()
    now_ts, workspace = site.estate.driver().clock.now(), Workspace.open(site.store)
    for days in (9, 3, 0):
        record = {"vm_uuid": site.estate.vm_uuid("db01"), "outcome": "moved", "ended_ts": now_ts - days * 86_400.0}
        workspace.migrations.append(record)
    min((Path(site.store) / "migrations").iterdir()).write_text("{", encoding="utf-8")
    assert site.select()["decision"] == "move"


def test_a_hostile_name_passes_through_unharmed(site: Site) -> None:
    name = "{{ lookup('pipe','id') }}\n'\"$(id)../../" + "ü" * 200
    site.estate.scenario["vms"][0]["name"] = name
    site.prepare()
    result = site.select(name, explain=True)
    assert result["vm"]["name"] == name
    assert all("\n" not in line for line in site.lines)


def test_the_result_for_a_thousand_hosts_stays_small(site: Site) -> None:
    hosts = site.estate.scenario["hosts"]
    hosts.append({**hosts[0], "name": "spare{n}", "count": 600})
    hosts.append({**hosts[0], "name": "broken{n}", "count": 400, "state": "maintenance"})
    site.prepare()
    result = site.select()
    assert result["counts"]["rejected"] == 400
    assert result["rejected_by_reason"] == {"host_not_up": 400}
    assert (len(result["ranking"]), len(result["rejected"])) == (10, 25)


def test_hosts_own_load_is_taken_from_the_forecast_and_the_result_says_so(site: Site) -> None:
    site.estate.scenario["hosts"][1]["own_load"] = {"cpu_cores": 1.0}
    site.demand = {"sim/host-b": Resources(0.5, 64.0), "sim/host-c": Resources(6.9, 64.0)}
    site.prepare()
    result = site.select(explain=True)
    assert result["destination"] == "sim/host-b"
    loads = {each["name"]: each["load"] for each in result["ranking"]}
    assert loads["host-b"]["own_load"]["cpu_cores"] == pytest.approx(0.5, abs=0.01)
    assert loads["host-c"]["own_load"]["cpu_cores"] == pytest.approx(6.9, rel=0.01)
    assert set(loads["host-c"]["own_load_from"].values()) == {"forecast"}
    assert not [line for line in (*site.lines, *result["warnings"]) if "own load" in line]


def test_an_own_load_without_a_forecast_counts_as_it_is_now_and_everybody_is_told_why(site: Site) -> None:
    for host in site.estate.scenario["hosts"]:
        host["own_load"] = {"cpu_cores": 1.0 if host["name"] != "host-c" else 6.9}
    site.prepare()
    result = site.select(explain=True)
    assert result["destination"] == "sim/host-b"
    assert {each["load"]["own_load_from"]["cpu"] for each in result["ranking"]} == {"present"}
    assert [line for line in result["warnings"] if "3 of 3 hosts judged" in line and "cpu 1 cores as now" in line]
    assert "own load of host-c: cpu 6.9 cores as now (the forecast does not hold it)" in site.lines


def test_a_forecast_that_has_run_out_is_refused(site: Site) -> None:
    site.prepare()
    site.estate.driver().clock.sleep(2 * 86400.0)
    assert failure(site).code == "forecast_stale"

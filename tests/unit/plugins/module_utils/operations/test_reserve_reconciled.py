# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reconciling: what has lapsed, vanished, shrunk or been left behind is found, put right and told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold, MoveOrder, Tuning
from ansible_collections.foresight.migration.plugins.module_utils.operations import reconcile as reconcile_module
from ansible_collections.foresight.migration.plugins.module_utils.reservations import ledger as ledger_module
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import LedgerDenied
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.operations.reserve_site import HOST, Site


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


def test_a_hold_that_gives_way_to_its_arriving_vm_is_not_placed_again(site: Site) -> None:
    held = site.run().result["reservation_id"]
    driver, uuid = site.estate.driver(), site.estate.vm_uuid("web01")
    job = driver.start_migration(MoveOrder(uuid, "host-c", held, tuning=Tuning(bandwidth_mib_s=1)), driver)
    driver.release_hold(held, {})  # as a platform does whose holds are memory in use
    assert not site.run(state="reconciled").changed
    driver.place_hold(Hold(held, "host-c", uuid, Resources(0.5), "hard"))
    assert not site.run(state="reconciled").changed
    fault = driver.inject({"kind": "endpoint_unreachable", "calls": ["find_migration"]})
    blind = site.run(state="reconciled")
    assert [(each["reservation_id"], each["wanted"]) for each in blind.result["unrepaired"]] == [(held, "placed_again")]
    assert any("1 repairs could not be made" in warning for warning in blind.warnings)
    driver.clear_fault(fault)
    driver.abort(job)
    assert [each["reservation_id"] for each in site.run(state="reconciled").result["placed_again"]] == [held]


def test_many_findings_are_dealt_with_and_the_first_are_shown(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reconcile_module, "MOST_LISTED", 2)
    for name, host in (("web01", "host-c"), ("db01", "host-c"), ("batch01", "host-c")):
        site.run(vm=name, host=host, ttl_minutes=1.0, amount={"cpu_cores": 1})
    site.pass_time(120)
    outcome = site.run(state="reconciled")
    assert len(outcome.result["expired"]) == len(outcome.result["removed_holds"]) == 2
    assert any("3 entries belong under 'expired'" in warning for warning in outcome.warnings)
    assert (site.holds(), site.active()) == ({}, [])


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

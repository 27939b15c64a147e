# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Claims, leases, conflicts and refusals of one ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.reservations import ledger as ledger_module
from ansible_collections.foresight.migration.plugins.module_utils.reservations import rows
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger, open_ledger
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger_errors import (
    ClaimRefused,
    ClockWentBack,
    GenerationConflict,
    ReservationNotActive,
    ReservationUnknown,
    VmReservedElsewhere,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.reservations.claims_for_tests import (
    HOUR,
    NOW,
    OTHER_VM,
    VM,
    check_forgetting,
    claim,
    room,
)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", actor="alice") as opened:
        yield opened


@pytest.mark.parametrize(
    ("option", "changes"),
    [
        ("amount.cpu_cores", {"amount": Resources(-1.0)}),
        ("amount.memory_mib", {"amount": Resources(1.0, -1.0)}),
        ("amount.cpu_cores", {"amount": Resources(float("nan"))}),
        ("amount", {"amount": Resources()}),
        ("tier", {"tier": "firm"}),
        ("window_hours", {"end_ts": NOW}),
        ("window_hours", {"start_ts": NOW + 9 * HOUR}),
        ("window_start", {"start_ts": NOW - 2 * HOUR, "end_ts": NOW - HOUR}),
        ("window_hours", {"end_ts": NOW + 24 * 32 * HOUR}),
        ("ttl_minutes", {"ttl_s": 0.0}),
        ("ttl_minutes", {"ttl_s": -5.0}),
        ("ttl_minutes", {"ttl_s": float("nan")}),
        ("ttl_minutes", {"ttl_s": float("inf")}),
        ("owner", {"owner": ""}),
        ("purpose", {"purpose": ""}),
    ],
)
@pytest.mark.parametrize("dry_run", [False, True])
def test_what_no_ledger_could_grant_is_refused_by_the_options_name(
    ledger: Ledger, option: str, changes: dict[str, Any], dry_run: bool
) -> None:
    with pytest.raises(InvalidOption) as refusal:
        ledger.claim(claim(**changes), room(), NOW, dry_run=dry_run)
    assert refusal.value.details["option"] == option
    assert ledger.find() == ()


def test_a_claim_gets_exactly_what_is_left_and_no_more(ledger: Ledger) -> None:
    ledger.claim(claim(5.0), room(), NOW)
    with pytest.raises(ClaimRefused) as refusal:
        ledger.claim(claim(7.001, vm_uuid=OTHER_VM), room(), NOW)
    (lack,) = refusal.value.details["shortfall"]
    assert (lack["resource"], lack["wanted"], lack["available"]) == ("cpu", 7.001, 7.0)
    assert lack["missing"] == pytest.approx(0.001)
    assert ledger.claim(claim(7.0, vm_uuid=OTHER_VM), room(), NOW).action == "created"


def test_the_shortfall_names_each_resource_and_its_worst_step(ledger: Ledger) -> None:
    load = np.repeat(np.array([[4.0], [16384.0], [1000.0], [100.0]]), 24, axis=1)
    load[0, 2] = 15.0
    load[1, 3] = 65000.0
    with pytest.raises(ClaimRefused) as refusal:
        ledger.claim(claim(amount=Resources(2.0, 1024.0)), room(load=load), NOW)
    lacks = {lack["resource"]: lack for lack in refusal.value.details["shortfall"]}
    assert lacks.keys() == {"cpu", "memory"}
    assert lacks["cpu"]["worst_step"] == "2027-01-15T10:00:00Z"
    assert (lacks["cpu"]["steps_short"], lacks["cpu"]["missing"]) == (1, 1.0)
    assert lacks["memory"]["missing"] == pytest.approx(488.0)


def test_windows_that_do_not_meet_share_the_same_capacity(ledger: Ledger) -> None:
    ledger.claim(claim(12.0), room(), NOW)
    later = claim(12.0, vm_uuid=OTHER_VM, start_ts=NOW + 4 * HOUR, end_ts=NOW + 8 * HOUR)
    assert ledger.claim(later, room(), NOW).action == "created"
    with pytest.raises(ClaimRefused):
        ledger.claim(claim(1.0, vm_uuid="third", start_ts=NOW + 3 * HOUR, end_ts=NOW + 5 * HOUR), room(), NOW)


def test_beyond_the_forecast_the_highest_load_counts(ledger: Ledger) -> None:
    load = np.repeat(np.array([[4.0], [0.0], [0.0], [0.0]]), 24, axis=1)
    load[0, 7] = 10.0
    beyond = {"start_ts": NOW + 30 * HOUR, "end_ts": NOW + 31 * HOUR}
    with pytest.raises(ClaimRefused):
        ledger.claim(claim(6.5, **beyond), room(load=load), NOW)
    assert ledger.claim(claim(6.0, **beyond), room(load=load), NOW).action == "created"


def test_a_resource_of_which_nothing_is_asked_refuses_nothing_however_full_it_is(ledger: Ledger) -> None:
    load = np.repeat(np.array([[4.0], [99999.0], [0.0], [0.0]]), 24, axis=1)
    assert ledger.claim(claim(1.0), room(load=load), NOW).action == "created"


def test_a_resource_of_unknown_capacity_is_granted_and_named_as_unchecked(ledger: Ledger) -> None:
    result = ledger.claim(claim(amount=Resources(1, 1, 1, 50)), room(capacity=Resources(16, 65536, 10000, 0)), NOW)
    assert result.verdict.unchecked == ("disk",)
    assert result.after.rows()[0]["free"]["disk_mib_s"] is None


def test_soft_claims_pass_the_limit_up_to_the_ratio_and_say_how_likely_they_hold(ledger: Ledger) -> None:
    paths = np.repeat(np.array([4.0, 8.0, 8.0, 12.0])[:, None, None], 4, axis=1).repeat(24, axis=2)
    wide = room(soft_overcommit=1.5, paths=paths)
    result = ledger.claim(claim(8.0, tier="soft"), wide, NOW)
    assert result.verdict.likelihood == 0.75
    assert ledger.claim(claim(12.0, tier="soft", vm_uuid=OTHER_VM), wide, NOW).verdict.likelihood == 0.0
    with pytest.raises(ClaimRefused):
        ledger.claim(claim(0.5, tier="soft", vm_uuid="third"), wide, NOW)


def test_soft_reservations_yield_to_a_hard_one_that_names_them(ledger: Ledger) -> None:
    soft = ledger.claim(claim(8.0, tier="soft"), room(), NOW).reservation
    result = ledger.claim(claim(12.0, vm_uuid=OTHER_VM), room(), NOW)
    assert result.verdict.yielding == (soft.reservation_id,)


def test_the_same_request_is_the_same_reservation_and_its_lease_is_renewed_at_half_time(ledger: Ledger) -> None:
    first = ledger.claim(claim(ttl_s=HOUR), room(), NOW)
    again = ledger.claim(claim(ttl_s=HOUR), room(), NOW + 0.4 * HOUR)
    assert (again.action, again.changed, again.reservation) == ("unchanged", False, first.reservation)
    late = ledger.claim(claim(ttl_s=HOUR), room(), NOW + 0.6 * HOUR)
    assert (late.action, late.reservation.lease_expires_ts) == ("renewed", NOW + 1.6 * HOUR)
    assert late.reservation.reservation_id == first.reservation.reservation_id


def test_a_changed_amount_takes_or_gives_only_the_difference(ledger: Ledger) -> None:
    ledger.claim(claim(8.0), room(), NOW)
    grown = ledger.claim(claim(12.0), room(), NOW)
    assert (grown.action, grown.previous.amount.cpu_cores) == ("updated", 8.0)  # type: ignore[union-attr]
    with pytest.raises(ClaimRefused):
        ledger.claim(claim(12.5), room(), NOW)
    assert ledger.find()[0].amount.cpu_cores == 12.0
    ledger.claim(claim(3.0), room(), NOW)
    assert ledger.claim(claim(9.0, vm_uuid=OTHER_VM), room(), NOW).action == "created"


def test_giving_back_is_granted_even_where_the_host_has_shrunk_below_what_is_held(ledger: Ledger) -> None:
    ledger.claim(claim(8.0), room(), NOW)
    shrunk = room(capacity=Resources(6, 65536, 10000, 1000))
    assert ledger.claim(claim(7.0), shrunk, NOW).action == "updated"
    with pytest.raises(ClaimRefused):
        ledger.claim(claim(7.5), shrunk, NOW)


def test_before_and_after_show_the_hosts_allocation_plan(ledger: Ledger) -> None:
    ledger.claim(claim(5.0, vm_uuid=OTHER_VM), room(), NOW)
    result = ledger.claim(claim(3.0), room(), NOW)
    assert [row["hard"]["cpu_cores"] for row in result.before.rows()] == [5.0] * 4
    assert [row["free"]["cpu_cores"] for row in result.after.rows()] == [4.0] * 4
    assert [row["hard"]["cpu_cores"] for row in ledger.calendar("e/h1", room(), NOW).rows()] == [8.0] * 4 + [0.0] * 20


def test_a_vm_reserved_on_another_host_is_refused_naming_it_unless_both_are_asked_for(ledger: Ledger) -> None:
    held = ledger.claim(claim(owner="playbook one"), room(), NOW).reservation
    with pytest.raises(VmReservedElsewhere) as refusal:
        ledger.claim(claim(host_key="e/h2", owner="playbook two"), room(), NOW)
    (named,) = refusal.value.details["reservations"]
    assert (named["reservation_id"], named["host"], named["owner"]) == (held.reservation_id, "e/h1", "playbook one")
    both = ledger.claim(claim(host_key="e/h2", allow_second_host=True), room(), NOW)
    assert both.action == "created"
    assert len(ledger.find(vm_uuids=[VM], states=["active"])) == 2


def test_a_lapsed_lease_frees_the_room_and_nothing_brings_it_back_to_life(ledger: Ledger) -> None:
    held = ledger.claim(claim(12.0, ttl_s=60.0), room(), NOW).reservation
    taken = ledger.claim(claim(12.0, vm_uuid=OTHER_VM), room(), NOW + 61)
    assert [each.reservation_id for each in taken.expired] == [held.reservation_id]
    with pytest.raises(ReservationNotActive):
        ledger.renew(held.reservation_id, HOUR, NOW + 30)  # also when the clock is set back
    with pytest.raises(ClaimRefused):
        ledger.claim(claim(12.0), room(), NOW + 30)


def test_a_lapsed_lease_reads_as_expired_before_anybody_has_marked_it(ledger: Ledger) -> None:
    held = ledger.claim(claim(ttl_s=60.0), room(), NOW).reservation
    assert ledger.find(states=["active"], now_ts=NOW + 61) == ()
    assert [each.reservation_id for each in ledger.find(states=["expired"], now_ts=NOW + 61)] == [held.reservation_id]
    assert ledger.get(held.reservation_id).state == "active"
    assert [each.state for each in ledger.expire(NOW + 61)] == ["expired"]
    assert ledger.get(held.reservation_id).state == "expired"


def test_renewing_prolongs_and_never_shortens_a_lease(ledger: Ledger) -> None:
    held = ledger.claim(claim(ttl_s=2 * HOUR), room(), NOW).reservation
    assert ledger.renew(held.reservation_id, 60.0, NOW + 1).lease_expires_ts == NOW + 2 * HOUR
    assert ledger.renew(held.reservation_id, 3 * HOUR, NOW + 1).lease_expires_ts == NOW + 1 + 3 * HOUR
    with pytest.raises(InvalidOption):
        ledger.renew(held.reservation_id, 0.0, NOW)


def test_a_consumed_reservation_counts_until_a_snapshot_shows_the_vm(ledger: Ledger) -> None:
    held = ledger.claim(claim(12.0), room(), NOW).reservation
    assert ledger.consume(held.reservation_id, NOW + 60).state == "consumed"
    with pytest.raises(ClaimRefused):
        ledger.claim(claim(1.0, vm_uuid=OTHER_VM), room(taken_ts=NOW + 59), NOW + 120)
    later = ledger.claim(claim(1.0, vm_uuid=OTHER_VM), room(taken_ts=NOW + 61), NOW + 120)
    assert later.action == "created"


def test_ending_twice_changes_nothing_and_released_room_cannot_be_consumed(ledger: Ledger) -> None:
    held = ledger.claim(claim(), room(), NOW).reservation
    released = ledger.release(held.reservation_id, NOW, "changed my mind")
    assert ledger.release(held.reservation_id, NOW + 5) == released
    with pytest.raises(ReservationNotActive):
        ledger.consume(held.reservation_id, NOW)
    with pytest.raises(ReservationNotActive):
        ledger.record_enforcement(held.reservation_id, {}, {}, NOW)
    with pytest.raises(ReservationUnknown):
        ledger.release("r-unknown", NOW)


def test_a_clock_that_went_back_is_refused_until_reconcile_accepts_it(ledger: Ledger) -> None:
    held = ledger.claim(claim(), room(), NOW).reservation
    for call in (
        lambda: ledger.claim(claim(vm_uuid=OTHER_VM), room(), NOW - HOUR),
        lambda: ledger.claim(claim(vm_uuid=OTHER_VM), room(), NOW - HOUR, dry_run=True),
        lambda: ledger.renew(held.reservation_id, HOUR, NOW - HOUR),
    ):
        with pytest.raises(ClockWentBack) as refusal:
            call()
        assert refusal.value.details["host"] == "e/h1"
    assert ledger.claim(claim(1.0, vm_uuid=OTHER_VM), room(), NOW - 60).action == "created"  # clocks differ a little
    assert ledger.hosts_ahead(NOW - HOUR) == ("e/h1",)
    assert ledger.accept_clock(NOW - HOUR) == ("e/h1",)
    assert ledger.claim(claim(1.0, vm_uuid="third"), room(), NOW - HOUR).action == "created"


def test_enforcement_placed_for_an_outdated_amount_is_not_noted(ledger: Ledger) -> None:
    held = ledger.claim(claim(4.0), room(), NOW).reservation
    ledger.claim(claim(6.0), room(), NOW)
    with pytest.raises(GenerationConflict):
        ledger.record_enforcement(held.reservation_id, {"cpu": "hypervisor"}, {}, NOW, generation=held.generation)
    assert ledger.get(held.reservation_id).enforced_by == {}


def test_a_lost_race_is_run_again_and_an_endless_one_is_a_clear_error(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = ledger.claim(claim(4.0), room(), NOW).reservation
    really, calls = rows.replace_row, []

    def losing(times: int) -> Any:
        def replace_row(connection: Any, old: Any, new: Any) -> None:
            calls.append(old.generation)
            if len(calls) <= times:
                raise rows.LostRace("changed by somebody else")
            really(connection, old, new)

        return replace_row

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(rows, "replace_row", losing(2))
    assert ledger.renew(held.reservation_id, 3 * HOUR, NOW).generation == 2
    monkeypatch.setattr(rows, "replace_row", losing(10**6))
    with pytest.raises(GenerationConflict):
        ledger.renew(held.reservation_id, 4 * HOUR, NOW)
    assert len(calls) < 20
    assert ledger.get(held.reservation_id).generation == 2


def test_the_audit_trail_tells_who_changed_what_when_and_why(ledger: Ledger, tmp_path: Path) -> None:
    held = ledger.claim(claim(4.0), room(), NOW).reservation
    ledger.claim(claim(6.0), room(), NOW + 1)
    with open_ledger(f"sqlite:///{tmp_path}/ledger.db", actor="bob") as other:
        other.release(held.reservation_id, NOW + 2, "not needed")
    trail = ledger.transitions(held.reservation_id)
    assert [(step.action, step.actor, step.ts) for step in trail] == [
        ("created", "alice", NOW),
        ("updated", "alice", NOW + 1),
        ("released", "bob", NOW + 2),
    ]
    before, after = trail[1].change["amount"]  # type: ignore[misc, str-unpack]
    assert (before["cpu_cores"], after["cpu_cores"]) == (4.0, 6.0)
    assert (trail[2].from_state, trail[2].to_state, trail[2].reason) == ("active", "released", "not needed")


@pytest.mark.parametrize(
    "text",
    [
        "{{ lookup('pipe', 'id') }}",
        "'; DROP TABLE ledger_hosts; --",
        "a\x00b",
        "\ud800",
        "../../etc",
        "ÅßЖ東" * 50,
        '\\"\n',
    ],
)
def test_any_text_passes_through_unharmed_and_is_found_again(ledger: Ledger, text: str) -> None:
    result = ledger.claim(claim(vm_uuid=text, vm_name=text, owner=text, host_key=f"e/{text}"), room(), NOW)
    noted = ledger.record_enforcement(result.reservation.reservation_id, {"cpu": "ledger"}, {"name": text}, NOW)
    (found,) = ledger.find([f"e/{text}"], vms=[text])
    assert found == noted
    assert (found.vm_name, found.owner, found.tokens["name"]) == (text, text, text)


def test_reservations_are_found_by_host_vm_name_state_and_window(ledger: Ledger) -> None:
    first = ledger.claim(claim(1.0, vm_name="web01"), room(), NOW).reservation
    second = ledger.claim(
        claim(1.0, vm_uuid=OTHER_VM, host_key="e/h2", start_ts=NOW + 6 * HOUR, end_ts=NOW + 8 * HOUR), room(), NOW
    ).reservation
    ledger.release(second.reservation_id, NOW)
    assert ledger.find(["e/h1"]) == (first,)
    assert ledger.find(vms=["web01"]) == (first,)
    assert [each.reservation_id for each in ledger.find(states=["released"])] == [second.reservation_id]
    assert [each.vm_uuid for each in ledger.find(start_ts=NOW + 5 * HOUR)] == [OTHER_VM]
    assert ledger.find(end_ts=NOW + 5 * HOUR) == (first,)
    assert ledger.find(host_keys=[]) == ()
    assert ledger.known_hosts() == ("e/h1", "e/h2")


@pytest.mark.parametrize("at_once", [1, 2, 500])
def test_only_what_ended_long_ago_is_forgotten_with_its_trail(
    ledger: Ledger, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "FORGOTTEN_AT_ONCE", at_once)
    check_forgetting(ledger)

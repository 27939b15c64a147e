# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The decision: move, stay, or an error that says why neither."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Sla
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import RESOURCES, Resources
from ansible_collections.foresight.migration.plugins.module_utils.placement.explain import explain, why_not
from ansible_collections.foresight.migration.plugins.module_utils.placement.link import bandwidth_mib_s
from ansible_collections.foresight.migration.plugins.module_utils.placement.migration_cost import MigrationCost
from ansible_collections.foresight.migration.plugins.module_utils.placement.policies import policy
from ansible_collections.foresight.migration.plugins.module_utils.placement.score import HALF_DURATION_S, migration
from ansible_collections.foresight.migration.plugins.module_utils.placement.selection import select_host
from ansible_collections.foresight.migration.plugins.module_utils.placement.verdict import (
    Cost,
    ForecastTooShort,
    VmNotForecast,
    VmNotMovable,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.placement.estates import (
    NOW_TS,
    ROOMY,
    estate,
    flat,
    host,
    question,
    reservation,
    scenarios,
    vm,
)

HOSTS = (host("a"), host("b"), host("c"))


def test_the_host_that_is_quiet_now_and_busy_tonight_loses_to_the_one_that_is_busy_now() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a"), vm("tonight", "b"), vm("now", "c")])
    demand = {
        "v1": flat("v1", 4.0),
        "tonight": {**flat("", 0), "cpu": [1.0, 1.0, 27.0, 27.0]},
        "now": {**flat("", 0), "cpu": [20.0, 20.0, 1.0, 1.0]},
    }
    selection = select_host(question(snapshot, "v1", demand))
    assert selection.chosen is not None
    assert selection.chosen.host_key == "lab/c"


def test_vms_that_peak_together_are_kept_apart_and_vms_that_take_turns_are_not() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a"), vm("twin", "b"), vm("opposite", "c")])
    day, night = np.array([[16.0, 16.0], [1.0, 1.0]]), np.array([[1.0, 1.0], [16.0, 16.0]])
    demand = {
        "v1": {**flat("", 0), "cpu": day},
        "twin": {**flat("", 0), "cpu": day},
        "opposite": {**flat("", 0), "cpu": night},
    }
    selection = select_host(question(snapshot, "v1", demand, count=2, steps=2))
    twin, opposite = selection.verdict("lab/b"), selection.verdict("lab/c")
    assert twin is not None
    assert opposite is not None
    assert twin.load is not None
    assert opposite.load is not None
    assert twin.load.overload_probability == 0.5
    assert opposite.load.overload_probability == 0.0
    assert selection.chosen is not None
    assert selection.chosen.host_key == "lab/c"


def test_the_vm_stays_when_the_best_host_gains_too_little_and_says_how_much() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a")])
    selection = select_host(question(snapshot, "v1", min_gain=5.0))
    assert (selection.decision, selection.chosen) == ("stay", None)
    assert selection.reasons[0].code == "gain_too_small"
    assert selection.reasons[0].details["min_gain"] == 5.0
    assert selection.ranking


def test_a_vm_moved_a_moment_ago_stays_until_the_cooldown_is_over() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a")])
    moved = {"last_move_ts": NOW_TS - 600, "cooldown_s": 1800.0}
    assert select_host(question(snapshot, "v1", **moved)).reasons[0].code == "cooldown"
    assert select_host(question(snapshot, "v1", **{**moved, "last_move_ts": NOW_TS - 1800})).decision == "move"
    assert select_host(question(snapshot, "v1", **{**moved, "last_move_ts": NOW_TS + 60})).decision == "move"


def test_a_host_entering_maintenance_is_left_whatever_the_gain_and_the_cooldown() -> None:
    snapshot = estate((host("a", state="entering_maintenance"), host("b")), [vm("v1", "a")])
    asked = question(snapshot, "v1", min_gain=1000.0, last_move_ts=NOW_TS - 1, cooldown_s=1800.0)
    selection = select_host(asked)
    assert selection.decision == "move"
    assert selection.reasons[0].details["codes"] == ["host_not_up"]


def test_a_hard_overload_limit_broken_at_home_makes_the_vm_leave() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a"), vm("v2", "a")])
    demand = {"v1": flat("", 16.0), "v2": flat("", 15.0)}
    selection = select_host(question(snapshot, "v1", demand, min_gain=1000.0, sla=Sla(max_overload_probability=0.5)))
    assert selection.decision == "move"
    assert [reason.code for reason in selection.must_leave] == ["sla_overload_probability"]


@pytest.mark.parametrize(
    "changes", [{"power_state": "off"}, {"power_state": "paused"}, {"is_template": True}, {"host_key": "lab/gone"}]
)
def test_what_cannot_be_live_migrated_is_refused(changes: dict[str, Any]) -> None:
    snapshot = estate(HOSTS, [replace(vm("v1", "a"), **changes)])
    with pytest.raises(VmNotMovable):
        select_host(question(snapshot, "v1"))


def test_a_vm_without_forecast_is_an_error_and_residents_without_one_count_with_what_they_use() -> None:
    used = Resources(cpu_cores=20.0, memory_mib=1000)
    snapshot = estate(
        HOSTS, [vm("v1", "a"), vm("new", "b", used=used), vm("newer", "c", allocated=Resources(31, 1024))]
    )
    known = scenarios({"v1": flat("", 2.0)}, steps=4)
    selection = select_host(question(snapshot, "v1", scenarios=known))
    loads = {verdict.host_key: verdict.load for verdict in (*selection.ranking, *selection.rejected)}
    assert loads["lab/b"] is not None
    assert loads["lab/c"] is not None
    assert loads["lab/b"].peak_level["cpu"] == 22.0
    assert loads["lab/c"].peak_level["cpu"] == 33.0
    assert "2 resident VMs" in selection.warnings[0]
    with pytest.raises(VmNotForecast) as caught:
        select_host(question(snapshot, "new", scenarios=known))
    assert caught.value.details["missing"] == ["cpu", "disk", "memory", "network"]


def test_a_forecast_that_ended_before_now_is_refused_and_a_started_one_is_read_from_now_on() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a"), vm("v2", "b")])
    demand = {"v1": flat("", 2.0), "v2": {**flat("", 0), "cpu": [28.0, 28.0, 1.0, 1.0]}}
    later = question(snapshot, "v1", demand, now_ts=NOW_TS + 7200)
    verdict = select_host(later).verdict("lab/b")
    assert verdict is not None
    assert verdict.load is not None
    assert verdict.load.peak_level["cpu"] == 3.0
    with pytest.raises(ForecastTooShort):
        select_host(replace(later, now_ts=NOW_TS + 4 * 3600))


def test_a_reservation_counts_in_the_steps_that_its_window_touches() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a")])
    held = reservation("w", "b", Resources(cpu_cores=10), start_ts=NOW_TS + 3600, end_ts=NOW_TS + 7200)
    verdict = select_host(question(snapshot, "v1", {"v1": flat("", 1.0)}, reservations=(held,))).verdict("lab/b")
    assert verdict is not None
    assert verdict.load is not None
    assert verdict.load.peak_level["cpu"] == 11.0
    assert verdict.load.mean_use["cpu"] * ROOMY.cpu_cores == pytest.approx((1 + 11 + 1 + 1) / 4)


def test_the_hosts_own_load_counts_beside_its_vms() -> None:
    used = Resources(5.0, 2000.0, 10.0, 1.0)
    resident = vm("v2", "b", used=Resources(2.0, 1000.0, 5.0, 1.0))
    snapshot = estate((host("a"), host("b", used=used)), [vm("v1", "a"), resident])
    verdict = select_host(question(snapshot, "v1", {"v1": flat("", 1.0), "v2": flat("", 2.0)})).verdict("lab/b")
    assert verdict is not None
    assert verdict.load is not None
    assert verdict.load.peak_level["cpu"] == 1.0 + 2.0 + 3.0


def test_a_resource_of_unknown_capacity_is_not_judged_and_the_answer_says_so() -> None:
    blind = Resources(cpu_cores=32, memory_mib=131072)
    snapshot = estate((host("a"), host("b", blind)), [vm("v1", "a")])
    selection = select_host(question(snapshot, "v1"))
    assert selection.chosen is not None
    assert selection.chosen.load is not None
    assert set(selection.chosen.load.headroom) == {"cpu", "memory"}
    assert any("network, disk" in warning for warning in selection.warnings)


def test_pack_fills_hosts_and_spread_empties_them() -> None:
    snapshot = estate(HOSTS, [vm("v1", "a"), vm("v2", "b")])
    demand = {"v1": flat("", 2.0), "v2": flat("", 12.0)}
    packed = select_host(question(snapshot, "v1", demand, policy_name="pack"))
    spread = select_host(question(snapshot, "v1", demand, policy_name="spread"))
    assert packed.chosen is not None
    assert spread.chosen is not None
    assert (packed.chosen.host_key, spread.chosen.host_key) == ("lab/b", "lab/c")


def test_the_threshold_rule_adds_the_weights_of_what_covers_the_need() -> None:
    need = Resources(cpu_cores=4, memory_mib=8192, network_mbit_s=100, disk_mib_s=50)
    tight = replace(ROOMY, cpu_cores=10, network_mbit_s=500)
    hosts = (
        host("a"),
        host("b", tight, used=Resources(cpu_cores=7, memory_mib=1000, network_mbit_s=450)),
        host("c", replace(ROOMY, disk_mib_s=40)),
    )
    weights = {"cpu": 3.0, "memory": 2.0, "network": 1.0, "disk": 5.0}
    asked = question(
        estate(hosts, [vm("v1", "a")]), "v1", policy_name="threshold", weights=weights, threshold_need=need
    )
    selection = select_host(asked)
    assert [(verdict.host_key, verdict.score) for verdict in selection.ranking] == [("lab/b", 7.0), ("lab/c", 6.0)]


def test_the_threshold_rule_counts_reservations_as_taken_and_ties_go_to_the_lesser_key() -> None:
    need = Resources(cpu_cores=4)
    asked = question(estate(HOSTS, [vm("v1", "a")]), "v1", policy_name="threshold", threshold_need=need)
    assert select_host(asked).chosen.host_key == "lab/b"  # type: ignore[union-attr]
    held = reservation("w", "b", Resources(cpu_cores=30))
    assert select_host(replace(asked, reservations=(held,))).chosen.host_key == "lab/c"  # type: ignore[union-attr]


def test_a_slow_link_costs_score_and_a_shared_one_leaves_what_the_vms_do_not_use() -> None:
    slow = host("b", migration_link_mbit_s=100.0)
    snapshot = estate((host("a"), slow, host("c")), [vm("v1", "a")])
    selection = select_host(question(snapshot, "v1"))
    assert [verdict.host_key for verdict in selection.ranking] == ["lab/c", "lab/b"]
    shared = host("b", migration_link_mbit_s=None, used=Resources(network_mbit_s=4000.0))
    assert bandwidth_mib_s(host("a"), shared) == pytest.approx(6000e6 / 8 / 2**20 * 1448 / 1538)


def test_a_move_that_does_not_converge_earns_nothing_and_a_quick_one_nearly_all() -> None:
    def cost(**changes: Any) -> Cost:
        plain = MigrationCost(duration_s=0.0, transferred_mib=1.0, downtime_ms=0.0, rounds=1, converges=True)
        move = replace(plain, **changes)
        return Cost(move.duration_s, move.transferred_mib, move.downtime_ms, move.converges, 100.0, 1.0, 1.0)

    assert migration(cost()) == 100.0
    assert migration(cost(duration_s=HALF_DURATION_S)) == 75.0
    assert migration(cost(converges=False)) == 0.0


@pytest.mark.parametrize(
    ("name", "weights", "option"),
    [
        ("best", {}, "policy"),
        ("balanced", {"cpu": 1}, "weights"),
        ("threshold", {"risk": 1}, "weights"),
        ("balanced", {"risk": -1}, "weights.risk"),
        ("balanced", {"risk": "nan"}, "weights.risk"),
        ("balanced", {"risk": [1]}, "weights.risk"),
        ("threshold", dict.fromkeys(RESOURCES, 0), "weights"),
    ],
)
def test_weights_that_mean_nothing_are_refused_by_name(name: str, weights: dict[str, Any], option: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        policy(name, weights)
    assert caught.value.details["option"] == option


def test_the_table_shows_the_winner_staying_and_why_each_other_host_lost() -> None:
    hostile = replace(host("b"), name="ev{{ il }}\x1b[31m" + "x" * 80)
    hosts = (host("a"), hostile, host("c", state="maintenance"), host("d"))
    snapshot = estate(hosts, [vm("v1", "a", name="web01"), vm("v2", "d")])
    selection = select_host(question(snapshot, "v1", {"v2": flat("", 20.0)}))
    lines = explain(snapshot.vms["lab/v1"], selection)
    text = "\n".join(lines)
    assert lines[0].startswith("web01: move to ev{{ il }}")
    assert "\x1b" not in text
    assert "(stay)" in text
    assert "state is maintenance [host_not_up]" in text
    assert all(len(line) < 200 for line in lines)
    loser = selection.verdict("lab/d")
    assert loser is not None
    assert "most behind in" in why_not(loser, selection)

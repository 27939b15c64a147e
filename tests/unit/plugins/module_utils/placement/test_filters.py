# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every filter rejects what it is there for, with its code, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Cluster, Rule, Sla
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.placement.filters.registry import (
    COST_FILTERS,
    HOST_FILTERS,
    LOAD_FILTERS,
)
from ansible_collections.foresight.migration.plugins.module_utils.placement.question import PredictedMove, Question
from ansible_collections.foresight.migration.plugins.module_utils.placement.selection import select_host
from ansible_collections.foresight.migration.plugins.module_utils.placement.verdict import (
    NoHostFits,
    Reason,
    RivalBalancerActive,
    Selection,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.placement.estates import (
    NOW_TS,
    estate,
    flat,
    host,
    predict_move,
    question,
    reservation,
    vm,
)

HOSTS = (host("a"), host("b"), host("c"))


def ask(vm_changes: dict[str, Any] | None = None, hosts: tuple[Any, ...] = HOSTS, **changes: Any) -> Selection:
    """Ask for ``v1`` on host a; ``v2`` runs on host b."""
    return select_host(make(vm_changes, hosts, **changes))


def make(vm_changes: dict[str, Any] | None = None, hosts: tuple[Any, ...] = HOSTS, **changes: Any) -> Question:
    """Return the question of `ask`; ``rules`` and ``clusters`` go into the estate."""
    rules, clusters = changes.pop("rules", ()), changes.pop("clusters", ())
    snapshot = estate(hosts, [vm("v1", "a", **(vm_changes or {})), vm("v2", "b")], rules, clusters=clusters)
    return question(snapshot, "v1", changes.pop("demand", None), **changes)


def codes(selection: Selection, key: str = "lab/b") -> list[str]:
    """Return the codes with which that host was rejected."""
    verdict = selection.verdict(key)
    assert verdict is not None
    return [reason.code for reason in verdict.reasons] if verdict.status == "rejected" else []


def rule(kind: str, **changes: Any) -> Rule:
    """Return a mandatory rule over v1 and v2."""
    return replace(Rule("lab", f"my {kind}", kind, frozenset({"v1", "v2"})), **changes)


@pytest.mark.parametrize("state", ["maintenance", "entering_maintenance", "disconnected", "off"])
def test_a_host_that_is_not_up_is_rejected_and_its_state_named(state: str) -> None:
    selection = ask(hosts=(host("a"), host("b", state=state), host("c")))
    assert codes(selection) == ["host_not_up"]
    assert selection.rejected[0].reasons[0].details == {"state": state}


@pytest.mark.parametrize(
    ("host_changes", "vm_changes", "code"),
    [
        ({"family": "vmware"}, {}, "other_family"),
        ({"networks": ("lan",)}, {"networks": ("lan", "dmz")}, "network_missing"),
        ({"storages": ()}, {"storages": ("san",)}, "storage_missing"),
        ({"cpu_features": frozenset({"sse"})}, {"required_cpu_features": frozenset({"avx512"})}, "cpu_incompatible"),
        ({"capacity": Resources(1, 1e6, 1e4, 1e3)}, {}, "too_small"),
        ({"capacity": Resources(8, 2048, 1e4, 1e3)}, {}, "too_small"),
    ],
)
def test_what_the_host_lacks_is_named(host_changes: dict[str, Any], vm_changes: dict[str, Any], code: str) -> None:
    whole = {"networks": ("lan", "dmz"), "storages": ("san",), "cpu_features": frozenset({"sse", "avx512"})}
    hosts = (host("a", **whole), host("b", **{**whole, **host_changes}), host("c", **whole))
    selection = ask(vm_changes, hosts)
    assert codes(selection) == [code]
    assert codes(selection, "lab/c") == []


def test_unknown_cpu_features_are_left_to_the_hypervisor() -> None:
    assert codes(ask({"required_cpu_features": frozenset({"avx512"})})) == []


def test_a_pinned_vm_has_no_destination_and_the_device_is_named() -> None:
    with pytest.raises(NoHostFits) as caught:
        ask({"pinned_by": ("GPU 0000:3b:00.0",)})
    assert caught.value.details["reasons"] == {"vm_pinned": 2}
    assert "GPU 0000:3b:00.0" in caught.value.details["hosts"]["lab/b"][0]["message"]


def test_vms_to_be_apart_are_counted_where_they_run_and_where_they_are_going() -> None:
    apart = rule("vm_anti_affinity")
    assert codes(ask(rules=(apart,))) == ["vm_anti_affinity"]
    underway = ask(rules=(apart,), reservations=(reservation("v2", "c", Resources(1, 1)),), min_gain=-1000.0, **STAYS)
    assert (codes(underway), codes(underway, "lab/c")) == (["vm_anti_affinity"], ["vm_anti_affinity"])


#: A question in which staying is the answer whatever fits.
STAYS: dict[str, Any] = {"last_move_ts": NOW_TS - 1, "cooldown_s": 60.0}


def test_vms_to_be_together_may_follow_one_that_is_on_its_way() -> None:
    together = rule("vm_affinity")
    still = ask(rules=(together,))
    assert (codes(still), codes(still, "lab/c")) == ([], ["vm_affinity"])
    underway = ask(rules=(together,), reservations=(reservation("v2", "c", Resources(1, 1)),))
    assert codes(underway, "lab/c") == []


def test_rules_between_vms_and_hosts_hold() -> None:
    only_c = rule("vm_host_affinity", host_keys=frozenset({"lab/c"}))
    never_c = rule("vm_host_anti_affinity", host_keys=frozenset({"lab/c"}))
    assert codes(ask(rules=(only_c,))) == ["vm_host_affinity"]
    assert codes(ask(rules=(never_c,)), "lab/c") == ["vm_host_anti_affinity"]


def test_a_rule_that_is_not_mandatory_costs_score_and_rejects_nothing() -> None:
    free = ask()
    wished = ask(rules=(rule("vm_anti_affinity", mandatory=False),))
    assert codes(wished) == []
    assert wished.verdict("lab/b").components["sla"] == 0.0  # type: ignore[union-attr]
    assert wished.verdict("lab/c").components == free.verdict("lab/c").components  # type: ignore[union-attr]


def test_a_rule_of_another_endpoint_says_nothing_about_a_namesake() -> None:
    assert codes(ask(rules=(rule("vm_anti_affinity", endpoint="elsewhere"),))) == []


def test_a_rule_broken_where_the_vm_is_makes_it_leave() -> None:
    selection = ask(rules=(rule("vm_host_anti_affinity", host_keys=frozenset({"lab/a"})),), min_gain=99.0)
    assert selection.decision == "move"
    assert [reason.code for reason in selection.must_leave] == ["vm_host_anti_affinity"]


def test_a_rival_balancer_on_another_cluster_rejects_its_hosts_and_on_the_vms_own_refuses() -> None:
    drs = Cluster("lab", "c1", frozenset({"lab/b"}), rival_balancer="DRS")
    assert codes(ask(clusters=(drs,))) == ["rival_balancer"]
    with pytest.raises(RivalBalancerActive, match="DRS"):
        ask(clusters=(replace(drs, host_keys=frozenset({"lab/a"})),))
    told = ask(clusters=(replace(drs, host_keys=frozenset({"lab/a", "lab/b"})),), refuse_rivals=False)
    assert codes(told) == []
    assert "DRS" in told.warnings[0]


def test_the_users_expression_and_the_platforms_refusal_reject() -> None:
    refused = {"lab/b": Reason("preflight", "no such machine type")}
    assert codes(ask(allowed_hosts=frozenset({"lab/a", "lab/c"}))) == ["filtered_by_user"]
    assert codes(ask(refused=refused)) == ["preflight"]


def test_every_reason_is_given_not_only_the_first() -> None:
    selection = ask({"networks": ("lan",)}, (host("a"), host("b", state="off"), host("c", networks=("lan",))))
    assert codes(selection) == ["host_not_up", "network_missing"]


def test_hard_reservations_count_and_lapsed_ones_and_the_vms_own_do_not() -> None:
    most = Resources(cpu_cores=28, memory_mib=1)
    wants = {"guaranteed": Resources(cpu_cores=2)}
    held = reservation("w", "b", most)
    assert codes(ask(wants, reservations=(held,))) == ["reserved_by_others"]
    assert codes(ask(wants, reservations=(replace(held, lease_expires_ts=NOW_TS - 1),))) == []
    assert codes(ask(wants, reservations=(replace(held, state="released"),))) == []
    assert codes(ask(wants, reservations=(replace(held, vm_uuid="v1"),))) == []
    assert codes(ask(wants, reservations=(replace(held, tier="soft"),))) == []


def test_a_reservation_consumed_since_the_snapshot_still_counts() -> None:
    held = reservation("w", "b", Resources(cpu_cores=31), state="consumed", updated_ts=NOW_TS - 1)
    demand = {"v1": flat("v1", 2.0)}
    assert codes(ask(demand=demand, reservations=(held,))) == ["no_capacity"]
    assert codes(ask(demand=demand, reservations=(replace(held, updated_ts=NOW_TS - 3600),))) == []


def test_a_host_that_cannot_carry_what_is_expected_is_rejected() -> None:
    selection = ask(demand={"v2": flat("v2", 31.5), "v1": flat("v1", 1.0)})
    assert codes(selection) == ["no_capacity"]


@pytest.mark.parametrize(
    ("sla", "code"),
    [
        (Sla(max_downtime_ms=0.001), "sla_downtime"),
        (Sla(max_duration_s=0.001), "sla_duration"),
        (Sla(blackout=((NOW_TS + 0.5, NOW_TS + 60),)), "blackout"),
        (Sla(blackout=((NOW_TS - 60, NOW_TS + 0.1),)), "blackout"),
    ],
)
def test_a_hard_limit_rejects_and_the_same_limit_made_soft_costs_score(sla: Sla, code: str) -> None:
    with pytest.raises(NoHostFits) as caught:
        ask(sla=sla)
    assert set(caught.value.details["reasons"]) == {code}
    soft = replace(sla, soft=frozenset({"max_downtime_ms", "max_duration_s", "blackout"}))
    selection = ask(sla=soft)
    assert selection.ranking[0].components["sla"] < 100.0


def test_a_prediction_that_rests_on_an_assumed_dirty_rate_rejects_nothing() -> None:
    def guess(bandwidth_mib_s: float) -> PredictedMove:
        return replace(predict_move(bandwidth_mib_s), firm=False)

    sla = Sla(max_downtime_ms=0.001, max_duration_s=0.001)
    assert ask(sla=sla, predict_move=guess).decision == "move"


def test_a_move_that_ends_before_the_blackout_is_allowed() -> None:
    assert ask(sla=Sla(blackout=((NOW_TS + 7200, NOW_TS + 9000),))).decision == "move"


def test_an_overload_probability_over_the_hard_limit_rejects_with_the_figures() -> None:
    demand = {"v2": {**flat("v2", 0), "cpu": [[28.0], [1.0], [1.0], [1.0]]}, "v1": flat("v1", 1.0)}
    selection = ask(demand=demand, count=4, sla=Sla(max_overload_probability=0.2))
    assert codes(selection) == ["sla_overload_probability"]
    assert selection.rejected[0].reasons[0].details["probability"] == 0.25
    assert codes(ask(demand=demand, count=4, sla=Sla(max_overload_probability=0.25))) == []


def test_every_filter_has_a_code_of_its_own() -> None:
    codes_ = [check.CODE for check in (*HOST_FILTERS, *COST_FILTERS, *LOAD_FILTERS)]
    assert len(set(codes_)) == len(codes_)

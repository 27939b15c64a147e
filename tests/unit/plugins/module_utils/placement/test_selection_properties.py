# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Laws that every selection keeps, on estates drawn at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Sla
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import RESOURCES, Resources
from ansible_collections.foresight.migration.plugins.module_utils.placement import selection as selection_module
from ansible_collections.foresight.migration.plugins.module_utils.placement.question import Question
from ansible_collections.foresight.migration.plugins.module_utils.placement.selection import select_host
from ansible_collections.foresight.migration.plugins.module_utils.placement.verdict import NoHostFits, Selection
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.placement import estates
from hypothesis import given, settings
from hypothesis import strategies as st

POLICIES = ("balanced", "pack", "spread", "threshold")
COUNT, STEPS = 8, 3


@st.composite
def questions(draw: st.DrawFn, policies: tuple[str, ...] = POLICIES) -> Question:
    """Draw an estate of a few hosts, some of them tight, with VMs whose demand varies over scenarios and steps."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    hosts = [
        estates.host(
            f"h{index}",
            Resources(*(rng.uniform(low, high) for low, high in ((4, 16), (8192, 32768), (500, 2000), (100, 400)))),
            migration_link_mbit_s=float(rng.choice([1000, 10000])),
        )
        for index in range(draw(st.integers(2, 6)))
    ]
    count = draw(st.integers(1, 12))
    vms = [estates.vm(f"v{index:02}", f"h{rng.integers(len(hosts))}") for index in range(count)]
    demand = {
        vm.uuid: {
            resource: (rng.gamma(2.0, scale, (COUNT, STEPS))).astype(np.float32)
            for resource, scale in zip(RESOURCES, (1.0, 1500.0, 80.0, 15.0), strict=True)
        }
        for vm in vms
    }
    held = tuple(
        estates.reservation(f"w{index}", f"h{rng.integers(len(hosts))}", Resources(*rng.uniform(0, (2, 2048, 50, 10))))
        for index in range(draw(st.integers(0, 2)))
    )
    name = draw(st.sampled_from(policies))
    need = Resources(*(float(demand["v00"][resource].max()) for resource in RESOURCES))
    return estates.question(
        estates.estate(hosts, vms),
        "v00",
        demand,
        count=COUNT,
        steps=STEPS,
        policy_name=name,
        reservations=held,
        threshold_need=need,
    )


def scores(selection: Selection) -> dict[str, float]:
    """Return the score of every host that was ranked."""
    return {verdict.host_key: verdict.score for verdict in selection.ranking if verdict.score is not None}


def in_full(question: Question) -> Question:
    """Return the question with every host judged in full."""
    return replace(question, asked_hosts=frozenset(question.estate.hosts))


def ask(question: Question) -> Selection | None:
    """Return the selection, None when no host fits."""
    try:
        return select_host(question)
    except NoHostFits:
        return None


def brute_force_loads(question: Question, host_key: str) -> np.ndarray[Any, Any]:
    """Return the load with the VM, shape (scenarios, resources, steps), summed number by number."""
    total = np.zeros((COUNT, len(RESOURCES), STEPS))
    on_host = [vm for vm in question.estate.vms.values() if vm.host_key == host_key or vm.key == question.vm.key]
    for vm in on_host:
        for place, resource in enumerate(RESOURCES):
            for key, path in question.scenarios.paths.items():  # type: ignore[attr-defined]
                if key.entity_id == vm.uuid and key.metric == resource:
                    total[:, place] += path
    for held in question.reservations:
        if held.host_key == host_key:
            total += np.array(tuple(held.amount))[None, :, None]
    return total


@settings(max_examples=60, deadline=None)
@given(questions(("balanced", "spread", "pack")))
def test_loads_agree_with_summing_one_number_at_a_time(question: Question) -> None:
    selection = ask(in_full(question))
    for verdict in selection.ranking if selection else ():
        host = question.estate.hosts[verdict.host_key]
        load = brute_force_loads(question, verdict.host_key)
        limit = np.array([host.capacity[r] * question.limits[r] for r in RESOURCES])
        over = load > limit[None, :, None]
        assert verdict.load is not None
        assert verdict.load.overload_probability == pytest.approx(over.any(axis=(1, 2)).mean(), abs=1e-6)
        excess = np.maximum(load - limit[None, :, None], 0).mean(axis=0).sum(axis=1) / limit
        assert verdict.load.expected_overload_h == pytest.approx(excess.sum(), rel=1e-3, abs=1e-4)


@settings(max_examples=60, deadline=None)
@given(questions(), st.integers(0, 3))
def test_two_stages_choose_what_judging_every_host_in_full_chooses(question: Question, least: int) -> None:
    everything = ask(in_full(question))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selection_module, "LEAST_JUDGED", least)
        staged = ask(question)
    assert (staged is None) == (everything is None)
    if staged and everything:
        assert staged.chosen == everything.chosen
        assert len(staged.ranking) + len(staged.outscored) <= len(everything.ranking) + len(everything.rejected)


@settings(max_examples=60, deadline=None)
@given(questions(("balanced", "spread", "threshold")), st.sampled_from(RESOURCES), st.floats(1.01, 3.0))
def test_more_free_capacity_never_lowers_a_score(question: Question, resource: str, factor: float) -> None:
    before = ask(in_full(question))
    if before is None or not before.ranking:
        return
    key = before.ranking[-1].host_key
    host = question.estate.hosts[key]
    larger = Resources(*(a * (factor if r == resource else 1) for r, a in zip(RESOURCES, host.capacity, strict=True)))
    grown = replace(question.estate, hosts={**question.estate.hosts, key: replace(host, capacity=larger)})
    after = select_host(in_full(replace(question, estate=grown)))
    assert scores(after)[key] >= scores(before)[key] - 1e-3


@settings(max_examples=60, deadline=None)
@given(questions(("balanced", "spread")), st.sampled_from(RESOURCES), st.floats(1.01, 2.0), st.integers(0, 11))
def test_more_predicted_load_never_raises_a_score(question: Question, resource: str, factor: float, nth: int) -> None:
    before = ask(in_full(question))
    vms = sorted(question.estate.vms)
    busier = question.estate.vms[vms[nth % len(vms)]]
    paths = {
        key: path * np.float32(factor) if key.entity_id == busier.uuid and key.metric == resource else path
        for key, path in question.scenarios.paths.items()  # type: ignore[attr-defined]
    }
    loaded = replace(question.scenarios, paths=paths)  # type: ignore[type-var]
    after = ask(in_full(replace(question, scenarios=loaded)))
    known = scores(before) if before else {}
    for key, score in (scores(after) if after else {}).items():
        assert score <= known[key] + 1e-3


@settings(max_examples=40, deadline=None)
@given(questions(), st.randoms(use_true_random=False))
def test_the_order_of_hosts_and_vms_does_not_matter_and_the_answer_repeats(question: Question, random: Any) -> None:
    hosts, vms = list(question.estate.hosts.items()), list(question.estate.vms.items())
    random.shuffle(hosts)
    random.shuffle(vms)
    shuffled = replace(question, estate=replace(question.estate, hosts=dict(hosts), vms=dict(vms)))
    assert ask(shuffled) == ask(question) == ask(question)


@settings(max_examples=40, deadline=None)
@given(questions(("balanced", "spread", "pack")), st.floats(0.0, 1.0))
def test_a_hard_overload_limit_is_never_broken(question: Question, limit: float) -> None:
    selection = ask(replace(question, sla=Sla(max_overload_probability=limit)))
    for verdict in selection.ranking if selection else ():
        assert verdict.load is not None
        assert verdict.load.overload_probability <= limit


@settings(max_examples=40, deadline=None)
@given(questions(("balanced", "spread", "pack")))
def test_every_component_and_score_lies_between_0_and_100(question: Question) -> None:
    selection = ask(in_full(question))
    for verdict in selection.ranking if selection else ():
        assert verdict.score is not None
        for points in (verdict.score, *verdict.components.values()):
            assert -1e-9 <= points <= 100.0 + 1e-9

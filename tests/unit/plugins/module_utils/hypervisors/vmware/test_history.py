# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which recorded interval is asked for which time, and what the figures mean."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import HypervisorFault
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware import history
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.counters import (
    Catalogue,
    factor,
    sample_ends,
    series_of,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.history import Entity, Span, spans
from hypothesis import given
from hypothesis import strategies as st
from pyVmomi import vim

#: vCenter's defaults: real time for an hour, then a day, a week, a month and a year.
KEPT = [(20, 3600), (300, 86400), (1800, 604800), (7200, 2592000), (86400, 31536000)]
NOW = 1_750_000_123.0

moments = st.floats(min_value=NOW - 40_000_000, max_value=NOW)


@given(moments, moments)
def test_spans_cover_all_that_is_kept_once_and_without_gaps(one: float, other: float) -> None:
    since, until = sorted((one, other))
    found = spans(NOW, since, until, KEPT)
    borders = [(span.start_ts, span.end_ts) for span in found]
    assert all(start < end for start, end in borders)
    assert all(later[0] == earlier[1] for later, earlier in itertools.pairwise(borders))
    if since < until and until > NOW - 31_000_000:
        assert borders[0][1] == until
        assert since <= borders[-1][0] <= max(since, NOW - 31_536_000 + 86_400)


@given(moments, moments)
def test_each_span_uses_the_finest_interval_that_is_still_kept(one: float, other: float) -> None:
    since, until = sorted((one, other))
    lengths = dict(KEPT)
    for span in spans(NOW, since, until, KEPT):
        assert span.start_ts >= NOW - lengths[span.interval_s]
        finer = [interval for interval in lengths if interval < span.interval_s]
        if finer:
            assert span.end_ts <= NOW - lengths[max(finer)] + span.interval_s


@given(moments)
def test_borders_between_intervals_lie_on_whole_samples_of_the_coarser(since: float) -> None:
    found = spans(NOW, since, NOW, KEPT)
    for finer, coarser in itertools.pairwise(found):
        assert finer.start_ts % coarser.interval_s == 0


def test_a_server_that_keeps_real_time_only_gives_no_more_than_that() -> None:
    (span,) = spans(NOW, NOW - 86400, NOW, [(20, 3600)])
    assert span.interval_s == 20
    assert NOW - 3600 <= span.start_ts < NOW - 3600 + 20


def test_the_latest_sample_is_asked_for_without_times_which_would_make_it_another() -> None:
    catalogue = Catalogue({"cpu": (6, "megaHertz")})
    entity = Entity(vim.VirtualMachine("vm-1"), "vm", "uuid-1", 2500.0)
    latest = history._spec(entity, catalogue, None)
    assert (latest.startTime, latest.endTime, latest.intervalId, latest.maxSample) == (None, None, 20, 1)
    day = history._spec(entity, catalogue, Span(300, NOW - 3600, NOW))
    assert (day.endTime - day.startTime).total_seconds() == 3600
    assert (day.intervalId, day.maxSample) == (300, 13)


def test_entities_whose_host_is_away_cost_only_themselves() -> None:
    lost = {"vm-2", "vm-5"}

    def query_perf(specs: list[Any]) -> list[Any]:
        if any(spec.entity._moId in lost for spec in specs):
            raise HypervisorFault("refused", details={"fault": "HostNotConnected"})
        return [SimpleNamespace(entity=spec.entity) for spec in specs]

    manager = SimpleNamespace(QueryPerf=query_perf)
    session: Any = SimpleNamespace(
        content=SimpleNamespace(perfManager=manager), read=lambda doing, question: question()
    )
    everyone = [Entity(vim.VirtualMachine(f"vm-{n}"), "vm", f"uuid-{n}", 2500.0) for n in range(7)]
    answers = history.query(session, everyone, Catalogue({"cpu": (6, "megaHertz")}), None)
    assert [entity.entity_id for entity, unused in answers] == ["uuid-0", "uuid-1", "uuid-3", "uuid-4", "uuid-6"]


def answer(info: str, **series: str) -> Any:
    return SimpleNamespace(
        sampleInfoCSV=info,
        value=[SimpleNamespace(id=SimpleNamespace(counterId=int(key[1:])), value=text) for key, text in series.items()],
    )


INFO = "20,2026-03-01T00:00:20Z,20,2026-03-01T00:00:40Z,20,2026-03-01T00:01:00Z"


def test_missing_values_are_left_out_rather_than_zero() -> None:
    ((counter, ends, values),) = series_of(answer(INFO, c6="5,,7"))
    assert counter == 6
    assert list(values) == [5.0, 7.0]
    assert ends[1] - ends[0] == 40.0
    (negative,) = series_of(answer(INFO, c6="5,-1,7"))
    assert list(negative[2]) == [5.0, 7.0]


def test_newest_first_answers_are_turned_round() -> None:
    info = ",".join(f"20,{time}" for time in reversed(INFO.split(",")[1::2]))
    ((counter, ends, values),) = series_of(answer(info, c6="3,2,1"))
    assert counter == 6
    assert list(values) == [1.0, 2.0, 3.0]
    assert np.all(np.diff(ends) == 20)


def test_an_answer_without_samples_or_with_too_few_values_is_harmless() -> None:
    assert list(series_of(answer(""))) == []
    ((counter, ends, values),) = series_of(answer(INFO, c6="5"))
    assert counter == 6
    assert len(ends) == len(values) == 1
    assert len(sample_ends("")) == 0


@pytest.mark.parametrize(
    ("metric", "unit", "one"),
    [
        ("cpu", "megaHertz", 1 / 2000),
        ("memory", "kiloBytes", 1 / 1024),
        ("network", "kiloBytesPerSecond", 0.008192),
        ("disk", "kiloBytesPerSecond", 1 / 1024),
    ],
)
def test_units_are_converted(metric: str, unit: str, one: float) -> None:
    assert factor(metric, unit, 2000.0) == pytest.approx(one)


def test_a_foreign_unit_is_not_guessed_at() -> None:
    assert factor("cpu", "percent", 2000.0) is None

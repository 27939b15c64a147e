# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collecting from endpoints that are slow, broken, wrong about the time, or gone for a hundred hours."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.clock import to_iso
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples, SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import UnknownVm
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors import registry
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    Capabilities,
    Driver,
    EndpointUnreachable,
    HypervisorFault,
    Inventory,
    Reading,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import (
    CollectRequest,
    NothingAnswered,
    collect,
    gathered_subsets,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context, Outcome
from ansible_collections.foresight.migration.plugins.module_utils.workspace.errors import StoreFull
from ansible_collections.foresight.migration.plugins.module_utils.workspace.lease import lease
from ansible_collections.foresight.migration.plugins.module_utils.workspace.metrics import AppendReport, MetricsDataset
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

NOW = 1_770_000_000 // 3600 * 3600.0
HOUR_S = 3600.0
HOSTILE = "{{ lookup('pipe', 'id') }}\"'\n../..$(reboot)"


class FixedClock:
    """A clock that a test sets."""

    now_ts = NOW

    def now(self) -> float:
        return type(self).now_ts

    def sleep(self, seconds: float) -> None:
        return


@dataclass
class Script:
    """How one endpoint behaves in a test, and what it was asked."""

    vms: list[Vm] = field(default_factory=list)
    readings: list[tuple[str, str, str, float, float]] = field(default_factory=list)
    past: list[list[tuple[str, str, str, float, float]]] = field(default_factory=list)
    unreachable: bool = False
    broken: str = ""
    hangs: threading.Event | None = None
    skew_s: float = 0.0
    history: bool = True
    asked_history: list[tuple[float, float]] = field(default_factory=list)
    counters_seen: list[Mapping[str, Any]] = field(default_factory=list)
    closed: int = 0


SCRIPTS: dict[str, Script] = {}


def samples(rows: list[tuple[str, str, str, float, float]]) -> Samples:
    columns = list(zip(*rows, strict=True)) or [()] * 5
    names = [np.array(column, object) for column in columns[:3]]
    return Samples(names[0], names[1], names[2], np.array(columns[3], float), np.array(columns[4], float))


class ScriptedDriver(Driver):
    """Plays the `Script` of its name."""

    TYPE, FAMILY = "scripted", "kvm"

    @property
    def clock(self) -> FixedClock:
        return FixedClock()

    @property
    def script(self) -> Script:
        return SCRIPTS[self.name]

    def connect(self) -> None:
        if self.script.unreachable:
            raise EndpointUnreachable(f"{self.name} does not answer", advice="Check the cable.")
        if self.script.hangs is not None:
            self.script.hangs.wait(60)

    def close(self) -> None:
        self.script.closed += 1

    def capabilities(self) -> Capabilities:
        return Capabilities(history=self.script.history)

    def inventory(self) -> Inventory:
        host = Host(self.name, "h1", "host", "kvm", "up", Resources(8, 1024, 1000, 100))
        return Inventory((host,), tuple(self.script.vms), server_ts=self.clock.now() + self.script.skew_s)

    def read(self, previous: Mapping[str, Any]) -> Reading:
        if self.script.broken == "read":
            raise HypervisorFault("no counters today")
        self.script.counters_seen.append(dict(previous))
        return Reading(samples(self.script.readings), counters={"round": previous.get("round", 0) + 1})

    def history(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        self.script.asked_history.append((since_ts, until_ts))
        for batch in self.script.past:
            yield samples(batch)
        if self.script.broken == "history":
            raise HypervisorFault("the database is full")


ScriptedDriver.__abstractmethods__ = frozenset()  # type: ignore[attr-defined]  # a collection calls none of the rest


def vm(endpoint: str, uuid: str = "u-1", name: str = "web", **parts: Any) -> Vm:
    return Vm(endpoint, uuid, name, f"{endpoint}/h1", "running", Resources(2, 512), **parts)


def usage(uuid: str = "u-1", ts: float = NOW, cpu: float = 1.0) -> list[tuple[str, str, str, float, float]]:
    return [("vm", uuid, "cpu", ts, cpu), ("vm", uuid, "memory", ts, 256.0), ("vm", uuid, "network", ts, 8.0)]


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(registry._DRIVERS, "scripted", lambda: ScriptedDriver)
    monkeypatch.setattr(FixedClock, "now_ts", NOW)
    SCRIPTS.clear()
    yield
    for script in SCRIPTS.values():
        if script.hangs is not None:
            script.hangs.set()


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def run(store: str, *, check_mode: bool = False, **options: Any) -> Outcome:
    endpoints = [{"name": name, "type": "scripted"} for name in SCRIPTS]
    return collect(
        CollectRequest(**{"endpoints": endpoints, "store": store, **options}), Context(check_mode=check_mode)
    )


def later(hours: float) -> float:
    FixedClock.now_ts = NOW + hours * HOUR_S
    return FixedClock.now_ts


def cpu_of(store: str, start_ts: float, end_ts: float, uuid: str = "u-1") -> list[float]:
    key = SeriesKey("vm", uuid, "cpu")
    values = Workspace.open(store, writable=False).metrics.read([key], start_ts, end_ts, 300).values[0]
    return [round(float(value), 3) for value in values if not np.isnan(value)]


def said(outcome: Outcome, *words: str) -> bool:
    return any(all(word in warning for word in words) for warning in outcome.warnings)


def test_one_collection_leaves_snapshot_samples_and_a_summary(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab", name=HOSTILE)], readings=usage())
    outcome = run(store, vms=[HOSTILE], hosts=["host"])
    estate = Workspace.open(store).snapshots.read(outcome.result["snapshot_id"])
    assert estate.vms["lab/u-1"].name == HOSTILE
    assert estate.vms["lab/u-1"].used == Resources(1.0, 256.0, 8.0, 0.0)
    assert cpu_of(store, NOW - 300, NOW + 300) == [1.0]
    assert outcome.changed is False
    assert outcome.result["summary"]["vms_used"]["memory_mib"] == 256.0
    assert outcome.result["vms"][0]["name"] == HOSTILE
    assert outcome.result["hosts"][0]["allocated"]["cpu_cores"] == 2.0
    assert outcome.facts["snapshot_id"] == outcome.result["snapshot_id"]
    assert outcome.warnings == ()
    assert SCRIPTS["lab"].closed == 1


def test_an_endpoint_that_fails_is_told_and_does_not_keep_the_others(store: str) -> None:
    SCRIPTS["good"] = Script(vms=[vm("good")], readings=usage())
    SCRIPTS["bad"] = Script(unreachable=True)
    outcome = run(store)
    good, bad = outcome.result["endpoints"]
    assert (good["reachable"], bad["reachable"], bad["error"]["code"]) == (True, False, "endpoint_unreachable")
    estate = Workspace.open(store).snapshots.latest()
    assert [(one.name, one.reachable) for one in estate.endpoints] == [("good", True), ("bad", False)]
    assert said(outcome, "bad does not answer")


def test_when_no_endpoint_answers_the_task_fails_and_nothing_is_stored(store: str) -> None:
    SCRIPTS["a"], SCRIPTS["b"] = Script(unreachable=True), Script(unreachable=True)
    with pytest.raises(NothingAnswered) as caught:
        run(store)
    assert set(caught.value.details["endpoints"]) == {"a", "b"}
    assert Workspace.open(store).snapshots.ids() == []


def test_an_endpoint_that_hangs_is_given_up_at_the_deadline(store: str) -> None:
    SCRIPTS["quick"] = Script(vms=[vm("quick")], readings=usage())
    SCRIPTS["stuck"] = Script(hangs=threading.Event())
    outcome = run(store, deadline_s=1.0)
    stuck = outcome.result["endpoints"][1]
    assert (stuck["reachable"], stuck["error"]["code"]) == (False, "deadline_passed")
    assert outcome.result["endpoints"][0]["samples_written"] == 3


def test_history_is_asked_for_since_the_last_complete_one(store: str) -> None:
    script = SCRIPTS["lab"] = Script(vms=[vm("lab")], past=[usage(ts=NOW - 600.0, cpu=3.0)])
    run(store, history_hours=48)
    later(1)
    script.broken = "history"
    assert said(run(store, history_hours=48), "could not be read completely", "the database is full")
    later(2)
    script.broken = ""
    run(store, history_hours=48)
    later(3)
    run(store, history_hours=48)
    first, second, third, fourth = (round((NOW - since) / HOUR_S, 2) for since, _unused in script.asked_history)
    assert (first, second, third, fourth) == (48.0, 0.5, 0.5, -1.5)
    assert [until for _unused, until in script.asked_history] == [NOW + hour * HOUR_S for hour in range(4)]
    assert cpu_of(store, NOW - HOUR_S, NOW) == [3.0]  # stored four times, counted once


def test_counters_of_one_reading_come_back_with_the_next(store: str) -> None:
    script = SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage())
    run(store)
    script.broken = "read"
    assert said(run(store), "current use could not be read", "no counters today")
    script.broken = ""
    run(store)
    assert script.counters_seen == [{}, {"round": 1}]


def test_a_silence_of_a_hundred_hours_is_told_and_stays_a_gap(store: str) -> None:
    script = SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage(), history=False)
    run(store)
    script.readings = usage(ts=later(100))
    outcome = run(store)
    assert said(outcome, "nothing is known of the 100.0 hours", "stay a gap")
    assert len(cpu_of(store, NOW - 300, NOW + 101 * HOUR_S)) == 2


def test_a_last_sample_a_hundred_hours_old_is_told(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage(ts=NOW - 100 * HOUR_S))
    assert said(run(store), "newest sample is 100.0 hours old", to_iso(NOW - 100 * HOUR_S))


@pytest.mark.parametrize(("skew_s", "words"), [(90.0, "90 s ahead of"), (-3600.0, "3600 s behind")])
def test_a_clock_that_is_wrong_is_told(store: str, skew_s: float, words: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage(), skew_s=skew_s)
    outcome = run(store)
    assert said(outcome, words)
    assert outcome.result["endpoints"][0]["clock_skew_s"] == skew_s


def test_samples_from_the_future_are_told(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage(ts=NOW + 600.0))
    assert said(run(store), "600 s in the future")


def test_values_that_cannot_be_are_left_out_and_told(store: str) -> None:
    rows = [*usage(), ("vm", "u-1", "disk", NOW, float("nan")), ("vm", "u-1", "disk_iops", NOW, -4.0)]
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=rows)
    outcome = run(store)
    assert outcome.result["endpoints"][0]["samples_left_out"] == {"not_finite": 1, "negative": 1}
    assert said(outcome, "1 values were left out that are negative")


def test_a_running_vm_without_samples_is_told_and_one_that_is_off_is_not(store: str) -> None:
    off = replace(vm("lab", "u-3", "off"), power_state="off")
    SCRIPTS["lab"] = Script(vms=[vm("lab"), vm("lab", "u-2", "mute"), off], readings=usage())
    outcome = run(store)
    assert said(outcome, "1 of 2 running VMs have no sample", "'mute'")


def test_the_same_uuid_on_two_endpoints_is_told(store: str) -> None:
    SCRIPTS["a"], SCRIPTS["b"] = Script(vms=[vm("a")], readings=usage()), Script(vms=[vm("b")], readings=usage())
    assert said(run(store), "1 uuids belong to VMs on several endpoints", "u-1 (a, b)")


def test_a_vm_that_was_renamed_and_moved_to_another_endpoint_keeps_its_history(store: str) -> None:
    SCRIPTS["a"], SCRIPTS["b"] = Script(vms=[vm("a")], readings=usage(cpu=1.0)), Script()
    run(store)
    ts = later(1)
    SCRIPTS["a"].vms, SCRIPTS["a"].readings = [], []
    SCRIPTS["b"].vms, SCRIPTS["b"].readings = [vm("b", name="renamed")], usage(ts=ts, cpu=2.0)
    outcome = run(store, vms=["renamed"])
    assert outcome.result["vms"][0]["uuid"] == "u-1"
    assert cpu_of(store, NOW - 300, ts + 300) == [1.0, 2.0]


def test_check_mode_tells_the_same_and_stores_nothing(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage(), past=[usage(ts=NOW - 600.0)])
    event = {"name": "backup", "times": [to_iso(NOW)], "duration_minutes": 5}
    checked = run(store, check_mode=True, events=[event])
    assert not Path(store).exists()
    done = run(store, events=[event])
    assert checked.result == done.result
    assert checked.result["summary"]["samples_written"] == 6


def test_two_collections_at_once_do_no_harm_and_can_be_kept_apart(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage())
    first = run(store)
    with lease(Workspace.open(store).files, "collect", 60.0):
        skipped = run(store, if_running="skip")
        assert (skipped.result["collected"], skipped.result["snapshot_id"]) == (False, first.result["snapshot_id"])
        assert said(skipped, "Another collection")
        assert run(store, if_running="run").result["collected"] is True
    assert run(store, if_running="skip").result["collected"] is True
    assert cpu_of(store, NOW - 300, NOW + 300) == [1.0]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("history_hours", -1.0),
        ("history_hours", float("nan")),
        ("retention_days", -1.0),
        ("retention_days", 0.0),
        ("retention_days", float("nan")),
        ("deadline_s", 0.0),
        ("deadline_s", float("nan")),
        ("keep_others_minutes", -5.0),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_times_that_cannot_be_meant_are_refused_by_name_and_forget_nothing(
    store: str, option: str, value: float, check_mode: bool
) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage())
    run(store)
    with pytest.raises(InvalidOption) as refusal:
        run(store, check_mode=check_mode, **{option: value})
    assert refusal.value.details["option"] == option
    assert cpu_of(store, NOW - 300, NOW + 300) == [1.0]


def test_subsets_say_what_is_gathered(store: str) -> None:
    script = SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage(), past=[usage(ts=NOW - 600.0)])
    assert run(store, gather_subset=["min"]).result["summary"]["samples_written"] == 0
    assert (script.asked_history, script.counters_seen) == ([], [])
    assert run(store, gather_subset=["all", "!history"]).result["summary"]["samples_written"] == 3
    assert gathered_subsets(["!history"]) == {"usage", "sources"}
    assert gathered_subsets(["!all", "usage"]) == {"usage"}
    with pytest.raises(InvalidOption, match="unknown subset"):
        gathered_subsets(["weather"])


def test_events_replace_the_stored_ones_and_stay_when_not_given(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab"), vm("lab", "u-2", "db", labels={"tier": "gold"})], readings=usage())
    events = [
        {"name": "backup", "start": "2026-01-01T02:00:00", "rrule": "FREQ=DAILY", "duration_minutes": 30},
        {"name": "batch", "times": [to_iso(NOW - 60)], "duration_minutes": 5, "select": "labels.tier == 'gold'"},
    ]
    told = run(store, events=events).result["events"]
    assert [(one["name"], one["vms"]) for one in told] == [("backup", 2), ("batch", 1)]
    assert told[1]["next_start"] == to_iso(NOW - 60)
    assert [one["name"] for one in run(store).result["events"]] == ["backup", "batch"]
    assert [one["name"] for one in run(store, events=events[:1]).result["events"]] == ["backup"]
    assert run(store, events=[]).result["events"] == []
    with pytest.raises(InvalidOption, match="two events"):
        run(store, events=[events[0], events[0]])


def test_of_many_events_the_first_are_shown_and_all_are_kept(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage())
    events = [{"name": f"e{number}", "times": [to_iso(NOW)], "duration_minutes": 5} for number in range(150)]
    outcome = run(store, events=events)
    assert len(outcome.result["events"]) == 100
    assert any("150 events are stored" in warning for warning in outcome.warnings)
    assert len(Workspace.open(store).events.all()) == 150


def test_a_source_that_fails_is_told_and_an_unchanged_file_is_not_read_again(store: str, tmp_path: Path) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage())
    path = tmp_path / "trace.csv"
    path.write_text(f"vm,time,load\nweb,{NOW - 900},400\n")
    trace = {
        "name": "trace", "type": "file", "path": str(path), "entity_column": "vm", "time_column": "time",
        "time_format": "unix_s", "metrics": [{"metric": "cpu", "columns": ["load"], "scale": 0.01}],
    }  # fmt: skip
    broken = {**trace, "name": "broken", "path": str(tmp_path / "absent.csv")}
    first = run(store, sources=[trace, broken]).result["sources"]
    assert [(one["reachable"], one["samples_written"]) for one in first] == [(True, 1), (False, 0)]
    assert first[1]["error"]["code"] == "source_failed"
    assert run(store, sources=[trace]).result["sources"][0]["unchanged"] is True
    assert cpu_of(store, NOW - 900, NOW + 300) == [4.0, 1.0]
    with pytest.raises(InvalidOption, match="called 'lab'"):
        run(store, sources=[{**trace, "name": "lab"}])


def test_an_estate_collected_in_parts_is_whole_in_every_snapshot(store: str) -> None:
    SCRIPTS["a"], SCRIPTS["b"] = Script(vms=[vm("a", "u-a")]), Script(vms=[vm("b", "u-b")])
    parts = {name: [{"name": name, "type": "scripted"}] for name in SCRIPTS}
    run(store, endpoints=parts["a"], keep_others_minutes=30)
    later(0.1)
    second = run(store, endpoints=parts["b"], keep_others_minutes=30)
    estate = Workspace.open(store).snapshots.read(second.result["snapshot_id"])
    assert (set(estate.vms), set(estate.hosts)) == ({"a/u-a", "b/u-b"}, {"a/h1", "b/h1"})
    assert {status.name: status.taken_ts for status in estate.endpoints} == {"a": NOW, "b": NOW + 360.0}
    later(2)
    third = run(store, endpoints=parts["b"], keep_others_minutes=30)
    assert third.result["summary"]["vms"] == 1  # the other part was not seen for too long
    assert run(store, endpoints=parts["a"]).result["summary"]["vms"] == 1


def test_a_vm_that_moves_between_parts_is_where_it_was_seen_last(store: str) -> None:
    SCRIPTS["a"], SCRIPTS["b"] = Script(vms=[vm("a", "u-a")]), Script(vms=[vm("b", "u-b"), vm("b", "u-c")])
    parts = {name: [{"name": name, "type": "scripted"}] for name in SCRIPTS}
    for name in ("a", "b"):
        run(store, endpoints=parts[name], keep_others_minutes=30)
    SCRIPTS["a"], SCRIPTS["b"] = Script(vms=[vm("a", "u-a"), vm("a", "u-c")]), Script(vms=[vm("b", "u-b")])
    later(0.1)
    moved = run(store, endpoints=parts["a"], keep_others_minutes=30, vms=["u-c"])
    assert [one["endpoint"] for one in moved.result["vms"]] == ["a"]
    assert not any("belong to VMs on several endpoints" in warning for warning in moved.warnings)


def test_an_unknown_vm_is_refused_by_name(store: str) -> None:
    SCRIPTS["lab"] = Script(vms=[vm("lab")], readings=usage())
    with pytest.raises(UnknownVm):
        run(store, vms=["nobody"])


@pytest.mark.parametrize("full_at", ["usage", "history"])
def test_a_full_disk_fails_the_task_and_is_no_fault_of_the_endpoint(
    store: str, monkeypatch: pytest.MonkeyPatch, full_at: str
) -> None:
    script = Script(vms=[vm("lab")], readings=usage() if full_at == "usage" else [], past=[usage(ts=NOW - 600.0)])
    SCRIPTS["lab"] = script

    def refuse(_dataset: MetricsDataset, _name: str, _samples: Samples) -> AppendReport:
        raise StoreFull("no space left")

    monkeypatch.setattr(MetricsDataset, "append", refuse)
    with pytest.raises(StoreFull):
        run(store)
    assert Workspace.open(store).snapshots.ids() == []
    assert Workspace.open(store).counters.read("lab") == {}


def test_the_result_of_a_large_estate_stays_small(store: str) -> None:
    vms = [vm("lab", f"u-{number}", f"vm-{number}") for number in range(2000)]
    SCRIPTS["lab"] = Script(vms=vms, readings=[row for one in vms for row in usage(one.uuid)])
    outcome = run(store)
    assert len(json.dumps([outcome.result, outcome.facts, outcome.warnings])) < 10_000

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a collection has to say about the quality of its data."""

from __future__ import annotations

from collections import defaultdict

from ..clock import to_iso
from ..estate.snapshot import Estate
from .gathering import Answer, SourceAnswer, Tally

#: Clocks that differ by more put samples into the wrong step.
_SKEW_S = 30.0
#: A collection is expected every few minutes; a longer silence is worth a word.
_SILENCE_S = 1800.0
_REASONS = {
    "not_finite": "not a finite number",
    "negative": "negative",
    "impossible_time": "with an impossible time",
    "duplicate": "of a time that came twice",
}
_SHOWN = 5


def endpoint_warnings(name: str, answer: Answer, now_ts: float) -> list[str]:
    """Return what is doubtful about the answer of one endpoint."""
    return [
        *answer.warnings,
        *_skew(name, answer),
        *left_out_warnings(name, answer.tally),
        *age_warnings(name, answer.tally.last_ts, now_ts),
        *_gap(name, answer, now_ts),
        *_unmeasured(name, answer),
    ]


def source_warnings(name: str, answer: SourceAnswer, now_ts: float) -> list[str]:
    """Return what is doubtful about the answer of one source."""
    return [
        *answer.warnings,
        *left_out_warnings(name, answer.tally),
        *([] if answer.unchanged else age_warnings(name, answer.tally.last_ts, now_ts)),
    ]


def left_out_warnings(name: str, tally: Tally) -> list[str]:
    """Return a word on every kind of sample that could not be stored; the same time twice is no reason for one."""
    return [
        f"{name}: {count} values were left out that are {_REASONS[reason]}"
        for reason, count in sorted(tally.left_out.items())
        if reason != "duplicate"
    ]


def age_warnings(name: str, last_ts: float | None, now_ts: float) -> list[str]:
    """Return a word when the newest sample is old, or from the future."""
    if last_ts is None:
        return []
    age_s = now_ts - last_ts
    if age_s > _SILENCE_S:
        return [f"{name}: its newest sample is {age_s / 3600.0:.1f} hours old ({to_iso(last_ts)})"]
    if age_s < -_SKEW_S:
        return [f"{name}: its newest sample is {-age_s:.0f} s in the future ({to_iso(last_ts)})"]
    return []


def estate_warnings(estate: Estate) -> list[str]:
    """Return what is doubtful about the estate as a whole: the same uuid in two places."""
    places = defaultdict(list)
    for vm in estate.vms.values():
        places[vm.uuid.lower()].append(vm.endpoint)
    shared = {uuid: endpoints for uuid, endpoints in places.items() if len(endpoints) > 1}
    if not shared:
        return []
    examples = ", ".join(f"{uuid} ({', '.join(endpoints)})" for uuid, endpoints in sorted(shared.items())[:_SHOWN])
    return [f"{len(shared)} uuids belong to VMs on several endpoints, their histories are mixed: {examples}"]


def _skew(name: str, answer: Answer) -> list[str]:
    if answer.inventory.server_ts is None:
        return []
    skew_s = answer.inventory.server_ts - answer.asked_ts
    if abs(skew_s) <= _SKEW_S:
        return []
    direction = "ahead of" if skew_s > 0 else "behind"
    return [f"{name}: its clock is {abs(skew_s):.0f} s {direction} this controller's; synchronise both (NTP)"]


def _gap(name: str, answer: Answer, now_ts: float) -> list[str]:
    taken_ts, since_ts = answer.previous.taken_ts, answer.tally.first_ts
    if taken_ts is None or since_ts is None:
        return []
    hours = (min(since_ts, now_ts) - taken_ts) / 3600.0
    if hours * 3600.0 <= _SILENCE_S:
        return []
    return [f"{name}: nothing is known of the {hours:.1f} hours since {to_iso(taken_ts)}; they stay a gap"]


def _unmeasured(name: str, answer: Answer) -> list[str]:
    if answer.reading is None:
        return []
    measured = set(answer.reading.samples.entity_id.tolist())
    running = [vm for vm in answer.inventory.vms if vm.power_state == "running" and not vm.is_template]
    silent = [vm for vm in running if vm.uuid not in measured]
    if not silent:
        return []
    examples = ", ".join(repr(vm.name) for vm in silent[:_SHOWN])
    return [f"{name}: {len(silent)} of {len(running)} running VMs have no sample in this collection: {examples}"]

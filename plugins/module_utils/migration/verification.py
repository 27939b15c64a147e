# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a VM really is after a move: asked of both sides by uuid, never taken from the status of a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..clock import Clock
from ..errors import ForesightError
from ..hypervisors.protocol import Driver, Whereabouts

#: Seconds between two looks, and how long the two sides may take to agree after a move has ended.
LOOK_INTERVAL_S = 0.5
AGREE_LIMIT_S = 60.0

#: The first three are final. ``elsewhere``: it runs on a third host. ``between``: not settled yet. ``unknown``: a side
#: did not answer.
FINAL = ("arrived", "stayed", "elsewhere")
VERDICTS = (*FINAL, "both", "lost", "between", "unknown")


@dataclass(frozen=True, slots=True)
class Place:
    """A host as a driver knows it."""

    driver: Driver
    host_id: str

    @property
    def key(self) -> str:
        """The `Host.key` of the place."""
        return f"{self.driver.name}/{self.host_id}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where the VM is; ``evidence`` holds a sentence per side that was asked, ``elsewhere`` a third host's key."""

    verdict: str
    evidence: tuple[str, ...]
    elsewhere: str | None = None


def judge(
    seen_at_source: Sequence[Whereabouts] | ForesightError,
    seen_at_destination: Sequence[Whereabouts] | ForesightError,
    source_host_id: str,
    destination_host_id: str,
) -> str:
    """Return one of `VERDICTS` from what both endpoints say; pure.

    The destination is trusted: running there with all its memory and not active on the source (or the source not
    answering) is ``arrived``. A source that runs the VM while the destination does not (or does not answer) is
    ``stayed``.
    """
    at_destination = _state(seen_at_destination, destination_host_id)
    at_source = _state(seen_at_source, source_host_id)
    if at_destination == "running":
        return "both" if at_source == "running" else "arrived"
    if at_source == "running":
        return "stayed"
    if "unknown" in (at_source, at_destination):
        return "unknown"
    if at_source == at_destination == "absent":
        return "lost"
    return "between"


def verify(vm_uuid: str, source: Place, destination: Place, clock: Clock, limit_s: float = AGREE_LIMIT_S) -> Verdict:
    """Ask both sides until they agree on one place, at most ``limit_s`` seconds; return what they say."""
    deadline_ts = clock.now() + limit_s
    while True:
        verdict = look(vm_uuid, source, destination)
        if verdict.verdict in FINAL or clock.now() >= deadline_ts:
            return verdict
        clock.sleep(LOOK_INTERVAL_S)


def look(vm_uuid: str, source: Place, destination: Place) -> Verdict:
    """Ask both sides once."""
    at_destination = _ask(destination.driver, vm_uuid)
    same = source.driver is destination.driver
    at_source = at_destination if same else _ask(source.driver, vm_uuid)
    verdict = judge(at_source, at_destination, source.host_id, destination.host_id)
    ends = (source.key, destination.key)
    elsewhere = _elsewhere(at_source, source.driver.name, ends) or _elsewhere(
        at_destination, destination.driver.name, ends
    )
    if verdict in ("lost", "between") and elsewhere is not None:
        verdict = "elsewhere"
    evidence = [_sentence("destination", destination, at_destination), _sentence("source", source, at_source)]
    return Verdict(verdict, tuple(evidence), elsewhere)


def _ask(driver: Driver, vm_uuid: str) -> Sequence[Whereabouts] | ForesightError:
    try:
        return driver.locate(vm_uuid)
    except ForesightError as error:
        return error


def _state(seen: Sequence[Whereabouts] | ForesightError, host_id: str) -> str:
    """Return ``running``, ``present`` (known but not running), ``absent`` or ``unknown`` for one host."""
    if isinstance(seen, ForesightError):
        return "unknown"
    here = [place for place in seen if place.host_id == host_id]
    if any(place.active and place.power_state == "running" and place.complete for place in here):
        return "running"
    return "present" if here else "absent"


def _elsewhere(seen: Sequence[Whereabouts] | ForesightError, endpoint: str, ends: Sequence[str]) -> str | None:
    """Return the key of a host of that endpoint which runs the VM and is neither end of the move."""
    if isinstance(seen, ForesightError):
        return None
    running = [f"{endpoint}/{found.host_id}" for found in seen if found.active and found.power_state == "running"]
    return next((key for key in running if key not in ends), None)


def _sentence(side: str, place: Place, seen: Sequence[Whereabouts] | ForesightError) -> str:
    if isinstance(seen, ForesightError):
        return f"{side} {place.key}: no answer ({seen.code})"
    state = _state(seen, place.host_id)
    if state == "present":
        state = ", ".join(_in_words(found) for found in seen if found.host_id == place.host_id)
    return f"{side} {place.key}: {state}"


def _in_words(found: Whereabouts) -> str:
    """Return how a host has a VM that does not run there, or not yet as a whole."""
    if not found.complete:
        return "running, part of its memory elsewhere"
    return found.power_state if found.active else f"{found.power_state}, not the one that runs"

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Faults on request: what goes wrong in a simulated estate, from the scenario or added while it lives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...errors import InvalidOption
from ...estate.nouns import HOST_STATES
from ...estate.resources import RESOURCES
from .fields import Fields

#: What each kind needs beyond the conditions that all kinds share; see docs/simulated.md.
KINDS: Mapping[str, tuple[str, ...]] = {
    "migration_stall": (),
    "migration_failure": (),
    "host_state": ("host",),
    "hold_refused": (),
    "slow_answers": ("delay_s",),
    "endpoint_unreachable": (),
    "demand_jump": ("vm", "factor"),
}


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the conditions under which it strikes; a condition that is None always holds.

    ``vm`` is a name or uuid, ``host`` a host id or name (for migrations: the destination). The fault is live in
    [``start_ts``, ``end_ts``) and strikes at most ``times`` times. ``at_percent`` is how much of the first pass over
    memory a migration has sent when it is struck.
    """

    kind: str
    vm: str | None = None
    host: str | None = None
    endpoint: str | None = None
    resource: str | None = None
    calls: tuple[str, ...] = ()
    at_percent: float | None = None
    for_s: float | None = None
    delay_s: float = 0.0
    factor: float = 1.0
    state: str = "off"
    message: str = ""
    start_ts: float | None = None
    end_ts: float | None = None
    times: int | None = None

    def live(self, now_ts: float) -> bool:
        """Return whether ``now_ts`` is within the fault's time."""
        return (self.start_ts is None or self.start_ts <= now_ts) and (self.end_ts is None or now_ts < self.end_ts)

    def as_dict(self) -> dict[str, Any]:
        """Return the fault as the scenario writes it."""
        data = {key: value for key, value in asdict(self).items() if value is not None}
        for own, written in (("start_ts", "start"), ("end_ts", "end")):
            if own in data:
                data[written] = data.pop(own)
        data["calls"] = list(self.calls)
        return data


@dataclass(frozen=True, slots=True)
class LiveFault:
    """A fault as it stands in the state: ``used`` counts how often it has struck."""

    fault_id: str
    fault: Fault
    used: int = 0

    def ready(self, now_ts: float) -> bool:
        """Return whether it can strike now."""
        return self.fault.live(now_ts) and (self.fault.times is None or self.used < self.fault.times)


def read_fault(item: Fields) -> Fault:
    """Read and check one fault; raises `InvalidOption` naming the option."""
    kind = item.choice("kind", tuple(KINDS))
    fault = Fault(
        kind=kind,
        vm=item.optional_text("vm"),
        host=item.optional_text("host"),
        endpoint=item.optional_text("endpoint"),
        resource=item.choice("resource", RESOURCES) if "resource" in item else None,
        calls=item.texts("calls"),
        at_percent=item.optional_number("at_percent", minimum=0.0, maximum=100.0),
        for_s=item.optional_number("for_s", minimum=0.0),
        delay_s=item.number("delay_s", 0.0, minimum=0.0),
        factor=item.number("factor", 1.0, minimum=0.0),
        state=item.choice("state", HOST_STATES, "off"),
        message=item.text("message", ""),
        start_ts=item.optional_moment("start"),
        end_ts=item.optional_moment("end"),
        times=item.integer("times", minimum=1) if "times" in item else None,
    )
    item.refuse_unknown()
    for needed in KINDS[kind]:
        if needed not in item:
            raise InvalidOption(f"{item.path}.{needed}", f"is required for a fault of kind {kind}")
    return fault

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host has, carries and holds, step by step over a window. Pure functions and values."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..estate.reservation import Reservation
from ..estate.resources import FIELD_OF, RESOURCES, Resources
from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: How far soft reservations may pass the limit: the factor on ``capacity x limit``.
DEFAULT_SOFT_OVERCOMMIT = 1.25


@dataclass(frozen=True, slots=True, eq=False)
class HostRoom:
    """What a claim on a host is measured against.

    A ``capacity`` of 0 is an unknown one, which nothing can exceed. ``limit`` is the usable share of ``capacity``
    per resource name (absent: 1.0). ``load`` is the forecast load of
    everything that already runs there, at the level the user chose, shape (4 resources in the order of `RESOURCES`,
    steps), in the units of `Resources`; its first step begins at ``start_ts`` (Unix seconds), each lasts ``step_s``.
    Steps outside of it count with the largest load of any step. ``taken_ts`` is when it was seen what runs there: a
    reservation consumed later still counts, one consumed earlier is part of the load. ``paths`` holds the load per
    scenario, shape (scenarios, 4, steps), and is what the likelihood of holding is read from.
    ``soft_overcommit`` is the factor on ``capacity x limit`` up to which soft reservations are accepted.
    """

    capacity: Resources
    limit: Mapping[str, float]
    load: NDArray[np.floating]
    start_ts: float
    step_s: int
    taken_ts: float = -math.inf
    paths: NDArray[np.floating] | None = None
    soft_overcommit: float = DEFAULT_SOFT_OVERCOMMIT

    def ceiling(self) -> NDArray[np.float64]:
        """Return ``capacity x limit`` per resource, shape (4,); infinite where the capacity is unknown."""
        known = np.array([self.capacity[name] * self.limit.get(name, 1.0) for name in RESOURCES], dtype=np.float64)
        return np.where(np.array(list(self.capacity)) > 0, known, np.inf)

    def load_between(self, first_step: int, steps: int) -> NDArray[np.float64]:
        """Return the load of ``steps`` steps from ``first_step`` on, shape (4, steps)."""
        return _between(np.asarray(self.load, dtype=np.float64), first_step, steps)

    def paths_between(self, first_step: int, steps: int) -> NDArray[np.float64] | None:
        """Return the load per scenario of those steps, shape (scenarios, 4, steps); None without scenarios."""
        if self.paths is None:
            return None
        return _between(np.asarray(self.paths, dtype=np.float64), first_step, steps)


def _between(known: NDArray[np.float64], first_step: int, steps: int) -> NDArray[np.float64]:
    """Return steps of the last axis; those outside of what is known carry the largest known value."""
    if known.shape[-1] == 0 or not np.isfinite(known).all():
        raise ValueError("the load of a host must cover at least one step and hold finite numbers only")
    wanted = np.arange(first_step, first_step + steps)
    outside = (wanted < 0) | (wanted >= known.shape[-1])
    result = known[..., np.clip(wanted, 0, known.shape[-1] - 1)]
    return np.where(outside, known.max(axis=-1, keepdims=True), result)


@dataclass(frozen=True, slots=True, eq=False)
class HostCalendar:
    """A host's allocation plan: ``load``, ``hard`` and ``soft`` are arrays (4 resources, steps), ``ceiling`` (4,).

    Steps are ``step_s`` long from ``start_ts`` on. ``hard`` and ``soft`` are the sums of the reservations of that
    tier that touch the step.
    """

    start_ts: float
    step_s: int
    ceiling: NDArray[np.float64]
    load: NDArray[np.float64]
    hard: NDArray[np.float64]
    soft: NDArray[np.float64]
    paths: NDArray[np.float64] | None = field(default=None, repr=False)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return int(self.load.shape[1])

    @property
    def free(self) -> NDArray[np.float64]:
        """What a new hard claim could have per resource and step; negative where the host is over its limit."""
        return self.ceiling[:, None] - self.load - self.hard

    def adding(self, amount: Resources, tier: str, start_ts: float, end_ts: float) -> HostCalendar:
        """Return the calendar with one more reservation in it."""
        touched = _touched(self, start_ts, end_ts)
        added = np.array(list(amount), dtype=np.float64)[:, None] * touched
        if tier == "hard":
            return replace(self, hard=self.hard + added)
        return replace(self, soft=self.soft + added)

    def rows(self, at_most: int = 24) -> list[dict[str, Any]]:
        """Return the calendar as at most ``at_most`` rows of equal length, each with the worst of its steps.

        A row is ``{from, until, load, hard, soft, free}``; the last four hold one figure per resource field, None
        where the capacity is unknown.
        """
        width = max(1, math.ceil(self.steps / at_most))
        return [self._row(first, min(first + width, self.steps)) for first in range(0, self.steps, width)]

    def _row(self, first: int, end: int) -> dict[str, Any]:
        def amounts(values: NDArray[np.float64]) -> dict[str, float | None]:
            figures = (round(float(value), 3) if math.isfinite(value) else None for value in values)
            return dict(zip(FIELD_OF.values(), figures, strict=True))

        return {
            "from": to_iso(self.start_ts + first * self.step_s),
            "until": to_iso(self.start_ts + end * self.step_s),
            "load": amounts(self.load[:, first:end].max(axis=1)),
            "hard": amounts(self.hard[:, first:end].max(axis=1)),
            "soft": amounts(self.soft[:, first:end].max(axis=1)),
            "free": amounts(self.free[:, first:end].min(axis=1)),
        }


def _touched(calendar: HostCalendar, start_ts: float, end_ts: float) -> NDArray[np.bool_]:
    """Return which steps the window [start_ts, end_ts) touches; a step touched in part counts whole."""
    begins = calendar.start_ts + calendar.step_s * np.arange(calendar.steps)
    return (begins < end_ts) & (begins + calendar.step_s > start_ts)


def is_lapsed(reservation: Reservation, now_ts: float) -> bool:
    """Return whether an active reservation's lease or window has passed, so that it no longer holds anything."""
    return reservation.state == "active" and min(reservation.lease_expires_ts, reservation.end_ts) <= now_ts


def holds_room(reservation: Reservation, room: HostRoom, now_ts: float) -> bool:
    """Return whether the reservation takes part of the host's room at ``now_ts``.

    An active one does until it lapses. A consumed one does until its window ends, unless the load was taken after
    it was consumed: then the VM is part of the load, or has left.
    """
    if reservation.state == "active":
        return not is_lapsed(reservation, now_ts)
    return reservation.state == "consumed" and reservation.end_ts > now_ts and reservation.updated_ts > room.taken_ts


def build_calendar(
    room: HostRoom, reservations: Iterable[Reservation], start_ts: float, end_ts: float, now_ts: float
) -> HostCalendar:
    """Return the host's calendar over [start_ts, end_ts), on the grid of ``room``, with what ``reservations`` hold.

    Raises ValueError when the room's load is empty or not finite.
    """
    first = math.floor((start_ts - room.start_ts) / room.step_s)
    steps = max(1, math.ceil((end_ts - room.start_ts) / room.step_s) - first)
    empty = np.zeros((len(RESOURCES), steps), dtype=np.float64)
    calendar = HostCalendar(
        start_ts=room.start_ts + first * room.step_s,
        step_s=room.step_s,
        ceiling=room.ceiling(),
        load=room.load_between(first, steps),
        hard=empty,
        soft=empty,
        paths=room.paths_between(first, steps),
    )
    for reservation in reservations:
        if holds_room(reservation, room, now_ts):
            calendar = calendar.adding(reservation.amount, reservation.tier, reservation.start_ts, reservation.end_ts)
    return calendar

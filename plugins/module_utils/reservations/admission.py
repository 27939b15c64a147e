# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host has the room for one more reservation: a pure function over its calendar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..estate.reservation import Reservation
from ..estate.resources import RESOURCES, UNITS, Resources
from ..libraries import library
from .host_calendar import HostCalendar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Relative slack that keeps a claim of exactly what is left from failing by rounding.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Shortfall:
    """What one resource lacks. ``wanted``, ``available`` and ``missing`` are of the worst step, in its unit.

    ``steps_short`` of the window's ``steps`` lack something, the first at ``first_ts``, the worst at ``worst_ts``.
    """

    resource: str
    wanted: float
    available: float
    missing: float
    first_ts: float
    worst_ts: float
    steps_short: int
    steps: int

    def sentence(self) -> str:
        """Return the shortfall as one clause for people."""
        unit = UNITS[self.resource]
        return (
            f"{self.resource} lacks {self.missing:.6g} {unit} at {to_iso(self.worst_ts)} "
            f"(wanted {self.wanted:.6g}, available {self.available:.6g}; "
            f"short in {self.steps_short} of {self.steps} steps from {to_iso(self.first_ts)})"
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the figures JSON-able, times in ISO 8601."""
        return {
            "resource": self.resource,
            "unit": UNITS[self.resource],
            "wanted": self.wanted,
            "available": self.available,
            "missing": self.missing,
            "first_step": to_iso(self.first_ts),
            "worst_step": to_iso(self.worst_ts),
            "steps_short": self.steps_short,
            "steps": self.steps,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a claim.

    ``likelihood`` is the share of the forecast's scenarios in which everything (load, hard, soft and this claim)
    stays within the limit at every step of the window; None where the room brought no scenarios. ``yielding`` holds
    the ids of soft reservations that the claim leaves without full cover at the forecast load. ``unchecked`` names
    the resources asked for whose capacity is unknown, so that nothing can be said of them.
    """

    admitted: bool
    shortfall: tuple[Shortfall, ...] = ()
    likelihood: float | None = None
    yielding: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()


def admit(
    amount: Resources,
    tier: str,
    others: HostCalendar,
    soft_overcommit: float,
    soft_reservations: Sequence[Reservation] = (),
) -> Verdict:
    """Decide on ``amount`` over every step of ``others``, the calendar of the claim's window without the claim.

    Hard: ``load + hard + amount <= capacity x limit`` at every step, per resource; soft reservations do not count,
    they yield. Soft: ``load + hard + soft + amount <= capacity x limit x soft_overcommit``. A resource of which
    nothing is asked is not looked at. ``soft_reservations`` are those in ``others``, to name the yielding ones.
    """
    wanted = np.array(list(amount), dtype=np.float64)
    if tier == "hard":
        available = others.free
    else:
        available = others.ceiling[:, None] * soft_overcommit - others.load - others.hard - others.soft
    shortfall = tuple(
        lack for index in np.flatnonzero(wanted > 0) if (lack := _lack(int(index), wanted, available, others))
    )
    return Verdict(
        admitted=not shortfall,
        shortfall=shortfall,
        likelihood=_likelihood(wanted, others),
        yielding=_yielding(wanted, others, soft_reservations) if tier == "hard" and not shortfall else (),
        unchecked=tuple(
            name
            for name, need, ceiling in zip(RESOURCES, wanted, others.ceiling, strict=True)
            if need > 0 and not np.isfinite(ceiling)
        ),
    )


def _lack(
    index: int, wanted: NDArray[np.float64], available: NDArray[np.float64], others: HostCalendar
) -> Shortfall | None:
    missing = wanted[index] - available[index]
    if not np.isfinite(others.ceiling[index]):
        return None
    slack = ROUNDING * max(1.0, float(others.ceiling[index]))
    short = np.flatnonzero(missing > slack)
    if not len(short):
        return None
    worst = int(missing.argmax())
    return Shortfall(
        resource=RESOURCES[index],
        wanted=float(wanted[index]),
        available=max(0.0, float(available[index, worst])),
        missing=float(missing[worst]),
        first_ts=others.start_ts + int(short[0]) * others.step_s,
        worst_ts=others.start_ts + worst * others.step_s,
        steps_short=len(short),
        steps=others.steps,
    )


def _likelihood(wanted: NDArray[np.float64], others: HostCalendar) -> float | None:
    if others.paths is None:
        return None
    asked = wanted > 0
    total = others.paths[:, asked] + (others.hard + others.soft + wanted[:, None])[asked]
    ceiling = others.ceiling[asked][:, None]
    return float((total <= ceiling * (1 + ROUNDING)).all(axis=(1, 2)).mean())


def _yielding(
    wanted: NDArray[np.float64], others: HostCalendar, soft_reservations: Sequence[Reservation]
) -> tuple[str, ...]:
    total = others.load + others.hard + others.soft + wanted[:, None]
    over = total > others.ceiling[:, None] * (1 + ROUNDING)
    begins = others.start_ts + others.step_s * np.arange(others.steps)
    found = []
    for reservation in soft_reservations:
        touched = (begins < reservation.end_ts) & (begins + others.step_s > reservation.start_ts)
        asked = np.array(list(reservation.amount)) > 0
        if over[asked][:, touched].any():
            found.append(reservation.reservation_id)
    return tuple(sorted(found))

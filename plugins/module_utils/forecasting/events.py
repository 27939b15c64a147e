# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scheduled events: what each adds to each series, learned from when it came before, or as declared.

What events added to the past is taken out before models see it, and what they will add is put back on top of what
the models say. So a backup of last Sunday does not raise Tuesday, and next Sunday has its backup. Of events that fall
on the same hours, each is credited only with what those before it leave over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..libraries import library
from .history import History
from .request import KnownEvent

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: An effect below this share of a series' mean is noise.
NOTICEABLE = 0.02


@dataclass
class Effects:
    """What events do to the series of a `History`, in its scaled units.

    ``amounts`` (series, steps + horizon) is what they added and will add, ``under_way`` (events, steps + horizon)
    when each is on, ``touched`` (events, series) whom it concerns. ``unknown`` (series, horizon) marks steps ahead with
    an event of which nobody knows what it does; ``notes`` says per series what was found.
    """

    amounts: NDArray[np.float32]
    under_way: NDArray[np.bool_]
    touched: NDArray[np.bool_]
    unknown: NDArray[np.bool_]
    notes: dict[int, list[str]] = field(default_factory=dict)

    def regressors(self, rows: slice) -> NDArray[np.float32]:
        """Return when each event that touches any of the series is on for each, (series, events, steps + horizon)."""
        mine = self.touched[:, rows].T
        known = mine.any(axis=0)
        return np.asarray(mine[:, known, None] & self.under_way[None, known], np.float32)

    def take_out_of(self, history: History) -> None:
        """Take what the events added to the past out of the values of ``history``, in place."""
        steps = history.values.shape[1]
        for row in np.flatnonzero(self.touched.any(axis=0)):
            np.maximum(history.values[row] - self.amounts[row, :steps], 0.0, out=history.values[row])


def find_effects(history: History, horizon: int, events: Sequence[KnownEvent]) -> Effects | None:
    """Return what ``events`` do to each series; None when none of them touches any."""
    rows = [
        np.array([row for row, key in enumerate(history.keys) if key.entity_id in event.entity_ids], np.int64)
        for event in events
    ]
    concerned = [(event, touched) for event, touched in zip(events, rows, strict=True) if len(touched)]
    if not concerned:
        return None
    steps = history.values.shape[1]
    effects = Effects(
        amounts=np.zeros((len(history.keys), steps + horizon), np.float32),
        under_way=np.stack([_under_way(event, history, horizon) for event, _rows in concerned]),
        touched=np.zeros((len(concerned), len(history.keys)), np.bool_),
        unknown=np.zeros((len(history.keys), horizon), np.bool_),
    )
    for place, (_event, touched) in enumerate(concerned):
        effects.touched[place, touched] = True
    for place, (event, touched) in enumerate(concerned):
        for row in touched:
            _find_effect(history, int(row), event, effects, place)
    return effects


def _under_way(event: KnownEvent, history: History, horizon: int) -> NDArray[np.bool_]:
    """Return for each step of the history and the horizon whether the event is on for any part of it."""
    steps = history.values.shape[1]
    starts = history.origin_ts + (np.arange(steps + horizon) - steps) * history.step_s
    on = np.zeros(steps + horizon, np.bool_)
    for begin, end in event.spans:
        on |= (starts < end) & (starts + history.step_s > begin)
    return on


def _find_effect(history: History, row: int, event: KnownEvent, effects: Effects, place: int) -> None:
    steps = history.values.shape[1]
    on: NDArray[np.bool_] = effects.under_way[place]
    ahead = on[steps:]
    learned = _learned(history, row, effects, place)
    note = ""
    if learned is not None:
        amount = learned if abs(learned) >= NOTICEABLE else 0.0
        effects.amounts[row, on] += np.float32(amount)
        note = f"event {event.name!r}: {amount * history.scale[row]:+.3g} learned from its past occurrences"
    elif (on[:steps] & history.observed[row]).any():
        note = f"event {event.name!r}: part of the daily pattern"
    elif history.keys[row].metric in event.effects:
        declared = event.effects[history.keys[row].metric]
        effects.amounts[row, on] += np.float32(declared / history.scale[row])
        note = f"event {event.name!r}: not seen before, declared effect {declared:+.3g} taken"
    elif event.effects:
        note = ""  # declared, and not for this metric
    else:
        effects.unknown[row] |= ahead
        note = f"event {event.name!r}: never seen and of unknown effect; upper quantiles widened while it lasts"
    if note and ahead.any():
        effects.notes.setdefault(row, []).append(note)


def _learned(history: History, row: int, effects: Effects, place: int) -> float | None:
    """Return how much higher the series was during the event than at the same times of days without any other event.

    It is the median over the event's measured steps. None when the event was never measured, or no day without one
    tells what would have been. An event of every day is part of every day, those without other events included.
    """
    day = history.day
    steps = history.values.shape[1]
    values = (history.values[row] - effects.amounts[row, :steps]).reshape(-1, day)
    observed = history.observed[row].reshape(-1, day)
    by_event = effects.under_way[effects.touched[:, row], :steps].reshape(-1, *observed.shape)
    on = effects.under_way[place, :steps].reshape(-1, day)
    during = on & observed
    times = np.flatnonzero(during.any(axis=0))
    by_event, on, observed, during = by_event[:, :, times], on[:, times], observed[:, times], during[:, times]
    daily = (by_event | ~observed).all(axis=1, keepdims=True)
    quiet = observed & ~on & ~(by_event & ~daily).any(axis=0)
    compared = during & quiet.any(axis=0)
    if not compared.any():
        return None
    excess = values[:, times] - _medians(values[:, times], quiet)
    return float(np.median(excess[compared]))


def _medians(values: NDArray[np.float32], counted: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the median of each column's counted values; NaN for a column without any."""
    ordered = np.sort(np.where(counted, values, np.nan), axis=0)  # NaN sorts last
    count = counted.sum(axis=0)
    middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2])
    return np.asarray(np.take_along_axis(ordered, np.minimum(middle, len(values) - 1), axis=0).mean(axis=0), np.float32)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scheduled events: what each adds to each series, learned from when it came before, or as declared.

What events added to the past is taken out before models see it, and what they will add is put back on top of what
the models say. So a backup of last Sunday does not raise Tuesday, and next Sunday has its backup.
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
        """Return when each event is on for each of the series, (series, events, steps + horizon), 0 or 1."""
        mine = self.touched[:, rows].T
        return np.asarray(mine[:, :, None] & self.under_way[None], np.float32)


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
    busy: NDArray[np.bool_] = np.any(effects.under_way[:, :steps], axis=0)
    for place, (event, touched) in enumerate(concerned):
        effects.touched[place, touched] = True
        for row in touched:
            _find_effect(history, int(row), event, effects, place, busy)
    return effects


def _under_way(event: KnownEvent, history: History, horizon: int) -> NDArray[np.bool_]:
    """Return for each step of the history and the horizon whether the event is on for any part of it."""
    steps = history.values.shape[1]
    starts = history.origin_ts + (np.arange(steps + horizon) - steps) * history.step_s
    on = np.zeros(steps + horizon, np.bool_)
    for begin, end in event.spans:
        on |= (starts < end) & (starts + history.step_s > begin)
    return on


def _find_effect(
    history: History, row: int, event: KnownEvent, effects: Effects, place: int, busy: NDArray[np.bool_]
) -> None:
    steps = history.values.shape[1]
    on: NDArray[np.bool_] = effects.under_way[place]
    ahead = on[steps:]
    learned = _learned(history, row, on[:steps], busy)
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


def _learned(history: History, row: int, on: NDArray[np.bool_], busy: NDArray[np.bool_]) -> float | None:
    """Return how much higher the series was during the event than at the same times of days without any event.

    It is the median over the event's measured steps. None when the event was never measured, or no day without one
    tells what would have been.
    """
    day = history.day
    values, observed = history.values[row].reshape(-1, day), history.observed[row].reshape(-1, day)
    during = on.reshape(-1, day) & observed
    quiet = ~busy.reshape(-1, day) & observed
    comparable = quiet.any(axis=0)
    if not (during & comparable).any():
        return None
    usual = np.array([np.median(values[quiet[:, step], step]) if comparable[step] else np.nan for step in range(day)])
    excess = (values - usual)[during & comparable]
    return float(np.median(excess))

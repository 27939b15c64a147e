# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Measured series made ready for models: checked, scaled, gaps filled from the same time on other days."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ForesightError
from ..estate.series import SeriesKey, SeriesSet
from ..libraries import library
from .coarse import held

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

DAY_S = 86_400
#: A history of fewer measured steps than this many seconds' worth says nothing about the hours to come.
USABLE_S = 3_600
#: Measured history below which a forecast is marked as made from a short one.
SHORT_S = 2 * DAY_S
#: Silence at the end of a history after which it is called stale.
STALE_S = 3_600
#: A time of day that was never measured for so long is not filled with the one value before it.
LONG_GAP_S = 3 * 3_600
#: Series prepared at a time, to bound memory.
BLOCK_ROWS = 1_024


class BadSeries(ForesightError):
    """The series given to a forecast contradict each other."""

    code = "series_invalid"


@dataclass(frozen=True)
class History:
    """Series ready for models, all of one length, a whole number of days.

    ``values`` (series, steps) is in units of ``scale`` (series,), gap-free; ``observed`` marks what was measured.
    ``steps_measured`` counts that per series; ``silent_steps`` is how many steps before the origin were not.
    """

    keys: tuple[SeriesKey, ...]
    step_s: int
    origin_ts: float
    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    scale: NDArray[np.float64]
    steps_measured: NDArray[np.int64]
    silent_steps: NDArray[np.int64]
    negatives: NDArray[np.int64]

    @property
    def day(self) -> int:
        """Steps per day."""
        return steps_per_day(self.step_s)

    def rows(self, selection: NDArray[np.int64] | slice) -> History:
        """Return the same for some of the series."""
        picked = self.keys[selection] if isinstance(selection, slice) else tuple(self.keys[row] for row in selection)
        return History(
            keys=picked,
            step_s=self.step_s,
            origin_ts=self.origin_ts,
            values=self.values[selection],
            observed=self.observed[selection],
            scale=self.scale[selection],
            steps_measured=self.steps_measured[selection],
            silent_steps=self.silent_steps[selection],
            negatives=self.negatives[selection],
        )


def steps_per_day(step_s: int) -> int:
    """Return how many steps of ``step_s`` make a day (at least one)."""
    return max(1, round(DAY_S / step_s))


def usable_steps(step_s: int) -> int:
    """Return how many measured steps make a usable history."""
    return max(2, USABLE_S // step_s)


def prepare(series: SeriesSet) -> tuple[History, dict[SeriesKey, str]]:
    """Return the usable series as `History`, and why each of the others is not usable.

    Negative and infinite values count as missing: no resource is used negatively. Samples coarser than the steps count
    as measured until the next one. Raises `BadSeries` when a key
    occurs twice or the array does not match the keys.
    """
    _check(series)
    day = steps_per_day(series.step_s)
    count = len(series.keys)
    steps = max(2, -(-series.values.shape[1] // day)) * day
    values = np.zeros((count, steps), np.float32)
    observed = np.zeros((count, steps), np.bool_)
    scale, negatives = np.ones(count), np.zeros(count, np.int64)
    for first in range(0, count, BLOCK_ROWS):
        rows = slice(first, first + BLOCK_ROWS)
        given = np.array(series.values[rows], np.float64)
        negatives[rows] = (given < 0).sum(axis=1)
        given[~np.isfinite(given) | (given < 0)] = np.nan
        raw = np.asarray(held(given, series.step_s), np.float64)
        observed[rows, steps - raw.shape[1] :] = np.isfinite(raw)
        scale[rows] = _scales(raw)
        values[rows] = np.nan
        values[rows, steps - raw.shape[1] :] = raw / scale[rows, None]
        values[rows] = fill_gaps(values[rows], day)
    measured = observed.sum(axis=1)
    needed = usable_steps(series.step_s)
    history = History(
        keys=series.keys,
        step_s=series.step_s,
        origin_ts=series.end_ts,
        values=values,
        observed=observed,
        scale=scale,
        steps_measured=measured,
        silent_steps=np.argmax(observed[:, ::-1], axis=1),
        negatives=negatives,
    )
    poor = np.flatnonzero(measured < needed)
    abstained = {series.keys[row]: _reason(int(measured[row]), int(needed)) for row in poor}
    return (history.rows(np.flatnonzero(measured >= needed)) if len(poor) else history), abstained


def _scales(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each series' mean over what was measured; 1 where that is 0 or nothing was."""
    known = np.isfinite(raw)
    mean = np.where(known, raw, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return np.asarray(np.where(mean > 0, mean, 1.0), np.float64)


def _check(series: SeriesSet) -> None:
    if len(set(series.keys)) != len(series.keys):
        seen: set[SeriesKey] = set()
        twice = next(key for key in series.keys if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadSeries(
            f"the series {tuple(twice)} occurs more than once",
            advice="Give each entity and metric once; merge what came from several sources before.",
            details={"key": list(twice)},
        )
    if series.values.ndim != 2 or len(series.values) != len(series.keys):
        raise BadSeries(f"{len(series.keys)} keys do not match values of shape {series.values.shape}")


def _reason(measured: int, needed: int) -> str:
    if measured == 0:
        return "no history: nothing was measured"
    return f"no usable history: {measured} measured step(s), at least {needed} needed"


def fill_gaps(values: NDArray[np.float32], day: int) -> NDArray[np.float32]:
    """Return ``values`` (series, whole days of ``day`` steps) with missing steps taken from elsewhere.

    First choice is the same time on the nearest earlier day, then on the nearest later day; what no day has at that
    time of day takes the last value before it in the day's profile, then the first after it. Where the profile lacks
    hours, what it has is repeated instead: one value held for so long would stand for all of them.
    """
    count, steps = values.shape
    by_day = values.reshape(count, steps // day, day)
    by_day = _carry(_carry(by_day, axis=1), axis=1, backwards=True)
    by_day = _repeated(by_day)
    flat = by_day.reshape(count, steps)
    return _carry(_carry(flat, axis=1), axis=1, backwards=True)


def as_known(values: NDArray[np.float32], observed: NDArray[np.bool_], day: int) -> NDArray[np.float32]:
    """Return the beginning of a history (series, whole days) without what gaps in it were given from later days.

    Only times of day that were never ``observed`` until then can have been. Series of which nothing was yet are 0.
    """
    ever: NDArray[np.bool_] = np.any(observed.reshape(len(observed), -1, day), axis=1)
    gappy = np.flatnonzero(~ever.all(axis=1))
    if not len(gappy):
        return values
    answer = values.copy()
    answer[gappy] = np.nan_to_num(fill_gaps(np.where(observed[gappy], values[gappy], np.nan).astype(np.float32), day))
    return answer


def _repeated(by_day: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (series, days, steps) whose profiles' long gaps repeat the rest of the day, in its order."""
    steps = by_day.shape[2]
    known = np.isfinite(by_day[:, 0])  # the same on every day
    gap = _run_lengths(~known) * DAY_S >= LONG_GAP_S * steps
    answer = by_day
    for row in np.flatnonzero(gap.any(axis=1) & known.any(axis=1)):
        if answer is by_day:
            answer = by_day.copy()
        missing, there = np.flatnonzero(gap[row]), np.flatnonzero(~gap[row])
        held = _carry(_carry(by_day[row][:, there], axis=1), axis=1, backwards=True)
        answer[row][:, missing] = held[:, np.arange(len(missing)) % len(there)]
    return answer


def _run_lengths(marked: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return for each marked place how long the run of marked ones is that it lies in, (rows, places); 0 elsewhere."""
    places = np.arange(marked.shape[1])
    before = np.maximum.accumulate(np.where(marked, -1, places), axis=1)
    after = np.minimum.accumulate(np.where(marked, len(places), places)[:, ::-1], axis=1)[:, ::-1]
    return np.asarray(np.where(marked, after - before - 1, 0), np.int64)


def _carry(values: NDArray[np.float32], axis: int, backwards: bool = False) -> NDArray[np.float32]:
    """Carry the last known value along ``axis`` into missing ones; leading missing ones stay."""
    if not np.isnan(values).any():
        return values
    moved = np.moveaxis(values, axis, -1)
    if backwards:
        moved = moved[..., ::-1]
    index = np.where(np.isnan(moved), 0, np.arange(moved.shape[-1]))
    filled = np.take_along_axis(moved, np.maximum.accumulate(index, axis=-1), axis=-1)
    if backwards:
        filled = filled[..., ::-1]
    return np.ascontiguousarray(np.moveaxis(filled, -1, axis))

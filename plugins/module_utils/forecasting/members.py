# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cheap members: empirical quantiles of well-chosen parts of a series' own past, vectorised over series."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..libraries import library
from .levels import sample_quantiles
from .model import Model, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


class RecentQuantile(Model):
    """Quantiles of the last ``days`` days, the same for every step ahead."""

    CHEAP = True
    BACKTEST_DAYS = 2
    days: float

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        steps = max(2, round(self.days * task.day))
        flat = sample_quantiles(task.values[:, -steps:], task.levels)
        return np.broadcast_to(flat[:, None, :], (len(flat), task.horizon, flat.shape[1]))


class LastHour(RecentQuantile):
    """Quantiles of the last hour."""

    NAME = "last_hour"
    days = 1 / 24


class LastHours(RecentQuantile):
    """Quantiles of the last six hours."""

    NAME = "last_hours"
    days = 0.25


class LastDay(RecentQuantile):
    """Quantiles of the last day."""

    NAME = "last_day"
    days = 1.0


class LastDays(RecentQuantile):
    """Quantiles of the last three days."""

    NAME = "last_days"
    days = 3.0


class LastWeek(RecentQuantile):
    """Quantiles of the last week."""

    NAME = "last_week"
    days = 7.0


class AllHistory(RecentQuantile):
    """Quantiles of everything known."""

    NAME = "all_history"
    days = 10_000.0


class SeasonalQuantile(Model):
    """Quantiles of the same time of day on past days, over a window of an hour around it."""

    NAME = "seasonal_quantile"
    CHEAP = True
    BACKTEST_DAYS = 2
    days = 14

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        slot = max(1, round(task.day / 24))
        by_day = _days(task, self.days)
        slots = -(-task.day // slot)
        padded = np.concatenate([by_day, by_day[:, :, : slots * slot - task.day]], axis=2)
        hours = padded.reshape(len(padded), padded.shape[1], slots, slot).transpose(0, 2, 1, 3)
        by_slot = sample_quantiles(hours.reshape(len(padded), slots, -1), task.levels)
        return _interpolate(by_slot, slot, task.horizon, task.day)


class SameTime(Model):
    """Quantiles of the same time of day to the step, give or take one: what a daily job of minutes needs."""

    NAME = "same_time"
    CHEAP = True
    BACKTEST_DAYS = 2
    days = 14

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        by_day = _days(task, self.days)
        around = np.concatenate([np.roll(by_day, 1, axis=2), by_day, np.roll(by_day, -1, axis=2)], axis=1)
        by_step = sample_quantiles(np.ascontiguousarray(around.transpose(0, 2, 1)), task.levels)
        return by_step[:, np.arange(task.horizon) % task.day]


class SameMinute(Model):
    """Quantiles of the same minute of the hour over the last day: what an hourly job needs."""

    NAME = "same_minute"
    CHEAP = True
    BACKTEST_DAYS = 2
    hours = 24

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        hour = max(1, round(task.day / 24))
        hours = min(self.hours, task.values.shape[1] // hour)
        by_hour = task.values[:, -hours * hour :].reshape(len(task.values), hours, hour)
        by_minute = sample_quantiles(np.ascontiguousarray(by_hour.transpose(0, 2, 1)), task.levels)
        return by_minute[:, np.arange(task.horizon) % hour]


class SameMinuteLately(SameMinute):
    """The same over the last six hours."""

    NAME = "same_minute_lately"
    hours = 6


class SameMinuteLong(SameMinute):
    """The same over the last four days."""

    NAME = "same_minute_long"
    hours = 96


class SeasonalRecent(Model):
    """Time-of-day medians of two weeks, with the quantiles of the last two days' departures from them."""

    NAME = "seasonal_recent"
    CHEAP = True
    BACKTEST_DAYS = 2
    days = 14
    recent_days = 2.0

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        by_day = _days(task, self.days)
        profile = np.median(by_day, axis=1)
        residual = (by_day - profile[:, None, :]).reshape(len(by_day), -1)
        spread = sample_quantiles(residual[:, -max(2, round(self.recent_days * task.day)) :], task.levels)
        ahead = profile[:, np.arange(task.horizon) % task.day]
        return np.asarray(ahead[:, :, None] + spread[:, None, :], np.float32)


class SeasonalLately(SeasonalRecent):
    """The same with the departures of the last six hours: the daily shape at today's level."""

    NAME = "seasonal_lately"
    recent_days = 0.25


class DayNaive(Model):
    """The value of the same time yesterday, with the quantiles of that rule's errors over the last week."""

    NAME = "day_naive"
    CHEAP = True
    BACKTEST_DAYS = 2
    days = 8

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        by_day = _days(task, self.days)
        errors = (by_day[:, 1:] - by_day[:, :-1]).reshape(len(by_day), -1)
        if not errors.shape[1]:  # one day only: nothing is known of the rule's errors
            errors = np.zeros((len(by_day), 1), np.float32)
        spread = sample_quantiles(errors, task.levels)
        ahead = by_day[:, -1][:, np.arange(task.horizon) % task.day]
        return np.asarray(ahead[:, :, None] + spread[:, None, :], np.float32)


class Drift(Model):
    """The level of the last hour, with the spread that past changes over the same lead time had."""

    NAME = "drift"
    CHEAP = True
    BACKTEST_DAYS = 2
    leads_per_day = 8

    def quantiles(self, task: Task) -> NDArray[np.float32]:
        hour = max(1, round(task.day / 24))
        values = task.values[:, -8 * task.day :]
        level = _moving_mean(values, hour)
        last = level[:, -1]
        every = max(1, hour // 2)
        count = max(2, self.leads_per_day * task.horizon // task.day)
        leads = np.unique(np.linspace(1, task.horizon, count).astype(int))
        leads = leads[leads < values.shape[1] - hour]
        if not len(leads):  # steps of half a day on a day or two: nothing is known of changes
            return np.repeat(np.repeat(last[:, None, None], task.horizon, axis=1), len(task.levels), axis=2)
        at_leads = []
        for lead in leads:
            change = values[:, hour - 1 + lead :: every] - level[:, : level.shape[1] - lead : every]
            at_leads.append(last[:, None] + sample_quantiles(change, task.levels))
        return _between(np.stack(at_leads, axis=1), leads, task.horizon)


def _moving_mean(values: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    sums = np.cumsum(values, axis=1, dtype=np.float64)
    sums = np.concatenate([np.zeros((len(values), 1)), sums], axis=1)
    return np.asarray((sums[:, width:] - sums[:, :-width]) / width, np.float32)


def _between(at_leads: NDArray[np.float32], leads: NDArray[np.int64], horizon: int) -> NDArray[np.float32]:
    """Interpolate (series, leads, levels) linearly to every step 1..horizon."""
    ahead = np.arange(1, horizon + 1)
    right = np.clip(np.searchsorted(leads, ahead), 1, len(leads) - 1) if len(leads) > 1 else np.zeros(horizon, int)
    left = np.maximum(right - 1, 0)
    span = np.maximum(leads[right] - leads[left], 1)
    share = np.clip((ahead - leads[left]) / span, 0, 1).astype(np.float32)[None, :, None]
    return np.asarray(at_leads[:, left] * (1 - share) + at_leads[:, right] * share, np.float32)


def _days(task: Task, most: int) -> NDArray[np.float32]:
    """Return the last ``most`` whole days before the origin, shape (series, days, steps per day)."""
    count = max(1, min(most, task.values.shape[1] // task.day))
    return task.values[:, -count * task.day :].reshape(len(task.values), count, task.day)


def _interpolate(by_slot: NDArray[np.float32], slot: int, horizon: int, day: int) -> NDArray[np.float32]:
    """Return the quantiles of each step ahead between those of the two slots whose middles surround it."""
    slots = by_slot.shape[1]
    position = ((np.arange(horizon) % day) + 0.5) / slot - 0.5
    left = np.floor(position).astype(int)
    share = (position - left).astype(np.float32)[None, :, None]
    return np.asarray(by_slot[:, left % slots] * (1 - share) + by_slot[:, (left + 1) % slots] * share, np.float32)


#: The cheap members `auto` chooses among and the global network weighs (in this order), the fallback of all first.
MEMBERS: tuple[Model, ...] = (
    LastDay(),
    LastHour(),
    LastHours(),
    LastDays(),
    LastWeek(),
    AllHistory(),
    SeasonalQuantile(),
    SameTime(),
    SameMinute(),
    SameMinuteLately(),
    SameMinuteLong(),
    SeasonalRecent(),
    SeasonalLately(),
    DayNaive(),
    Drift(),
)

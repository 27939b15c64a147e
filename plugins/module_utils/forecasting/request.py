# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a forecast is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import InvalidOption
from ..estate.series import SeriesKey, SeriesSet

DAY_S = 86_400


@dataclass(frozen=True, slots=True)
class KnownEvent:
    """A scheduled event as the series see it.

    ``entity_ids`` are those it touches, ``spans`` its (start, end) in Unix seconds, past and ahead, ``effects`` what
    it adds per metric in the metric's unit where somebody declared it. An event seen before is learned instead.
    """

    name: str
    entity_ids: frozenset[str]
    spans: tuple[tuple[float, float], ...]
    effects: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ForecastRequest:
    """How to forecast. ``model`` is a name for all series or a name per metric (others: `auto`).

    ``horizon_s`` is how far ahead, at most a day at a time being sensible. ``no_history_values`` gives, per series
    without usable history, the constant to forecast instead of abstaining (such as a VM's configured size).
    ``demoted`` names, per series, models that keep failing on it. ``workers`` is the number of local processes
    (0: this process); ``dask_scheduler`` an address instead. ``companions`` are series on the same grid that may
    help to forecast those of the same ``entity_id``, such as an application's latency and throughput.
    """

    horizon_s: int = DAY_S
    model: str | Mapping[str, str] = "auto"
    seed: int = 0
    events: tuple[KnownEvent, ...] = ()
    no_history_values: Mapping[SeriesKey, float] = field(default_factory=dict)
    demoted: Mapping[SeriesKey, frozenset[str]] = field(default_factory=dict)
    workers: int = 0
    dask_scheduler: str | None = None
    scenario_step_s: int | None = None
    companions: SeriesSet | None = None

    def model_for(self, metric: str) -> str:
        """Return the name of the model asked for that metric."""
        if isinstance(self.model, str):
            return self.model
        return self.model.get(metric, "auto")

    def horizon_steps(self, step_s: int) -> int:
        """Return the horizon in steps of ``step_s``; raises `InvalidOption` when it is not a whole number of them."""
        if step_s <= 0 or self.horizon_s < step_s or self.horizon_s % step_s:
            raise InvalidOption("horizon_hours", f"{self.horizon_s} s is not a whole number of steps of {step_s} s")
        return self.horizon_s // step_s

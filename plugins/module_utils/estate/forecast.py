# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a forecast says: per series and step, per series over the horizon, and jointly across series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from .series import SeriesKey

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Levels of the per-step quantiles; columns ``q02_5`` … ``q99`` of ``steps.parquet``.
LEVELS = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975, 0.99)
#: Levels of the quantiles of the maximum over the horizon; columns of ``peaks.parquet``.
PEAK_LEVELS = (0.5, 0.9, 0.95, 0.99)


class Scenarios(Protocol):
    """Coherent sample paths: in each scenario all entities move together as they did in history.

    Summing members inside a scenario and then taking quantiles over scenarios gives an honest distribution for any
    group; summing per-VM peaks does not (it over-reserves about twofold).
    """

    @property
    def count(self) -> int:
        """How many scenarios there are; all equally likely."""

    @property
    def step_s(self) -> int:
        """Seconds per step of the paths (may be coarser than the forecast's; a step holds its maximum)."""

    @property
    def horizon_steps(self) -> int:
        """Steps per path."""

    def totals(self, groups: Sequence[Sequence[SeriesKey]]) -> NDArray[np.float32]:
        """Return the sum of each group's members per scenario and step, shape (scenarios, groups, steps).

        Members without a forecast count as 0; `missing` names them.
        """

    def mean_totals(self, groups: Sequence[Sequence[SeriesKey]]) -> NDArray[np.float32]:
        """Return the mean over the scenarios of each group's sum, shape (groups, steps), without building them all.

        This is what a first pass over a thousand hosts can afford. A step that joins several finer ones holds the
        largest of their means, which is at most the mean of what `totals` gives for it.
        """

    def missing(self, keys: Sequence[SeriesKey]) -> tuple[SeriesKey, ...]:
        """Return those of ``keys`` that have no paths."""


@dataclass(frozen=True)
class Outline:
    """A forecast without its arrays: when it begins, how far it goes, and why it leaves series out (``abstained``)."""

    origin_ts: float
    step_s: int
    horizon_steps: int
    levels: tuple[float, ...] = LEVELS
    peak_levels: tuple[float, ...] = PEAK_LEVELS
    abstained: Mapping[SeriesKey, str] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def end_ts(self) -> float:
        """Unix seconds at which it ends."""
        return self.origin_ts + self.step_s * self.horizon_steps


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """How one series was forecast.

    ``score`` is the backtest's weighted quantile loss relative to "same time yesterday" (lower is better).
    """

    model: str
    why: str
    history_steps: int
    score: float | None = None
    coverage_80: float | None = None
    coverage_95: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Forecast:
    """Distributions of future demand for ``keys`` over ``horizon_steps`` steps from ``origin_ts`` (Unix seconds).

    Shapes: ``mean``, ``sd`` (series, steps); ``quantiles`` (series, steps, `LEVELS`); ``peak_mean``, ``peak_sd``
    (series,); ``peak_quantiles`` (series, `PEAK_LEVELS`). Units are the metric's. Series for which no honest
    forecast was possible are not in ``keys`` but in ``abstained`` with the reason.
    """

    keys: tuple[SeriesKey, ...]
    origin_ts: float
    step_s: int
    mean: NDArray[np.float32]
    sd: NDArray[np.float32]
    quantiles: NDArray[np.float32]
    peak_mean: NDArray[np.float32]
    peak_sd: NDArray[np.float32]
    peak_quantiles: NDArray[np.float32]
    reports: tuple[SeriesReport, ...]
    scenarios: Scenarios
    levels: tuple[float, ...] = LEVELS
    peak_levels: tuple[float, ...] = PEAK_LEVELS
    abstained: dict[SeriesKey, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def horizon_steps(self) -> int:
        """Steps forecast for each series."""
        return int(self.mean.shape[1])

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one interface of forecasting models. A new model is one file with one class, and one line in `registry`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from ..errors import ForesightError
from .history import steps_per_day

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class ModelFailed(ForesightError):
    """A model could not forecast a series (it raised, did not converge, or gave values that are not finite)."""

    code = "model_failed"


@dataclass(frozen=True)
class Task:
    """What a model is asked: ``horizon`` steps ahead of ``values``, at ``levels``.

    ``values`` (series, steps) is gap-free and scaled to a mean near 1; ``observed`` marks what was really measured.
    What known events added is taken out of them: it is in ``added`` (series, steps + horizon), the horizon included.
    ``metrics`` names each series' metric. ``origin_ts`` (Unix seconds) is where the history ends. ``regressors``
    (series, regressors, steps + horizon) are known in the past and ahead (events under way, 0 or 1);
    ``companions`` (series, companions, steps) are known in the past only (application latency, throughput).
    """

    values: NDArray[np.float32]
    observed: NDArray[np.bool_]
    metrics: tuple[str, ...]
    step_s: int
    origin_ts: float
    horizon: int
    levels: Sequence[float]
    added: NDArray[np.float32] | None = None
    regressors: NDArray[np.float32] | None = None
    companions: NDArray[np.float32] | None = None

    @property
    def added_ahead(self) -> NDArray[np.float32] | None:
        """What known events will add over the horizon, (series, horizon); None without events."""
        return None if self.added is None else self.added[:, -self.horizon :]

    @property
    def day(self) -> int:
        """Steps per day."""
        return steps_per_day(self.step_s)

    def before(self, steps: int) -> Task:
        """Return the task as it was ``steps`` steps ago."""
        end = self.values.shape[1] - steps
        seen = end + self.horizon
        return Task(
            values=self.values[:, :end],
            observed=self.observed[:, :end],
            metrics=self.metrics,
            step_s=self.step_s,
            origin_ts=self.origin_ts - steps * self.step_s,
            horizon=self.horizon,
            levels=self.levels,
            added=None if self.added is None else self.added[:, :seen],
            regressors=None if self.regressors is None else self.regressors[:, :, :seen],
            companions=None if self.companions is None else self.companions[:, :, :end],
        )

    def rows(self, selection: Sequence[int] | NDArray[np.int64] | slice) -> Task:
        """Return the task for some of the series."""
        metrics = self.metrics[selection] if isinstance(selection, slice) else [self.metrics[row] for row in selection]
        return Task(
            values=self.values[selection],
            observed=self.observed[selection],
            metrics=tuple(metrics),
            step_s=self.step_s,
            origin_ts=self.origin_ts,
            horizon=self.horizon,
            levels=self.levels,
            added=None if self.added is None else self.added[selection],
            regressors=None if self.regressors is None else self.regressors[selection],
            companions=None if self.companions is None else self.companions[selection],
        )


class Model(ABC):
    """Forecasts many series at once. Implementations keep no state between calls and use no randomness."""

    #: The name in playbooks.
    NAME: ClassVar[str]
    #: Whether it costs so little that `auto` tries it on every series.
    CHEAP: ClassVar[bool] = False
    #: How many past days it is backtested on; expensive models are fitted once per series and day.
    BACKTEST_DAYS: ClassVar[int] = 1
    #: Whether it sees events itself, as regressors on the values that were measured.
    USES_EVENTS: ClassVar[bool] = False
    #: Whether it takes past covariates.
    USES_COMPANIONS: ClassVar[bool] = False
    #: Whether one fit per series is slow enough that a failure must leave the other series alone.
    PER_SERIES: ClassVar[bool] = False

    @abstractmethod
    def quantiles(self, task: Task) -> NDArray[np.float32]:
        """Return quantiles in the units of ``task.values``, shape (series, horizon, levels).

        Raises `ModelFailed` when it cannot, or `MissingLibrary` when what it needs is not installed.
        """

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Our default model beside what one would install instead, on the same series and the same groups."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import levels
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.members import (
    DayNaive,
    LastDay,
    SeasonalQuantile,
)
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.model import Model, Task
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest
from forecast_cases import DAY, HERE, LEVELS, METRICS, Case, PeakScore
from forecast_competitors import peak_mib
from numpy.typing import NDArray

METHODS = ("AutoARIMA", "AutoETS", "AutoTheta", "SeasonalNaive", "Prophet", "SARIMAX")
TRIVIAL: tuple[Model, ...] = (DayNaive(), LastDay(), SeasonalQuantile())
#: Series per origin and groups per resource and origin: the slow methods take seconds for each.
SERIES, GROUPS, GROUP = 20, 3, 20
#: Of the others' processes: one thread, so that CPU time is work done and not threads that wait for each other.
ENVIRONMENT = {
    "PYTHONWARNINGS": "ignore",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
HEAD = [
    "method",
    "relWQL",
    "in 80 %",
    "in 95 %",
    "95 % peak: exceeded / reserved to actual / loss",
    *(f"host of 20, {metric}" for metric in METRICS),
    "CPU ms a series",
    "peak memory, MiB",
    "failed",
]


@dataclass
class Marks:
    """One method's marks on the subset."""

    relative: list[float] = field(default_factory=list)
    inside_80: list[float] = field(default_factory=list)
    inside_95: list[float] = field(default_factory=list)
    peaks: PeakScore = field(default_factory=lambda: PeakScore([]))
    hosts: dict[str, PeakScore] = field(default_factory=lambda: {metric: PeakScore([]) for metric in METRICS})

    def row(self, name: str, cpu_ms: str, peak_mib: str, failures: str) -> list[str]:
        """Return the cells of the table."""
        accuracy = f"{np.exp(np.mean(self.relative)):.3f}"
        bands = [f"{np.mean(inside):.3f}" for inside in (self.inside_80, self.inside_95)]
        return [name, accuracy, *bands, str(self.peaks), *map(str, self.hosts.values()), cpu_ms, peak_mib, failures]


@dataclass
class Subset:
    """The series (``rows``) and groups of one case on which everything is scored."""

    case: Case
    rows: NDArray[np.int64]
    groups: list[tuple[str, NDArray[np.int64]]]

    @property
    def histories(self) -> NDArray[np.floating]:
        """The series' histories, then those of the groups' sums."""
        sums = [self.case.filled[group].sum(axis=0) for _metric, group in self.groups]
        return np.concatenate([self.case.filled[self.rows], np.stack(sums)])

    def mark_series(self, marks: Marks, quantiles: NDArray[np.float32], peaks: NDArray[np.floating]) -> None:
        """Score quantiles (series, steps, levels) and stated peaks of the series."""
        whole = np.zeros((len(self.case.keys), *quantiles.shape[1:]), np.float32)
        whole[self.rows] = quantiles
        actual = self.case.actual[self.rows]
        marks.relative += list(self.case.relative(whole)[self.rows])
        marks.inside_80 += list(levels.coverage(quantiles, actual, LEVELS, 0.8))
        marks.inside_95 += list(levels.coverage(quantiles, actual, LEVELS, 0.95))
        for came, stated in zip(np.nanmax(actual, axis=1), peaks, strict=True):
            marks.peaks.add(came, stated)

    def mark_groups(self, marks: Marks, peaks: Sequence[float]) -> None:
        """Score stated peaks of the groups."""
        for (metric, group), stated in zip(self.groups, peaks, strict=True):
            marks.hosts[metric].add(self.case.came(group), stated)

    def mark_bands(self, marks: Marks, said: NDArray[np.float32]) -> None:
        """Score a method that states bands alone: its peak is the highest step of its 95 % level."""
        proper = np.maximum(np.sort(said, axis=2), 0.0)
        peaks = proper[:, :, LEVELS.index(0.95)].max(axis=1)
        count = len(self.rows)
        self.mark_series(marks, proper[:count], peaks[:count])
        self.mark_groups(marks, list(peaks[count:]))


def subsets(cases: Sequence[Case], seed: int) -> list[Subset]:
    """Return the same random series and groups for every method."""
    rng = np.random.default_rng(seed)
    found = []
    for case in cases:
        rows = np.sort(rng.permutation(np.flatnonzero(case.counted))[:SERIES])
        groups = [(metric, group) for metric in METRICS for group in case.groups(metric, GROUP, GROUPS, rng)]
        found.append(Subset(case, rows, groups))
    return found


def side_by_side(cases: Sequence[Case], python: str, kept: Path, seed: int) -> list[list[str]]:
    """Return the table's rows; ``python`` is the interpreter that has the other libraries.

    What they say of these series is kept in the folder ``kept``, and taken from there the next time.
    """
    chosen = subsets(cases, seed)
    rows = [_ours(chosen, seed), *(_trivial(chosen, model) for model in TRIVIAL)]
    histories = np.concatenate([subset.histories for subset in chosen]).astype(np.float32)
    folder = kept / hashlib.sha256(histories.tobytes()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / "in.npz", history=histories, levels=np.array(LEVELS))
    for name in METHODS:
        rows.append(_theirs(chosen, name, python, folder, len(histories)))
    return rows


def _ours(chosen: Sequence[Subset], seed: int) -> list[str]:
    marks, used, count = Marks(), 0.0, 0
    for subset in chosen:
        case = subset.case
        started = time.process_time()
        answer = forecast(case.series, ForecastRequest(seed=seed))
        used += time.process_time() - started
        count += len(case.keys)
        subset.mark_series(marks, answer.quantiles[subset.rows], answer.peak_quantiles[subset.rows, 2])
        paths = answer.scenarios.totals([[case.keys[row] for row in group] for _metric, group in subset.groups])
        subset.mark_groups(marks, list(np.quantile(paths.max(axis=2), 0.95, axis=0)))
    mib = peak_mib()
    return _told(marks.row("`auto` (ours)", f"{1000 * used / count:.0f}", str(mib), "0"))


def _trivial(chosen: Sequence[Subset], model: Model) -> list[str]:
    """Score a rule as one would write it oneself: no calibration, peaks read off the band."""
    marks, used, count = Marks(), 0.0, 0
    for subset in chosen:
        histories = subset.histories.astype(np.float32)
        scale = np.maximum(histories.mean(axis=1), 1e-9)
        values = histories / scale[:, None]
        metrics = ("any",) * len(values)
        task = Task(values, np.ones_like(values, np.bool_), metrics, subset.case.task.step_s, 0.0, DAY, LEVELS)
        started = time.process_time()
        said = model.quantiles(task)
        used += time.process_time() - started
        count += len(values)
        subset.mark_bands(marks, (said * scale[:, None, None]).astype(np.float32))
    return _told(marks.row(f"`{model.NAME}`, plain", f"{1000 * used / count:.1f}", "", "0"))


def _theirs(chosen: Sequence[Subset], name: str, python: str, folder: Path, count: int) -> list[str]:
    if not (folder / f"{name}.json").exists():
        command = [python, str(HERE / "forecast_competitors.py"), name, str(folder), str(DAY)]
        subprocess.run(command, check=True, env={**os.environ, **ENVIRONMENT})
    said = np.load(folder / f"{name}.npy")
    facts = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
    marks, first = Marks(), 0
    for subset in chosen:
        size = len(subset.rows) + len(subset.groups)
        subset.mark_bands(marks, said[first : first + size])
        first += size
    failures = f"{facts['failures']} of {count}"
    return _told(marks.row(name, f"{1000 * facts['cpu_s'] / count:.0f}", str(facts["peak_mib"]), failures))


def _told(cells: list[str]) -> list[str]:
    print(" | ".join(cells), file=sys.stderr, flush=True)
    return cells

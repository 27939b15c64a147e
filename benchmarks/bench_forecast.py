# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scores forecasts on recorded demand of VMs that no weights were learnt from, beside what one would install instead.

Usage: bench_forecast.py [--traces FOLDER] [--origins N] [--competitors PYTHON] [--out FILE]

``--traces`` holds bitbrains_rnd.parquet (default: the sample in benchmarks/data). ``--competitors`` is the interpreter
of a virtual environment with statsforecast and prophet; without it only our own models are scored.
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tools" / "train"), str(HERE.parent / "tests")]
importlib.import_module("conftest")  # makes this checkout importable as the collection
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import LEVELS  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesSet  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import backtest, levels  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import prepare  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.members import DayNaive  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.model import Task  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import (  # noqa: E402
    ForecastRequest,
)
from traces import DAY, METRICS, STEP_S, Traces, read_bitbrains, split  # noqa: E402

HISTORY_DAYS = 14
GROUP, GROUPS = 20, 60
SEED = 0
TRIVIAL = 1e-4
OURS = ("auto", "global", "lstm", "seasonal_quantile", "last_day", "day_naive")
#: Series and origin on which the slow ones are compared with ours.
SUBSET = 12


class Case:
    """One origin: the history, what came, and the loss of yesterday's rule, per series."""

    def __init__(self, traces: Traces, origin: int) -> None:
        self.traces = traces
        self.series = SeriesSet(traces.keys, 0.0, STEP_S, traces.values[:, origin - HISTORY_DAYS * DAY : origin])
        self.actual = traces.values[:, origin : origin + DAY]
        history, _abstained = prepare(self.series)
        assert history.keys == traces.keys, "a benchmark needs VMs that are measured at every origin"
        self.scale = history.scale
        metrics = tuple(key.metric for key in traces.keys)
        task = Task(history.values, history.observed, metrics, STEP_S, 0.0, DAY, LEVELS)
        self.filled = history.values * history.scale[:, None]
        naive = levels.monotone(DayNaive().quantiles(task)) * history.scale[:, None, None]
        self.naive = self.loss(naive.astype(np.float32))
        known = np.isfinite(self.actual).mean(axis=1) > 0.5
        self.counted = known & (self.naive > TRIVIAL) & (np.nan_to_num(self.actual).max(axis=1) > 0)

    def loss(self, quantiles: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return each series' mean pinball loss in units of its mean."""
        return backtest.mean_loss(quantiles, self.actual.astype(np.float32), LEVELS) / self.scale

    def relative(self, quantiles: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the log of the loss relative to yesterday's rule, for the series that count."""
        return np.log((self.loss(quantiles) + 1e-6) / (self.naive + 1e-6))


def score_models(cases: list[Case]) -> list[list[str]]:
    """Return one row per model of ours: accuracy, coverage, peaks, cost."""
    rows = []
    for model in OURS:
        relative, inside80, inside95, excess = [], [], [], []
        started = time.process_time()
        for case in cases:
            answer = forecast(case.series, ForecastRequest(model=model, seed=SEED))
            count = case.counted
            relative.append(case.relative(answer.quantiles)[count])
            inside80.append(levels.coverage(answer.quantiles, case.actual, LEVELS, 0.8)[count])
            inside95.append(levels.coverage(answer.quantiles, case.actual, LEVELS, 0.95)[count])
            peak = np.nanmax(case.actual[count], axis=1)
            excess.append(np.log(peak) - np.log(np.maximum(answer.peak_quantiles[count, 2], 1e-9)))
        cost = 1000 * (time.process_time() - started) / sum(len(case.actual) for case in cases)
        over = np.concatenate(excess)
        rows.append(
            [
                f"`{model}`",
                f"{np.exp(np.concatenate(relative).mean()):.3f}",
                f"{np.concatenate(inside80).mean():.3f}",
                f"{np.concatenate(inside95).mean():.3f}",
                f"{100 * (over > 1e-4).mean():.1f} %",
                f"{np.median(np.exp(-over)):.2f}",
                f"{cost:.1f}",
            ]
        )
        print(" ".join(rows[-1]), flush=True)
    return rows


def score_groups(cases: list[Case]) -> list[list[str]]:
    """Return one row per resource: the 95 % peak of random groups, by scenarios and by the largest past window."""
    rows = []
    rng = np.random.default_rng(SEED)
    found: dict[str, list[tuple[float, float]]] = {metric: [] for metric in METRICS}
    for case in cases:
        answer = forecast(case.series, ForecastRequest(model="last_day", seed=SEED))
        for metric in METRICS:
            members = [row for row, key in enumerate(case.traces.keys) if key.metric == metric]
            groups = [rng.choice(members, min(GROUP, len(members)), replace=False) for _unused in range(GROUPS)]
            paths = answer.scenarios.totals([[case.traces.keys[row] for row in group] for group in groups])
            ours = np.quantile(paths.max(axis=2), 0.95, axis=0)
            for group, said in zip(groups, ours, strict=True):
                came = np.nansum(case.actual[group], axis=0).max()
                window = case.filled[group].sum(axis=0).max() * 1.05
                found[metric].append((np.log(came / said), np.log(came / window)))
    for metric, pairs in found.items():
        cells = [metric]
        for over in np.array(pairs).T:
            loss = np.maximum(0.95 * over, -0.05 * over).mean()
            cells.append(f"{100 * (over > 0).mean():.1f} % / {np.median(np.exp(-over)):.2f} / {loss:.4f}")
        rows.append(cells)
        print(" ".join(cells), flush=True)
    return rows


def score_competitors(case: Case, python: str) -> list[list[str]]:
    """Return one row per method on a few series: relative loss and CPU time, ours on the same ones."""
    order = np.random.default_rng(SEED).permutation(np.flatnonzero(case.counted))[:SUBSET]
    answer = forecast(case.series, ForecastRequest(seed=SEED))
    ours = np.exp(case.relative(answer.quantiles)[order].mean())
    rows = [["`auto` (ours)", f"{ours:.3f}", "see above"]]
    with tempfile.TemporaryDirectory() as folder:
        np.savez(Path(folder) / "in.npz", history=case.filled[order], levels=np.array(LEVELS))
        command = [python, str(HERE / "forecast_competitors.py"), folder, str(DAY)]
        subprocess.run(command, check=True)
        costs = json.loads((Path(folder) / "costs.json").read_text())
        for name, cost in costs.items():
            said = np.load(Path(folder) / f"{name}.npy")
            whole = np.repeat(np.zeros((1, *said.shape[1:]), np.float32), len(case.actual), axis=0)
            whole[order] = np.maximum(np.sort(said, axis=2), 0)
            rows.append([name, f"{np.exp(case.relative(whole)[order].mean()):.3f}", f"{1000 * cost / len(order):.0f}"])
            print(" ".join(rows[-1]), flush=True)
    return rows


def table(head: list[str], rows: list[list[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Score, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=HERE / "data")
    parser.add_argument("--origins", type=int, default=3)
    parser.add_argument("--competitors")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    traces = read_bitbrains(given.traces)
    if len(traces.entities) > 60:  # the sample holds VMs to score on only
        traces = traces.of(split(traces.entities, SEED)[1])
    steps = traces.values.shape[1]
    rng = np.random.default_rng(SEED)
    origins = sorted(int(at) for at in rng.integers(HISTORY_DAYS * DAY, steps - DAY, given.origins))
    cases = [Case(traces, origin) for origin in origins]
    parts = [
        f"{len(traces.entities)} VMs x {len(METRICS)} metrics x {len(cases)} origins, {HISTORY_DAYS} days of history, "
        "24 h ahead in 5-minute steps.",
        table(
            ["model", "relWQL", "in 80 %", "in 95 %", "95 % peak exceeded", "reserved / actual", "CPU ms/series"],
            score_models(cases),
        ),
        f"95 % peaks of {GROUPS} random groups of {GROUP} VMs: exceeded / reserved to actual / pinball of the log.",
        table(["resource", "scenarios", "largest past window x 1.05"], score_groups(cases)),
    ]
    if given.competitors:
        parts.append(f"On {SUBSET} of these series at one origin, a venv of their own:")
        parts.append(table(["method", "relWQL", "CPU ms/series"], score_competitors(cases[-1], given.competitors)))
    parts.append(f"Peak memory of the benchmark: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB.")
    text = "\n\n".join(parts) + "\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

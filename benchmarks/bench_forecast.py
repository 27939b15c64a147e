# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scores forecasts on recorded demand of VMs that no weights were learnt from, beside what one would install instead.

Usage: bench_forecast.py [--traces FOLDER] [--origins N] [--competitors PYTHON] [--kept FOLDER] [--out FILE]

``--traces`` holds bitbrains_rnd.parquet (default: the sample in benchmarks/data), and perhaps planetlab.parquet and
nab_aws.parquet for the cold start. ``--competitors`` is the interpreter of a virtual environment with statsforecast and
prophet; without it only our own models are scored. ``--kept`` keeps what those libraries said.
"""

from __future__ import annotations

import argparse
import importlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

importlib.import_module("forecast_cases")  # makes this checkout importable as the collection
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import levels  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.forecast import forecast  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.joint import build_scenarios  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest  # noqa: E402
from forecast_cases import DAY, HERE, LEVELS, METRICS, Case, PeakScore, Traces, table, usable_origins  # noqa: E402
from forecast_cold_start import cold_start_tables  # noqa: E402
from forecast_competitors import peak_mib  # noqa: E402
from forecast_side_by_side import HEAD, SERIES, side_by_side  # noqa: E402
from traces import read_bitbrains, split  # noqa: E402

GROUP, GROUPS = 20, 60
SEED = 0
OURS = ("auto", "global", "lstm", "seasonal_quantile", "last_day", "day_naive")
#: Origins are drawn from all that lie so many steps apart and whose day was recorded.
EVERY = 30
#: Groups are scored at every so many steps: 18 hours, so that all times of day occur.
GROUPS_EVERY = 216
#: Origins (steps), among all six hours apart, at which the rules of the past alone give the figures from which the aims
#: in docs/performance.md come: found by those rules' figures, without a look at ours.
AIM_ORIGINS = (4_056, 6_864, 7_944)


def score_models(cases: Sequence[Case]) -> list[list[str]]:
    """Return one row per model of ours: accuracy, coverage, peaks, cost."""
    rows = []
    for model in OURS:
        relative, inside80, inside95, peaks = [], [], [], PeakScore([])
        started = time.process_time()
        answers = [forecast(case.series, ForecastRequest(model=model, seed=SEED)) for case in cases]
        cost = 1000 * (time.process_time() - started) / sum(len(case.keys) for case in cases)
        for case, answer in zip(cases, answers, strict=True):
            count = case.counted
            relative.append(case.relative(answer.quantiles)[count])
            inside80.append(levels.coverage(answer.quantiles, case.actual, LEVELS, 0.8)[count])
            inside95.append(levels.coverage(answer.quantiles, case.actual, LEVELS, 0.95)[count])
            for came, stated in zip(np.nanmax(case.actual[count], 1), answer.peak_quantiles[count, 2], strict=True):
                peaks.add(came, max(stated, 1e-9))
        accuracy = f"{np.exp(np.concatenate(relative).mean()):.3f}"
        bands = [f"{np.concatenate(inside).mean():.3f}" for inside in (inside80, inside95)]
        rows.append([f"`{model}`", accuracy, *bands, str(peaks), f"{cost:.1f}"])
        print(" ".join(rows[-1]), flush=True)
    return rows


def score_groups(traces: Traces, origins: Sequence[int]) -> list[list[str]]:
    """Return one row per resource: how each way of setting the 95 % peak of random groups did."""
    rng = np.random.default_rng(SEED)
    found = {metric: [PeakScore([]) for _rule in range(5)] for metric in METRICS}
    for origin in origins:
        case = Case(traces, origin)
        scenarios = build_scenarios(case.history, DAY, SEED)  # the same whatever model forecasts the series
        for metric in METRICS:
            groups = case.groups(metric, GROUP, GROUPS, rng)
            paths = scenarios.totals([[case.keys[row] for row in group] for group in groups])
            stated = np.quantile(paths.max(axis=2), 0.95, axis=0)
            for group, ours in zip(groups, stated, strict=True):
                came = case.came(group)
                for score, peak in zip(found[metric], (ours, *past_rules(case.filled[group])), strict=True):
                    score.add(came, peak)
    rows = []
    for metric, scores in found.items():
        best = min(score.pinball for score in scores[1:])
        rows.append([metric, *map(str, scores), f"{scores[0].pinball / best:.2f}"])
        print(" ".join(rows[-1]), flush=True)
    return rows


def past_rules(demand: NDArray[np.floating]) -> tuple[float, float, float, float]:
    """Return a group's 95 % peak by rules of the past of its members' demand (VMs, steps) alone.

    They are the 95 % quantile of the maxima of the past windows of a day that begin every hour; the largest of them;
    that x 1.05; and the sum of the members' own 95 % quantiles of the first kind.
    """
    own = window_maxima(demand)
    together = window_maxima(demand.sum(axis=0)[None])[0]
    largest = float(together.max())
    own_peaks = float(np.quantile(own, 0.95, axis=1).sum())
    return float(np.quantile(together, 0.95)), largest, 1.05 * largest, own_peaks


def window_maxima(demand: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the maximum of each window of 24 hours that begins at a full hour of the series, (series, windows)."""
    hour = DAY // 24
    hours = demand.reshape(len(demand), -1, hour).max(axis=2)
    return np.lib.stride_tricks.sliding_window_view(hours, 24, axis=1).max(axis=2)


GROUP_HEAD = [
    "resource",
    "scenarios",
    "95 % of past windows",
    "largest of them",
    "largest x 1.05",
    "sum of own 95 % peaks",
    "loss / best rule's",
]


def group_part(title: str, traces: Traces, origins: Sequence[int]) -> list[str]:
    """Return a table of group peaks under a line that says of what."""
    print(title, flush=True)
    line = f"{title}: {len(origins)} origins x {GROUPS} random groups of {GROUP} of {len(traces.entities)} VMs."
    return [line, table(GROUP_HEAD, score_groups(traces, origins))]


def spread_out(origins: Sequence[int], count: int) -> list[int]:
    """Return ``count`` of the origins, evenly spread."""
    return [origins[int(at)] for at in np.linspace(0, len(origins) - 1, count).round()]


def group_tables(every_vm: Traces, scored: Traces) -> list[str]:
    """Return the tables of group peaks: on the VMs for scoring, and where the aims come from."""
    parts = group_part("VMs for scoring alone", scored, usable_origins(scored, GROUPS_EVERY))
    if len(every_vm.entities) > len(scored.entities):
        parts += group_part("All VMs", every_vm, usable_origins(every_vm, GROUPS_EVERY))
        parts += group_part("All VMs, origins like the aims'", every_vm, AIM_ORIGINS)
    return parts


def main() -> None:
    """Score, print, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=HERE / "data")
    parser.add_argument("--origins", type=int, default=6)
    parser.add_argument("--competitors")
    parser.add_argument("--kept", type=Path, default=HERE.parent / ".build" / "bench-forecast")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    every_vm = read_bitbrains(given.traces)
    # the shipped sample holds VMs to score on only
    scored = every_vm.of(split(every_vm.entities, SEED)[1]) if len(every_vm.entities) > 60 else every_vm
    usable = usable_origins(scored, EVERY)
    cases = [Case(scored, origin) for origin in spread_out(usable, given.origins)]
    parts = [
        f"{len(scored.entities)} VMs x {len(METRICS)} metrics x {len(cases)} origins, 14 days of history, "
        "24 h ahead in 5-minute steps.",
        table(["model", "relWQL", "in 80 %", "in 95 %", "95 % peak", "CPU ms a series"], score_models(cases)),
        *group_tables(every_vm, scored),
    ]
    if given.competitors:
        three = [Case(scored, origin) for origin in spread_out(usable, 3)]
        parts.append(f"{SERIES} of these series at each of {len(three)} origins:")
        parts.append(table(HEAD, side_by_side(three, given.competitors, given.kept, SEED)))
    parts += cold_start_tables(given.traces)
    parts.append(f"Peak memory of the benchmark: {peak_mib()} MiB.")
    text = "\n\n".join(parts) + "\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()

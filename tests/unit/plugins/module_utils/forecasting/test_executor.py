# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the work is done changes no number, not even when a worker is lost on the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import Forecast
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import cluster, executor
from ansible_collections.foresight.migration.plugins.module_utils.forecasting import forecast as whole
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.chunk import (
    ChunkResult,
    ChunkWork,
    forecast_chunk,
)
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.request import ForecastRequest
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.forecasting.series_sets import (
    busy_fleet,
    series_set,
)

SERIES = series_set(list(busy_fleet(20, 4)))


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "CHUNK_ROWS", 4)


def run(**options: object) -> Forecast:
    return whole.forecast(SERIES, ForecastRequest(horizon_s=6 * 3600, **options))  # type: ignore[arg-type]


def assert_same(one: Forecast, other: Forecast) -> None:
    np.testing.assert_array_equal(one.quantiles, other.quantiles)
    np.testing.assert_array_equal(one.peak_quantiles, other.peak_quantiles)
    assert one.reports == other.reports
    groups = [list(one.keys)]
    np.testing.assert_array_equal(one.scenarios.totals(groups), other.scenarios.totals(groups))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_any_number_of_processes_gives_the_same_numbers(workers: int) -> None:
    assert_same(run(workers=workers), run())


def _die_once(work: ChunkWork) -> ChunkResult:
    """Kill the worker that gets the third chunk; the parent process, which takes over, survives."""
    if multiprocessing.parent_process() is not None and work.task.values[0, 0] == SERIES_MARK:
        os.kill(os.getpid(), signal.SIGKILL)
    return forecast_chunk(work)


SERIES_MARK = -1.0


def test_a_worker_killed_in_the_middle_costs_time_and_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = run()
    marks: list[float] = []

    def note(work: ChunkWork) -> ChunkResult:
        marks.append(float(work.task.values[0, 0]))
        return forecast_chunk(work)

    monkeypatch.setattr(executor, "forecast_chunk", note)
    run()
    monkeypatch.setitem(globals(), "SERIES_MARK", marks[2])
    monkeypatch.setattr(executor, "forecast_chunk", _die_once)
    assert_same(run(workers=2), expected)


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a Dask scheduler on this machine with two worker processes."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as dask:
        yield dask.scheduler_address


def test_a_dask_cluster_gives_the_same_numbers(scheduler: str) -> None:
    assert_same(run(dask_scheduler=scheduler), run())


def test_a_dask_worker_killed_in_the_middle_costs_time_and_no_number(scheduler: str) -> None:
    from distributed import Client

    killed: list[int] = []

    def kill_one(done: int, _total: int) -> None:
        if not killed:
            with Client(scheduler, set_as_default=False) as client:
                killed.append(min(client.run(os.getpid).values()))
            os.kill(killed[0], signal.SIGKILL)

    request = ForecastRequest(horizon_s=6 * 3600, dask_scheduler=scheduler)
    assert_same(whole.forecast(SERIES, request, kill_one), run())
    assert killed


def test_what_fails_on_a_dask_worker_is_told_as_it_was(scheduler: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = cluster._plain

    def broken(work: ChunkWork) -> dict[str, object]:
        return {**plain(work), "models": ("no such model",) * len(work.models)}

    monkeypatch.setattr(cluster, "_plain", broken)
    with pytest.raises(cluster.ClusterFailed, match="no such model"):
        run(dask_scheduler=scheduler)


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "CONNECT_S", 1)
    with pytest.raises(cluster.ClusterUnreachable, match=r"127\.0\.0\.1:9"):
        run(dask_scheduler="tcp://127.0.0.1:9")

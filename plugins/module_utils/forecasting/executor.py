# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs chunks here, on local processes or on a Dask cluster; the numbers are the same everywhere.

What a chunk holds never depends on how many workers there are, and a chunk's result on nothing but the chunk.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from .chunk import ChunkResult, ChunkWork, forecast_chunk
from .cluster import run_on_cluster

#: Called with (chunks done, chunks in all).
Report = Callable[[int, int], None]


def run_chunks(
    works: Sequence[ChunkWork], workers: int, report: Report, dask_scheduler: str | None = None
) -> Iterator[ChunkResult]:
    """Give the result of each chunk, in order, so that a caller need not hold them all.

    ``workers`` local processes share the work (0 or 1: this process does it alone) unless ``dask_scheduler`` gives
    the address of a cluster.
    """
    if dask_scheduler is not None:
        return run_on_cluster(works, dask_scheduler, report)
    if workers > 1 and len(works) > 1:
        return _on_processes(works, min(workers, len(works)), report)
    return _here(works, report)


def _here(works: Sequence[ChunkWork], report: Report) -> Iterator[ChunkResult]:
    for done, work in enumerate(works, start=1):
        yield forecast_chunk(work)
        report(done, len(works))


def _on_processes(works: Sequence[ChunkWork], workers: int, report: Report) -> Iterator[ChunkResult]:
    """Fork workers (a module's code may live in a zip that only this process has loaded).

    A worker that dies breaks its pool; what is left then runs in this process, where it cannot be lost.
    """
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
        futures = _submitted(pool, works)
        for place, work in enumerate(works):
            yield _result(futures.pop(place, None), work)
            report(place + 1, len(works))


def _result(future: Future[ChunkResult] | None, work: ChunkWork) -> ChunkResult:
    try:
        return forecast_chunk(work) if future is None else future.result()
    except BrokenProcessPool:
        return forecast_chunk(work)


def _submitted(pool: ProcessPoolExecutor, works: Sequence[ChunkWork]) -> dict[int, Future[ChunkResult]]:
    """Return the chunks' futures; a worker that dies while they are handed out leaves the rest without one."""
    futures: dict[int, Future[ChunkResult]] = {}
    for place, work in enumerate(works):
        try:
            futures[place] = pool.submit(forecast_chunk, work)
        except BrokenProcessPool:
            break
    return futures

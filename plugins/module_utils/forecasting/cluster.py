# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs chunks on a Dask cluster whose workers need no copy of this collection, only numpy (and a model's library).

A module's code may exist only in the zip that Ansible sent, so the code travels with the work: the sources of the
rooms that a chunk needs, as a zip whose one package is named by their digest. Workers of two versions of the
collection can so share a cluster, and every worker runs exactly the code that this process runs.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
import tempfile
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import ForesightError
from ..libraries import require
from .chunk import ChunkResult, ChunkWork

#: The package below which the rooms lie, whatever it is called here.
ROOT = __name__.rsplit(".", 2)[0]
#: What a chunk needs of it.
NEEDED = ("errors", "libraries", "estate", "forecasting")
#: How long connecting may take, in seconds.
CONNECT_S = 30
#: Chunks that are on their way for each thread of the cluster: one at work and a few waiting, not the whole fleet at
#: once in the scheduler's memory.
ON_THE_WAY = 3
Report = Callable[[int, int], None]


class ClusterUnreachable(ForesightError):
    """No Dask scheduler answers at that address, or it has no workers."""

    code = "cluster_unreachable"


class ClusterFailed(ForesightError):
    """The cluster lost work or could not do it. ``details`` holds the worker's own error where there is one."""

    code = "cluster_failed"


def run_on_cluster(works: Sequence[ChunkWork], scheduler: str, report: Report) -> Iterator[ChunkResult]:
    """Give the result of each chunk, in order; Dask itself gives the work of a worker that dies to another.

    Raises `ClusterUnreachable`, `ClusterFailed`, or `MissingLibrary` without ``distributed``.
    """
    distributed = require("distributed")
    require("cloudpickle").register_pickle_by_value(sys.modules[__name__])
    try:
        client = distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as exc:
        raise ClusterUnreachable(
            f"No Dask scheduler answers at {scheduler}: {exc}", advice="Start one, or use the local executor."
        ) from exc
    with client:
        if not client.scheduler_info()["workers"]:
            raise ClusterUnreachable(f"The Dask scheduler at {scheduler} has no workers", advice="Start some.")
        package = _send_code(client)
        room = ON_THE_WAY * max(1, sum(client.nthreads().values()))
        futures: deque[Any] = deque()
        for place in range(len(works) + room):
            if place < len(works):
                futures.append(client.submit(_on_worker, package, _plain(works[place]), pure=False))
            if futures and place >= room - 1:
                yield _received(futures.popleft(), scheduler, distributed)
                report(place - room + 2, len(works))


def _received(future: Any, scheduler: str, distributed: Any) -> ChunkResult:
    """Wait for one chunk's result. Raises `ClusterFailed`."""
    try:
        answer = future.result()
    except (distributed.KilledWorker, distributed.CommClosedError) as exc:
        raise ClusterFailed(f"The Dask cluster at {scheduler} lost work: {exc}") from exc
    if "failure" in answer:
        failure = answer["failure"]
        raise ClusterFailed(f"A Dask worker failed: {failure['message']}", advice=failure["advice"], details=failure)
    return ChunkResult(**answer)


def _on_worker(package: str, work: Mapping[str, Any]) -> dict[str, Any]:
    """Forecast one chunk on a worker, by the code sent under ``package``; sent itself by value."""
    chunk = importlib.import_module(f"{package}.forecasting.chunk")
    model = importlib.import_module(f"{package}.forecasting.model")
    errors = importlib.import_module(f"{package}.errors")
    try:
        return dict(vars(chunk.forecast_chunk(chunk.ChunkWork(**{**work, "task": model.Task(**work["task"])}))))
    except errors.ForesightError as error:  # its class exists on workers only
        return {"failure": error.as_dict()}


def _plain(work: ChunkWork) -> dict[str, Any]:
    """Return the chunk's arrays and names without any class of ours."""
    return {**vars(work), "task": dict(vars(work.task))}


def _send_code(client: Any) -> str:
    """Give the needed sources to all workers, also to those that join later; return the package's name there."""
    sources = _sources()
    digest = hashlib.sha256("\0".join(f"{name}\0{text}" for name, text in sources.items()).encode()).hexdigest()
    package = f"foresight_{digest[:16]}"
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{package}.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for folder in sorted({f"{package}/{name}".rpartition("/")[0] for name in sources}):
                archive.writestr(f"{folder}/__init__.py", "")
            for name, text in sources.items():
                archive.writestr(f"{package}/{name}.py", text)
        client.upload_file(str(path))
    return package


def _sources() -> dict[str, str]:
    """Return path below the root -> source, of every needed module that this process has loaded."""
    found = {}
    for name, module in sorted(sys.modules.items()):
        below = name.removeprefix(f"{ROOT}.")
        is_package = hasattr(module, "__path__")  # whose own file holds nothing
        if below == name or below.split(".")[0] not in NEEDED or is_package or module.__spec__ is None:
            continue
        loader: Any = module.__spec__.loader
        found[below.replace(".", "/")] = loader.get_source(name) or ""
    return found

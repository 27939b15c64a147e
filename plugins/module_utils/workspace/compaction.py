# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Many small files of the metrics dataset merged into few, without locks and without a moment of loss.

A merged file is complete before the files that it replaces are removed. Readers count a sample that is in several
files once, so neither a crash in between nor two processes that merge the same files do any harm.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial

from .files import Files
from .metric_file import MS_PER_DAY, MetricFile, Rows, find_series, read_rows
from .metrics import MetricsDataset, file_name, new_file_name
from .series_index import SeriesIndex

#: So many collections of the present day are merged at a time: one file an hour at five minutes each.
FRESH_FILES = 12
#: A day is merged for good this long after its end, when late samples have come.
LATE_MS = 2 * 3600 * 1000
#: A call stops beginning further merges after this time, so that a collection stays quick.
_BUDGET_S = 10.0


def compact(metrics: MetricsDataset, files: Files, now_ts: float, budget_s: float = _BUDGET_S) -> list[str]:
    """Merge the files of every partition where it is due at ``now_ts``, oldest day first.

    Returns the folders of the merged partitions. What another process merges at the same time is left to it.
    """
    begun = time.monotonic()
    merged = []
    partitions = sorted(metrics.partitions().items(), key=lambda item: (item[0][1], item[0][0]))
    for (folder, day), paths in partitions:
        due = _due(day, paths, round(now_ts * 1000))
        if len(due) < 2:
            continue
        if time.monotonic() - begun > budget_s:
            break
        if _merge(metrics, files, folder, day, due):
            merged.append(folder)
    return merged


def forget(metrics: MetricsDataset, files: Files, before_ts: float) -> list[str]:
    """Remove the samples of the days that ended before ``before_ts``; returns the folders removed."""
    old = [folder for folder, day in metrics.partitions() if (day + 1) * MS_PER_DAY <= before_ts * 1000]
    for folder in old:
        files.delete_folder(folder)
    return old


def _due(day: int, paths: Sequence[str], now_ms: int) -> list[str]:
    """Return the files to merge: all of a day that is over, else the collected ones once they are many."""
    if now_ms >= (day + 1) * MS_PER_DAY + LATE_MS:
        return list(paths)
    fresh = [path for path in paths if "-c-" in file_name(path)]
    return fresh if len(fresh) >= FRESH_FILES else []


def _merge(metrics: MetricsDataset, files: Files, folder: str, day: int, paths: Sequence[str]) -> bool:
    """Merge the files into one; returns False when another process has meanwhile taken some of them."""
    target = MetricFile(day)
    try:
        index = SeriesIndex()
        metrics.read_paths(paths, partial(find_series, index=index))
        for kind, metric in sorted({(key.entity_kind, key.metric) for key in index.keys}):
            family = SeriesIndex(entity_kind=kind, metrics=[metric])  # one at a time: memory stays bounded
            parts = metrics.read_paths(paths, partial(read_rows, day=day, index=family))
            target.add(family.keys, Rows.joined(parts))
    except FileNotFoundError:
        return False
    newest_us = int(file_name(max(paths, key=file_name)).partition("-")[0])
    files.write(f"{folder}/{new_file_name('m', newest_us)}", target.content())
    for path in paths:
        files.delete(path)
    return True

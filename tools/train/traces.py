# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Recorded demand for training and benchmarks, and the split that keeps the two apart."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
from numpy.typing import NDArray

STEP_S = 300
DAY = 288
METRICS = ("cpu", "memory", "network", "disk")
#: Share of the VMs that weights may learn from; the others are for scoring alone.
LEARN_SHARE = 70 / 110


@dataclass(frozen=True)
class Traces:
    """Recorded demand on one grid: ``values`` (series, steps) with NaN where nothing was recorded."""

    keys: tuple[SeriesKey, ...]
    values: NDArray[np.float32]

    def of(self, entity_ids: set[str]) -> Traces:
        """Return the series of those entities."""
        rows = [row for row, key in enumerate(self.keys) if key.entity_id in entity_ids]
        return Traces(tuple(self.keys[row] for row in rows), self.values[rows])

    @property
    def entities(self) -> list[str]:
        """The ids of all entities, sorted."""
        return sorted({key.entity_id for key in self.keys})


def read_bitbrains(folder: Path) -> Traces:
    """Read the Bitbrains "Rnd" trace (GWA-T-12) in the collection's units: cores, MiB, Mbit/s, MiB/s."""
    rows = pd.read_parquet(folder / "bitbrains_rnd.parquet")
    rows["vm"] = rows.vm.astype(str)  # a file may hold names as categories, which do not map to plain numbers
    sizes = pd.read_parquet(folder / "bitbrains_rnd_meta.parquet")
    cores = sizes.set_index(sizes.vm.astype(str))["cores"]
    columns = {
        "cpu": rows.cpu_pct / 100 * rows.vm.map(cores),
        "memory": rows.mem_kb / 1024,
        "network": (rows.net_rx_kbps + rows.net_tx_kbps) * 8 / 1000,
        "disk": (rows.disk_r_kbps + rows.disk_w_kbps) / 1024,
    }
    first = int(rows.ts.min())
    steps = int(rows.ts.max() - first) // STEP_S + 1
    entities = sorted(rows.vm.unique())
    place = rows.vm.map({vm: at for at, vm in enumerate(entities)}).to_numpy()
    at = ((rows.ts - first) // STEP_S).to_numpy().astype(int)
    keys, values = [], []
    for metric in METRICS:
        grid = np.full((len(entities), steps), np.nan, np.float32)
        grid[place, at] = columns[metric]
        values.append(grid)
        keys += [SeriesKey("vm", str(vm), metric) for vm in entities]
    return Traces(tuple(keys), np.concatenate(values))


def split(entities: list[str], seed: int) -> tuple[set[str], set[str]]:
    """Return two disjoint sets of entities: those to learn from, and those to score on."""
    order = np.random.default_rng(seed).permutation(len(entities))
    cut = round(LEARN_SHARE * len(entities))
    return {entities[at] for at in order[:cut]}, {entities[at] for at in order[cut:]}

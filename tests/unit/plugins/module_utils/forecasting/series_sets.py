# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Series for tests, small enough that forecasting them takes milliseconds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey, SeriesSet
from numpy.typing import NDArray

STEP_S = 1_800
DAY = 86_400 // STEP_S
END_TS = 1_770_000_000 // 86_400 * 86_400.0


def series_set(rows: Sequence[NDArray[np.floating]], metric: str = "cpu") -> SeriesSet:
    """Return ``rows``, all ending at `END_TS`, as series of VMs ``vm-000`` and so on."""
    values = np.stack(rows)
    keys = tuple(SeriesKey("vm", f"vm-{at:03d}", metric) for at in range(len(rows)))
    return SeriesSet(keys, END_TS - values.shape[1] * STEP_S, STEP_S, values)


def busy_fleet(count: int, days: int = 6, seed: int = 0) -> NDArray[np.float64]:
    """Return demand with a common daily wave, bursts and noise, shape (count, steps)."""
    rng = np.random.default_rng(seed)
    steps = days * DAY
    wave = 1 + 0.5 * np.sin(np.arange(steps) / DAY * 2 * np.pi)
    level = rng.lognormal(0, 1, (count, 1))
    noise = rng.lognormal(0, 0.3, (count, steps))
    bursts = (rng.random((count, steps)) < 0.01) * rng.exponential(3, (count, steps))
    return np.asarray(level * (wave * noise + bursts))

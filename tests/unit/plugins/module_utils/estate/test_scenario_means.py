# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The cheap mean of scenarios is the mean of the scenarios."""

from __future__ import annotations

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.scenarios import WindowScenarios
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
from hypothesis import given
from hypothesis import strategies as st

KEYS = tuple(SeriesKey("vm", f"v{number}", metric) for number in range(4) for metric in ("cpu", "memory"))
GROUPS = (KEYS[::2], KEYS[1::2], KEYS[:3], (), (SeriesKey("vm", "unknown", "cpu"),))


def scenarios(seed: int, coarsen: int, steps: int) -> WindowScenarios:
    """Return random hourly scenarios, one of them with a known event."""
    rng = np.random.default_rng(seed)
    return WindowScenarios(
        keys=KEYS,
        metrics=("cpu", "memory"),
        history=rng.gamma(2.0, 1.0, (len(KEYS), 96)).astype(np.float32),
        scale=rng.uniform(0.5, 2000.0, len(KEYS)),
        history_step_s=3600,
        steps=steps,
        starts=np.array([0, 5, 30, 48, 90], np.int32),
        multipliers=rng.uniform(0.8, 1.2, (5, 2)).astype(np.float32),
        coarsen=coarsen,
        additions={KEYS[2]: rng.uniform(0, 5, steps).astype(np.float32)},
    )


@given(st.integers(0, 10_000), st.integers(1, 24))
def test_the_mean_equals_that_of_all_paths(seed: int, steps: int) -> None:
    given_paths = scenarios(seed, 1, steps)
    means = given_paths.mean_totals(GROUPS)
    assert means.shape == (len(GROUPS), steps)
    assert means == pytest.approx(given_paths.totals(GROUPS).mean(axis=0), rel=1e-4, abs=1e-4)


@given(st.integers(0, 10_000), st.integers(1, 24), st.integers(2, 6))
def test_a_coarse_step_holds_the_largest_mean_in_it_and_never_more_than_the_mean_of_the_largest(
    seed: int, steps: int, coarsen: int
) -> None:
    fine, coarse = scenarios(seed, 1, steps).mean_totals(GROUPS), scenarios(seed, coarsen, steps)
    means = coarse.mean_totals(GROUPS)
    largest = [fine[:, first : first + coarsen].max(axis=1) for first in range(0, steps, coarsen)]
    assert means == pytest.approx(np.stack(largest, axis=1))
    assert (means <= coarse.totals(GROUPS).mean(axis=0) * (1 + 1e-4) + 1e-4).all()

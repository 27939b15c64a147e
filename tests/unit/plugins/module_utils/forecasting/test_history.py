# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Gaps are filled with what the series is like, whatever is missing."""

from __future__ import annotations

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import fill_gaps

DAY = 48
NAN = np.nan


def test_a_missing_day_is_taken_from_the_day_before() -> None:
    day = np.arange(DAY, dtype=np.float32)
    filled = fill_gaps(np.concatenate([day, np.full(DAY, NAN, np.float32), day + 100])[None], DAY)
    np.testing.assert_array_equal(filled[0, DAY : 2 * DAY], day)


def test_coarser_samples_are_held_until_the_next_one() -> None:
    values = np.arange(2 * DAY, dtype=np.float32)
    sparse = np.where(np.arange(2 * DAY) % 3 == 0, values, NAN).astype(np.float32)
    np.testing.assert_array_equal(fill_gaps(sparse[None], DAY)[0], values // 3 * 3)


def test_times_of_day_never_measured_repeat_what_was() -> None:
    known = np.arange(1, 17, dtype=np.float32)
    values = np.full(2 * DAY, NAN, np.float32)
    values[-16:] = known
    filled = fill_gaps(values[None], DAY)[0]
    np.testing.assert_array_equal(filled[-16:], known)
    for day in filled.reshape(2, DAY):
        np.testing.assert_array_equal(np.sort(day), np.sort(np.tile(known, 3)))


def test_nothing_at_all_stays_missing() -> None:
    assert np.isnan(fill_gaps(np.full((1, 2 * DAY), NAN, np.float32), DAY)).all()

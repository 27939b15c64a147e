# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Counters turned into rates across restarts and wraps."""

from __future__ import annotations

from ansible_collections.foresight.migration.plugins.module_utils.estate.rates import rate_between
from hypothesis import given
from hypothesis import strategies as st


def test_growth_is_divided_by_the_time_between() -> None:
    assert rate_between(100.0, 10.0, 160.0, 40.0) == 2.0


def test_a_counter_that_fell_was_reset_and_gives_no_rate() -> None:
    assert rate_between(1e9, 0.0, 5.0, 60.0) is None


def test_a_counter_that_wrapped_goes_on() -> None:
    assert rate_between(2.0**32 - 60, 0.0, 60.0, 60.0, wraps_at=2.0**32) == 2.0


def test_a_wrap_that_would_mean_more_than_half_the_range_is_a_reset() -> None:
    assert rate_between(1000.0, 0.0, 5.0, 60.0, wraps_at=2.0**32) is None


def test_readings_at_one_time_or_out_of_order_give_no_rate() -> None:
    assert rate_between(1.0, 10.0, 2.0, 10.0) is None
    assert rate_between(1.0, 10.0, 2.0, 9.0) is None


@given(*[st.floats(0, 1e12)] * 4, st.sampled_from([None, 2.0**32, 2.0**64]))
def test_a_rate_is_never_negative(a: float, a_ts: float, b: float, b_ts: float, wraps_at: float | None) -> None:
    rate = rate_between(a, a_ts, b, b_ts, wraps_at=wraps_at)
    assert rate is None or rate >= 0

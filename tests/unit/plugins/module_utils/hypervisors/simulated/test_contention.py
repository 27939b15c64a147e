# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Who gets what on a full host, and how overload is counted."""

from __future__ import annotations

import numpy as np
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.contention import (
    contention,
    serve,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

VMS, HOSTS = 6, 3
AMOUNTS = st.floats(0.0, 100.0, width=32)


@given(
    demand=arrays(np.float64, (VMS, 4, 2), elements=AMOUNTS),
    guaranteed=arrays(np.float64, (VMS, 4), elements=AMOUNTS),
    host_of=arrays(np.int64, (VMS,), elements=st.integers(-1, HOSTS - 1)),
    own=arrays(np.float64, (HOSTS, 4), elements=AMOUNTS),
    capacity=arrays(np.float64, (HOSTS, 4), elements=st.floats(1.0, 200.0)),
)
@settings(max_examples=150, deadline=None)
def test_nobody_gets_more_than_it_wants_and_no_host_gives_more_than_it_has(
    demand: np.ndarray, guaranteed: np.ndarray, host_of: np.ndarray, own: np.ndarray, capacity: np.ndarray
) -> None:
    service = serve(demand, guaranteed, host_of, own, capacity)
    assert (service.served <= demand + 1e-9).all()
    assert (service.served[host_of < 0] == 0).all()
    assert (service.used <= capacity[:, :, None] + 1e-9).all()
    fits = service.wanted <= capacity[:, :, None]
    for vm in np.flatnonzero(host_of >= 0):
        here = fits[host_of[vm]]
        assert service.served[vm][here] == pytest.approx(demand[vm][here])


def test_overload_is_counted_per_resource_and_once_for_any() -> None:
    wanted = np.zeros((2, 4, 12))
    wanted[0, 0, :6] = 12.0  # CPU short for half an hour
    wanted[0, 1, 3:9] = 200.0  # memory short for half an hour, half of it together with CPU
    capacity = np.full((2, 4), 10.0)
    capacity[:, 1] = 100.0
    found = contention(wanted, capacity, 300.0)
    assert found.estate_hours() == {
        "cpu": pytest.approx(0.5),
        "memory": pytest.approx(0.5),
        "network": 0.0,
        "disk": 0.0,
        "any": pytest.approx(0.75),
    }
    assert found.unserved[0].tolist() == pytest.approx([1.0, 50.0, 0.0, 0.0])
    assert found.peak[0, 0] == 12.0

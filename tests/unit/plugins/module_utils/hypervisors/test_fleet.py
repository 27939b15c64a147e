# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The list of endpoints that every module takes."""

from __future__ import annotations

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.fleet import Fleet
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate


@pytest.mark.parametrize("name", ["", "dc1/lab", "/"])
def test_a_name_that_would_make_the_keys_of_hosts_unreadable_is_refused(
    simulated_estate: SimulatedEstate, name: str
) -> None:
    with pytest.raises(InvalidOption) as refusal:
        Fleet([simulated_estate.endpoint(name)])
    assert refusal.value.details["option"] == "endpoints.name"


def test_a_name_that_comes_twice_is_refused(simulated_estate: SimulatedEstate) -> None:
    with pytest.raises(InvalidOption) as refusal:
        Fleet([simulated_estate.endpoint("sim"), simulated_estate.endpoint("sim")])
    assert refusal.value.details["option"] == "endpoints.name"

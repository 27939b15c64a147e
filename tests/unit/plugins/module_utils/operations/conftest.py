# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures for the tests of reserving."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.operations.reserve_site import Site
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate
from ansible_collections.foresight.migration.tests.unit.stores import take_stock


@pytest.fixture
def site(simulated_estate: SimulatedEstate, tmp_path: Path) -> Site:
    built = Site(simulated_estate, tmp_path)
    take_stock(simulated_estate, built.store, built.demand)
    return built

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fixtures for the unit tests of every room."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .simulated import SimulatedEstate


@pytest.fixture
def simulated_estate(tmp_path: Path) -> Iterator[SimulatedEstate]:
    """A simulated estate of three hosts and three VMs with a stepped clock; see `simulated.THREE_HOSTS`."""
    from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate

    estate = SimulatedEstate(tmp_path)
    yield estate
    estate.close()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options of vm_migrate that cannot be meant are refused before anything is looked at."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import MigrateRequest, migrate_vm
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("bandwidth_mib_s", 0.0),
        ("lease_minutes", 0.0),
        ("lease_minutes", float("nan")),
        ("lease_minutes", 1e300),
        ("forecast_level", 0.0),
        ("forecast_level", 2.0),
        ("forecast_level", float("nan")),
        ("dirty_rate_s", -1.0),
        ("dirty_rate_s", float("nan")),
        ("dirty_rate_s", float("inf")),
        ("means", ("teleport",)),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_the_options_name(
    simulated_estate: SimulatedEstate, tmp_path: Path, option: str, value: object
) -> None:
    endpoints, store = [simulated_estate.endpoint()], str(tmp_path / "store")
    request = replace(MigrateRequest(endpoints, store, "web01"), **{option: value})
    with pytest.raises(InvalidOption) as refusal:
        migrate_vm(request, Context())
    assert refusal.value.details["option"] == option

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What vm_migrate makes of its options, and says of a VM that is there already."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import MoveOrder
from ansible_collections.foresight.migration.plugins.module_utils.migration.errors import PrecheckFailed
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import MigrateRequest, migrate_vm
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.operations.reserve_site import Site
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate


def test_settling_a_vm_that_is_there_is_a_change_and_check_mode_says_so(site: Site) -> None:
    held = site.run().result["reservation_id"]
    driver, uuid = site.estate.driver(), site.estate.vm_uuid("web01")
    driver.start_migration(MoveOrder(uuid, "host-c", held), driver)
    site.pass_time(600)  # it arrives, and its mover is gone
    request = MigrateRequest([site.estate.endpoint()], site.store, "web01", reservation_id=held)
    foreseen, done = migrate_vm(request, Context(check_mode=True)), migrate_vm(request, Context())
    for outcome in (foreseen, done):
        assert (outcome.changed, outcome.result["state"]) == (True, "already_there")
        assert (outcome.diff or {})["before"]["reservation"] == "active"
        assert (outcome.diff or {})["after"]["reservation"] == "consumed"
    for again in (migrate_vm(request, Context(check_mode=True)), migrate_vm(request, Context())):
        assert not again.changed


def test_driver_options_that_the_driver_does_not_know_are_refused(site: Site) -> None:
    held = site.run().result["reservation_id"]
    request = MigrateRequest([site.estate.endpoint()], site.store, "web01", reservation_id=held)
    for context in (Context(check_mode=True), Context()):
        with pytest.raises(PrecheckFailed) as refusal:
            migrate_vm(replace(request, driver_options={"priorty": "high"}), context)
        assert "option_unknown" in [failed["code"] for failed in refusal.value.details["failed"]]
    assert migrate_vm(request, Context()).result["state"] == "moved"


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

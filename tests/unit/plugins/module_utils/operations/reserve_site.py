# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An estate with a store and a ledger, and reserving on it as a task does."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context, Outcome
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve import reserve
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_info import (
    ReserveInfoRequest,
    reserve_info,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_request import ReserveRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger, open_ledger
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate

HOST = "sim/host-c"


class Site:
    """A store, a ledger and a simulated estate, and the calls a task makes on them."""

    def __init__(self, estate: SimulatedEstate, folder: Path) -> None:
        self.estate = estate
        self.store = str(folder / "store")
        self.demand: dict[str, Resources] = {}

    def run(self, check_mode: bool = False, **options: Any) -> Outcome:
        """Reserve with these options on top of web01 and host-c; the result must be JSON-able and small."""
        values: dict[str, Any] = {"endpoints": [self.estate.endpoint()], "store": self.store, "owner": "job 7"}
        if options.get("state", "present") == "present":
            values |= {"vm": "web01", "host": "host-c"}
        outcome = reserve(ReserveRequest(**{**values, **options}), Context(check_mode=check_mode))
        assert len(json.dumps(outcome.result)) < 60_000
        return outcome

    def fails(self, **options: Any) -> ForesightError:
        """Return the error that reserving raises."""
        with pytest.raises(ForesightError) as caught:
            self.run(**options)
        return caught.value

    def info(self, **options: Any) -> Mapping[str, Any]:
        request = ReserveInfoRequest(endpoints=[self.estate.endpoint()], store=self.store, **options)
        outcome = reserve_info(request, Context())
        assert not outcome.changed
        return outcome.result

    def ledger(self) -> Ledger:
        return open_ledger(f"sqlite:///{self.store}/ledger.db", actor="tests")

    def active(self) -> list[Mapping[str, Any]]:
        """Return the reservations that hold something now."""
        found: list[Mapping[str, Any]] = self.info(states=["active"])["reservations"]
        return found

    def holds(self) -> dict[str, Hold]:
        """Return what the hypervisor really holds, by reservation."""
        return {hold.reservation_id: hold for hold in self.estate.driver().list_holds()}

    def pass_time(self, seconds: float) -> None:
        self.estate.driver().clock.sleep(seconds)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Stores with a snapshot and a forecast of a simulated estate, for tests of operations."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import Forecast, SeriesReport
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import RESOURCES, Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.scenarios import WindowScenarios
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from ansible_collections.foresight.migration.tests.unit.simulated import SimulatedEstate

STEPS, STEP_S, HISTORY = 24, 3600, 72


def constant_forecast(demand: Mapping[str, Resources], origin_ts: float) -> Forecast:
    """Return the forecast that everything goes on with ``demand`` for a day: VMs by uuid, hosts' own load by key."""
    kinds = {entity: "host" if "/" in entity else "vm" for entity in demand}
    keys = tuple(SeriesKey(kinds[entity], entity, name) for entity in sorted(demand) for name in sorted(RESOURCES))
    level = np.array([demand[key.entity_id][key.metric] for key in keys], np.float32)
    scenarios = WindowScenarios(
        keys=keys,
        metrics=tuple(sorted(RESOURCES)),
        history=np.repeat(level[:, None], HISTORY, axis=1),
        scale=np.ones(len(keys)),
        history_step_s=STEP_S,
        steps=STEPS,
        starts=np.array([0, 24, 48], np.int32),
        multipliers=np.ones((3, len(RESOURCES)), np.float32),
    )
    flat = np.repeat(level[:, None], STEPS, axis=1)
    return Forecast(
        keys=keys,
        origin_ts=origin_ts,
        step_s=STEP_S,
        mean=flat,
        sd=np.zeros_like(flat),
        quantiles=np.repeat(flat[:, :, None], 14, axis=2),
        peak_mean=level,
        peak_sd=np.zeros_like(level),
        peak_quantiles=np.repeat(level[:, None], 4, axis=1),
        reports=tuple(SeriesReport("constant", "given", HISTORY) for _key in keys),
        scenarios=scenarios,
    )


def take_stock(estate: SimulatedEstate, store: str, demand: Mapping[str, Resources]) -> None:
    """Leave a snapshot of ``estate`` in ``store``, and a forecast that nothing changes but for ``demand``.

    That is by the name of a VM, or by the key of a host for its own load, which otherwise is not forecast.
    """
    driver = estate.driver()
    inventory = driver.inventory()
    snapshot = Estate(
        "",
        driver.clock.now(),
        (),
        {host.key: host for host in inventory.hosts},
        {vm.key: vm for vm in inventory.vms},
        rules=inventory.rules,
        clusters=inventory.clusters,
    )
    workspace = Workspace.open(store)
    workspace.snapshots.write(snapshot)
    forecast_id = f"fc{len(workspace.forecasts.by_age())}"
    expected = {vm.uuid: demand.get(vm.name, vm.used or vm.allocated) for vm in inventory.vms}
    expected |= {key: own for key, own in demand.items() if key in snapshot.hosts}
    workspace.forecasts.write(forecast_id, constant_forecast(expected, driver.clock.now()))

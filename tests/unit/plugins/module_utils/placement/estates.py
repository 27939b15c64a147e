# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small estates with known demand, for the tests of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Rule, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.reservation import Reservation
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate
from ansible_collections.foresight.migration.plugins.module_utils.placement.migration_cost import (
    MigrationDemand,
    predict_precopy,
)
from ansible_collections.foresight.migration.plugins.module_utils.placement.policies import policy
from ansible_collections.foresight.migration.plugins.module_utils.placement.question import PredictedMove, Question
from numpy.typing import NDArray

NOW_TS = 1_700_000_000.0
HOUR_S = 3600
ROOMY = Resources(cpu_cores=32, memory_mib=131072, network_mbit_s=10000, disk_mib_s=1000)
SMALL = Resources(cpu_cores=2, memory_mib=4096, network_mbit_s=0, disk_mib_s=0)


@dataclass(frozen=True)
class ArrayScenarios:
    """Scenarios given in full: ``paths[key]`` has shape (scenarios, steps)."""

    paths: Mapping[SeriesKey, NDArray[np.float32]]
    count: int
    horizon_steps: int
    step_s: int = HOUR_S

    def totals(self, groups: Sequence[Sequence[SeriesKey]]) -> NDArray[np.float32]:
        answer = np.zeros((self.count, len(groups), self.horizon_steps), np.float32)
        for place, group in enumerate(groups):
            for key in group:
                if key in self.paths:
                    answer[:, place] += self.paths[key]
        return answer

    def mean_totals(self, groups: Sequence[Sequence[SeriesKey]]) -> NDArray[np.float32]:
        return self.totals(groups).mean(axis=0)

    def missing(self, keys: Sequence[SeriesKey]) -> tuple[SeriesKey, ...]:
        return tuple(key for key in keys if key not in self.paths)


def host(name: str, capacity: Resources = ROOMY, **changes: Any) -> Host:
    """Return an ordinary host that is up, with its own migration network of 10 Gbit/s."""
    plain = Host("lab", name, f"{name}.example", "kvm", "up", capacity, migration_link_mbit_s=10_000.0)
    return replace(plain, **changes)


def vm(uuid: str, on: str | None, **changes: Any) -> Vm:
    """Return an ordinary running VM on host ``on``."""
    plain = Vm("lab", uuid, f"name-{uuid}", f"lab/{on}" if on else None, "running", SMALL)
    return replace(plain, **changes)


def flat(uuid: str, cpu: float, memory: float = 1024.0, network: float = 1.0, disk: float = 1.0) -> dict[str, float]:
    """Return a demand that never changes, for `question`."""
    return {"cpu": cpu, "memory": memory, "network": network, "disk": disk}


def estate(hosts: Sequence[Host], vms: Sequence[Vm], rules: Sequence[Rule] = (), **changes: Any) -> Estate:
    """Return a snapshot taken a minute ago."""
    plain = Estate(
        "snap", NOW_TS - 60, (), {h.key: h for h in hosts}, {v.key: v for v in vms}, rules=tuple(rules), clusters=()
    )
    return replace(plain, **changes)


def scenarios(
    demand: Mapping[str, Mapping[str, Any]], count: int = 1, steps: int = 4, step_s: int = HOUR_S
) -> ArrayScenarios:
    """Return scenarios of ``demand[entity][resource]``: a number, or an array that broadcasts to (scenarios, steps).

    An entity is a VM by its uuid, or a host's own load by the host's key.
    """
    paths = {
        SeriesKey("host" if "/" in entity else "vm", entity, resource): np.broadcast_to(
            np.asarray(value, np.float32), (count, steps)
        )
        for entity, amounts in demand.items()
        for resource, value in amounts.items()
    }
    return ArrayScenarios(paths, count, steps, step_s)


def question(
    snapshot: Estate,
    uuid: str,
    demand: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    count: int = 1,
    steps: int = 4,
    policy_name: str = "balanced",
    weights: Mapping[str, float] | None = None,
    **changes: Any,
) -> Question:
    """Ask where the VM ``uuid`` should go; VMs without ``demand`` use half a core and 1 GiB throughout."""
    asked = snapshot.find_vm(uuid)
    default = {v.uuid: flat(v.uuid, 0.5) for v in snapshot.vms.values()}
    plain = Question(
        vm=asked,
        estate=snapshot,
        scenarios=scenarios({**default, **(demand or {})}, count, steps),
        origin_ts=NOW_TS,
        now_ts=NOW_TS,
        window_s=float(steps * HOUR_S),
        policy=policy(policy_name, weights),
        predict_move=predict_move,
        min_gain=-1000.0,
    )
    return replace(plain, **changes)


def predict_move(bandwidth_mib_s: float) -> PredictedMove:
    """Predict the move of a 2 GiB VM that dirties 20 MiB/s."""
    demand = MigrationDemand(memory_mib=2048, dirty_mib_s=20, bandwidth_mib_s=bandwidth_mib_s)
    return PredictedMove(predict_precopy(demand))


def reservation(uuid: str, on: str, amount: Resources, **changes: Any) -> Reservation:
    """Return an active hard reservation for the whole window."""
    plain = Reservation(
        f"r-{uuid}-{on}", f"lab/{on}", uuid, amount, "hard", NOW_TS, NOW_TS + 86400, NOW_TS + 7200, "someone"
    )
    return replace(plain, **changes)

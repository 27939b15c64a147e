# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts use for themselves: everything measured on them less their VMs.

It is worked out at each collection, while it is known which VMs a host carries: later, when a VM has moved, its past
demand would be taken for the host's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..estate.nouns import Host
from ..estate.resources import RESOURCES
from ..estate.series import Samples, SeriesKey, SeriesSet
from ..estate.snapshot import Estate
from ..libraries import library
from ..workspace.metrics import MetricsDataset
from ..workspace.workspace import Workspace
from .gathering import joined

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Seconds per step of the stored own load.
STEP_S = 300
#: How far back a host first seen is taken to have carried the VMs it carries now.
SETTLED_S = 86_400
#: The name under which the counters remember until when own loads are stored; no endpoint's name begins so.
MEMORY = "/own-load"


def own_metric(resource: str) -> str:
    """Return the metric under which a host's own load of ``resource`` is stored, such as ``own_cpu``."""
    return f"own_{resource}"


def store_own_loads(workspace: Workspace, estate: Estate) -> None:
    """Store the own load of every host in the complete steps since the last collection.

    Steps at which the host or one of its VMs was not measured are left out.
    """
    until_ts = float(estate.taken_ts // STEP_S * STEP_S)
    since_ts = max(float(workspace.counters.read(MEMORY).get("until_ts", 0.0)), until_ts - SETTLED_S)
    if since_ts >= until_ts:
        return
    for endpoint in sorted({host.endpoint for host in estate.hosts.values()}):
        hosts = [host for host in estate.hosts.values() if host.endpoint == endpoint]
        samples = _own_loads(workspace.metrics, estate, hosts, since_ts, until_ts)
        if len(samples):
            workspace.metrics.append(endpoint, samples)
    workspace.counters.write(MEMORY, {"until_ts": until_ts})


def read_own_loads(
    metrics: MetricsDataset, hosts: Sequence[Host], names: Sequence[str], start_ts: float, end_ts: float, step_s: int
) -> SeriesSet:
    """Return the stored own load of each host and resource as series keyed ``("host", Host.key, resource)``."""
    keys = tuple(SeriesKey("host", host.key, name) for host in hosts for name in names)
    stored = [key._replace(metric=own_metric(key.metric)) for key in keys]
    return replace(metrics.read(stored, start_ts, end_ts, step_s), keys=keys)


def _own_loads(
    metrics: MetricsDataset, estate: Estate, hosts: Sequence[Host], since_ts: float, until_ts: float
) -> Samples:
    residents = {host.key: [vm.uuid for vm in estate.vms_by_host.get(host.key, ())] for host in hosts}
    host_keys = [SeriesKey("host", host.key, name) for host in hosts for name in RESOURCES]
    vm_keys = [SeriesKey("vm", uuid, name) for host in hosts for uuid in residents[host.key] for name in RESOURCES]
    found = metrics.read([*host_keys, *vm_keys], since_ts, until_ts, STEP_S)
    row = {key: at for at, key in enumerate(found.keys)}
    ts = since_ts + STEP_S * np.arange(found.values.shape[1], dtype=np.float64)
    columns: list[Samples] = []
    for key in host_keys:
        members = [row[SeriesKey("vm", uuid, key.metric)] for uuid in residents[key.entity_id]]
        own = _difference(found.values, row[key], members)
        known = np.isfinite(own)
        columns.append(_samples(key, ts[known], own[known]))
    return joined(columns)


def _difference(values: NDArray[np.floating], host: int, members: Sequence[int]) -> NDArray[np.float64]:
    """Return the host's row less its members' rows, never below 0; a member never measured is taken to use nothing."""
    known = [member for member in members if np.isfinite(values[member]).any()]
    carried = values[known].sum(axis=0, dtype=np.float64) if known else np.zeros(values.shape[1])
    return np.asarray(np.maximum(values[host].astype(np.float64) - carried, 0.0), np.float64)


def _samples(key: SeriesKey, ts: NDArray[np.float64], value: NDArray[np.float64]) -> Samples:
    def same(text: str) -> NDArray[np.object_]:
        return np.full(len(ts), text, dtype=object)

    return Samples(same(key.entity_kind), same(key.entity_id), same(own_metric(key.metric)), ts, value)

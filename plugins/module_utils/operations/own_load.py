# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What hosts use for themselves: everything measured on them less their VMs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..estate.nouns import Host
from ..estate.series import SeriesKey, SeriesSet
from ..estate.snapshot import Estate
from ..libraries import library
from ..workspace.metrics import MetricsDataset

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: How far back a host is taken to have carried the VMs it carries now.
SETTLED_S = 86_400


def read_own_loads(
    metrics: MetricsDataset,
    estate: Estate,
    hosts: Sequence[Host],
    names: Sequence[str],
    start_ts: float,
    end_ts: float,
    step_s: int,
) -> SeriesSet:
    """Return the own (non-VM) load of each host and metric as series keyed ``("host", Host.key, metric)``.

    It is what was measured on the host less its present VMs, never below 0, over the last day: before that other
    VMs may have run there. Steps at which the host or one of those VMs was not measured are missing.
    """
    since_ts = max(start_ts, end_ts - SETTLED_S)
    residents = {host.key: [vm.uuid for vm in estate.vms_by_host.get(host.key, ())] for host in hosts}
    host_keys = [SeriesKey("host", host.key, name) for host in hosts for name in names]
    vm_keys = [SeriesKey("vm", uuid, name) for host in hosts for uuid in residents[host.key] for name in names]
    found = metrics.read([*host_keys, *vm_keys], since_ts, end_ts, step_s)
    row = {key: at for at, key in enumerate(found.keys)}
    steps = round((end_ts - start_ts) / step_s)
    kept, values = [], []
    for key in host_keys:
        if key in row:
            members = [SeriesKey("vm", uuid, key.metric) for uuid in residents[key.entity_id]]
            own = _difference(found.values, row[key], [row[member] for member in members if member in row])
            kept.append(key)
            values.append(np.pad(own, (steps - len(own), 0), constant_values=np.nan))
    array = np.stack(values).astype(np.float32) if values else np.zeros((0, steps), np.float32)
    return SeriesSet(tuple(kept), start_ts, step_s, array)


def _difference(values: NDArray[np.floating], host: int, members: Sequence[int]) -> NDArray[np.float64]:
    known = [member for member in members if np.isfinite(values[member]).any()]
    carried = values[known].sum(axis=0, dtype=np.float64) if known else np.zeros(values.shape[1])
    return np.asarray(np.maximum(values[host].astype(np.float64) - carried, 0.0), np.float64)

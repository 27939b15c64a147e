# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the simulated platform measures, as columns of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...estate.resources import RESOURCES
from ...estate.series import Samples
from ...libraries import library
from .contention import Service
from .traces import STEP_S
from .world import Moment, World

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Samples per batch of history, which bounds the memory that reading it takes.
BATCH_SAMPLES = 1_000_000


@dataclass(frozen=True, slots=True)
class Visible:
    """Numbers of the hosts and VMs that one endpoint measures."""

    hosts: Sequence[int]
    vms: Sequence[int]


def now(world: World, moment: Moment, service: Service, visible: Visible, key: Callable[[str], str]) -> Samples:
    """Return one sample per metric of every host and VM at the moment."""
    ts = np.array([moment.now_ts])
    vms = _columns("vm", _vm_ids(world, visible), ts, service.served[list(visible.vms)])
    hosts = _columns("host", _host_ids(world, visible, key), ts, service.used[list(visible.hosts)])
    return _joined([vms, hosts])


def past(
    world: World, moment: Moment, since_ts: float, until_ts: float, visible: Visible, key: Callable[[str], str]
) -> Iterator[Samples]:
    """Yield samples of the whole steps in [``since_ts``, ``until_ts``), each stamped with its step's beginning.

    A VM has no sample where its trace has none; hosts have every one.
    """
    first = int(np.ceil(since_ts / STEP_S))
    last = int(np.floor(until_ts / STEP_S))
    per_batch = max(1, BATCH_SAMPLES // max(1, (len(visible.vms) + len(visible.hosts)) * len(RESOURCES)))
    for begin in range(first, last, per_batch):
        steps = min(per_batch, last - begin)
        for start_ts, recorded, service in world.serviced_spans(moment, float(begin * STEP_S), steps):
            ts = start_ts + STEP_S * np.arange(recorded.shape[2])
            served = np.where(np.isnan(recorded), np.nan, service.served)
            vms = _columns("vm", _vm_ids(world, visible), ts, served[list(visible.vms)])
            hosts = _columns("host", _host_ids(world, visible, key), ts, service.used[list(visible.hosts)])
            yield _joined([vms, hosts])


def _vm_ids(world: World, visible: Visible) -> NDArray[np.object_]:
    return np.array([world.vms[number].uuid for number in visible.vms], dtype=object)


def _host_ids(world: World, visible: Visible, key: Callable[[str], str]) -> NDArray[np.object_]:
    return np.array([key(world.hosts[number].host_id) for number in visible.hosts], dtype=object)


def _columns(kind: str, ids: NDArray[np.object_], ts: NDArray[np.floating], values: NDArray[np.floating]) -> Samples:
    """Return ``values`` (entities, resources, steps) as samples, without those that are NaN."""
    metrics = np.array(RESOURCES, dtype=object)
    shape = values.shape
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    there = ~np.isnan(flat)
    return Samples(
        entity_kind=np.full(int(there.sum()), kind, dtype=object),
        entity_id=np.broadcast_to(ids[:, None, None], shape).reshape(-1)[there],
        metric=np.broadcast_to(metrics[None, :, None], shape).reshape(-1)[there],
        ts=np.broadcast_to(ts[None, None, :], shape).reshape(-1)[there].astype(np.float64),
        value=flat[there],
    )


def _joined(parts: Sequence[Samples]) -> Samples:
    return Samples(
        entity_kind=np.concatenate([part.entity_kind for part in parts]),
        entity_id=np.concatenate([part.entity_id for part in parts]),
        metric=np.concatenate([part.metric for part in parts]),
        ts=np.concatenate([part.ts for part in parts]),
        value=np.concatenate([part.value for part in parts]),
    )

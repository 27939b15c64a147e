# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Contention: who gets what when a host's VMs want more than it has, and how much of that a placement brings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...estate.resources import RESOURCES
from ...libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")


def host_totals(values: NDArray[np.floating], host_of: NDArray[np.int64], hosts: int) -> NDArray[np.float64]:
    """Sum ``values`` (vms, ...) per host; ``host_of`` holds each VM's host number, -1 for none. Shape (hosts, ...)."""
    totals = np.zeros((hosts, *values.shape[1:]), dtype=np.float64)
    order = np.argsort(host_of, kind="stable")
    order = order[host_of[order] >= 0]
    if order.size:
        present, starts = np.unique(host_of[order], return_index=True)
        totals[present] = np.add.reduceat(values[order].astype(np.float64), starts, axis=0)
    return totals


@dataclass(frozen=True, slots=True)
class Service:
    """What hosts deliver step by step, in the units of `RESOURCES`.

    ``served`` (vms, resources, steps) is what each VM gets, ``wanted`` (hosts, resources, steps) what is asked of
    each host by its VMs and its own load, ``used`` (same shape) what it delivers, never more than its capacity.
    """

    served: NDArray[np.float64]
    wanted: NDArray[np.float64]
    used: NDArray[np.float64]


def serve(
    demand: NDArray[np.floating],
    guaranteed: NDArray[np.floating],
    host_of: NDArray[np.int64],
    own_load: NDArray[np.floating],
    capacity: NDArray[np.floating],
) -> Service:
    """Share each host among its VMs, in every step of ``demand`` (vms, resources, steps).

    ``guaranteed`` is (vms, resources), ``own_load`` and ``capacity`` are (hosts, resources). A host first serves its
    own load, then what is guaranteed, then shares the rest in proportion to what each VM wants beyond its guarantee,
    as schedulers do whose shares follow demand. VMs on no host (-1 in ``host_of``) get nothing.
    """
    hosts = len(capacity)
    own, total = own_load[:, :, None], capacity[:, :, None]
    wanted_by_vm = np.where((host_of >= 0)[:, None, None], demand, 0.0).astype(np.float64)
    firm = np.minimum(wanted_by_vm, guaranteed[:, :, None])
    wanted = host_totals(wanted_by_vm, host_of, hosts) + own
    room = np.maximum(total - own, 0.0)
    firm_served = firm * _share(room, host_totals(firm, host_of, hosts))[host_of]
    rest = wanted_by_vm - firm
    rest_room = np.maximum(room - host_totals(firm_served, host_of, hosts), 0.0)
    served = firm_served + rest * _share(rest_room, host_totals(rest, host_of, hosts))[host_of]
    used = np.minimum(host_totals(served, host_of, hosts) + own, total)
    return Service(served, wanted, used)


def _share(room: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the fraction of what is asked that fits in the room, at most 1."""
    return np.where(asked > room, room / np.where(asked > 0, asked, 1.0), 1.0)


@dataclass(frozen=True, slots=True)
class Contention:
    """How overloaded hosts are over a window.

    ``overload_hours`` (hosts, resources): hours in which more is wanted than the host has. ``any_hours`` (hosts,):
    hours in which that is so of at least one resource. ``unserved`` (hosts, resources): what is wanted and not
    delivered, in resource-hours (core-hours, MiB-hours, ...). ``peak`` (hosts, resources): the most wanted at any step.
    """

    overload_hours: NDArray[np.float64]
    any_hours: NDArray[np.float64]
    unserved: NDArray[np.float64]
    peak: NDArray[np.float64]

    def estate_hours(self) -> dict[str, float]:
        """Return host-hours of overload summed over the estate: per resource, and ``any``."""
        sums = self.overload_hours.sum(axis=0)
        return {**{name: float(sums[i]) for i, name in enumerate(RESOURCES)}, "any": float(self.any_hours.sum())}


def contention(wanted: NDArray[np.floating], capacity: NDArray[np.floating], step_s: float) -> Contention:
    """Measure overload from what is wanted of each host, shape (hosts, resources, steps)."""
    step_h = step_s / 3600.0
    excess = np.maximum(wanted - capacity[:, :, None], 0.0)
    over = excess > 1e-6 * np.maximum(capacity[:, :, None], 1.0)
    return Contention(
        overload_hours=over.sum(axis=2) * step_h,
        any_hours=over.any(axis=1).sum(axis=1) * step_h,
        unserved=np.where(over, excess, 0.0).sum(axis=2) * step_h,
        peak=wanted.max(axis=2),
    )

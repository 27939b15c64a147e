# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How far the VMs of a host must be restrained so that what is held there stays free: figures in, figures out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: No shares are scaled below this, for smaller ones can no longer tell VMs apart (the kernel takes whole numbers).
LEAST_SHARES = 10
#: No VM is limited below this part of what the host has, whatever little it is forecast to need: that would stop it.
LEAST_PART = 0.005


def scaled_shares(
    shares: Mapping[str, int],
    held_cores: Sequence[float],
    host_cores: float,
    arriving: int,
    guaranteed_cores: Mapping[str, float],
) -> dict[str, int] | None:
    """Return the shares that residents may have so that every arriving VM gets its cores in contention.

    In contention a VM gets the host's cores times its shares over the sum of all shares. The ``n`` VMs that arrive
    have ``arriving`` shares each, hence residents may have ``arriving * (host_cores / largest held - n)`` together.
    All residents are scaled alike, so that what one has against another stays as it was; nobody's are raised. Shares
    cost nothing while there is no contention.

    None where that cannot be: the VMs want the whole host, shares would become too small to tell VMs apart, or a
    resident would get less than the ``guaranteed_cores`` that it was promised itself.
    """
    total, count = sum(shares.values()), len(held_cores)
    if not held_cores or max(held_cores) <= 0 or total <= 0:
        return dict(shares)
    room = arriving * (host_cores / max(held_cores) - count)
    factor = min(1.0, room / total)
    if factor == 1.0:
        scaled = dict(shares)
    else:
        scaled = {uuid: math.floor(factor * own) for uuid, own in shares.items()}
        if min(scaled.values()) < LEAST_SHARES:
            return None
    everybody = sum(scaled.values()) + count * arriving
    if any(host_cores * scaled[uuid] / everybody < cores for uuid, cores in guaranteed_cores.items()):
        return None
    return scaled


def cores_left(shares: Sequence[int], arrivals: int, host_cores: float, arriving: int) -> float:
    """Return the cores that each of ``arrivals`` VMs with ``arriving`` shares gets when all others want everything."""
    return host_cores * arriving / (sum(shares) + max(1, arrivals) * arriving)


@dataclass(frozen=True, slots=True)
class Need:
    """What one resident must keep of a resource, and how it is limited already.

    ``floor`` is the least limit that takes nothing from it that was promised or forecast (None: not known);
    ``own_limit`` a limit that somebody else gave it (None: it has none), which is never changed.
    """

    floor: float | None
    own_limit: float | None = None


def share_out(capacity: float, held: float, needs: Mapping[str, Need]) -> dict[str, float] | None:
    """Return the limits under which residents leave ``held`` of ``capacity`` free, for those without one of their own.

    Each gets its floor, but no less than `LEAST_PART` of the capacity, and an equal part of what is left. None where
    that cannot be: a floor is not known, or the floors and the limits that stand leave too little.
    """
    standing, floors = 0.0, {}
    for uuid, need in needs.items():
        if need.own_limit is not None:
            standing += need.own_limit
        elif need.floor is None:
            return None
        else:
            floors[uuid] = max(need.floor, LEAST_PART * capacity)
    spare = capacity - held - standing - sum(floors.values())
    if spare < 0:
        return None
    return {uuid: floor + spare / len(floors) for uuid, floor in floors.items()}

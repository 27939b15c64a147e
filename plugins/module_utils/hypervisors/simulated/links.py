# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How migrations share the network: max-min fairness over the links that each of them crosses."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

#: Mbit in a MiB.
MBIT_PER_MIB = 8 * 1024 * 1024 / 1e6
#: Share of an Ethernet link's rate that is left for data: 1,448 bytes of TCP payload (with time stamps) in the 1,538
#: that a full frame takes on the wire, preamble and gap included.
PAYLOAD_SHARE = 1448 / 1538


def payload_mib_s(link_mbit_s: float) -> float:
    """Return how much data a link carries, MiB/s."""
    return link_mbit_s * PAYLOAD_SHARE / MBIT_PER_MIB


def load_mbit_s(data_mib_s: float) -> float:
    """Return how much of a link that much data takes, Mbit/s."""
    return data_mib_s * MBIT_PER_MIB / PAYLOAD_SHARE


def fair_shares(
    capacity: Mapping[Hashable, float], routes: Sequence[Sequence[Hashable]], limits: Sequence[float]
) -> list[float]:
    """Return a rate for every flow, in the unit of ``capacity``.

    Flow i crosses the links ``routes[i]`` and takes at most ``limits[i]``. All rates grow together until a link is
    full or a limit reached; the flows concerned stop there and the others go on (progressive filling: Bertsekas and
    Gallager, Data Networks, 6.5.2).
    """
    rates = [0.0] * len(routes)
    room = dict(capacity)
    growing = {flow for flow in range(len(routes)) if limits[flow] > 0}
    while growing:
        crossing = {link: sum(link in routes[flow] for flow in growing) for link in room}
        steps = [room[link] / count for link, count in crossing.items() if count]
        steps += [limits[flow] - rates[flow] for flow in growing]
        step = max(0.0, min(steps))
        for flow in growing:
            rates[flow] += step
        for link, count in crossing.items():
            room[link] -= step * count
        full = {link for link, count in crossing.items() if count and room[link] <= 1e-9 * capacity[link]}
        growing = {
            flow for flow in growing if rates[flow] < limits[flow] * (1 - 1e-12) and not full.intersection(routes[flow])
        }
    return rates

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The bandwidth that a live migration finds between two hosts."""

from __future__ import annotations

from ..estate.nouns import Host

#: Assumed where neither the migration network nor the host's own network capacity is known: one gigabit link.
ASSUMED_LINK_MBIT_S = 1000.0
#: A link is never taken as fuller than this: migration traffic gets at least a tenth of it.
MOST_BUSY = 0.9
#: Share of an Ethernet link's rate that is left for data: 1,448 bytes of TCP payload (with time stamps) in the 1,538
#: that a full frame takes on the wire, preamble and gap included (IEEE 802.3; RFC 9293, RFC 7323).
PAYLOAD_SHARE = 1448 / 1538
#: 1 Mbit/s in MiB/s: 10^6 / 8 / 2^20.
MIB_S_PER_MBIT_S = 1e6 / 8 / 2**20


def link_mbit_s(host: Host) -> float:
    """Return the speed in Mbit/s of the link that migrations to and from ``host`` use."""
    return host.migration_link_mbit_s or host.capacity.network_mbit_s or ASSUMED_LINK_MBIT_S


def free_mib_s(host: Host) -> float:
    """Return the bandwidth in MiB/s left for a migration on the link of ``host``.

    A migration network of its own is taken as free; on a link shared with VMs, what they use now is subtracted. It is
    shared where ``facts`` ``migration_link_shared`` says so, or where nothing is known of a network for migrations.
    """
    link = link_mbit_s(host)
    shared = host.facts.get("migration_link_shared", host.migration_link_mbit_s is None)
    busy = min(host.used.network_mbit_s, MOST_BUSY * link) if shared and host.used is not None else 0.0
    return (link - busy) * PAYLOAD_SHARE * MIB_S_PER_MBIT_S


def bandwidth_mib_s(source: Host | None, destination: Host) -> float:
    """Return the bandwidth in MiB/s that a migration finds: the lesser of both ends (source unknown: the one)."""
    ends = [destination] if source is None else [source, destination]
    return min(free_mib_s(host) for host in ends)

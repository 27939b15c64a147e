# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts as people name them, turned into the keys under which the ledger knows them."""

from __future__ import annotations

from ..estate.snapshot import UnknownHost
from ..reservations.ledger import Ledger
from ..workspace.errors import ArtefactMissing
from ..workspace.workspace import Workspace


def host_key_of(host: str, ledger: Ledger, workspace: Workspace) -> str:
    """Return the key of ``host``, given as key, id or name.

    A host that has left the estate is still found by key or id while the ledger knows it.
    Raises `UnknownHost`, or `AmbiguousHost` that lists the candidates.
    """
    known = [key for key in ledger.known_hosts() if host in (key, key.partition("/")[2])]
    if len(known) == 1:
        return known[0]
    try:
        return workspace.snapshots.latest().find_host(host).key
    except ArtefactMissing:
        raise UnknownHost(
            f"No host {host!r} was ever reserved on, and the store holds no snapshot of the estate to look it up in",
            advice="Name the host by its key (endpoint/host_id), or collect the estate first.",
        ) from None

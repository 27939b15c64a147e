# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holds of Hyper-V: none before the VM comes, since only a VM itself can have a reserve; settings of its own after."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from ...estate.resources import RESOURCES
from ..protocol import Hold
from . import guarantee
from .guarantee import BITS, CPU, DISK, MEMORY, WEIGHT, Settings
from .nodes import Nodes
from .scripts.settings import SET_TUNING, TUNING
from .survey import VmNotHere


@dataclass(frozen=True, slots=True)
class Holds:
    """The holds of one endpoint."""

    nodes: Nodes

    def place(self, hold: Hold) -> Hold:
        """Return the hold as the ledger's alone; raises `HypervisorFault` for a host that is not here.

        A Hyper-V host cannot set capacity aside for a VM that is not there: its resource pools have no reserve.
        """
        self.nodes.node(hold.host_id)
        return replace(hold, enforced_by=dict.fromkeys(RESOURCES, "ledger"), tokens={})

    def release(self, reservation_id: str, tokens: Mapping[str, Any]) -> bool:
        """Return False: there is nothing on a host to be removed."""
        return False

    def all(self) -> tuple[Hold, ...]:
        """Return nothing: no host holds anything."""
        return ()

    def settle(self, hold: Hold) -> Mapping[str, str]:
        """Give a VM of the hard tier what its reservation says, take from any other what an earlier one gave it.

        Returns what is guaranteed by the settings as they are read back. Raises `VmNotHere`.
        """
        tuning = self._read(hold)
        now = guarantee.current(tuning)
        own = guarantee.own_settings(now, tuning["notes"])
        given = guarantee.asked(tuning, hold.amount) if hold.tier == "hard" else None
        wanted = guarantee.settled(now, own, given)
        if wanted != now:
            notes = guarantee.write_note(tuning["notes"], wanted, own)
            self.nodes.run(hold.host_id, SET_TUNING, _parameters(hold.vm_uuid, tuning, now, wanted, notes))
            tuning = self._read(hold)
        if hold.tier != "hard":
            return dict.fromkeys(RESOURCES, "ledger")
        return guarantee.enforcement(tuning, hold.amount)

    def _read(self, hold: Hold) -> dict[str, Any]:
        answer = self.nodes.run(hold.host_id, TUNING, {"vm_id": hold.vm_uuid})
        if not answer["found"]:
            raise VmNotHere(f"VM {hold.vm_uuid} is not on host {hold.host_id}")
        return answer


def _parameters(vm_uuid: str, tuning: Mapping[str, Any], now: Settings, wanted: Settings, notes: str) -> dict[str, Any]:
    """Return what `SET_TUNING` takes to come from ``now`` to ``wanted``, with our note beside."""
    changed = {key: value for key, value in wanted.items() if value != now[key]}
    adapter = guarantee.only_adapter(tuning)
    adapters = []
    if adapter is not None and (BITS in changed or WEIGHT in changed):
        adapters.append({"id": adapter["id"], BITS: changed.get(BITS), WEIGHT: changed.get(WEIGHT)})
    disks = [{**tuning["disks"][0], DISK: changed[DISK]}] if DISK in changed else []
    return {
        "vm_id": vm_uuid,
        "notes": notes if notes != tuning["notes"] else None,
        CPU: changed.get(CPU),
        MEMORY: changed.get(MEMORY),
        "adapters": adapters,
        "disks": disks,
    }

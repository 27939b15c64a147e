# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a move depends on, read from both hosts: the VM, how each host is set up, and where the disks are."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ...errors import ForesightError
from ..parallel import answer_all
from ..protocol import HypervisorFault, MoveOrder
from .nodes import Nodes
from .scripts.settings import MIGRATION_SETTINGS, VM_FOR_MOVE

#: A path on a cluster shared volume, which every node of the cluster mounts there.
_SHARED_VOLUME = re.compile(r"[A-Za-z]:\\ClusterStorage\\", re.IGNORECASE)
#: A path on a file server, but not one of the local ``\\?\`` and ``\\.\`` kinds.
_FILE_SERVER = re.compile(r"\\\\[^\\?.]")


class VmNotHere(HypervisorFault):
    """No host of the endpoint runs the VM."""

    code = "vm_unknown"


@dataclass(frozen=True, slots=True)
class Survey:
    """A VM on its source host, with what `VM_FOR_MOVE` and `MIGRATION_SETTINGS` of both hosts answered."""

    vm_uuid: str
    source_id: str
    destination_id: str
    same_cluster: bool
    vm: Mapping[str, Any]
    source: Mapping[str, Any]
    destination: Mapping[str, Any]

    @property
    def by_cluster(self) -> bool:
        """Whether the cluster moves the VM, rather than one host's service to another's."""
        return bool(self.vm["clustered"])

    @property
    def local_disks(self) -> tuple[str, ...]:
        """Paths of the disks that the destination cannot open where they are."""
        if self.by_cluster:
            return ()
        return tuple(disk["path"] for disk in self.vm["disks"] if not self._is_shared(str(disk["path"])))

    def _is_shared(self, path: str) -> bool:
        if _SHARED_VOLUME.match(path):
            return self.same_cluster
        return _FILE_SERVER.match(path) is not None

    def storage_path(self, order: MoveOrder) -> str | None:
        """Return the folder on the destination where the VM's files shall go; None when they need not move.

        They move when ``order`` asks for it and a disk is local. The folder is the order's option ``storage_path``,
        or one named by the VM's id below the destination's default folder of VMs.
        """
        if not order.storage_copy or not self.local_disks:
            return None
        asked = str(order.options.get("storage_path") or "")
        return asked or f"{str(self.destination['vm_path']).rstrip(chr(92))}\\{self.vm_uuid.lower()}"

    def parameters(self, order: MoveOrder) -> dict[str, Any]:
        """Return what `COMPARE` and `START_MOVE` take for this move."""
        return {
            "vm_id": self.vm_uuid,
            "destination": self.destination["computer_name" if self.by_cluster else "fqdn"],
            "addresses": list(self.destination["listener_addresses"]),
            "smb": bool(self.source["smb"] and self.destination["smb"]),
            "storage_path": self.storage_path(order),
        }


def survey(vm_uuid: str, source: Nodes, target: Nodes, host_id: str) -> Survey:
    """Read everything; raises `VmNotHere` and what the hosts answer."""
    seen = source.locate(vm_uuid)
    running = [where for where in seen if where.power_state == "running"] or list(seen)
    if not running:
        raise VmNotHere(f"VM {vm_uuid} is on no host of endpoint {source.endpoint!r}")
    source_id = running[0].host_id
    answers = answer_all(
        {
            "vm": partial(source.run, source_id, VM_FOR_MOVE, {"vm_id": vm_uuid}),
            "source": partial(source.run, source_id, MIGRATION_SETTINGS),
            "destination": partial(target.run, host_id, MIGRATION_SETTINGS),
        }
    )
    read: dict[str, dict[str, Any]] = {}
    for name, answer in answers.items():
        if isinstance(answer, ForesightError):
            raise answer
        read[name] = answer
    if not read["vm"]["found"]:
        raise VmNotHere(f"VM {vm_uuid} has left host {source_id} while it was looked at")
    same_cluster = source.cluster is not None and source.cluster == target.cluster
    return Survey(vm_uuid, source_id, host_id, same_cluster, **read)

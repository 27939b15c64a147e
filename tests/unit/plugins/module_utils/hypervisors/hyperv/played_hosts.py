# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hosts whose answers a test writes down: `nodes.Nodes` without a wire, for the pure parts of moves and settlements."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.nodes import Nodes
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.script import Script
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    HypervisorFault,
    Whereabouts,
)

VM = "11111111-2222-3333-4444-555555555555"
Reply = Callable[[Mapping[str, Any]], Mapping[str, Any]]
Answer: TypeAlias = "Mapping[str, Any] | Reply | ForesightError"


def vm_for_move(**changes: Any) -> dict[str, Any]:
    """Return an answer of ``vm_for_move``: a running VM of 4 GiB with one disk on a file server."""
    return {
        "found": True,
        "name": "web01",
        "enabled_state": 2,
        "clustered": False,
        "version": "9.0",
        "operational": [2],
        "vcpus": 4,
        "memory_assigned_bytes": 4 * 2**30,
        "checkpoints": 0,
        "assigned_devices": [],
        "switch_names": ["LAN"],
        "disks": [{"path": r"\\files\vms\web01.vhdx", "passthrough": False}],
        "jobs": [],
        **changes,
    }


def settings_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return an answer of ``migration_settings``: a host that is set up well and has 64 GiB free."""
    return {
        "computer_name": name.upper(),
        "fqdn": f"{name}.example.com",
        "enabled": True,
        "authentication": 1,
        "compression": True,
        "smb": False,
        "any_network": False,
        "subnets": ["10.0.0.0/24"],
        "listener_addresses": [f"10.0.0.{name[-1]}"],
        "max_migrations": 2,
        "max_storage_migrations": 2,
        "jobs": [],
        "vm_versions": ["8.0", "9.0"],
        "memory_free_bytes": 64 * 2**30,
        "vm_path": "D:\\VMs\\",
        "switches": [{"id": "s1", "name": "LAN", "bandwidth_mode": "Absolute"}],
        **changes,
    }


def tuning(**changes: Any) -> dict[str, Any]:
    """Return an answer of ``tuning``: four processors, dynamic memory, one adapter, one disk."""
    return {
        "found": True,
        "name": "web01",
        "notes": "",
        "vcpus": 4,
        "cpu_reserve_percent": 0,
        "cpu_limit_percent": 100,
        "dynamic_memory": True,
        "memory_minimum_bytes": 512 * 2**20,
        "memory_assigned_bytes": 4 * 2**30,
        "adapters": [adapter()],
        "disks": [{"controller_type": "SCSI", "controller_number": 0, "controller_location": 0, "minimum_iops": 0}],
        **changes,
    }


def adapter(**changes: Any) -> dict[str, Any]:
    """Return an adapter of `tuning`, on a switch of 10 Gbit/s that guarantees bits."""
    return {
        "id": r"Microsoft:1\2",
        "switch_name": "LAN",
        "bandwidth_mode": "Absolute",
        "link_bits_s": 10**10,
        "other_weights": 0,
        "minimum_bits_s": 0,
        "minimum_weight": 0,
        **changes,
    }


def job(**changes: Any) -> dict[str, Any]:
    """Return a job of ``poll_move``: a move at 40 %."""
    return {
        "id": "job-1",
        "state": 4,
        "percent": 40,
        "migration_type": 32768,
        "job_type": 305,
        "destination": "HV2",
        "started_ts": 1000.0,
        "elapsed_s": 12.0,
        "error_code": 0,
        "error": "",
        "errors": [],
        **changes,
    }


def poll(*jobs: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an answer of ``poll_move`` with these jobs, from the host that runs the VM."""
    return {"found": True, "enabled_state": 2, "ts": 1012.0, "jobs": list(jobs), **changes}


class PlayedHosts(Nodes):
    """The hosts of an endpoint. ``answers`` holds per host and operation what it answers, or a list to be used up."""

    def __init__(
        self, endpoint: str, answers: Mapping[str, Mapping[str, Any]], *, at: str = "", cluster: str | None = None
    ) -> None:
        self.endpoint = endpoint
        self.cluster = cluster
        self.calls: list[tuple[str, str, dict[str, Any]]] = []
        self._answers = answers
        self._at = at

    @property
    def host_ids(self) -> tuple[str, ...]:
        return tuple(self._answers)

    def node(self, host_id: str) -> Any:
        if host_id not in self._answers:
            raise HypervisorFault(f"no host {host_id}")
        return host_id

    def run(
        self,
        host_id: str,
        script: Script,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> dict[str, Any]:
        sent = json.loads(json.dumps(parameters or {}))
        self.calls.append((host_id, script.operation, sent))
        answer: Any = self._answers[host_id][script.operation]
        if isinstance(answer, list):
            answer = answer.pop(0) if len(answer) > 1 else answer[0]
        if isinstance(answer, ForesightError):
            raise answer
        return dict(answer(sent) if callable(answer) else answer)

    def locate(self, vm_uuid: str) -> tuple[Whereabouts, ...]:
        return (Whereabouts(vm_uuid, self._at, "running"),) if self._at else ()

    def sent(self, operation: str) -> list[dict[str, Any]]:
        """Return the parameters of every call of the operation."""
        return [parameters for _host, name, parameters in self.calls if name == operation]


def error_xml(message_id: int, message: str) -> str:
    """Return an instance of Msvm_Error as Hyper-V embeds it."""
    text = message.replace("&", "&amp;").replace("<", "&lt;")
    return (
        '<INSTANCE CLASSNAME="Msvm_Error"><PROPERTY NAME="ErrorType" TYPE="uint16"><VALUE>1</VALUE></PROPERTY>'
        f'<PROPERTY NAME="MessageID" TYPE="string"><VALUE>{message_id}</VALUE></PROPERTY>'
        f'<PROPERTY NAME="Message" TYPE="string"><VALUE>{text}</VALUE></PROPERTY>'
        '<PROPERTY.ARRAY NAME="MessageArguments" TYPE="string"/></INSTANCE>'
    )

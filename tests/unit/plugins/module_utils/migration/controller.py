# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A controller of its own: runs one migration and kills itself with SIGKILL at a given boundary.

Usage: controller.py OPTIONS_JSON BOUNDARY. A boundary is ``before NAME`` or ``after NAME`` of a call that changes
something, or ``step NAME`` of the migration's own timeline; ``to end`` runs through.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from typing import Any

from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import SimulatedDriver
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import MigrateRequest, migrate_vm
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import Ledger
from ansible_collections.foresight.migration.plugins.module_utils.workspace.records import MigrationLog

#: Every call by which a migration changes something, and whose it is.
CHANGING: Mapping[str, type] = {
    "start_migration": SimulatedDriver,
    "tune": SimulatedDriver,
    "abort": SimulatedDriver,
    "settle_hold": SimulatedDriver,
    "release_hold": SimulatedDriver,
    "renew": Ledger,
    "consume": Ledger,
    "release": Ledger,
    "append": MigrationLog,
}


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _deadly(call: Callable[..., Any], when: str) -> Callable[..., Any]:
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if when == "before":
            _die()
        answer = call(*arguments, **named)
        _die()
        return answer

    return wrapped


def main(options: dict[str, Any], when: str, name: str) -> None:
    """Run the migration; die at the boundary."""
    if when in ("before", "after"):
        owner = CHANGING[name]
        setattr(owner, name, _deadly(getattr(owner, name), when))

    def report(_line: str, data: Mapping[str, Any]) -> None:
        if when == "step" and data.get("step", "progress") == name:
            _die()

    outcome = migrate_vm(MigrateRequest(**options), Context(False, report))
    print(json.dumps({"changed": outcome.changed, "state": outcome.result["state"]}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]), *sys.argv[2].split())

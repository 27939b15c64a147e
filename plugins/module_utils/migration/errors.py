# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can go wrong with a migration. In every case the VM has not been stopped by us."""

from __future__ import annotations

from ..errors import ForesightError


class PrecheckFailed(ForesightError):
    """At least one check forbids the move; nothing was touched. ``details['failed']`` lists each by code."""

    code = "precheck_failed"


class NothingReserved(ForesightError):
    """It is not known where to: nothing is reserved for the VM, and no destination was named."""

    code = "nothing_reserved"


class StrategyRefused(ForesightError):
    """No allowed way of moving is predicted to keep the SLA; nothing was touched."""

    code = "strategy_refused"


class VmBusy(ForesightError):
    """The VM is already being migrated to another host."""

    code = "vm_busy"


class DifferentFamily(ForesightError):
    """Source and destination are of different hypervisor families, between which nothing moves live."""

    code = "different_family"


class MigrationFailed(ForesightError):
    """The move ended without the VM arriving; it runs on its source.

    ``details`` holds ``step`` and ``cause`` of the failure, what was ``undone``, what could not be (``left``), and the
    ``timeline``.
    """

    code = "migration_failed"


class MigrationUnsettled(ForesightError):
    """Where the VM ended up could not be established, or its reservation not be settled.

    The reservation is kept: the next run settles it.
    """

    code = "migration_unsettled"


class VmOnTwoHosts(ForesightError):
    """Two hosts say that the VM runs there. Nothing is settled until a person has looked."""

    code = "vm_on_two_hosts"


class VmLost(ForesightError):
    """Neither side knows the VM any more. Nothing is settled until a person has looked."""

    code = "vm_lost"

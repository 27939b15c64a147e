# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is sent to give a VM its own reservations."""

from __future__ import annotations

from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware import guarantees
from pyVmomi import vim


def test_an_allocation_keeps_all_that_a_client_may_set_and_nothing_else() -> None:
    shares = vim.SharesInfo(level="high", shares=2000)
    read = vim.ResourceAllocationInfo(
        reservation=100, limit=3000, shares=shares, expandableReservation=False, overheadLimit=41
    )
    sent = guarantees._reserving(read, 2500)
    assert (sent.reservation, sent.limit, sent.shares, sent.expandableReservation) == (2500, 3000, shares, False)
    assert sent.overheadLimit is None

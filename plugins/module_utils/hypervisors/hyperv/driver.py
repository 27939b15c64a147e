# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hyper-V hosts and failover clusters over WinRM."""

from __future__ import annotations

# The driver class follows; it delegates to these, each in a file of its own:
#
#   preflight.findings(vm_uuid, source: Nodes, target: Nodes, host_id, order: MoveOrder) -> tuple[Finding, ...]
#   holds.Holds(nodes: Nodes): place(hold) -> Hold, release(reservation_id, tokens) -> bool, all() -> tuple[Hold, ...],
#       settle(hold) -> Mapping[str, str]
#   migration.Migrations(nodes: Nodes, clock: Clock): start(order, target: Nodes) -> Job, find(vm_uuid) -> Job | None,
#       progress(job) -> Progress, tune(job, tuning), abort(job)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which of a domain's states count as running, and on which side of a migration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.state import (
    DomainState,
    domain_state,
)

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")


@dataclass
class FakeDomain:
    """A domain in one state, with a job of one operation (0: none)."""

    answer: tuple[int, int]
    operation: int = 0

    def state(self) -> tuple[int, int]:
        return self.answer

    def jobStats(self) -> dict[str, int]:  # noqa: N802  # libvirt's name
        return {"type": int(self.operation != 0), "operation": self.operation}


def state_of(state: int, reason: int = 0, operation: int = 0) -> DomainState:
    return domain_state(cast(libvirt.virDomain, FakeDomain((state, reason), operation)))


def test_a_vm_runs_where_its_domain_runs_or_waits_for_a_resource() -> None:
    for state in (libvirt.VIR_DOMAIN_RUNNING, libvirt.VIR_DOMAIN_BLOCKED):
        assert state_of(state) == DomainState("running", "here")


@pytest.mark.parametrize("state", [libvirt.VIR_DOMAIN_SHUTDOWN, libvirt.VIR_DOMAIN_SHUTOFF, libvirt.VIR_DOMAIN_CRASHED])
def test_a_domain_whose_end_is_sealed_is_not_a_second_running_copy(state: int) -> None:
    assert state_of(state) == DomainState("off", "nowhere")


def test_a_vm_that_arrives_is_not_running_here_yet() -> None:
    paused, reason = libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_MIGRATION
    for operation in (0, libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_IN):
        assert state_of(paused, reason, operation) == DomainState("paused", "arriving")
    assert state_of(paused, reason, libvirt.VIR_DOMAIN_JOB_OPERATION_MIGRATION_OUT) == DomainState("running", "here")


def test_a_vm_that_runs_here_in_post_copy_is_not_here_as_a_whole() -> None:
    running = libvirt.VIR_DOMAIN_RUNNING
    late = state_of(running, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY)
    broken = state_of(running, libvirt.VIR_DOMAIN_RUNNING_POSTCOPY_FAILED)
    assert late == DomainState("running", "here", partial=True)
    assert broken == DomainState("running", "here", stalled=True, partial=True)
    assert not state_of(running, libvirt.VIR_DOMAIN_RUNNING_MIGRATED).partial


def test_a_vm_in_post_copy_has_left_its_source() -> None:
    paused = libvirt.VIR_DOMAIN_PAUSED
    assert state_of(paused, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY) == DomainState("running", "left")
    assert state_of(paused, libvirt.VIR_DOMAIN_PAUSED_POSTCOPY_FAILED) == DomainState("running", "left", stalled=True)

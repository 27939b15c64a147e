# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The properties that are asked for are those that a real vCenter has, and not only its simulator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware import (
    bandwidth,
    clusters,
    guarantees,
    holds,
    hosts,
    machines,
    preflight,
    tasks,
)
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.vmware.declared import (
    is_declared,
)
from pyVmomi import vim


@pytest.mark.parametrize(
    ("kind", "paths"),
    [
        (vim.HostSystem, hosts.HOST_PATHS),
        (vim.HostSystem, preflight._HOST_PATHS),
        (vim.VirtualMachine, machines.VM_PATHS),
        (vim.VirtualMachine, preflight._VM_PATHS),
        (vim.VirtualMachine, bandwidth.VM_PATHS),
        (vim.VirtualMachine, guarantees._PATHS),
        (vim.ClusterComputeResource, clusters.CLUSTER_PATHS),
        (vim.ResourcePool, clusters.POOL_PATHS),
        (vim.ResourcePool, holds._POOL_PATHS),
        (vim.Task, tasks.TASK_PATHS),
    ],
)
def test_every_path_is_declared_by_the_api(kind: Any, paths: Sequence[str]) -> None:
    assert [path for path in paths if not is_declared(kind, path)] == []


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (vim.ClusterComputeResource, "configurationEx.drsConfig.enabled"),
        (vim.VirtualMachine, "config.hardware.numCores"),
        (vim.VirtualMachine, "config.hardware.device.key"),
        (vim.HostSystem, "config.assignableHardwareBinding"),
    ],
)
def test_a_path_into_a_derived_type_or_a_later_version_counts_as_none(kind: Any, path: str) -> None:
    assert not is_declared(kind, path)

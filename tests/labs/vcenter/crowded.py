# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""An estate with one crowded host, for the tests of operations, modules and playbooks."""

from __future__ import annotations

import math
from typing import Any

from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, named
from pyVmomi import vim

VM, CROWDED = "DC0_C0_RP0_VM0", "DC0_C0_H0"
HOSTS = ("DC0_C0_H0", "DC0_C0_H1", "DC0_C0_H2", "DC0_H0")


def daily(low: float, high: float) -> list[int]:
    """Return a day of five-minute values that rise and fall once."""
    return [round(low + (high - low) * (1 - math.cos(2 * math.pi * step / 288)) / 2) for step in range(288)]


def seeds() -> dict[str, Any]:
    """Return series in which one host is nearly full and the others have room."""
    idle = {
        "cpu.usagemhz.average": daily(1000, 2000),
        "mem.consumed.average": [4 * 1024 * 1024],
        "net.usage.average": daily(100, 200),
        "disk.usage.average": daily(100, 200),
    }
    vm = {
        "cpu.usagemhz.average": daily(1000, 2200),
        "mem.consumed.average": [30 * 1024],
        "net.usage.average": daily(50, 100),
        "disk.usage.average": daily(50, 100),
    }
    crowded = {**idle, "cpu.usagemhz.average": daily(34000, 39000), "mem.consumed.average": [120 * 1024 * 1024]}
    return {"interval_s": 300, "series": {"*": vm, **dict.fromkeys(HOSTS, idle), CROWDED: crowded}}


def crowd(vcenter: VCenter) -> None:
    """Put the VM in question on the crowded host, and say that this is nearly full."""
    content = vcenter.administrator()
    crowded = named(content, vim.HostSystem, CROWDED)
    vcenter.move(named(content, vim.VirtualMachine, VM), crowded)
    vcenter.set(crowded, "summary.quickStats.overallCpuUsage", 38000)
    vcenter.set(crowded, "summary.quickStats.overallMemoryUsage", 122880)


def host_of(vcenter: VCenter, name: str = VM) -> str:
    """Return the name of the host that a VM is on."""
    return str(named(vcenter.administrator(), vim.VirtualMachine, name).runtime.host.name)


def holds(vcenter: VCenter) -> list[str]:
    """Return the names of the pools that hold something."""
    content = vcenter.administrator()
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.ResourcePool], True)
    return [pool.name for pool in view.view if pool.name.startswith("foresight-")]

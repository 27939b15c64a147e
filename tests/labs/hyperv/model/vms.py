# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Virtual machines of the model, in Hyper-V's own units."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.foresight.migration.tests.labs.hyperv.model.demand import Demand, steady

#: ``EnabledState`` of Msvm_ComputerSystem.
RUNNING, OFF = 2, 3


@dataclass
class Adapter:
    """A virtual network adapter. Its name is in the language of the host that made it."""

    adapter_id: str
    switch_name: str = "vSwitch"
    name: str = "Network Adapter"
    reserved_bits_s: int = 0
    limit_bits_s: int = 0
    weight: int = 0


@dataclass
class Disk:
    """A virtual disk."""

    path: str
    iops_reserved: int = 0
    iops_limit: int = 0
    passthrough: bool = False


@dataclass
class Vm:
    """A virtual machine. Reserve and limit of the processor are in thousandths of a per cent of its own vCPUs."""

    vm_id: str
    name: str
    vcpus: int = 2
    memory_mib: int = 2048
    demand: Demand = field(default_factory=lambda: steady(0.5))
    enabled_state: int = RUNNING
    dynamic_memory: bool = False
    memory_minimum_mib: int = 512
    memory_maximum_mib: int = 4096
    memory_weight: int = 5000
    cpu_reserve: int = 0
    cpu_limit: int = 100000
    cpu_weight: int = 100
    cpu_compatibility: bool = False
    generation: int = 2
    version: str = "10.0"
    notes: str = ""
    clustered: bool = False
    adapters: list[Adapter] = field(default_factory=list)
    disks: list[Disk] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)
    anti_affinity: list[str] = field(default_factory=list)
    #: Since when it runs where it is: counters of a host begin when a VM arrives.
    arrived_ts: float = 0.0

    @property
    def assigned_mib(self) -> int:
        """Memory that it has of its host now."""
        return self.memory_mib if self.enabled_state == RUNNING else 0

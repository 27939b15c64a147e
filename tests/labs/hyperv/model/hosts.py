# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Windows hosts of the model."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.foresight.migration.tests.labs.hyperv.model.vms import Vm

#: Bandwidth modes of a switch, as .NET names them in every language.
WEIGHT, ABSOLUTE, NONE = "Weight", "Absolute", "None"
CREDSSP, KERBEROS = 0, 1
MIB = 1024 * 1024


@dataclass
class Switch:
    """A virtual switch; its id differs from host to host, its name is what a move looks for."""

    switch_id: str
    name: str = "vSwitch"
    bandwidth_mode: str = ABSOLUTE


@dataclass
class Host:
    """A host with the Hyper-V role. ``language`` is that of its messages and of the names that Windows gives.

    ``delegates`` says that Active Directory lets this host's account act for a user towards the other hosts.
    """

    name: str
    domain: str = "lab.test"
    processors: int = 16
    mhz: int = 2600
    memory_mib: int = 65536
    own_memory_mib: int = 3072
    own_cpu_cores: float = 0.25
    language: str = "en-US"
    os_version: str = "10.0.20348"
    vm_versions: tuple[str, ...] = ("8.0", "9.0", "10.0")
    switches: list[Switch] = field(default_factory=list)
    link_bits_s: int = 10_000_000_000
    migration_enabled: bool = True
    authentication: int = KERBEROS
    max_migrations: int = 2
    max_storage_migrations: int = 2
    any_network: bool = True
    compression: bool = True
    smb: bool = False
    subnets: list[str] = field(default_factory=list)
    delegates: bool = False
    hyperv_role: bool = True
    hyperv_module: bool = True
    administrator: bool = True
    vms: dict[str, Vm] = field(default_factory=dict)
    node_state: int = 0
    drain_status: int = 0

    @property
    def fqdn(self) -> str:
        """Its full name."""
        return f"{self.name}.{self.domain}" if self.domain else self.name

    @property
    def free_mib(self) -> int:
        """Memory that nobody has."""
        return self.memory_mib - self.own_memory_mib - sum(vm.assigned_mib for vm in self.vms.values())

    @property
    def link_name(self) -> str:
        """The physical adapter's description, which Windows does not translate, with the brackets of counters."""
        return "Lab Ethernet Adapter [1]"

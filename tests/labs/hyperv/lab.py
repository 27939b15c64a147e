# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Windows machines of the lab: for each host of a site a WinRM server whose commands the model plays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible_collections.foresight.migration.tests.labs.hyperv.authentication import Logins
from ansible_collections.foresight.migration.tests.labs.hyperv.certificates import Authority, KeyPair
from ansible_collections.foresight.migration.tests.labs.hyperv.logins import PASSWORD, USER, ntlm_file
from ansible_collections.foresight.migration.tests.labs.hyperv.model.hosts import Host
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import Site
from ansible_collections.foresight.migration.tests.labs.hyperv.operations import Operations
from ansible_collections.foresight.migration.tests.labs.hyperv.server import WinrmServer, running
from ansible_collections.foresight.migration.tests.labs.hyperv.shells import Shells

#: How long a call may take in tests; the trouble of a test shows within it.
TIMEOUT_S = 60.0
#: The file server's share with the disks of lone hosts' VMs.
SHARE = "\\\\files.lab.test\\vms"


@dataclass
class Machine:
    """One host: what it does and how it is reached."""

    host: Host
    operations: Operations
    server: WinrmServer

    def asked(self, operation: str) -> list[Any]:
        """Return the parameters of every call of that operation."""
        return [parameters for name, parameters in self.operations.calls if name == operation]


@dataclass
class Lab:
    """A running site. Clients log in by ``transport``: ``basic``, ``ntlm``, ``ntlm over http`` or ``certificate``."""

    site: Site
    authority: Authority
    transport: str
    machines: dict[str, Machine] = field(default_factory=dict)
    client: KeyPair | None = None

    def endpoint(self, name: str, *hosts: str, **changes: Any) -> dict[str, Any]:
        """Return the options of an endpoint that begins at these hosts (default: the one called like it)."""
        entries = hosts or (name,)
        options: dict[str, Any] = {
            "name": name,
            "type": "hyperv",
            "winrm_hosts": [self._address(host) for host in entries],
            "winrm_node_addresses": {host.upper(): self._address(host) for host in self.machines},
            "winrm_scheme": "http" if self.transport == "ntlm over http" else "https",
            "winrm_transport": self.transport.partition(" ")[0],
            "winrm_ca_path": str(self.authority.certificate),
            "shared_storage": [SHARE],
            "timeout_s": TIMEOUT_S,
        }
        if self.client is not None:
            options |= {"winrm_cert_pem": str(self.client.certificate), "winrm_cert_key_pem": str(self.client.key)}
        else:
            options |= {"winrm_username": USER, "winrm_password": PASSWORD}
        return {**options, **changes}

    def endpoints(self) -> list[dict[str, Any]]:
        """Return one endpoint for the cluster, or one for each lone host."""
        if self.site.cluster:
            return [self.endpoint("cluster", *self.site.hosts)]
        return [self.endpoint(host) for host in self.site.hosts]

    def _address(self, host: str) -> str:
        return f"127.0.0.1:{self.machines[host.lower()].server.port}"

    def machine(self, host: str) -> Machine:
        """Return the machine of that name."""
        return self.machines[host.lower()]

    def open_shells(self) -> int:
        """Return how many shells are open on all machines."""
        return sum(machine.server.shells.open_count() for machine in self.machines.values())

    def shells_opened(self) -> int:
        """Return how many shells have ever been opened."""
        return sum(machine.server.shells.opened for machine in self.machines.values())

    def crashes(self) -> Sequence[str]:
        """Return what the lab itself failed at; must be nothing."""
        return [crash for machine in self.machines.values() for crash in machine.server.shells.crashes]


@contextmanager
def running_lab(site: Site, folder: Path, transport: str = "basic") -> Iterator[Lab]:
    """Run every machine of ``site`` until the block ends; ``folder`` takes certificates and credentials."""
    folder.mkdir(parents=True, exist_ok=True)
    authority = Authority(folder)
    lab = Lab(site, authority, transport)
    logins = Logins({USER: PASSWORD}, ("basic",) if transport == "basic" else ("negotiate",))
    if transport == "certificate":
        lab.client = authority.issue("lab-client")
        logins = Logins({}, ("certificate",), {lab.client.sha256.hex(): USER})
    with ExitStack() as stack:
        stack.enter_context(_environment("NTLM_USER_FILE", str(ntlm_file(folder))))
        for name, host in site.hosts.items():
            operations = Operations(site, host)
            tls = None if transport == "ntlm over http" else authority.issue(name)
            server = WinrmServer(
                Shells(operations.play),
                logins,
                tls=tls,
                client_ca=authority.certificate if transport == "certificate" else None,
            )
            lab.machines[name] = Machine(host, operations, stack.enter_context(running(server)))
        yield lab


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for a while: pyspnego's acceptor takes its credentials that way only."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Windows hosts for tests: their WinRM listeners on loopback, and behind them a model of Hyper-V."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.driver import HypervDriver
from ansible_collections.foresight.migration.tests.integration.conftest import collections, module, playbook
from ansible_collections.foresight.migration.tests.labs.hyperv.authentication import Logins
from ansible_collections.foresight.migration.tests.labs.hyperv.certificates import Authority
from ansible_collections.foresight.migration.tests.labs.hyperv.lab import Lab, running_lab
from ansible_collections.foresight.migration.tests.labs.hyperv.logins import PASSWORD, USER, ntlm_file
from ansible_collections.foresight.migration.tests.labs.hyperv.model.site import Site
from ansible_collections.foresight.migration.tests.labs.hyperv.server import WinrmServer, running
from ansible_collections.foresight.migration.tests.labs.hyperv.shells import Program, Shells
from ansible_collections.foresight.migration.tests.stepped_clock import SteppedClock

__all__ = ["collections", "module", "playbook"]

#: Two minutes after a change of demand, so that none comes within a short test.
BEGIN_TS = 1_772_442_120.0
Serve = Callable[..., WinrmServer]
Start = Callable[..., Lab]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The CA that has signed the lab's certificates."""
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Logins:
    """The lab's one user, for Basic and for NTLM."""
    monkeypatch.setenv("NTLM_USER_FILE", str(ntlm_file(tmp_path)))
    return Logins({USER: PASSWORD})


@pytest.fixture
def serve(users: Logins) -> Iterator[Serve]:
    """A function that starts a listener whose commands are played by a program; they end with the test."""
    servers: list[WinrmServer] = []
    with ExitStack() as stack:

        def start(program: Program, logins: Logins = users, **options: object) -> WinrmServer:
            server = WinrmServer(Shells(program), logins, **options)
            servers.append(server)
            return stack.enter_context(running(server))

        yield start
        assert [crash for server in servers for crash in server.shells.crashes] == []


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """A function that starts a site and returns its lab; it ends with the test, and must not have crashed by then."""
    labs: list[Lab] = []
    with ExitStack() as stack:

        def begin(site: Site, transport: str = "basic") -> Lab:
            lab = stack.enter_context(running_lab(site, tmp_path / f"lab-{len(labs)}", transport))
            labs.append(lab)
            return lab

        yield begin
        assert [crash for lab in labs for crash in lab.crashes()] == []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SteppedClock:
    """A clock by which the drivers of this test live, and the sites that `begin` starts."""
    clock = SteppedClock(BEGIN_TS)
    monkeypatch.setattr(HypervDriver, "clock", clock)
    return clock


@pytest.fixture
def begin(start: Start, clock: SteppedClock) -> Start:
    """Like `start`, but neither the site's time nor the drivers' passes unless the test or a driver sleeps by it."""

    def stepped(site: Site, transport: str = "basic") -> Lab:
        site.live_by(clock.now)
        return start(site, transport)

    return stepped


@pytest.fixture
def connect() -> Iterator[Callable[..., HypervDriver]]:
    """A function that returns a connected driver for an endpoint; it is closed with the test."""
    with ExitStack() as stack:

        def begin(endpoint: dict[str, Any]) -> HypervDriver:
            return stack.enter_context(HypervDriver(endpoint["name"], endpoint))

        yield begin

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A vCenter for tests: `vcenter` starts one with flags, `stock` is the simulator without additions."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible_collections.foresight.migration.tests.integration.conftest import collections, module, playbook

__all__ = ["collections", "module", "playbook"]

if TYPE_CHECKING:
    from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
    from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.session import Session

    from .lab import VCenter

    Start = Callable[..., VCenter]


@pytest.fixture(autouse=True)
def only_declared_properties(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse what the simulator answers and a real vCenter does not: properties that the API does not declare."""
    from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware import properties
    from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.vmware import declared

    pages = properties._pages

    def checked(session: Session, spec: Any) -> Iterator[properties.Record]:
        unknown = declared.undeclared(spec)
        if unknown:
            raise AssertionError(f"InvalidProperty: {unknown}")
        return pages(session, spec)

    monkeypatch.setattr(properties, "_pages", checked)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The lab's program, built once."""
    from ansible_collections.foresight.migration.tests.labs.vcenter.lab import NoGo, build

    try:
        return build(tmp_path_factory.mktemp("vcenter-build"))
    except NoGo as reason:
        pytest.skip(f"vCenter lab: {reason}")


@pytest.fixture
def start(program: Path, tmp_path: Path) -> Iterator[Start]:
    """A function that starts a vCenter with the given flags; it ends with the test."""
    from ansible_collections.foresight.migration.tests.labs.vcenter.lab import running

    with ExitStack() as stack:
        count = iter(range(100))
        yield lambda *flags: stack.enter_context(running(program, tmp_path / f"vcenter-{next(count)}", flags))


@pytest.fixture
def vcenter(start: Start) -> VCenter:
    """A vCenter with the lab's additions: one cluster of three hosts, one lone host, two VMs in each."""
    return start("-admission")


@pytest.fixture
def stock(start: Start) -> VCenter:
    """The simulator as govmomi ships it."""
    return start("-stock")


@pytest.fixture
def estate(start: Start, tmp_path: Path) -> VCenter:
    """A vCenter with as much history as is asked for, its VM in question on a host that is nearly full."""
    from ansible_collections.foresight.migration.tests.labs.vcenter import crowded

    perf = tmp_path / "perf.json"
    perf.write_text(json.dumps(crowded.seeds()))
    vcenter = start("-admission", "-perf", str(perf))
    crowded.crowd(vcenter)
    return vcenter


@pytest.fixture
def connect() -> Iterator[Callable[..., VmwareDriver]]:
    """A function that returns a connected driver for a lab; it is closed with the test."""
    from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver

    with ExitStack() as stack:
        yield lambda lab, **changes: stack.enter_context(VmwareDriver("vc", lab.endpoint(**changes)))

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a move has left defined on its source is removed there, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.clock import SystemClock
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.connection import Connection
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.migration import Migrations

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")


def refusal(name: str) -> libvirt.libvirtError:
    error = libvirt.libvirtError(name)
    error.err = (getattr(libvirt, f"VIR_ERR_{name}"), 0, name, 2, None, None, None, 0, 0)
    return error


@dataclass
class FakeHost:
    """A connection to a host with one domain, or with none; it is also that domain."""

    known: bool = True
    running: bool = False
    marked: bool = True
    undefined: list[int] = field(default_factory=list)

    def ask(self, question: Callable[[Any], bool], _doing: str) -> bool:
        return question(self)

    def lookupByUUIDString(self, _uuid: str) -> FakeHost:  # noqa: N802
        if not self.known:
            raise refusal("NO_DOMAIN")
        return self

    def isActive(self) -> int:  # noqa: N802
        return int(self.running)

    def metadata(self, _kind: int, _namespace: str) -> str:
        if not self.marked:
            raise refusal("NO_DOMAIN_METADATA")
        return "<mark reservation='r'/>"

    def undefineFlags(self, flags: int) -> None:  # noqa: N802
        self.undefined.append(flags)


def drop(host: FakeHost) -> bool:
    return Migrations(cast(Connection, host), lambda: "host", SystemClock()).drop_definition("vm")


def test_a_definition_that_our_move_has_left_goes_without_its_firmware_and_tpm_state() -> None:
    host = FakeHost()
    assert drop(host)
    assert host.undefined == [libvirt.VIR_DOMAIN_UNDEFINE_KEEP_NVRAM | libvirt.VIR_DOMAIN_UNDEFINE_KEEP_TPM]


@pytest.mark.parametrize(
    "host",
    [FakeHost(known=False), FakeHost(running=True), FakeHost(marked=False)],
    ids=["none", "running", "another's"],
)
def test_nothing_else_is_undefined(host: FakeHost) -> None:
    assert not drop(host)
    assert host.undefined == []

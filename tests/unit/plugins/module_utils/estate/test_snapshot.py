# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Finding one VM or host by what people call it, and never the wrong one."""

from __future__ import annotations

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import (
    AmbiguousHost,
    AmbiguousVm,
    EndpointStatus,
    Estate,
    UnknownHost,
    UnknownVm,
)

SIZE = Resources(2, 2048)
HOSTS = [Host(endpoint, "h1", "one", "kvm", "up", SIZE) for endpoint in ("east", "west")]
VMS = [
    Vm("east", "AAAA-1", "web01", "east/h1", "running", SIZE),
    Vm("west", "bbbb-2", "web01", "west/h1", "running", SIZE),
    Vm("west", "cccc-3", "aaaa-1", "west/h1", "running", SIZE),  # a guest called like another's uuid
]
STATUSES = (EndpointStatus("east", "libvirt", True, 0.0), EndpointStatus("south", "libvirt", False, 0.0))
ESTATE = Estate("id", 0.0, STATUSES, {host.key: host for host in HOSTS}, {vm.key: vm for vm in VMS})


def test_a_uuid_in_any_case_goes_before_a_name() -> None:
    assert ESTATE.find_vm("aaaa-1").uuid == "AAAA-1"
    assert ESTATE.find_vm("BBBB-2").endpoint == "west"


def test_a_name_that_several_have_is_refused_with_the_candidates_unless_the_endpoint_tells_them_apart() -> None:
    with pytest.raises(AmbiguousVm) as refusal:
        ESTATE.find_vm("web01")
    assert [each["endpoint"] for each in refusal.value.details["candidates"]] == ["east", "west"]
    assert ESTATE.find_vm("web01", "west").uuid == "bbbb-2"
    assert list(ESTATE.shared_names()) == ["web01"]


def test_an_unknown_name_is_told_with_the_endpoints_that_could_not_be_asked() -> None:
    for name, endpoint in (("WEB01", None), ("nobody", None), ("cccc-3", "east")):
        with pytest.raises(UnknownVm) as refusal:
            ESTATE.find_vm(name, endpoint)
        assert refusal.value.details["unreachable"] == ["south"]


def test_a_host_is_found_by_its_key_and_by_a_name_or_id_that_only_it_has() -> None:
    assert ESTATE.find_host("west/h1") is HOSTS[1]
    for name in ("h1", "one"):
        with pytest.raises(AmbiguousHost) as refusal:
            ESTATE.find_host(name)
        assert refusal.value.details["candidates"] == ["east/h1", "west/h1"]
    with pytest.raises(UnknownHost, match="two"):
        ESTATE.find_host("two")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nouns as data and back: whole, across versions, and refused where the shape is another."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Cluster, Host, Rule, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.serialise import (
    BadArtefact,
    from_data,
    to_data,
)
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import EndpointStatus, Estate

HOST = Host("lab", "h1", "one", "kvm", "up", Resources(8, 32768), cpu_features=frozenset({"b", "a"}))
VM = Vm(
    "lab",
    "u1",
    "{{ name }}\n'\"ü",
    "lab/h1",
    "running",
    Resources(2, 2048),
    used=Resources(1.5, 1024),
    networks=("prod", "backup"),
    labels={"tier": "web"},
    facts={"disks": [{"mib": 10}]},
)
ESTATE = Estate(
    "id",
    5.0,
    (EndpointStatus("lab", "libvirt", True, 5.0, warnings=("slow",)),),
    {HOST.key: HOST},
    {VM.key: VM},
    rules=(Rule("lab", "apart", "vm_anti_affinity", frozenset({"u1", "u2"})),),
    clusters=(Cluster("lab", "c1", frozenset({HOST.key})),),
)


def written() -> dict[str, Any]:
    """Return the estate as a file holds it."""
    data: dict[str, Any] = json.loads(json.dumps(to_data(ESTATE)))
    return data


def test_an_estate_comes_back_as_it_was() -> None:
    assert from_data(Estate, written()) == ESTATE


def test_fields_of_a_newer_version_are_ignored_at_every_depth_and_absent_ones_take_their_default() -> None:
    data = written()
    vm = data["vms"][VM.key]
    data["hue"] = vm["hue"] = vm["allocated"]["hue"] = data["hosts"][HOST.key]["hue"] = "green"
    del vm["labels"], vm["allocated"]["network_mbit_s"], data["rules"]
    found = from_data(Estate, data)
    assert (found.vms[VM.key].labels, found.vms[VM.key].allocated, found.rules) == ({}, VM.allocated, ())
    assert found.hosts == ESTATE.hosts


def test_restoring_leaves_the_data_as_it_was() -> None:
    data = written()
    from_data(Estate, data)
    assert data == written()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("vms", VM.key, "allocated"), 3),
        (("vms", VM.key), ["not", "an", "object"]),
        (("vms",), "none"),
        (("clusters",), 7),
    ],
)
def test_another_shape_is_refused(path: tuple[str, ...], value: object) -> None:
    data = written()
    place = data
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    with pytest.raises(BadArtefact):
        from_data(Estate, data)


def test_a_field_that_cannot_be_absent_is_missed_by_name() -> None:
    data = written()
    del data["hosts"][HOST.key]["capacity"]
    with pytest.raises(BadArtefact, match="capacity"):
        from_data(Estate, data)

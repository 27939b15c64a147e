# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a VM keeps of its reservation on Hyper-V: which settings, by how much, and what of them is a guarantee."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv import guarantee
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.holds import Holds
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold, HypervisorFault
from ansible_collections.foresight.migration.tests.unit.plugins.module_utils.hypervisors.hyperv.played_hosts import (
    VM,
    PlayedHosts,
    adapter,
    tuning,
)
from hypothesis import given
from hypothesis import strategies as st

AMOUNT = Resources(cpu_cores=1.5, memory_mib=2048, network_mbit_s=400, disk_mib_s=10)


class Machine:
    """A VM whose settings are kept as Hyper-V keeps them; ``refuses`` names those that it will not change."""

    def __init__(self, refuses: tuple[str, ...] = (), **changes: Any) -> None:
        self.state = tuning(**changes)
        self.refuses = refuses

    def read(self, parameters: Any) -> dict[str, Any]:
        return {**self.state, "adapters": [dict(a) for a in self.state["adapters"]]}

    def write(self, parameters: Any) -> dict[str, Any]:
        for key in ("notes", guarantee.CPU, guarantee.MEMORY):
            if parameters[key] is not None and key not in self.refuses:
                self.state[key] = parameters[key]
        self.state[guarantee.MEMORY] = self.state[guarantee.MEMORY] // 2**20 * 2**20
        for wanted in parameters["adapters"]:
            found = next(a for a in self.state["adapters"] if a["id"] == wanted["id"])
            found.update({key: value for key, value in wanted.items() if value is not None})
            found[guarantee.BITS] = round(found[guarantee.BITS] / 8) * 8
        if parameters["disks"]:
            self.state["disks"] = parameters["disks"]
        return {"found": True, "refused": []}

    def hosts(self) -> PlayedHosts:
        return PlayedHosts("hv", {"hv2": {"tuning": self.read, "set_tuning": self.write}})


def hold(tier: str = "hard", amount: Resources = AMOUNT) -> Hold:
    return Hold("r1", "hv2", VM, amount, tier)


def test_a_hold_before_the_vm_comes_is_labelled_as_the_ledgers() -> None:
    hosts = Machine().hosts()
    placed = Holds(hosts).place(hold())
    assert set(placed.enforced_by.values()) == {"ledger"}
    assert (placed.tokens, Holds(hosts).all(), Holds(hosts).release("r1", {})) == ({}, (), False)
    assert not hosts.calls
    with pytest.raises(HypervisorFault):
        Holds(hosts).place(Hold("r1", "other", VM, AMOUNT, "hard"))


def test_a_hard_tier_gives_reserve_minimum_bandwidth_and_operations() -> None:
    machine = Machine()
    told = Holds(machine.hosts()).settle(hold())
    assert machine.state["cpu_reserve_percent"] == 38  # 1.5 of 4 processors, rounded up
    assert machine.state["memory_minimum_bytes"] == 2048 * 2**20
    assert machine.state["adapters"][0]["minimum_bits_s"] == 400_000_000
    assert machine.state["disks"][0]["minimum_iops"] == 1280
    assert told == {"cpu": "hypervisor", "memory": "hypervisor", "network": "hypervisor", "disk": "ledger"}


def test_a_second_settlement_changes_nothing() -> None:
    machine = Machine()
    first = Holds(machine.hosts()).settle(hold())
    hosts = machine.hosts()
    assert Holds(hosts).settle(hold()) == first
    assert not hosts.sent("set_tuning")


def test_a_soft_tier_takes_back_what_a_hard_one_gave_and_no_more() -> None:
    machine = Machine(cpu_reserve_percent=10, notes="mine\nand mine")
    Holds(machine.hosts()).settle(hold())
    machine.state["memory_minimum_bytes"] = 3 * 2**30  # somebody has changed that since
    told = Holds(machine.hosts()).settle(hold("soft"))
    assert machine.state["cpu_reserve_percent"] == 10
    assert machine.state["memory_minimum_bytes"] == 3 * 2**30
    assert machine.state["adapters"][0]["minimum_bits_s"] == 0
    assert machine.state["notes"] == "mine\nand mine"
    assert set(told.values()) == {"ledger"}


def test_what_hyper_v_rounds_is_still_known_as_ours() -> None:
    machine = Machine()
    odd = Resources(cpu_cores=1.5, memory_mib=2000.3, network_mbit_s=123.456786)
    told = Holds(machine.hosts()).settle(hold(amount=odd))
    assert (told["memory"], told["network"]) == ("hypervisor", "hypervisor")
    Holds(machine.hosts()).settle(hold("soft"))
    assert machine.state["adapters"][0]["minimum_bits_s"] == 0
    assert machine.state["memory_minimum_bytes"] == 512 * 2**20
    assert machine.state["notes"] == ""


def test_a_refused_minimum_leaves_the_memory_to_the_ledger() -> None:
    machine = Machine(refuses=(guarantee.MEMORY,))
    told = Holds(machine.hosts()).settle(hold())
    assert (told["memory"], told["cpu"]) == ("ledger", "hypervisor")
    assert guarantee.own_settings(guarantee.current(machine.state), machine.state["notes"])[guarantee.MEMORY] == 2**29


def test_static_memory_is_the_vms_already() -> None:
    machine = Machine(dynamic_memory=False)
    assert Holds(machine.hosts()).settle(hold())["memory"] == "hypervisor"
    assert machine.state["memory_minimum_bytes"] == 512 * 2**20


@pytest.mark.parametrize("mode", ["Default", "None", ""])
def test_no_bandwidth_is_promised_on_a_switch_that_guarantees_none(mode: str) -> None:
    machine = Machine(adapters=[adapter(bandwidth_mode=mode)])
    assert Holds(machine.hosts()).settle(hold())["network"] == "ledger"
    assert machine.state["adapters"][0] == adapter(bandwidth_mode=mode)


def test_a_weight_is_a_guarantee_against_the_other_ports_only() -> None:
    machine = Machine(adapters=[adapter(bandwidth_mode="Weight", link_bits_s=10**9, other_weights=60)])
    assert Holds(machine.hosts()).settle(hold())["network"] == "hypervisor"
    assert machine.state["adapters"][0]["minimum_weight"] == 40  # 40 / (40 + 60) of 1 Gbit/s
    crowded = Machine(adapters=[adapter(bandwidth_mode="Weight", link_bits_s=10**9, other_weights=600)])
    assert Holds(crowded.hosts()).settle(hold())["network"] == "ledger"
    unknown = Machine(adapters=[adapter(bandwidth_mode="Weight", link_bits_s=0)])
    assert Holds(unknown.hosts()).settle(hold())["network"] == "ledger"


def test_an_amount_is_not_shared_out_among_several_adapters_or_disks() -> None:
    two = [adapter(), adapter(id="other")]
    disks = [
        {"controller_type": "SCSI", "controller_number": 0, "controller_location": n, "minimum_iops": 0} for n in (0, 1)
    ]
    machine = Machine(adapters=two, disks=disks)
    assert Holds(machine.hosts()).settle(hold())["network"] == "ledger"
    assert machine.state["disks"] == disks


def test_a_reserve_stays_within_the_vms_limit() -> None:
    machine = Machine(cpu_limit_percent=50)
    assert Holds(machine.hosts()).settle(hold(amount=Resources(cpu_cores=99)))["cpu"] == "hypervisor"
    assert machine.state["cpu_reserve_percent"] == 50


def test_nothing_is_promised_of_what_was_not_reserved() -> None:
    assert set(Holds(Machine(dynamic_memory=False).hosts()).settle(hold(amount=Resources())).values()) == {"ledger"}


@given(notes=st.text(max_size=200), given=st.integers(0, 2**40), own=st.integers(0, 2**40))
def test_notes_of_others_survive_ours(notes: str, given: int, own: int) -> None:
    before = guarantee.write_note(notes, {"a": 0}, {"a": 0})
    with_ours = guarantee.write_note(before, {"a": given}, {"a": own})
    if given != own:
        assert guarantee.read_note(with_ours) == {"given": {"a": given}, "own": {"a": own}}
    assert guarantee.write_note(with_ours, {"a": 0}, {"a": 0}) == before


@pytest.mark.parametrize(
    "notes",
    [
        "",
        "[foresight.migration {]",
        "[foresight.migration {}]",
        '[foresight.migration {"given": {"a": "b"}, "own": {}}]',
        '[foresight.migration {"given": [], "own": {}}]',
        '[foresight.migration {"given": {"a": 1}, "own": {}}] and more',
    ],
)
def test_a_line_that_is_not_ours_is_no_record(notes: str) -> None:
    assert guarantee.read_note(notes) == {}

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""VMs beside a hold, restrained and given back what they had, whatever the kernel, and whoever else steps in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt import guarantee
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.connection import Connection
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.marks import GUARANTEE, RESTRAINT
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.residents import Residents
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Hold, HypervisorFault

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

HOST = "host-1"
CAPACITY = Resources(4.0, 0.0, 1000.0, 100.0)
#: What an untuned domain has, and what the kernel takes at most, with cgroup v1 and v2 (libvirt's vircgroupv1.c, v2.c).
V1, V2 = (1024, 262144), (100, 10000)


def refusal(name: str, text: str = "no") -> libvirt.libvirtError:
    error = libvirt.libvirtError(text)
    error.err = (getattr(libvirt, f"VIR_ERR_{name}"), 0, text, 2, None, None, None, 0, 0)
    return error


@dataclass
class FakeDomain:
    """A running domain with one disk and one interface, as libvirt answers for it."""

    uuid: str
    shares: int = 1024
    most_shares: int = 262144
    iotune: dict[str, int] = field(default_factory=dict)
    bandwidth: dict[str, int] = field(default_factory=dict)
    metadata_of: dict[str, str] = field(default_factory=dict)
    shaping: bool = True
    on_change: Callable[[str], None] = lambda _what: None

    def UUIDString(self) -> str:  # noqa: N802
        return self.uuid

    def name(self) -> str:
        return f"vm-{self.uuid}"

    def isPersistent(self) -> bool:  # noqa: N802
        return False

    def state(self) -> list[int]:
        return [libvirt.VIR_DOMAIN_RUNNING, 1]

    def XMLDesc(self, _flags: int = 0) -> str:  # noqa: N802
        return (
            "<domain><devices><disk><source file='/d'/><target dev='vda'/></disk>"
            "<interface><mac address='52:54:00:00:00:01'/></interface></devices></domain>"
        )

    def schedulerParametersFlags(self, _flags: int) -> dict[str, int]:  # noqa: N802
        return {"cpu_shares": self.shares, "global_quota": -1}

    def setSchedulerParametersFlags(self, values: dict[str, int], _flags: int) -> None:  # noqa: N802
        self.on_change("cpu")
        if not 1 <= values["cpu_shares"] <= self.most_shares:
            raise refusal("INVALID_ARG", "shares must be in range")
        self.shares = values["cpu_shares"]

    def blockIoTune(self, _device: str, _flags: int) -> dict[str, Any]:  # noqa: N802
        return {"total_bytes_sec": 0, "read_bytes_sec": 0, "group_name": "x", **self.iotune}

    def setBlockIoTune(self, _device: str, values: dict[str, int], _flags: int) -> None:  # noqa: N802
        self.on_change("disk")
        self.iotune = {name: value for name, value in values.items() if value}

    def interfaceParameters(self, _device: str, _flags: int) -> dict[str, int]:  # noqa: N802
        return {"inbound.average": 0, "outbound.average": 0, **self.bandwidth}

    def setInterfaceParameters(self, _device: str, values: dict[str, int], _flags: int) -> None:  # noqa: N802
        self.on_change("network")
        wanted = {name: value for name, value in values.items() if value}
        if wanted and not self.shaping:
            raise refusal("INTERNAL_ERROR", "tc: Specified qdisc kind is unknown")
        self.bandwidth = wanted

    def metadata(self, _kind: int, namespace: str, _flags: int = 0) -> str:
        if namespace not in self.metadata_of:
            raise refusal("NO_DOMAIN_METADATA")
        return self.metadata_of[namespace]

    def setMetadata(self, _kind: int, text: str | None, _key: str, namespace: str, _flags: int) -> None:  # noqa: N802
        self.on_change("mark")
        if text is None:
            self.metadata_of.pop(namespace, None)
        else:
            self.metadata_of[namespace] = text

    @property
    def settings(self) -> tuple[int, dict[str, int], dict[str, int]]:
        return self.shares, self.iotune, self.bandwidth


@dataclass
class FakeHost:
    """A host's connection: its domains and how many CPUs it has."""

    domains: list[FakeDomain]

    def listAllDomains(self, _flags: int = 0) -> list[FakeDomain]:  # noqa: N802
        return list(self.domains)

    def lookupByUUIDString(self, uuid: str) -> FakeDomain:  # noqa: N802
        return next(domain for domain in self.domains if domain.uuid == uuid)

    def getCPUMap(self) -> tuple[int, list[bool], int]:  # noqa: N802
        return 4, [True] * 4, 4


def asked(name: str = "r-1", *, shares: int = 1024, floor: Resources | None = None, **amount: float) -> Hold:
    floors = {} if floor is None else dict.fromkeys(("a", "b", "c"), floor)
    given = Resources(**{"cpu_cores": 2.0, **amount})
    return Hold(name, HOST, f"vm-of-{name}", given, "hard", tokens={"arriving_shares": shares}, floors=floors)


def in_force(hold: Hold, *resources: str) -> Hold:
    return Hold(hold.reservation_id, hold.host_id, hold.vm_uuid, hold.amount, hold.tier,
                dict.fromkeys(resources, "hypervisor"), hold.tokens)  # fmt: skip


@pytest.mark.parametrize(("default", "most"), [V1, V2], ids=["cgroup v1", "cgroup v2"])
def test_shares_are_scaled_and_put_back_whatever_the_kernel_counts_in(default: int, most: int) -> None:
    host = FakeHost([FakeDomain(uuid, default, most) for uuid in "abc"])
    residents = Residents(lambda: HOST, ())
    assert residents.restrain(host, CAPACITY, [], asked=asked(shares=default)) == {"cpu"}
    assert [domain.shares for domain in host.domains] == [default // 3] * 3
    residents.restrain(host, CAPACITY, [], gone="r-1")
    assert [domain.settings for domain in host.domains] == [(default, {}, {})] * 3
    assert not any(domain.metadata_of for domain in host.domains)


def test_a_hold_that_another_one_still_needs_stays_when_the_first_goes() -> None:
    host, residents = FakeHost([FakeDomain("a"), FakeDomain("b")]), Residents(lambda: HOST, ())
    first, second = asked("r-1"), asked("r-2", cpu_cores=1.0)
    residents.restrain(host, CAPACITY, [], asked=first)
    alone = host.domains[0].shares
    # both together want 2 of 4 and 1 of 4 cores: with equal shares of their own, 2 each, which leaves nothing
    assert residents.restrain(host, CAPACITY, [in_force(first, "cpu")], asked=second) == frozenset()
    assert host.domains[0].shares == alone
    residents.restrain(host, CAPACITY, [], gone="r-2")
    assert host.domains[0].shares == alone
    residents.restrain(host, CAPACITY, [], gone="r-1")
    assert host.domains[0].settings == (1024, {}, {})


def test_a_lever_that_the_host_refuses_is_the_ledgers_and_the_rest_holds() -> None:
    host = FakeHost([FakeDomain("a"), FakeDomain("b", shaping=False)])
    residents = Residents(lambda: HOST, ("network", "disk"))
    hold = asked(network_mbit_s=500.0, disk_mib_s=40.0, floor=Resources(0.1, 0.0, 10.0, 5.0))
    assert residents.restrain(host, CAPACITY, [], asked=hold) == {"cpu", "disk"}
    assert [domain.bandwidth for domain in host.domains] == [{}, {}]
    assert [domain.iotune for domain in host.domains] == [{"total_bytes_sec": 30 * 2**20}] * 2


def test_network_is_held_in_both_directions_of_every_interface() -> None:
    host, residents = FakeHost([FakeDomain("a"), FakeDomain("b")]), Residents(lambda: HOST, ("network",))
    hold = asked(network_mbit_s=600.0, floor=Resources(0.1, 0.0, 100.0, 5.0))
    assert "network" in residents.restrain(host, CAPACITY, [], asked=hold)
    each = 400 // 2 // 2 * 125  # of what is left, for two VMs, in two directions, as kilobytes per second
    assert [domain.bandwidth for domain in host.domains] == [{"inbound.average": each, "outbound.average": each}] * 2
    (found,) = residents.found(host, CAPACITY, [in_force(hold, "network")])
    assert found.amount.network_mbit_s == 600.0
    host.domains.append(FakeDomain("c"))  # starts later, and may take everything
    (found,) = residents.found(host, CAPACITY, [in_force(hold, "network")])
    assert found.amount.network_mbit_s == 0.0


def test_what_an_owner_changes_meanwhile_is_kept() -> None:
    host, residents = FakeHost([FakeDomain("a"), FakeDomain("b")]), Residents(lambda: HOST, ("disk",))
    hold = asked(disk_mib_s=40.0, floor=Resources(disk_mib_s=5.0))
    residents.restrain(host, CAPACITY, [], asked=hold)
    host.domains[0].shares, host.domains[0].iotune = 5000, {"total_bytes_sec": 7 * 2**20}
    assert residents.restrain(host, CAPACITY, [], asked=hold) == {"cpu", "disk"}
    assert host.domains[0].iotune == {"total_bytes_sec": 7 * 2**20}
    assert host.domains[1].iotune == {"total_bytes_sec": 53 * 2**20}
    residents.restrain(host, CAPACITY, [], gone="r-1")
    assert [domain.settings for domain in host.domains] == [
        (5000, {"total_bytes_sec": 7 * 2**20}, {}),
        (1024, {}, {}),
    ]


class Crash(BaseException):
    """The controller dies."""


@pytest.mark.parametrize("calls", range(27))
@pytest.mark.parametrize("then", ["released", "made smaller"])
def test_a_crash_at_any_call_leaves_what_the_next_run_puts_right(calls: int, then: str) -> None:
    left = [calls]

    def count(_what: str) -> None:
        left[0] -= 1
        if left[0] == -1:
            raise Crash

    host = FakeHost([FakeDomain(uuid, on_change=count) for uuid in "ab"])
    residents = Residents(lambda: HOST, ("network", "disk"))
    floor = Resources(0.1, 0.0, 10.0, 5.0)
    hold = asked(network_mbit_s=500.0, disk_mib_s=40.0, floor=floor)
    smaller = asked(network_mbit_s=100.0, disk_mib_s=10.0, floor=floor, cpu_cores=1.5)
    try:
        residents.restrain(host, CAPACITY, [], asked=hold)
        residents.restrain(host, CAPACITY, [], asked=smaller)
        residents.restrain(host, CAPACITY, [], gone="r-1")
    except Crash:
        left[0] = 10**6
        if then == "made smaller":
            assert residents.restrain(host, CAPACITY, [], asked=smaller) == {"cpu", "network", "disk"}
            assert host.domains[0].iotune == {"total_bytes_sec": 45 * 2**20}
        residents.restrain(host, CAPACITY, [], gone="r-1")
    assert [domain.settings for domain in host.domains] == [(1024, {}, {})] * 2
    assert not any(domain.metadata_of for domain in host.domains)


def test_a_vm_restrained_on_the_host_that_it_came_from_is_found_and_freed() -> None:
    vm = FakeDomain("a")
    Residents(lambda: "elsewhere", ()).restrain(FakeHost([vm]), CAPACITY, [], asked=asked(cpu_cores=3.0))
    here, residents = FakeHost([vm, FakeDomain("b")]), Residents(lambda: HOST, ())
    assert vm.shares < 1024
    (found,) = residents.found(here, CAPACITY, [])
    assert (found.reservation_id, found.host_id) == ("r-1", HOST)
    assert residents.names(here, "r-1")
    residents.restrain(here, CAPACITY, [], gone="r-1")
    assert vm.settings == (1024, {}, {})
    assert RESTRAINT not in vm.metadata_of


def test_an_idle_vm_is_not_stopped_and_a_new_forecast_replaces_the_old_one() -> None:
    host, residents = FakeHost([FakeDomain("a")]), Residents(lambda: HOST, ("disk",))
    residents.restrain(host, CAPACITY, [], asked=asked(disk_mib_s=60.0, floor=Resources(disk_mib_s=40.0)))
    assert host.domains[0].iotune == {"total_bytes_sec": 40 * 2**20}
    idle = asked(disk_mib_s=99.5, floor=Resources())
    assert "disk" in residents.restrain(host, CAPACITY, [], asked=idle)
    assert host.domains[0].iotune == {"total_bytes_sec": 2**19}
    assert "disk" not in residents.restrain(host, CAPACITY, [], asked=asked(disk_mib_s=99.6, floor=Resources()))


def test_a_promise_of_other_resources_says_nothing_of_what_a_vm_needs_of_this_one() -> None:
    vm = FakeDomain("a")
    guarantee.give_guarantee(Direct(FakeHost([vm])), Hold("r-0", HOST, "a", Resources(cpu_cores=0.5), "hard"), 0)
    residents = Residents(lambda: HOST, ("disk",))
    assert residents.restrain(FakeHost([vm]), CAPACITY, [], asked=asked(disk_mib_s=10.0)) == {"cpu"}
    assert vm.iotune == {}


@pytest.mark.parametrize(
    "text",
    [
        "<mark/>",
        "<mark host='h' holds='[{}]' former='{}' given='{\"cpu\": []}' forecast=''/>",
        "<mark host='h' holds='{{ x }}' former='' given='' forecast=''/>",
    ],
)
def test_a_mark_that_cannot_be_read_is_an_error_that_names_the_vm(text: str) -> None:
    host = FakeHost([FakeDomain("a", metadata_of={RESTRAINT: text})])
    with pytest.raises(HypervisorFault) as fault:
        Residents(lambda: HOST, ()).restrain(host, CAPACITY, [], asked=asked())
    assert "VM a" in fault.value.message


class Direct(Connection):
    """A connection to a host that is here."""

    def __init__(self, host: FakeHost) -> None:
        super().__init__("fake", {"uri": "test:///default"})
        self._host = host

    def ask(self, question: Callable[[Any], Any], doing: str, *, timeout_s: float | None = None) -> Any:
        return question(self._host)


@pytest.mark.parametrize(
    ("most", "shares", "who"),
    [(262144, 200000, "hypervisor"), (10000, 10000, "ledger")],
    ids=["cgroup v1", "cgroup v2"],
)
def test_a_guarantee_beyond_what_the_kernel_takes_is_not_called_one(most: int, shares: int, who: str) -> None:
    vm = FakeDomain("a", shares=100, most_shares=most)
    hold = Hold("r-1", HOST, "a", Resources(cpu_cores=2.0), "hard")
    assert guarantee.give_guarantee(Direct(FakeHost([vm])), hold, others=200000)["cpu"] == who
    assert vm.shares == shares
    assert GUARANTEE in vm.metadata_of

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""vSphere's objects as nouns: names, CPU modes, rules, links, devices."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.clusters import (
    rival_balancer,
    rules_from,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.cpu_modes import CpuModes
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.hosts import vmotion_link
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.machines import (
    agent_pins,
    pinning_devices,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.names import Names, plain_name
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.notes import read_note
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.properties import Record
from pyVmomi import vim

DEVICE = vim.vm.device


def record(moid: str = "x-1", **values: Any) -> Record:
    reference = SimpleNamespace(_moId=moid, _wsdlName="Thing")
    return Record(reference, {path.replace("__", "."): value for path, value in values.items()})


def modes() -> CpuModes:
    known = [("intel-merom", "intel", 1), ("intel-broadwell", "intel", 8), ("amd-zen", "amd", 8)]
    return CpuModes.build(SimpleNamespace(key=key, vendor=vendor, vendorTier=tier) for key, vendor, tier in known)


def test_a_cpu_mode_includes_the_lower_ones_of_its_vendor_only() -> None:
    assert modes().up_to("intel-broadwell") == {"intel-merom", "intel-broadwell"}
    assert modes().required("intel-merom") <= modes().up_to("intel-broadwell")
    assert not modes().required("amd-zen") <= modes().up_to("intel-broadwell")


def test_of_an_unknown_cpu_mode_nothing_is_claimed() -> None:
    assert modes().up_to("intel-future") == frozenset()
    assert modes().required("intel-future") == frozenset()
    assert modes().required(None) == frozenset()


def test_objects_that_share_a_name_are_told_apart() -> None:
    networks = [record("network-1", name="VM Network"), record("network-2", name="VM Network"), record("n-3", name="b")]
    names = Names.build(networks, [], [])
    references = [SimpleNamespace(_moId=moid) for moid in ("network-1", "n-3", "hidden-9")]
    assert names.of(references) == ("VM Network (network-1)", "b")


@pytest.mark.parametrize(
    ("told", "meant"),
    [
        ("centos%2f7", "centos/7"),
        ("10.0.0.0%2F24", "10.0.0.0/24"),
        ("a%5cb%5Cc", "a\\b\\c"),
        ("100%25", "100%"),
        ("%252f", "%2f"),
        ("100% of %41", "100% of %41"),
        ("{{ 名前 }}", "{{ 名前 }}"),
    ],
)
def test_a_name_is_what_people_gave_not_how_vcenter_escapes_it(told: str, meant: str) -> None:
    assert plain_name(told) == meant
    names = Names.build([record("network-1", name=told)], [], [])
    assert names.of([SimpleNamespace(_moId="network-1")]) == (meant,)


@pytest.mark.parametrize(
    ("enabled", "mode", "rival"),
    [
        (True, "fullyAutomated", "DRS"),
        (True, None, "DRS"),
        (True, "partiallyAutomated", None),
        (True, "manual", None),
        (False, "fullyAutomated", None),
        (None, None, None),
    ],
)
def test_drs_is_a_rival_when_it_moves_without_asking(enabled: bool | None, mode: str | None, rival: str | None) -> None:
    settings = vim.cluster.ConfigInfoEx(drsConfig=vim.cluster.DrsConfigInfo(enabled=enabled, defaultVmBehavior=mode))
    assert rival_balancer(record(configurationEx=settings)) == rival


def test_a_cluster_whose_settings_may_not_be_read_has_no_rival_and_no_rules() -> None:
    assert rival_balancer(record()) is None
    assert rules_from(record(), "vc", {}, {}) == ()


def test_a_rule_against_hosts_keeps_its_sense_and_unknown_members_are_left_out() -> None:
    vm, stranger = vim.VirtualMachine("vm-1"), vim.VirtualMachine("vm-9")
    types = vim.cluster
    settings = types.ConfigInfoEx(
        group=[
            types.VmGroup(name="v", vm=[vm, stranger]),
            types.HostGroup(name="h", host=[vim.HostSystem("host-1")]),
        ],
        rule=[
            types.VmHostRuleInfo(name="r", enabled=True, mandatory=True, vmGroupName="v", antiAffineHostGroupName="h"),
            types.DependencyRuleInfo(name="order", enabled=True, vmGroup="v", dependsOnVmGroup="v"),
        ],
    )
    cluster = record(configurationEx=settings)
    (rule,) = rules_from(cluster, "vc", {"vm-1": "uuid-1"}, {"host-1": "vc/host-1"})
    assert (rule.kind, rule.mandatory) == ("vm_host_anti_affinity", True)
    assert rule.vm_uuids == {"uuid-1"}
    assert rule.host_keys == {"vc/host-1"}


def nic(key: str, speed: int | None) -> Any:
    link = None if speed is None else SimpleNamespace(speedMb=speed)
    return SimpleNamespace(key=key, linkSpeed=link)


def port(group: str, switch: str | None = None) -> Any:
    dvs = None if switch is None else SimpleNamespace(switchUuid=switch)
    return SimpleNamespace(key="vmk1", portgroup=group, spec=SimpleNamespace(distributedVirtualPort=dvs))


def vmotion(candidate: Any) -> list[Any]:
    return [SimpleNamespace(nicType="vmotion", selectedVnic=["vmk1"], candidateVnic=[candidate])]


NICS = [nic("pnic-slow", 1000), nic("pnic-fast", 25000), nic("pnic-down", None)]


def test_the_vmotion_link_is_that_of_the_port_s_standard_switch() -> None:
    host = record(
        config__network__pnic=NICS,
        config__network__portgroup=[SimpleNamespace(vswitch="sw0", spec=SimpleNamespace(name="vmotion-pg"))],
        config__network__vswitch=[SimpleNamespace(key="sw0", pnic=["pnic-slow", "pnic-down"])],
        config__virtualNicManagerInfo__netConfig=vmotion(port("vmotion-pg")),
    )
    assert vmotion_link(host) == 1000.0


def test_the_vmotion_link_is_that_of_the_port_s_distributed_switch() -> None:
    host = record(
        config__network__pnic=NICS,
        config__network__proxySwitch=[SimpleNamespace(dvsUuid="dvs", pnic=["pnic-fast"])],
        config__virtualNicManagerInfo__netConfig=vmotion(port("", "dvs")),
    )
    assert vmotion_link(host) == 25000.0


def test_without_a_known_port_the_fastest_link_is_taken_and_none_where_there_is_none() -> None:
    assert vmotion_link(record(config__network__pnic=NICS)) == 25000.0
    assert vmotion_link(record()) is None


def described(device: Any, label: str) -> Any:
    device.deviceInfo = vim.Description(label=label, summary="")
    return device


def test_devices_that_tie_a_vm_to_its_host_are_named() -> None:
    connected = DEVICE.VirtualDevice.ConnectInfo(connected=True)
    drive = DEVICE.VirtualCdrom(backing=DEVICE.VirtualCdrom.AtapiBackingInfo(deviceName="sr0"), connectable=connected)
    devices = [
        described(DEVICE.VirtualPCIPassthrough(key=1), "PCI device 0"),
        described(DEVICE.VirtualSriovEthernetCard(key=2), "NIC {{ 2 }}"),
        described(drive, "CD/DVD drive 1"),
        described(DEVICE.ParaVirtualSCSIController(key=3, sharedBus="physicalSharing"), "SCSI controller 1"),
    ]
    assert pinning_devices(devices) == (
        "pci_passthrough: PCI device 0",
        "sriov: NIC {{ 2 }}",
        "host_device: CD/DVD drive 1",
        "shared_scsi_bus: SCSI controller 1",
    )


def test_ordinary_devices_pin_nothing() -> None:
    off = DEVICE.VirtualDevice.ConnectInfo(connected=False)
    devices = [
        DEVICE.VirtualCdrom(backing=DEVICE.VirtualCdrom.AtapiBackingInfo(deviceName="sr0"), connectable=off),
        DEVICE.VirtualCdrom(backing=DEVICE.VirtualCdrom.IsoBackingInfo(fileName="[ds] a.iso")),
        DEVICE.VirtualVmxnet3(backing=DEVICE.VirtualEthernetCard.NetworkBackingInfo(deviceName="lan")),
        DEVICE.VirtualDisk(backing=DEVICE.VirtualDisk.FlatVer2BackingInfo(fileName="[ds] a.vmdk")),
        DEVICE.ParaVirtualSCSIController(key=3, sharedBus="noSharing"),
        DEVICE.VirtualPCIPassthrough(backing=DEVICE.VirtualPCIPassthrough.VmiopBackingInfo(vgpu="grid_t4-4q")),
    ]
    assert pinning_devices(devices) == ()


def test_an_agent_of_vsphere_s_own_is_pinned_and_other_managed_vms_are_not() -> None:
    assert agent_pins(record(config__managedBy__extensionKey="com.vmware.vim.eam"))
    assert agent_pins(record(config__managedBy__extensionKey="com.example.appliance")) == ()
    assert agent_pins(record()) == ()


@pytest.mark.parametrize("text", ["", "not json", "[1, 2]", "17", '{"a": 1'])
def test_a_note_that_is_not_ours_is_no_note(text: str) -> None:
    value = SimpleNamespace(key=5, value=text)
    assert read_note(record(customValue=[value]), 5) == {}
    assert read_note(record(customValue=[SimpleNamespace(key=5, value='{"a": 1}')]), None) == {}

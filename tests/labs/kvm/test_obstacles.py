# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the preflight finds in the way of a move is what libvirt refuses, and once it is gone the guest does move."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Progress

from .conftest import Site
from .guests import GuestSpec

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")

pytestmark = pytest.mark.lab

SECRET = "00000000-0077-4000-8009-000000000001"
PAGES = libvirt.VIR_NODE_ALLOC_PAGES_SET


def codes(site: Site, guest: GuestSpec) -> set[str]:
    order = site.order(guest)
    found = site.drivers[1].preflight(guest.uuid, site.drivers[0], order.destination_host_id, order)
    return {finding.code for finding in found if finding.blocking}


def move(site: Site, guest: GuestSpec) -> Progress:
    """Try to move a guest from the first host to the second; returns how that ended."""
    job = site.drivers[0].start_migration(site.order(guest), site.drivers[1])
    return site.await_phase(job, "done", "failed")


@contextmanager
def huge_pages(site: Site, count: int) -> Iterator[libvirt.virConnect]:
    """Have a pool of huge pages on this machine, and with it on every host of the lab."""
    with closing(libvirt.open(site.lab.hosts[0].uri)) as connection:
        connection.allocPages({2048: count}, 0, 1, PAGES)
        try:
            yield connection
        finally:
            connection.allocPages({2048: 0}, 0, 1, PAGES)


def test_huge_pages_that_are_not_free_stand_in_the_way(site: Site) -> None:
    since = time.monotonic()
    with huge_pages(site, 85) as connection:
        guest = site.start(GuestSpec(2, elements=(ET.fromstring("<memoryBacking><hugepages/></memoryBacking>"),)))
        assert codes(site, guest) == {"hugepages_short"}
        assert move(site, guest).phase == "failed"
        site.assert_well(guest, on=0, since_s=since)
        connection.allocPages({2048: 170}, 0, 1, PAGES)
        assert codes(site, guest) == set()
        assert move(site, guest).phase == "done"
        site.assert_well(guest, on=1, since_s=since)
        with closing(libvirt.open(site.lab.hosts[1].uri)) as there:
            there.lookupByUUIDString(guest.uuid).destroy()


def test_a_snapshot_stands_in_the_way(site: Site) -> None:
    path, since = str(site.lab.shared / "disk.img"), time.monotonic()
    site.lab.hosts[0].run("qemu-img", "create", "-q", "-f", "raw", path, "16M")
    guest = site.start(GuestSpec(2, disk=path))
    with closing(libvirt.open(site.lab.hosts[0].uri)) as connection:
        snapshot = connection.lookupByUUIDString(guest.uuid).snapshotCreateXML(
            "<domainsnapshot><name>before</name></domainsnapshot>", libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
        )
        assert codes(site, guest) == {"vm_has_snapshots"}
        assert "snapshot" in move(site, guest).error
        snapshot.delete(libvirt.VIR_DOMAIN_SNAPSHOT_DELETE_METADATA_ONLY)
    assert codes(site, guest) == set()
    assert move(site, guest).phase == "done"
    site.assert_well(guest, on=1, since_s=since)


def give_secret(connection: libvirt.virConnect) -> None:
    secret = connection.secretDefineXML(
        f"<secret ephemeral='yes' private='no'><uuid>{SECRET}</uuid><usage type='volume'><volume>/lab</volume></usage>"
        "</secret>"
    )
    secret.setValue(b"passphrase")


def test_a_secret_that_only_the_source_has_stands_in_the_way(site: Site) -> None:
    path, since = str(site.lab.shared / "secret.img"), time.monotonic()
    site.lab.hosts[0].run("qemu-img", "create", "-q", "-f", "luks", "--object", "secret,id=s,data=passphrase", "-o",
                          "key-secret=s,iter-time=10", path, "4M")  # fmt: skip
    guest = site.start(GuestSpec(2))
    source, target = (libvirt.open(host.uri) for host in site.lab.hosts[:2])
    with closing(source), closing(target):
        give_secret(source)
        source.lookupByUUIDString(guest.uuid).attachDevice(
            f"<disk type='file' device='disk'><driver name='qemu' type='raw' cache='none'/><source file='{path}'>"
            f"<encryption format='luks'><secret type='passphrase' uuid='{SECRET}'/></encryption></source>"
            "<target dev='vdb' bus='virtio'/></disk>"
        )
        try:
            assert codes(site, guest) == {"secret_missing"}
            assert move(site, guest).phase == "failed"
            site.assert_well(guest, on=0, since_s=since)
            give_secret(target)
            assert codes(site, guest) == set()
            assert move(site, guest).phase == "done"
            site.assert_well(guest, on=1, since_s=since)
        finally:
            for connection in (source, target):
                for secret in connection.listAllSecrets():
                    secret.undefine()

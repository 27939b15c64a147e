# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What breaks during a move, the guest survives: in every case one intact copy runs on the source."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.connection import Connection
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.driver import LibvirtDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    Job,
    Progress,
)

from .conftest import Site
from .guests import GuestSpec
from .lab import Lab
from .namespaces import wait_until

pytestmark = pytest.mark.lab

SLOW_MIB_S = 8.0
BREAKS: dict[str, Callable[[Lab, GuestSpec], None]] = {
    "destination QEMU killed": lambda lab, guest: lab.hosts[1].kill_guest(guest.name),
    "destination libvirtd stopped": lambda lab, _guest: lab.hosts[1].stop_libvirtd("TERM"),
    "destination libvirtd killed": lambda lab, _guest: lab.hosts[1].stop_libvirtd("KILL"),
    "destination powered off": lambda lab, _guest: lab.hosts[1].power_off(),
    "source libvirtd killed": lambda lab, _guest: lab.hosts[0].stop_libvirtd("KILL"),
}


def ended(site: Site, job: Job, timeout_s: float = 60.0) -> Progress:
    """Follow a job to its end, however it ends, while endpoints may be away."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            progress = site.drivers[0].progress(job)
            if progress.finished:
                return progress
        except EndpointUnreachable:
            pass
        time.sleep(0.2)
    raise AssertionError(f"the job did not end within {timeout_s:g} s")


def repair(lab: Lab) -> None:
    """Start what a break has ended."""
    for host in lab.hosts:
        host.boot()
        if not host.libvirtd_running:
            host.start_libvirtd()


@pytest.mark.parametrize("what", BREAKS)
def test_what_dies_during_a_move_leaves_the_guest_on_its_source(site: Site, what: str) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    job = site.drivers[0].start_migration(site.order(guest, bandwidth_mib_s=SLOW_MIB_S), site.drivers[1])
    site.await_phase(job, "precopy")
    BREAKS[what](site.lab, guest)
    site.beats.next_beat(guest.name)
    repair(site.lab)
    assert ended(site, job).phase in ("failed", "gone")
    site.assert_alone(guest, on=0, since_s=since)
    assert site.beats.life(guest.name, since).silence_ms < 5000
    assert site.drivers[0].find_migration(guest.uuid) is None
    retry = site.drivers[0].start_migration(site.order(guest), site.drivers[1])
    site.await_phase(retry, "done")
    site.assert_alone(guest, on=1, since_s=since)


def test_a_move_whose_link_is_cut_fails_and_the_guest_stays(site: Site) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    job = site.drivers[0].start_migration(site.order(guest, bandwidth_mib_s=SLOW_MIB_S), site.drivers[1])
    site.await_phase(job, "precopy")
    site.lab.hosts[1].cut_link()
    final = ended(site, job)
    site.lab.hosts[1].restore_link()
    assert final.phase == "failed"
    assert final.error
    site.assert_alone(guest, on=0, since_s=since)


def test_a_post_copy_whose_link_breaks_is_resumed_and_what_libvirt_leaves_of_it_removed(site: Site) -> None:
    guest, since = site.start(GuestSpec(2, rate_mib_s=4, persistent=True)), time.monotonic()
    order = site.order(guest, bandwidth_mib_s=SLOW_MIB_S, post_copy=True)
    job = site.drivers[0].start_migration(order, site.drivers[1])
    site.await_phase(job, "precopy")
    site.drivers[0].switch_to_post_copy(job)
    site.await_phase(job, "postcopy")
    # until then it runs nowhere: a link that breaks on the way there leaves nothing to resume
    wait_until(lambda: in_part(site.drivers[1], guest), 30.0, "the guest does not run on its destination")
    site.lab.hosts[1].cut_link()
    site.await_phase(job, "stalled")
    assert in_part(site.drivers[1], guest)
    found = site.drivers[0].find_migration(guest.uuid)
    assert found is not None
    assert found.destination_host_id == site.lab.hosts[1].uuid  # for another controller to go on
    site.lab.hosts[1].restore_link()
    site.drivers[0].recover_post_copy(job, site.drivers[1])

    def resumed() -> bool:
        if site.await_phase(job, "stalled", "done", "gone").phase != "stalled":
            return True
        site.drivers[0].recover_post_copy(job, site.drivers[1])
        return False

    wait_until(resumed, 90.0, "the post-copy was not resumed", step_s=1.0)
    wait_until(lambda: site.drivers[0].find_migration(guest.uuid) is None, 30.0, "the post-copy has not ended")
    site.assert_well(guest, on=1, since_s=since)
    # libvirt 11.3 leaves it defined on the source, and active for a moment
    source = site.drivers[0]
    wait_until(
        lambda: source.drop_definition(guest.uuid) or source.locate(guest.uuid) == (),
        30.0,
        "the source does not let go of the guest",
    )
    site.assert_alone(guest, on=1, since_s=since)
    assert [seen.complete for seen in site.drivers[1].locate(guest.uuid)] == [True]


def in_part(driver: LibvirtDriver, guest: GuestSpec) -> bool:
    """Return whether the guest runs there while part of its memory is still on its source."""
    return [(seen.active, seen.complete) for seen in driver.locate(guest.uuid)] == [(True, False)]


def fault(uri: str, **options: object) -> ForesightError:
    connection = Connection("probe", {"uri": uri, "timeout_s": 5.0, **options})
    with pytest.raises(ForesightError) as caught:
        connection.open()
    return caught.value

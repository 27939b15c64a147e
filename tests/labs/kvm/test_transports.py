# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every way to reach a host and to move a guest between hosts, and what is said when one of them does not trust us."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.driver import LibvirtDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import Job, Tuning

from .conftest import Site, endpoint_options
from .guests import GuestSpec
from .lab import WIRE_ADDRESS, Lab, LabHost
from .namespaces import call_in_namespace
from .packages import LabUnavailable
from .trust import INSIDE, Authority, make_key, restart, serve_ssh, serve_tls, stop_ssh

pytestmark = pytest.mark.lab

SLOW_MIB_S = 16.0
#: Writes faster than that, so that a move is under way for as long as a test looks at it.
BUSY = GuestSpec(1, rate_mib_s=40)
PKI_INSIDE = INSIDE / "pki"
CONTROLLER = ("controller", WIRE_ADDRESS)


@dataclass(frozen=True)
class Trust:
    """Two hosts that speak TLS and ssh, and folders of credentials that they take or refuse."""

    lab: Lab
    folder: Path
    ours: Authority
    foreign: Authority

    @property
    def source(self) -> LabHost:
        return self.lab.hosts[0]

    @property
    def target(self) -> LabHost:
        return self.lab.hosts[1]

    def file(self, name: str) -> str:
        return str(self.folder / name)

    def uri(self, transport: str, **parameters: str) -> str:
        """Return the URI of the target by a transport."""
        user = "root@" if "ssh" in transport else ""
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        return f"qemu+{transport}://{user}{self.target.address}/system" + (f"?{query}" if query else "")

    def answer(self, uri: str, **options: object) -> str:
        """Return the name by which the host at ``uri`` answers a controller on its network, or the error's code."""

        def ask() -> str:
            try:
                with LibvirtDriver("probe", {"uri": uri, "timeout_s": 15.0, **options}) as driver:
                    (host,) = driver.inventory().hosts
                    return host.name
            except ForesightError as error:
                return error.code

        return call_in_namespace(self.lab.wire, ask)


@pytest.fixture(scope="module")
def trust(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trust]:
    folder = tmp_path_factory.mktemp("trust")
    found = Trust(lab, folder, Authority.make(folder / "our-ca"), Authority.make(folder / "foreign-ca"))
    found.ours.issue(folder / "client", *CONTROLLER)
    found.foreign.issue(folder / "client-that-trusts-others", *CONTROLLER)
    found.foreign.issue(folder / "client-of-others", *CONTROLLER, found.ours)
    key, other = make_key(folder / "key"), make_key(folder / "other-key")
    hosts = (found.source, found.target)
    for host in hosts:
        host.boot()
        for name in ("libvirtd.conf", "qemu.conf"):
            shutil.copy(host.state / "etc" / name, folder / f"{host.name}-{name}")
        serve_tls(host, found.ours)
    try:
        line = serve_ssh(found.target, key)
    except LabUnavailable as exc:
        pytest.skip(f"KVM lab: no ssh server: {exc}")
    (folder / "known").write_text(line)
    (folder / "empty").write_text("")
    (folder / "changed").write_text(f"{found.target.address} {other.with_suffix('.pub').read_text()}")
    for known in ("known", "empty", "changed"):
        wrapper = folder / f"ssh-{known}"
        wrapper.write_text(f'#!/bin/sh\nexec ssh -F none -o UserKnownHostsFile={folder / known} "$@"\n')
        wrapper.chmod(0o700)
    inside = found.source.state / "etc" / "keys"  # what the source's own daemon shows the target
    inside.mkdir()
    for name in ("key", "known"):
        shutil.copy(folder / name, inside / name)
    yield found
    stop_ssh(found.target)
    shutil.rmtree(inside)
    for host in hosts:
        for name in ("libvirtd.conf", "qemu.conf"):
            shutil.copy(folder / f"{host.name}-{name}", host.state / "etc" / name)
        shutil.rmtree(host.state / "etc" / "pki")
        restart(host)


@pytest.mark.usefixtures("site")
def test_a_tls_host_is_reached_or_it_is_said_who_does_not_trust_whom(trust: Trust) -> None:
    uri = trust.uri("tls")
    assert trust.answer(uri, pkipath=trust.file("client")) == trust.target.name
    assert trust.answer(uri, pkipath=trust.file("client-that-trusts-others")) == "certificate_untrusted"
    assert trust.answer(uri, pkipath=trust.file("client-of-others")) == "login_refused"
    assert trust.answer(uri, pkipath=trust.file("nothing-here")) == "certificate_untrusted"
    assert trust.answer(uri.replace("/system", ":16515/system"), pkipath=trust.file("client")) == "endpoint_unreachable"
    serve_tls(trust.target, trust.ours, address="10.77.0.99")
    assert trust.answer(uri, pkipath=trust.file("client")) == "certificate_untrusted"
    serve_tls(trust.target, trust.ours)


@pytest.mark.usefixtures("site")
@pytest.mark.parametrize("transport", ["libssh", "libssh2"])
def test_a_host_is_reached_by_libvirts_own_ssh_or_it_is_said_who_does_not_trust_whom(
    trust: Trust, transport: str
) -> None:
    uri, known = trust.uri(transport), {"keyfile": trust.file("key"), "known_hosts": trust.file("known")}
    assert trust.answer(uri, **known) == trust.target.name
    assert trust.answer(uri, **{**known, "known_hosts": trust.file("empty")}) == "certificate_untrusted"
    assert trust.answer(uri, **{**known, "known_hosts": trust.file("changed")}) == "certificate_untrusted"
    assert trust.answer(uri, **{**known, "keyfile": trust.file("other-key")}) == "login_refused"
    assert trust.answer(uri, **{**known, "keyfile": trust.file("no-key")}) == "login_refused"
    assert trust.answer(uri.replace("/system", ":23/system"), **known) == "endpoint_unreachable"


@pytest.mark.usefixtures("site")
def test_a_host_is_reached_by_the_ssh_client_or_it_is_said_who_does_not_trust_whom(trust: Trust) -> None:
    def uri(known: str) -> str:
        return trust.uri("ssh", command=trust.file(f"ssh-{known}"))

    assert trust.answer(uri("known"), keyfile=trust.file("key")) == trust.target.name
    assert trust.answer(uri("empty"), keyfile=trust.file("key")) == "certificate_untrusted"
    assert trust.answer(uri("changed"), keyfile=trust.file("key")) == "certificate_untrusted"
    assert trust.answer(uri("known"), keyfile=trust.file("other-key")) == "login_refused"
    refused = uri("known").replace("/system", ":23/system")
    assert trust.answer(refused, keyfile=trust.file("key")) == "endpoint_unreachable"


def move(site: Site, guest: GuestSpec, **options: object) -> tuple[Job, LibvirtDriver]:
    """Start a slow move to a target with these options."""
    target = LibvirtDriver("target", endpoint_options(site.lab, site.lab.hosts[1], **options))
    target.connect()
    order = site.order(guest, bandwidth_mib_s=SLOW_MIB_S)
    assert target.preflight(guest.uuid, site.drivers[0], order.destination_host_id, order) == ()
    return site.drivers[0].start_migration(order, target), target


def end(site: Site, job: Job) -> None:
    """Let a move of the guest that writes too fast come to its end."""
    site.drivers[0].tune(job, Tuning(max_downtime_ms=3000))
    site.await_phase(job, "done")


def bring_home(site: Site, guest: GuestSpec) -> None:
    """Move a guest back to the first host, so that the next test need not boot one."""
    site.beats.tell(guest, "rate 0")
    site.await_phase(site.drivers[1].start_migration(site.order(guest, to=0), site.drivers[0]), "done", source=1)


def stream_ports(host: LabHost) -> str:
    """Return the host's connections to ports on which QEMUs receive guests."""
    return host.run("ss", "-Htn", "state", "established", "( dport >= :49152 and dport <= :49215 )").strip()


def tls_credentials(host: LabHost, guest: GuestSpec) -> str:
    """Return what the source's QEMU says of the TLS credentials of its migration."""
    answer = host.run("virsh", "-q", "qemu-monitor-command", guest.name, '{"execute":"query-migrate-parameters"}')
    return answer.partition('"tls-creds":"')[2].partition('"')[0]


@pytest.mark.parametrize("transport", ["tls", "libssh"])
def test_a_move_goes_between_daemons_that_know_each_other_by(site: Site, trust: Trust, transport: str) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    keys = {"keyfile": f"{INSIDE}/keys/key", "known_hosts": f"{INSIDE}/keys/known"}
    uri = trust.uri(transport, **({"pkipath": str(PKI_INSIDE)} if transport == "tls" else keys))
    job, target = move(site, guest, migration_uri=uri)
    with target:
        site.await_phase(job, "done")
    site.assert_well(guest, on=1, since_s=since)
    bring_home(site, guest)


def test_a_move_between_daemons_that_do_not_trust_each_other_fails_and_says_so(site: Site, trust: Trust) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    job, target = move(site, guest, migration_uri=trust.uri("tls"))  # without pkipath: no credentials there
    with target:
        failed = site.await_phase(job, "failed")
    assert "certificate" in failed.error.lower()
    site.assert_well(guest, on=0, since_s=since)


@pytest.mark.parametrize("what", ["migration_uri", "migration_address"])
def test_a_move_to_where_nobody_listens_fails_at_once_and_says_where(site: Site, what: str) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    closed = site.lab.hosts[1].peer_uri.replace("/system", ":16599/system")
    nobody = {"migration_uri": closed, "migration_address": f"{site.lab.hosts[2].address}"}
    job, target = move(site, guest, **{what: nobody[what]})
    with target:
        failed = site.await_phase(job, "failed")
    assert "unable to connect" in failed.error or "Failed to connect" in failed.error or "refused" in failed.error
    assert (":16599" if what == "migration_uri" else nobody[what]) in failed.error
    site.assert_well(guest, on=0, since_s=since)


def test_a_tunnelled_move_goes_through_the_daemons_connection_alone(site: Site, trust: Trust) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    uri = trust.uri("tls", pkipath=str(PKI_INSIDE))
    job, target = move(site, guest, migration_uri=uri, migration_tunnelled=True)
    with target:
        site.await_phase(job, "precopy")
        assert stream_ports(trust.source) == ""
        end(site, job)
    site.assert_well(guest, on=1, since_s=since)
    bring_home(site, guest)


def test_an_encrypted_move_sends_the_guest_by_tls(site: Site, trust: Trust) -> None:
    guest, since = site.start(BUSY), time.monotonic()
    job, target = move(site, guest, migration_tls=True)
    with target:
        site.await_phase(job, "precopy")
        assert stream_ports(trust.source)
        assert tls_credentials(trust.source, guest)
        end(site, job)
    site.assert_well(guest, on=1, since_s=since)
    bring_home(site, guest)


def test_an_encrypted_move_to_a_host_of_another_authority_fails_and_the_guest_stays(site: Site, trust: Trust) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    folder = trust.target.state / "etc" / "pki"
    shutil.rmtree(folder)
    trust.foreign.issue(folder, trust.target.name, trust.target.address)
    job, target = move(site, guest, migration_tls=True)
    with target:
        failed = site.await_phase(job, "failed")
    assert "certificate" in failed.error.lower()
    site.assert_well(guest, on=0, since_s=since)
    serve_tls(trust.target, trust.ours)

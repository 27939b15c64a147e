# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Logging in and staying logged in, and telling apart what can go wrong with it."""

from __future__ import annotations

import http.server
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    LoginRefused,
    PermissionDenied,
    UntrustedCertificate,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.faults import SessionExpired
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter

Start = Callable[..., VCenter]
Connect = Callable[..., VmwareDriver]


def session_keys(vcenter: VCenter) -> set[str]:
    """Return the keys of all sessions but the one that asks."""
    manager = vcenter.administrator().sessionManager
    return {session.key for session in manager.sessionList} - {manager.currentSession.key}


def read_for_ever(driver: VmwareDriver) -> NoReturn:
    while True:
        driver.inventory()


def test_a_session_is_gone_from_the_server_after_close(stock: VCenter) -> None:
    driver = VmwareDriver("vc", stock.endpoint())
    driver.connect()
    assert len(session_keys(stock)) == 1
    driver.close()
    driver.close()
    # the administrator's earlier session is the only other one
    assert len(session_keys(stock)) == 1


def test_a_wrong_password_is_told_as_such_and_shown_nowhere(stock: VCenter) -> None:
    with pytest.raises(LoginRefused) as refused:
        VmwareDriver("vc", stock.endpoint(password="not-the-password")).connect()
    assert "not-the-password" not in str(refused.value.as_dict())
    assert refused.value.details["fault"] == "InvalidLogin"


@pytest.mark.parametrize("hostname", ["localhost", "127.0.0.1"])
def test_an_untrusted_certificate_is_refused_on_loopback_too(stock: VCenter, hostname: str) -> None:
    with pytest.raises(UntrustedCertificate) as refused:
        VmwareDriver("vc", stock.endpoint(hostname=hostname, ca_path=None)).connect()
    assert "ca_path" in refused.value.advice


def test_a_certificate_for_another_name_is_refused(stock: VCenter) -> None:
    with pytest.raises(UntrustedCertificate):
        VmwareDriver("vc", stock.endpoint(hostname="localhost")).connect()


def test_verification_can_be_given_up_on_purpose(stock: VCenter, connect: Connect) -> None:
    assert connect(stock, validate_certs=False, ca_path=None).inventory().hosts


def test_a_ca_file_that_cannot_be_read_is_the_option_s_fault(stock: VCenter, tmp_path: Path) -> None:
    with pytest.raises(InvalidOption) as refused:
        VmwareDriver("vc", stock.endpoint(ca_path=str(tmp_path / "none.pem"))).connect()
    assert refused.value.details["option"] == "endpoints.ca_path"


@pytest.mark.parametrize("option", ["hostname", "username", "password"])
def test_what_is_needed_to_log_in_is_asked_for_by_name(option: str) -> None:
    options = {"hostname": "h", "username": "u", "password": "p", option: None}
    with pytest.raises(InvalidOption) as refused:
        VmwareDriver("vc", options)
    assert refused.value.details["option"] == f"endpoints.{option}"


def test_nothing_listening_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    options = {"hostname": "127.0.0.1", "port": port, "username": "u", "password": "p", "timeout_s": 5.0}
    with pytest.raises(EndpointUnreachable):
        VmwareDriver("vc", options).connect()


def test_a_mute_server_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        options = {
            "hostname": "127.0.0.1",
            "port": mute.getsockname()[1],
            "username": "u",
            "password": "p",
            "timeout_s": 0.5,
        }
        with pytest.raises(EndpointUnreachable, match="in time"):
            VmwareDriver("vc", options).connect()


def test_a_server_that_is_no_vcenter_is_unreachable_rather_than_a_crash(stock: VCenter) -> None:
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with pytest.raises(EndpointUnreachable):
            VmwareDriver("vc", stock.endpoint(port=server.server_port, timeout_s=5.0)).connect()
    finally:
        server.shutdown()
        server.server_close()


def test_an_expired_session_is_renewed_and_the_read_goes_on(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    manager = vcenter.administrator().sessionManager
    others = [s.key for s in manager.sessionList if s.key != manager.currentSession.key]
    manager.TerminateSession(others)
    vcenter.reset_requests()
    assert len(driver.inventory().vms) == 4
    assert vcenter.requests()["Login"] == 1


def test_a_session_that_ends_between_two_pages_starts_the_read_again(start: Start, connect: Connect) -> None:
    vcenter = start("-copies", "1200")
    driver = connect(vcenter)
    vcenter.make_fail({"method": "ContinueRetrievePropertiesEx", "skip": 1, "count": 1, "expire": True})
    vms = driver.inventory().vms
    assert len(vms) == len({vm.uuid for vm in vms}) == 1204
    assert vcenter.requests()["Login"] == 2


def test_a_session_that_always_ends_is_not_renewed_for_ever(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.make_fail({"method": "CreateContainerView", "expire": True})
    with pytest.raises(SessionExpired):
        driver.inventory()
    assert vcenter.requests()["Login"] == 2


def test_a_missing_privilege_is_named(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.make_fail({"method": "CreateContainerView", "fault": "NoPermission"})
    with pytest.raises(PermissionDenied) as refused:
        driver.inventory()
    assert "privilege" in refused.value.details


def test_a_server_killed_during_the_inventory_is_unreachable(start: Start, connect: Connect) -> None:
    vcenter = start("-copies", "1500", "-delay-ms", "100")
    driver = connect(vcenter)
    killer = threading.Timer(0.5, vcenter.kill)
    killer.start()
    try:
        with pytest.raises(EndpointUnreachable):
            read_for_ever(driver)
    finally:
        killer.join()


def test_latency_and_jitter_change_nothing_but_the_time(start: Start, connect: Connect) -> None:
    quick = connect(start()).inventory()
    slow = connect(start("-delay-ms", "60", "-jitter", "0.5")).inventory()
    assert [vm.name for vm in slow.vms] == [vm.name for vm in quick.vms]


def test_a_dead_server_does_not_keep_close_from_returning(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    vcenter.kill()
    driver.close()


def test_the_environment_s_proxy_variables_do_not_redirect_the_session(
    vcenter: VCenter, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "https_proxy", "http://127.0.0.1:9")
    assert connect(vcenter).inventory().hosts


def test_threads_share_one_renewed_session(vcenter: VCenter, connect: Connect) -> None:
    driver = connect(vcenter)
    uuid = driver.inventory().vms[0].uuid
    manager = vcenter.administrator().sessionManager
    manager.TerminateSession([s.key for s in manager.sessionList if s.key != manager.currentSession.key])
    vcenter.reset_requests()
    seen: list[object] = []
    threads = [threading.Thread(target=lambda: seen.append(driver.locate(uuid))) for thread in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8
    assert all(seen)
    assert vcenter.requests()["Login"] == 1

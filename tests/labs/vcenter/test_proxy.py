# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reaching a vCenter through an HTTP proxy: all of the session, with its certificate checked, and clear refusals."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    UntrustedCertificate,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.driver import VmwareDriver
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter
from ansible_collections.foresight.migration.tests.labs.vcenter.proxy import Proxy, proxy

Connect = Callable[..., VmwareDriver]


def through(found: Proxy) -> dict[str, object]:
    """Return the endpoint options that lead through a proxy."""
    return {"proxy_host": "127.0.0.1", "proxy_port": found.server_port}


def test_the_whole_session_goes_through_the_proxy(vcenter: VCenter, connect: Connect) -> None:
    with proxy() as way:
        assert len(connect(vcenter, **through(way)).inventory().vms) == 4
        assert set(way.tunnels) == {f"127.0.0.1:{vcenter.port}"}


def test_the_certificate_behind_the_proxy_is_checked(vcenter: VCenter) -> None:
    with proxy() as way:
        with pytest.raises(UntrustedCertificate):
            VmwareDriver("vc", vcenter.endpoint(ca_path=None, **through(way))).connect()
        assert way.tunnels


@pytest.mark.parametrize("status", [403, 407, 502])
def test_a_proxy_that_refuses_is_named_with_its_answer(vcenter: VCenter, status: int) -> None:
    with proxy(refusal=status) as way:
        with pytest.raises(EndpointUnreachable) as refused:
            VmwareDriver("vc", vcenter.endpoint(**through(way))).connect()
        assert str(status) in refused.value.message
        assert f"127.0.0.1:{way.server_port}" in refused.value.message


def test_a_proxy_that_is_not_there_is_unreachable_and_not_gone_around(vcenter: VCenter) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(EndpointUnreachable):
        VmwareDriver("vc", vcenter.endpoint(proxy_host="127.0.0.1", proxy_port=port)).connect()
    assert "Login" not in vcenter.requests()


def test_a_mute_proxy_is_given_up_after_the_timeout(vcenter: VCenter) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        options = vcenter.endpoint(proxy_host="127.0.0.1", proxy_port=port, timeout_s=0.5)
        with pytest.raises(EndpointUnreachable, match="in time"):
            VmwareDriver("vc", options).connect()


def test_a_proxy_that_goes_away_leaves_the_endpoint_unreachable(vcenter: VCenter, connect: Connect) -> None:
    with proxy() as way:
        driver = connect(vcenter, **through(way))
        way.refusal = 503
        driver._session.stub.DropConnections()
        with pytest.raises(EndpointUnreachable):
            driver.inventory()

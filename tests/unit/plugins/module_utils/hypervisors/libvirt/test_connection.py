# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""URIs, deadlines, and what failures to connect mean."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import closing
from urllib.parse import parse_qs, urlsplit

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt import faults
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.libvirt.connection import (
    Connection,
    connection_uri,
    within,
)
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.protocol import (
    EndpointUnreachable,
    HypervisorFault,
    LoginRefused,
    PermissionDenied,
    UnsupportedVersion,
    UntrustedCertificate,
)
from hypothesis import given
from hypothesis import strategies as st

libvirt = pytest.importorskip("libvirt", reason="libvirt-python is not installed")


@pytest.mark.parametrize(
    ("options", "uri"),
    [
        ({"uri": "qemu:///system"}, "qemu:///system"),
        ({"uri": "qemu+unix:///system?socket=/run/a"}, "qemu+unix:///system?socket=/run/a"),
        ({"uri": "qemu+ssh://root@h:22/system"}, "qemu+ssh://root@h:22/system?no_tty=1"),
        ({"uri": "qemu+ssh://h/system", "keyfile": "/k"}, "qemu+ssh://h/system?keyfile=/k&no_tty=1"),
        ({"uri": "qemu+tls://h/system", "pkipath": "/etc/pki/x y"}, "qemu+tls://h/system?pkipath=/etc/pki/x%20y"),
        (
            {"uri": "qemu+libssh2://h/system", "known_hosts": "/kh", "known_hosts_verify": "auto"},
            "qemu+libssh2://h/system?known_hosts=/kh&known_hosts_verify=auto",
        ),
    ],
)
def test_options_become_parameters_of_the_uri(options: dict[str, str], uri: str) -> None:
    assert connection_uri(options) == uri


@given(path=st.text(min_size=1, max_size=40))
def test_whatever_a_path_holds_it_stays_one_parameter(path: str) -> None:
    uri = connection_uri({"uri": "qemu+tls://host/system?sanity=1", "pkipath": path})
    assert parse_qs(urlsplit(uri).query, keep_blank_values=True) == {"sanity": ["1"], "pkipath": [path]}


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"uri": "kvm1.example.com"},
        {"uri": "qemu+tcp://user:secret@host/system"},
        {"uri": "qemu+ssh://host/system?keyfile=/a", "keyfile": "/b"},
        {"uri": "qemu+ssh://host/system", "known_hosts": "/kh"},
        {"uri": "qemu+ssh://host/system", "known_hosts_verify": "ignore"},
    ],
)
def test_a_uri_that_cannot_be_meant_is_refused_without_quoting_a_password(options: dict[str, str]) -> None:
    with pytest.raises(InvalidOption) as refusal:
        connection_uri(options)
    assert "secret" not in str(refusal.value.as_dict())


@pytest.fixture
def mute_server() -> Iterator[int]:
    """The port of a server that takes connections and never says anything."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server.getsockname()[1]


def test_a_server_that_never_answers_is_given_up_at_the_deadline(mute_server: int) -> None:
    connection = Connection("mute", {"uri": f"qemu+tcp://127.0.0.1:{mute_server}/system", "timeout_s": 0.5})
    with pytest.raises(EndpointUnreachable) as caught:
        connection.open()
    assert caught.value.details["timeout_s"] == 0.5
    connection.close()


def test_a_closed_port_is_unreachable() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
    with pytest.raises(EndpointUnreachable):
        Connection("shut", {"uri": f"qemu+tcp://127.0.0.1:{port}/system", "timeout_s": 10}).open()


def test_an_open_connection_answers_and_reopens_after_it_was_closed() -> None:
    connection = Connection("mock", {"uri": "test:///default", "timeout_s": 10})
    assert connection.ask(lambda raw: raw.getType(), "read the type") == "TEST"
    connection.close()
    connection.close()
    assert connection.ask(lambda raw: raw.numOfDomains(), "count") == 1
    with pytest.raises(HypervisorFault) as caught:
        connection.ask(lambda raw: raw.lookupByName("nobody"), "find the VM")
    assert caught.value.details["fault"] == libvirt.VIR_ERR_NO_DOMAIN
    connection.close()


def test_a_call_is_bounded_and_its_own_error_comes_through() -> None:
    with pytest.raises(FutureTimeoutError):
        within(0.05, lambda: time.sleep(5))
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)
    assert within(5, lambda: "answer") == "answer"


def error(code: int, text: str) -> libvirt.libvirtError:
    made = libvirt.libvirtError(text)
    made.err = (code, 0, text, 2, None, None, None, 0, 0)
    return made


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("SYSTEM_ERROR", "unable to connect to server at 'h:16509': Connection refused", EndpointUnreachable),
        ("SYSTEM_ERROR", "Cannot recv data: Host key verification failed.: Connection reset", UntrustedCertificate),
        ("SYSTEM_ERROR", "Unable to verify TLS peer: The certificate is not trusted.", UntrustedCertificate),
        ("SYSTEM_ERROR", "Cannot recv data: root@h: Permission denied (publickey).", LoginRefused),
        ("AUTH_FAILED", "authentication failed: Failed to start SASL negotiation", LoginRefused),
        ("AUTH_CANCELLED", "authentication cancelled", LoginRefused),
        ("SYSTEM_ERROR", "Unable to read TLS confirmation: Input/output error", LoginRefused),
        ("AUTH_FAILED", "authentication failed: Failed to verify peer's certificate", UntrustedCertificate),
        ("LIBSSH", "libssh transport error: no suitable callback for host key verification", UntrustedCertificate),
        ("AUTH_FAILED", "authentication failed: error while reading private key '/k'", LoginRefused),
        ("SSH", "SSH transport error: failed to retrieve private key passphrase: callback has failed", LoginRefused),
        ("NO_CONNECT", "no connection driver available for foo:///", UnsupportedVersion),
    ],
)
def test_reasons_for_not_connecting_are_told_apart(code: str, text: str, expected: type[Exception]) -> None:
    failed = error(getattr(libvirt, f"VIR_ERR_{code}"), text)
    assert faults.connect_fault(failed, "kvm1", "qemu+tcp://h/system").__class__ is expected


@pytest.mark.parametrize(
    ("code", "expected"),
    [("OPERATION_DENIED", PermissionDenied), ("NO_SUPPORT", UnsupportedVersion), ("OPERATION_FAILED", HypervisorFault)],
)
def test_reasons_for_a_refused_call_are_told_apart(code: str, expected: type[Exception]) -> None:
    fault = faults.call_fault(error(getattr(libvirt, f"VIR_ERR_{code}"), "two\nlines"), "kvm1", "move")
    assert fault.__class__ is expected
    assert "\n" not in fault.message

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What an endpoint's options may be, and what is refused before anything is sent."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.options import (
    connections,
    split_address,
)

LOGIN = {"winrm_username": "LAB\\ops", "winrm_password": "s3cret"}


def options(**changes: Any) -> dict[str, Any]:
    return {"winrm_hosts": ["hv1"], **LOGIN, **changes}


def test_https_with_verified_certificates_is_what_happens_when_nothing_is_said() -> None:
    (connection,) = connections(options())
    assert connection.url == "https://hv1:5986/wsman"
    assert connection.validate_certs
    assert connection.transport == "ntlm"


def test_credssp_is_refused_and_the_reason_is_given() -> None:
    with pytest.raises(InvalidOption, match="Server 2025") as caught:
        connections(options(winrm_transport="credssp"))
    assert "kerberos" in caught.value.advice


@pytest.mark.parametrize("transport", ["basic", "certificate"])
def test_a_secret_is_never_sent_in_the_clear(transport: str) -> None:
    with pytest.raises(InvalidOption, match="over http is refused"):
        connections(options(winrm_transport=transport, winrm_scheme="http"))


@pytest.mark.parametrize(
    ("changes", "missing"),
    [
        ({"winrm_hosts": []}, "winrm_hosts"),
        ({"winrm_username": None}, "winrm_username"),
        ({"winrm_password": ""}, "winrm_password"),
        ({"winrm_transport": "certificate", "winrm_cert_pem": "a.pem"}, "winrm_cert_key_pem"),
        ({"winrm_transport": "negotiate"}, "winrm_transport"),
    ],
)
def test_what_a_transport_lacks_is_named(changes: dict[str, Any], missing: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        connections(options(**changes))
    assert caught.value.details["option"] == f"endpoints.{missing}"


def test_kerberos_takes_its_ticket_and_needs_no_password() -> None:
    (connection,) = connections({"winrm_hosts": ["hv1"], "winrm_transport": "kerberos"})
    assert connection.username == ""


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("hv1", ("hv1", 5986)),
        ("hv1.example.com:15986", ("hv1.example.com", 15986)),
        ("2001:db8::1", ("2001:db8::1", 5986)),
        ("[2001:db8::1]:443", ("2001:db8::1", 443)),
        ("[2001:db8::1]", ("2001:db8::1", 5986)),
    ],
)
def test_an_address_may_have_a_port_of_its_own(address: str, expected: tuple[str, int]) -> None:
    assert split_address(address, 5986) == expected


@pytest.mark.parametrize("address", ["", ":5986", "hv1:https", "[::1]:x"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(InvalidOption, match="is not a host"):
        split_address(address, 5986)


def test_an_ipv6_address_stands_in_brackets_in_the_url() -> None:
    (connection,) = connections(options(winrm_hosts=["2001:db8::1"]))
    assert connection.url == "https://[2001:db8::1]:5986/wsman"


def test_the_password_does_not_show_when_a_connection_is_printed() -> None:
    assert "s3cret" not in repr(connections(options()))


def test_a_file_that_is_not_there_is_named_as_the_option() -> None:
    (connection,) = connections(options(winrm_ca_path="/nowhere/ca.pem"))
    with pytest.raises(InvalidOption, match="winrm_ca_path"):
        connection.check_files()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What goes wrong on the wire and in vSphere, as this project's errors."""

from __future__ import annotations

import http.client
import ssl
from xml.parsers.expat import ExpatError

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.faults import translated
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.session import Address, tls_context
from pyVmomi import vim, vmodl


def address(**changes: object) -> Address:
    return Address.from_options({"hostname": "vc", "username": "u", "password": "hunter2", **changes})


def certificate_error() -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"
    return error


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (certificate_error(), "certificate_untrusted"),
        (ssl.SSLError(1, "wrong version number"), "endpoint_unreachable"),
        (ConnectionRefusedError(111, "refused"), "endpoint_unreachable"),
        (TimeoutError("timed out"), "endpoint_unreachable"),
        (http.client.RemoteDisconnected("closed"), "endpoint_unreachable"),
        (ExpatError("not xml"), "endpoint_unreachable"),
        (vim.fault.InvalidLogin(), "login_refused"),
        (vim.fault.NoPermission(privilegeId="Resource.HotMigrate"), "permission_denied"),
        (vmodl.fault.ManagedObjectNotFound(), "object_gone"),
        (vim.fault.InsufficientMemoryResourcesFault(msg="no room"), "hypervisor_fault"),
    ],
)
def test_every_kind_of_trouble_has_its_code(raised: Exception, code: str) -> None:
    with pytest.raises(ForesightError) as caught, translated("vc", "vc:443", "do something"):
        raise raised
    assert caught.value.code == code


def test_a_missing_privilege_is_named() -> None:
    with pytest.raises(ForesightError) as caught, translated("vc", "vc:443", "move a VM"):
        raise vim.fault.NoPermission(privilegeId="Resource.HotMigrate")
    assert caught.value.details["privilege"] == "Resource.HotMigrate"
    assert "Resource.HotMigrate" in caught.value.advice


def test_an_expired_session_is_left_to_its_owner() -> None:
    with pytest.raises(vim.fault.NotAuthenticated), translated("vc", "vc:443", "read"):
        raise vim.fault.NotAuthenticated()


def test_a_defect_is_not_dressed_up_as_trouble() -> None:
    with pytest.raises(KeyError), translated("vc", "vc:443", "read"):
        raise KeyError("x")


def test_the_text_of_an_address_holds_no_password() -> None:
    assert "hunter2" not in repr(address()) + address().text


def test_defaults_are_safe() -> None:
    assert address().port == 443
    context = tls_context(address())
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
    assert tls_context(address(validate_certs=False)).verify_mode == ssl.CERT_NONE

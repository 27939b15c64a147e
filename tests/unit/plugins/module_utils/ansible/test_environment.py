# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Endpoint options from the environment: each type's own variables, typed, masked, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.ansible.arguments import (
    ENDPOINT,
    ENDPOINT_ENVIRONMENT,
    ENDPOINTS,
    argument_spec,
)
from ansible_collections.foresight.migration.plugins.module_utils.ansible.environment import (
    complete_endpoints,
    from_environment,
)
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.registry import TYPES

VMWARE = {
    "VMWARE_HOST": "vc.example.com",
    "VMWARE_USER": "joe",
    "VMWARE_PASSWORD": "s3cr3t-of-vc",
    "VMWARE_PORT": "8443",
    "VMWARE_VALIDATE_CERTS": "no",
}


@pytest.fixture
def vmware_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, value in VMWARE.items():
        monkeypatch.setenv(variable, value)


def endpoint(endpoint_type: str, **given: Any) -> dict[str, Any]:
    """Return an endpoint as Ansible hands it over: every option there, omitted ones None."""
    return {**dict.fromkeys(ENDPOINT), "name": "here", "type": endpoint_type, **given}


@pytest.mark.usefixtures("vmware_environment")
def test_a_vmware_endpoint_takes_what_it_omits_in_the_options_types() -> None:
    assert from_environment(endpoint("vmware")) == {
        "hostname": "vc.example.com",
        "username": "joe",
        "password": "s3cr3t-of-vc",
        "port": 8443,
        "validate_certs": False,
    }


@pytest.mark.usefixtures("vmware_environment")
def test_what_is_given_wins_over_the_environment() -> None:
    found = from_environment(endpoint("vmware", hostname="other", port=443, validate_certs=True))
    assert set(found) == {"username", "password"}


@pytest.mark.usefixtures("vmware_environment")
@pytest.mark.parametrize("endpoint_type", [*sorted(set(TYPES) - {"vmware"}), "no-such-type"])
def test_no_other_type_receives_what_is_vcenter_s(endpoint_type: str) -> None:
    assert from_environment(endpoint(endpoint_type)) == {}


@pytest.mark.parametrize("endpoint_type", sorted(ENDPOINT_ENVIRONMENT))
def test_a_type_reads_its_own_variables_only(endpoint_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for others, variables in ENDPOINT_ENVIRONMENT.items():
        for option, variable in variables.items():
            sample = {"int": "1", "bool": "yes"}.get(ENDPOINT[option]["type"], "/one")
            monkeypatch.setenv(variable, sample)
            assert (option in from_environment(endpoint(endpoint_type))) is (others == endpoint_type)
            monkeypatch.delenv(variable)


def test_the_variables_are_of_known_types_and_options_and_no_two_types_share_one() -> None:
    assert set(ENDPOINT_ENVIRONMENT) <= set(TYPES)
    named = [variable for variables in ENDPOINT_ENVIRONMENT.values() for variable in variables.values()]
    assert len(named) == len(set(named))
    assert {option for variables in ENDPOINT_ENVIRONMENT.values() for option in variables} <= set(ENDPOINT)


def test_an_option_that_may_come_from_the_environment_has_no_default_that_would_hide_it() -> None:
    options = {option for variables in ENDPOINT_ENVIRONMENT.values() for option in variables}
    assert [option for option in options if "default" in ENDPOINT[option]] == []


def test_ansible_itself_fills_no_endpoint_from_the_environment() -> None:
    spec = argument_spec(ENDPOINTS)["endpoints"]["options"]
    assert [option for option, details in spec.items() if "fallback" in details] == []


def test_a_value_of_another_type_is_refused_by_the_option_s_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VMWARE_PORT", "https")
    with pytest.raises(InvalidOption, match="port"):
        from_environment(endpoint("vmware"))


@pytest.mark.usefixtures("vmware_environment")
def test_endpoints_are_completed_in_place_and_their_secrets_masked() -> None:
    endpoints = [endpoint("vmware"), endpoint("simulated", scenario="/estate.yml")]
    module = SimpleNamespace(params={"endpoints": endpoints}, no_log_values=set())
    complete_endpoints(module)
    assert endpoints[0]["password"] == "s3cr3t-of-vc"
    assert endpoints[1] == endpoint("simulated", scenario="/estate.yml")
    assert module.no_log_values == {"s3cr3t-of-vc"}

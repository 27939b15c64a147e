# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Endpoint options that come from the environment: each type of endpoint has its own variables and reads no others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import InvalidOption
from .arguments import ENDPOINT, ENDPOINT_ENVIRONMENT

if TYPE_CHECKING:
    from ansible.module_utils.basic import AnsibleModule


def complete_endpoints(module: AnsibleModule) -> None:
    """Give every endpoint of the module's options, in place, what it omits and its type's variables say.

    Secrets among that are registered to be masked like those of the options. Raises `InvalidOption` for a value that
    is not of the option's type.
    """
    for endpoint in module.params["endpoints"]:
        found = from_environment(endpoint)
        module.no_log_values.update(value for name, value in found.items() if value and ENDPOINT[name].get("no_log"))
        endpoint.update(found)


def from_environment(endpoint: dict[str, Any]) -> dict[str, Any]:
    """Return the options that ``endpoint`` omits and the variables of its type say, as values of the options' types."""
    from ansible.module_utils.basic import env_fallback
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    variables = ENDPOINT_ENVIRONMENT.get(endpoint["type"], {})
    spec = {
        option: {**ENDPOINT[option], "fallback": (env_fallback, [variable])}
        for option, variable in variables.items()
        if endpoint.get(option) is None
    }
    result = ArgumentSpecValidator(spec).validate({})
    if result.error_messages:
        raise InvalidOption("endpoints", f"the environment of {endpoint['name']!r}: {'; '.join(result.error_messages)}")
    return {option: value for option, value in result.validated_parameters.items() if value is not None}

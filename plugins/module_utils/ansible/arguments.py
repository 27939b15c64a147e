# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Options that several modules share. Their documentation is in plugins/doc_fragments, under the same names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Every module takes ENDPOINTS, STORE and LEDGER, so that `module_defaults` can set them once for the whole group.

#: One endpoint: what all types share, then what each type adds.
ENDPOINT: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "required": True},
    "timeout_s": {"type": "float", "default": 60.0},
    # simulated
    "scenario": {"type": "path"},
    "state_path": {"type": "path"},
    # vmware
    "hostname": {"type": "str"},
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True},
    "port": {"type": "int"},
    "validate_certs": {"type": "bool"},
    "ca_path": {"type": "path"},
    "proxy_host": {"type": "str"},
    "proxy_port": {"type": "int"},
    # libvirt
    "uri": {"type": "str"},
    "readonly": {"type": "bool", "default": False},
    "keyfile": {"type": "path", "no_log": False},
    "known_hosts": {"type": "path"},
    "known_hosts_verify": {"type": "str", "choices": ["normal", "auto", "ignore"]},
    "pkipath": {"type": "path"},
    "sasl_username": {"type": "str"},
    "sasl_password": {"type": "str", "no_log": True},
    "migration_mode": {"type": "str", "choices": ["p2p", "direct"], "default": "p2p"},
    "migration_uri": {"type": "str"},
    "migration_address": {"type": "str"},
    "migration_tunnelled": {"type": "bool", "default": False},
    "migration_tls": {"type": "bool", "default": False},
    "shared_storage": {"type": "list", "elements": "str", "default": []},
    "hold_backing": {"type": "str", "choices": ["allocated", "locked", "hugepages"], "default": "allocated"},
    "limit_residents": {"type": "list", "elements": "str", "choices": ["network", "disk"], "default": []},
    "network_mbit_s": {"type": "float"},
    "disk_mib_s": {"type": "float"},
    "migration_link_mbit_s": {"type": "float"},
    # hyperv
    "winrm_hosts": {"type": "list", "elements": "str"},
    "winrm_node_addresses": {"type": "dict"},
    "winrm_scheme": {"type": "str", "choices": ["https", "http"], "default": "https"},
    "winrm_port": {"type": "int"},
    "winrm_transport": {"type": "str"},
    "winrm_username": {"type": "str"},
    "winrm_password": {"type": "str", "no_log": True},
    "winrm_validate_certs": {"type": "bool"},
    "winrm_ca_path": {"type": "path"},
    "winrm_cert_pem": {"type": "path"},
    "winrm_cert_key_pem": {"type": "path", "no_log": False},
    "winrm_kerberos_delegation": {"type": "bool", "default": False},
}

#: Endpoint type -> option -> the environment variable it falls back to on endpoints of that type (see environment.py).
#: These are not Ansible's own fallbacks, which would hand one platform's credentials to every endpoint of the list.
ENDPOINT_ENVIRONMENT: dict[str, dict[str, str]] = {
    "vmware": {
        "hostname": "VMWARE_HOST",
        "username": "VMWARE_USER",
        "password": "VMWARE_PASSWORD",
        "port": "VMWARE_PORT",
        "validate_certs": "VMWARE_VALIDATE_CERTS",
        "ca_path": "VMWARE_CA_PATH",
        "proxy_host": "VMWARE_PROXY_HOST",
        "proxy_port": "VMWARE_PROXY_PORT",
    },
    "libvirt": {
        "uri": "LIBVIRT_DEFAULT_URI",
        "sasl_username": "FORESIGHT_LIBVIRT_USERNAME",
        "sasl_password": "FORESIGHT_LIBVIRT_PASSWORD",
    },
    "hyperv": {
        "winrm_hosts": "FORESIGHT_HYPERV_HOSTS",
        "winrm_port": "FORESIGHT_HYPERV_PORT",
        "winrm_transport": "FORESIGHT_HYPERV_TRANSPORT",
        "winrm_username": "FORESIGHT_HYPERV_USERNAME",
        "winrm_password": "FORESIGHT_HYPERV_PASSWORD",
        "winrm_validate_certs": "FORESIGHT_HYPERV_VALIDATE_CERTS",
        "winrm_ca_path": "FORESIGHT_HYPERV_CA_PATH",
        "winrm_cert_pem": "FORESIGHT_HYPERV_CERT_PEM",
        "winrm_cert_key_pem": "FORESIGHT_HYPERV_CERT_KEY_PEM",
    },
}

ENDPOINTS: dict[str, Any] = {
    "endpoints": {"type": "list", "elements": "dict", "default": [], "options": ENDPOINT},
}

STORE: dict[str, Any] = {
    "store": {"type": "str", "fallback_env": "FORESIGHT_STORE", "default": "~/.foresight"},
}

LEDGER: dict[str, Any] = {
    "ledger": {"type": "str", "no_log": True, "fallback_env": "FORESIGHT_LEDGER"},
}

SLA: dict[str, Any] = {
    "sla": {
        "type": "dict",
        "options": {
            "max_downtime_ms": {"type": "float"},
            "max_duration_s": {"type": "float"},
            "max_overload_probability": {"type": "float"},
            "max_latency_ms": {"type": "float"},
            "blackout": {
                "type": "list",
                "elements": "dict",
                "options": {"start": {"type": "str", "required": True}, "end": {"type": "str", "required": True}},
            },
            "soft": {"type": "list", "elements": "str"},
        },
    },
}

CAPACITY_LIMITS: dict[str, Any] = {
    "limits": {
        "type": "dict",
        "options": {name: {"type": "float"} for name in ("cpu", "memory", "network", "disk")},
    },
}

PROGRESS: dict[str, Any] = {
    "progress_path": {"type": "path"},
}


def argument_spec(*groups: Mapping[str, Any]) -> dict[str, Any]:
    """Return the groups as one argument spec, each ``fallback_env`` made a real fallback to that variable."""
    spec: dict[str, Any] = {}
    for group in groups:
        for name, option in group.items():
            spec[name] = _with_fallback(option)
    return spec


def _with_fallback(option: Mapping[str, Any]) -> dict[str, Any]:
    from ansible.module_utils.basic import env_fallback

    built = {key: value for key, value in option.items() if key != "fallback_env"}
    if "fallback_env" in option:
        names = option["fallback_env"]
        built["fallback"] = (env_fallback, [names] if isinstance(names, str) else list(names))
    if "options" in option:
        built["options"] = {name: _with_fallback(nested) for name, nested in option["options"].items()}
    return built

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where and how an endpoint's hosts are reached over WinRM."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ...errors import InvalidOption

#: What ``winrm_transport`` may be, and what pywinrm calls it.
TRANSPORTS = ("kerberos", "ntlm", "basic", "certificate")
DEFAULT_PORTS = {"https": 5986, "http": 5985}


@dataclass(frozen=True, slots=True)
class Connection:
    """How to reach one host. ``address`` is a name or address without a port; ``password`` is kept out of `repr`."""

    address: str
    port: int
    scheme: str
    transport: str
    username: str
    password: str = field(repr=False)
    validate_certs: bool
    ca_path: str | None
    cert_pem: str | None
    cert_key_pem: str | None
    kerberos_delegation: bool
    timeout_s: float

    @property
    def url(self) -> str:
        """The address of the WS-Management service."""
        name = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.scheme}://{name}:{self.port}/wsman"

    @property
    def trusted_ca_path(self) -> str | None:
        """The file or folder of the CAs to trust: ``ca_path``, else those of this system's OpenSSL where it has any."""
        paths = ssl.get_default_verify_paths()
        return self.ca_path or paths.cafile or paths.capath

    def check_files(self) -> None:
        """Raise `InvalidOption` when a file that an option names is not there."""
        for option in ("ca_path", "cert_pem", "cert_key_pem"):
            path = getattr(self, option)
            if path and not Path(path).exists():
                raise InvalidOption(f"endpoints.winrm_{option}", f"there is no {path!r}")

    def at(self, address: str) -> Connection:
        """Return the same way to another host; ``address`` may end in ``:port``, an IPv6 one then in brackets."""
        name, port = split_address(address, self.port)
        return replace(self, address=name, port=port)


def split_address(address: str, default_port: int) -> tuple[str, int]:
    """Return the host and the port of ``host``, ``host:port``, ``2001:db8::1`` or ``[2001:db8::1]:port``."""
    if address.startswith("["):
        name, _bracket, rest = address[1:].partition("]")
        port = rest.removeprefix(":")
    elif address.count(":") == 1:
        name, _colon, port = address.partition(":")
    else:
        name, port = address, ""
    if not name or (port and not port.isdigit()):
        raise InvalidOption("endpoints.winrm_hosts", f"{address!r} is not a host with an optional port")
    return name, int(port) if port else default_port


def connections(options: Mapping[str, Any]) -> tuple[Connection, ...]:
    """Return the way to each of the endpoint's ``winrm_hosts``, in their order.

    Raises `InvalidOption` for none at all and for what `common_connection` refuses.
    """
    hosts = [str(host) for host in options.get("winrm_hosts") or ()]
    if not hosts:
        raise InvalidOption("endpoints.winrm_hosts", "a hyperv endpoint needs at least one host")
    common = common_connection(options)
    return tuple(common.at(host) for host in hosts)


def common_connection(options: Mapping[str, Any]) -> Connection:
    """Return what the ways to all of the endpoint's hosts have in common; its ``address`` is empty.

    Raises `InvalidOption` for anything that cannot work or would send a secret in the clear.
    """
    scheme, transport = str(options.get("winrm_scheme") or "https"), str(options.get("winrm_transport") or "ntlm")
    _check(options, scheme, transport)
    return Connection(
        address="",
        port=int(options.get("winrm_port") or DEFAULT_PORTS[scheme]),
        scheme=scheme,
        transport=transport,
        username=str(options.get("winrm_username") or ""),
        password=str(options.get("winrm_password") or ""),
        validate_certs=options.get("winrm_validate_certs") is not False,
        ca_path=options.get("winrm_ca_path"),
        cert_pem=options.get("winrm_cert_pem"),
        cert_key_pem=options.get("winrm_cert_key_pem"),
        kerberos_delegation=bool(options.get("winrm_kerberos_delegation")),
        timeout_s=float(options.get("timeout_s") or 60.0),
    )


def _check(options: Mapping[str, Any], scheme: str, transport: str) -> None:
    if scheme not in DEFAULT_PORTS:
        raise InvalidOption("endpoints.winrm_scheme", f"{scheme!r} is neither https nor http")
    if transport == "credssp":
        raise InvalidOption(
            "endpoints.winrm_transport",
            "credssp is refused: it hands the password to the host, and Credential Guard, which Windows Server 2025 "
            "turns on by default, does not let the host use it",
            advice="Use kerberos with constrained delegation between the hosts, as docs/hyperv.md describes.",
        )
    if transport not in TRANSPORTS:
        raise InvalidOption("endpoints.winrm_transport", f"{transport!r} is none of {', '.join(TRANSPORTS)}")
    if scheme == "http" and transport not in ("kerberos", "ntlm"):
        raise InvalidOption(
            "endpoints.winrm_scheme", f"{transport} over http is refused: only kerberos and ntlm encrypt messages there"
        )
    if transport == "certificate":
        _require(options, "winrm_cert_pem", "winrm_cert_key_pem")
    elif transport != "kerberos":
        _require(options, "winrm_username", "winrm_password")


def _require(options: Mapping[str, Any], *names: str) -> None:
    for name in names:
        if not options.get(name):
            raise InvalidOption(f"endpoints.{name}", "this transport needs it")

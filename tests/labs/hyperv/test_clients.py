# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Other people's clients against the server: pywinrm, pypsrp and Ansible's own winrm connection."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.playbook.play_context import PlayContext
from ansible.plugins.loader import connection_loader, init_plugin_loader
from ansible_collections.foresight.migration.tests.labs.hyperv.authentication import Identity, Logins
from ansible_collections.foresight.migration.tests.labs.hyperv.certificates import Authority
from ansible_collections.foresight.migration.tests.labs.hyperv.logins import PASSWORD, USER
from ansible_collections.foresight.migration.tests.labs.hyperv.server import WinrmServer
from ansible_collections.foresight.migration.tests.labs.hyperv.shells import Command
from pypsrp.exceptions import AuthenticationError
from pypsrp.shell import Process, SignalCode, WinRS
from pypsrp.wsman import WSMan
from winrm.exceptions import InvalidCredentialsError, WinRMTransportError, WSManFaultError
from winrm.protocol import Protocol

Serve = Callable[..., WinrmServer]
WAYS = ("basic over HTTPS", "NTLM over HTTP", "NTLM over HTTPS", "certificate")
CHANNEL_BOUND = "NTLM over HTTPS"
TEXT = "vм-日本 {{ 7 * 7 }} $(Get-Date) '\"`\n"


def echo(command: Command) -> int:
    """Answer with the line and the input; say something on the other stream; return 3."""
    command.write(json.dumps({"line": command.line, "input": command.read_input().decode()}).encode())
    command.write(b"#< CLIXML noise", "stderr")
    return 3


@pytest.fixture
def reach(serve: Serve, users: Logins, authority: Authority) -> Callable[..., tuple[WinrmServer, Protocol]]:
    """A function that starts a server for one way of logging in and returns it with pywinrm's client."""

    def connect(way: str, password: str = PASSWORD, **options: Any) -> tuple[WinrmServer, Protocol]:
        login: dict[str, Any] = {"username": USER, "password": password}
        if way == "NTLM over HTTP":
            server = serve(options.pop("program", echo), **options)
            return server, Protocol(server.url, transport="ntlm", ca_trust_path=None, **login)
        logins = users
        if way == "certificate":
            mine = authority.issue("lab-client")
            logins = Logins({}, ("certificate",), {mine.sha256.hex(): USER})
            options["client_ca"] = authority.certificate
            login = {"cert_pem": str(mine.certificate), "cert_key_pem": str(mine.key)}
        options.setdefault("tls", authority.issue("hv1"))
        server = serve(options.pop("program", echo), logins, **options)
        transport = {"basic over HTTPS": "basic", "NTLM over HTTPS": "ntlm", "certificate": "certificate"}[way]
        return server, Protocol(server.url, transport=transport, ca_trust_path=str(authority.certificate), **login)

    return connect


def run(client: Protocol, text: str = TEXT) -> tuple[bytes, bytes, int]:
    shell = client.open_shell(codepage=65001)
    try:
        command = client.run_command(shell, "powershell.exe", ["-NoProfile"], console_mode_stdin=False)
        client.send_command_input(shell, command, text.encode(), end=True)
        answer = client.get_command_output(shell, command)
        client.cleanup_command(shell, command)
        return answer
    finally:
        client.close_shell(shell)


@pytest.mark.parametrize("way", WAYS)
def test_pywinrm_runs_a_command_by_every_way_of_logging_in(reach: Any, way: str) -> None:
    server, client = reach(way)
    output, noise, exit_code = run(client)
    assert json.loads(output) == {"line": "powershell.exe -NoProfile", "input": TEXT}
    assert (noise, exit_code) == (b"#< CLIXML noise", 3)
    method = way.partition(" ")[0].lower()
    assert server.identities == [Identity(USER, method)]
    assert server.shells.open_count() == 0
    assert server.shells.opened == 1


@pytest.mark.parametrize("way", ["basic over HTTPS", "NTLM over HTTP", "NTLM over HTTPS"])
def test_a_wrong_password_opens_nothing(reach: Any, way: str) -> None:
    server, client = reach(way, password="wrong")
    with pytest.raises(InvalidCredentialsError):
        run(client)
    assert server.shells.opened == 0
    assert server.identities == []


def test_an_unmapped_certificate_opens_nothing(serve: Serve, authority: Authority) -> None:
    stranger = authority.issue("stranger")
    server = serve(echo, Logins({}, ("certificate",), {}), tls=authority.issue("hv1"), client_ca=authority.certificate)
    client = Protocol(
        server.url,
        transport="certificate",
        ca_trust_path=str(authority.certificate),
        cert_pem=str(stranger.certificate),
        cert_key_pem=str(stranger.key),
    )
    with pytest.raises(InvalidCredentialsError):
        run(client)
    assert server.shells.opened == 0


def test_ntlm_that_is_bound_to_another_certificate_is_refused(reach: Any, authority: Authority) -> None:
    """As with a machine in the middle that ends TLS itself and passes the login on."""
    server, client = reach(CHANNEL_BOUND, bound_to=authority.issue("elsewhere").sha256)
    with pytest.raises(InvalidCredentialsError):
        run(client)
    assert server.shells.opened == 0


def test_what_is_sent_over_http_is_encrypted_and_in_the_clear_refused(serve: Serve) -> None:
    server = serve(echo)
    client = Protocol(server.url, transport="ntlm", username=USER, password=PASSWORD, message_encryption="never")
    with pytest.raises(WinRMTransportError):
        run(client)
    assert server.shells.opened == 0
    assert server.requests == []


def test_a_megabyte_goes_out_and_comes_back_in_pieces(reach: Any) -> None:
    server, client = reach("NTLM over HTTP")
    text = "é" * 500_000 + "end"
    shell = client.open_shell()
    command = client.run_command(shell, "powershell.exe", console_mode_stdin=False)
    data = text.encode()
    for start in range(0, len(data), 100_000):
        client.send_command_input(shell, command, data[start : start + 100_000], end=start + 100_000 >= len(data))
    output = client.get_command_output(shell, command)[0]
    client.close_shell(shell)
    assert json.loads(output)["input"] == text
    assert server.troubles.seen["Send"] == 11
    assert server.troubles.seen["Receive"] > 20


def test_a_line_longer_than_cmd_exe_takes_is_refused_as_windows_does(reach: Any) -> None:
    client = reach("basic over HTTPS")[1]
    shell = client.open_shell()
    command = client.run_command(shell, "powershell.exe", ["x" * 8200])
    assert client.get_command_output(shell, command) == (b"", b"The command line is too long.\r\n", 1)
    client.close_shell(shell)


def test_shells_beyond_the_quota_are_refused_with_windows_code(reach: Any) -> None:
    server, client = reach("basic over HTTPS")
    server.shells.shells_per_user = 2
    shells = [client.open_shell(), client.open_shell()]
    with pytest.raises(WSManFaultError) as refused:
        client.open_shell()
    assert refused.value.wsman_fault_code == 2150859173
    for shell in shells:
        client.close_shell(shell)
    assert server.shells.open_count() == 0


def test_a_message_beyond_the_envelope_is_refused_and_the_shell_lives(reach: Any) -> None:
    server, client = reach("basic over HTTPS")
    shell = client.open_shell()
    command = client.run_command(shell, "powershell.exe", console_mode_stdin=False)
    with pytest.raises(WSManFaultError) as refused:
        client.send_command_input(shell, command, b"x" * 400_000)
    assert refused.value.wsman_fault_code == 2150858805
    client.send_command_input(shell, command, b"x", end=True)
    assert client.get_command_output(shell, command)[2] == 3
    client.close_shell(shell)
    assert server.shells.open_count() == 0


@pytest.mark.parametrize("scheme", ["basic", "ntlm", "negotiate"])
def test_pypsrp_runs_a_command(serve: Serve, authority: Authority, scheme: str) -> None:
    tls = {"tls": authority.issue("hv1")} if scheme == "basic" else {}
    server = serve(echo, **tls)
    wsman = WSMan(
        "127.0.0.1",
        port=server.port,
        ssl=bool(tls),
        auth=scheme,
        username=USER,
        password=PASSWORD,
        encryption="auto",
        cert_validation=str(authority.certificate),
    )
    with wsman, WinRS(wsman) as shell:
        process = Process(shell, "cmd.exe", ["/c", "echo", "hi"])
        process.begin_invoke()
        process.send(TEXT.encode(), end=True)
        process.end_invoke()
        process.signal(SignalCode.TERMINATE)
    assert json.loads(process.stdout) == {"line": "cmd.exe /c echo hi", "input": TEXT}
    assert process.rc == 3
    assert server.shells.open_count() == 0


def test_pypsrp_is_refused_with_a_wrong_password(serve: Serve) -> None:
    server = serve(echo)
    wsman = WSMan("127.0.0.1", port=server.port, ssl=False, auth="negotiate", username=USER, password="wrong")
    with wsman, pytest.raises(AuthenticationError):
        WinRS(wsman).open()
    assert server.shells.opened == 0


def windows(command: Command) -> int:
    """Do what Ansible's connection asks of PowerShell: take a file (after the manifest of newer versions), or run."""
    if "sha1" in command.script.lower() or "codeJson" in command.script:
        pieces = command.read_input().rpartition(b"\0\0\0\0\n")[2]
        content = b"".join(base64.b64decode(line) for line in pieces.split())
        command.write(json.dumps({"sha1": hashlib.sha1(content).hexdigest()}).encode())
    else:
        command.write(f"ran {command.script or command.line}".encode())
    return 0


@pytest.fixture
def plugin_loader() -> Iterator[None]:
    """Ansible's plugin loader for one test: the import hooks that it installs are no good for those that follow."""
    finders, hooks = list(sys.meta_path), list(sys.path_hooks)
    init_plugin_loader()
    yield
    sys.meta_path[:], sys.path_hooks[:] = finders, hooks
    sys.path_importer_cache.clear()


def ansible_connection(server: WinrmServer, ca_path: str, options: Mapping[str, Any]) -> Any:
    """Return Ansible's winrm connection to the server."""
    connection = connection_loader.get("ansible.builtin.winrm", PlayContext(), DataLoader())
    connection.set_options(
        var_options={"_extras": {"ansible_winrm_ca_trust_path": ca_path}},
        direct={
            "remote_addr": "127.0.0.1",
            "port": server.port,
            "remote_user": USER,
            "remote_password": PASSWORD,
            **options,
        },
    )
    return connection


@pytest.mark.usefixtures("plugin_loader")
@pytest.mark.parametrize("way", ["basic", "ntlm"])
def test_ansibles_own_connection_runs_a_line_and_puts_a_file(
    serve: Serve, authority: Authority, tmp_path: Path, way: str
) -> None:
    tls = {"tls": authority.issue("hv1")} if way == "basic" else {}
    server = serve(windows, **tls)
    options = {"transport": [way], "scheme": "https" if tls else "http"}
    connection = ansible_connection(server, str(authority.certificate), options)
    code, output = connection.exec_command("Write-Output hello")[:2]
    assert code == 0
    assert "Write-Output hello" in output.decode()
    file = tmp_path / "big"
    file.write_bytes(bytes(range(256)) * 2000)
    connection.put_file(str(file), r"C:\Windows\Temp\big")
    connection.close()
    assert server.troubles.seen["Send"] > 1
    assert server.shells.open_count() == 0

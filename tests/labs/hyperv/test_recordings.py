# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The server held against Windows itself: recordings of real hosts, replayed request by request.

The recordings are those of pypsrp's own tests (MIT), fetched from the package index as its published sdist.
"""

from __future__ import annotations

import base64
import queue
import re
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml
from ansible_collections.foresight.migration.tests.labs.hyperv.authentication import Identity
from ansible_collections.foresight.migration.tests.labs.hyperv.shells import Command, Shells
from ansible_collections.foresight.migration.tests.labs.hyperv.wsman import NAMESPACES

SDIST = "pypsrp==0.9.1"
SHA256 = "3ad41285739d5f8107dd8277ae00e86ee44153aae5e82fb578ac8048307e0d12"
RECORDINGS = "pypsrp-0.9.1/tests/tests_pypsrp/responses"
#: Every recording of a remote shell in that sdist.
NAMES = (
    "bad_cmd_id", "environment", "extra_opts", "fail_poll_process", "no_cmd_shell", "noprofile",
    "open_already_opened", "operation_timeout", "send", "standard", "stderr_rc", "unicode",
)  # fmt: skip
#: Elements and attributes whose content is that of one host, run or translation: only their presence is compared.
OWN_TEXT = {"MessageID", "RelatesTo", "ShellId", "CommandId", "Owner", "ClientIP", "Selector", "Address"}
OWN_ATTRIBUTES = {"CommandId", "Machine"}
#: Windows gives a shell's activity a number for its event log; clients have no use for it.
NOT_ANSWERED = {"ActivityId"}
NO_INDEX = re.compile(
    "Failed to establish a new connection|Failed to resolve|NameResolutionError|ConnectTimeoutError|ProxyError"
)


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of recordings, out of the sdist whose hash this file names."""
    folder = tmp_path_factory.mktemp("pypsrp")
    pinned = folder / "pinned.txt"
    pinned.write_text(f"{SDIST} --hash=sha256:{SHA256}\n")
    fetched = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps",
         "--no-binary", "pypsrp", "--require-hashes", "--dest", folder, "-r", pinned],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if fetched.returncode and NO_INDEX.search(fetched.stderr):
        pytest.skip(f"recordings of Windows hosts: the package index does not answer: {fetched.stderr[-300:]}")
    assert fetched.returncode == 0, fetched.stderr
    with tarfile.open(next(folder.glob("pypsrp-*.tar.gz"))) as archive:
        archive.extractall(folder, filter="data")
    return folder / RECORDINGS


class Replay:
    """One recording, its client's requests sent to our server and Windows' output played by our commands."""

    def __init__(self, path: Path) -> None:
        self.messages: Sequence[Mapping[str, str]] = yaml.safe_load(path.read_text())["messages"]
        self._commands: queue.Queue[Command] = queue.Queue()
        self._shells = Shells(self._wait)
        self._renamed: dict[str, str] = {}
        self._command: Command | None = None

    def answers(self) -> Iterator[tuple[str, str]]:
        """Yield each answer of Windows with ours."""
        for message in self.messages:
            request, expected = message["request"], message["response"]
            for recorded, ours in self._renamed.items():
                request = request.replace(recorded, ours)
            if "shell/ReceiveResponse" in expected:
                self._play(ET.fromstring(expected))
            # the same silence, sooner
            request = re.sub(r"OperationTimeout>PT\d+S<", "OperationTimeout>PT0.05S<", request)
            answer = self._shells.answer(request.encode(), Identity("vagrant", "basic"))[1]
            self._rename(expected, answer.decode())
            yield expected, answer.decode()

    def _wait(self, command: Command) -> int:
        self._commands.put(command)
        command.terminated.wait(10)
        return 0

    def _play(self, expected: ET.Element) -> None:
        """Write what Windows wrote for this request."""
        if self._command is None:
            self._command = self._commands.get(timeout=10)
        for stream in expected.iterfind(".//rsp:Stream", NAMESPACES):
            if stream.text:
                self._command.write(base64.b64decode(stream.text), stream.get("Name", ""))
        exit_code = expected.findtext(".//rsp:ExitCode", None, NAMESPACES)
        if exit_code is not None:
            self._command.finish(int(exit_code))

    def _rename(self, expected: str, ours: str) -> None:
        """Note which of our ids stands for which recorded one."""
        for pattern in (r'Name="ShellId">([^<]+)<', r"<rsp:CommandId>([^<]+)<"):
            recorded, made = re.search(pattern, expected), re.search(pattern, ours)
            if recorded and made:
                self._renamed[recorded.group(1)] = made.group(1)


def shape(message: str | bytes) -> list[str]:
    """Return each element of an answer: its path, its attributes, and its text unless that is the host's own."""
    return list(_lines(ET.fromstring(message), ""))


def _lines(element: ET.Element, path: str) -> Iterator[str]:
    name = element.tag.rpartition("}")[2]
    if name in NOT_ANSWERED:
        return
    path = f"{path}/{name}"
    attributes = {key.rpartition("}")[2]: value for key, value in element.attrib.items()}
    told = sorted((key, "" if key in OWN_ATTRIBUTES else value) for key, value in attributes.items())
    yield f"{path} {told} {'' if name in OWN_TEXT else (element.text or '').strip()}"
    for child in element:
        yield from _lines(child, path)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_has_the_shape_that_windows_gave_it(recordings: Path, name: str) -> None:
    replay = Replay(recordings / f"test_winrs_{name}.yml")
    compared = 0
    for expected, ours in replay.answers():
        assert without_backslashes_in_names(shape(ours)) == without_backslashes_in_names(shape(expected))
        compared += 1
    assert compared == len(replay.messages) > 1


def test_no_recording_of_a_shell_is_left_out(recordings: Path) -> None:
    assert sorted(f"test_winrs_{name}.yml" for name in NAMES) == sorted(
        path.name for path in recordings.glob("test_winrs_*.yml")
    )


def without_backslashes_in_names(lines: list[str]) -> list[str]:
    """Windows dropped a backslash from a variable's name in one answer; no client of ours sets variables."""
    return [re.sub(r"\[\('Name', .*?\)\]", lambda name: name.group().replace("\\", ""), line) for line in lines]

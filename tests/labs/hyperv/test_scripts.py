# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every PowerShell script, read by PowerShell's grammar and held to Microsoft's documentation. None is executed."""

from __future__ import annotations

import json

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv import history
from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.hyperv.scripts.bootstrap import (
    ARGUMENTS,
    BOOTSTRAP,
    COMMAND,
)
from ansible_collections.foresight.migration.tests.labs.hyperv import grammar
from ansible_collections.foresight.migration.tests.labs.hyperv.operations import SCRIPTS
from ansible_collections.foresight.migration.tests.labs.hyperv.shells import CMD_LINE_LIMIT

TEXTS = {"bootstrap": BOOTSTRAP, **{name: script.text for name, script in SCRIPTS.items()}}
#: Accepted values of the parameters of Get-ClusterPerformanceHistory that are used
#: (https://learn.microsoft.com/powershell/module/failoverclusters/get-clusterperformancehistory).
VM_SERIES = (
    "VM.Cpu.Usage VM.Memory.Total VM.Memory.Available VM.Memory.Pressure VM.Memory.Assigned VM.Memory.Minimum "
    "VM.Memory.Maximum VM.Memory.Startup VHD.Latency.Average VHD.Throughput.Read VHD.Throughput.Write "
    "VHD.Throughput.Total VHD.IOPS.Read VHD.IOPS.Write VHD.IOPS.Total VMNetworkAdapter.Bandwidth.Inbound "
    "VMNetworkAdapter.Bandwidth.Outbound VMNetworkAdapter.Bandwidth.Total"
).lower()
NODE_SERIES = (
    "ClusterNode.Cpu.Usage ClusterNode.Cpu.Usage.Guest ClusterNode.Cpu.Usage.Host ClusterNode.Memory.Usage "
    "ClusterNode.Memory.Usage.Guest ClusterNode.Memory.Usage.Host ClusterNode.Memory.Total "
    "ClusterNode.Memory.Available NetAdapter.Bandwidth.Inbound NetAdapter.Bandwidth.Outbound "
    "NetAdapter.Bandwidth.Total"
).lower()
TIME_FRAMES = "MostRecent LastHour LastDay LastWeek LastMonth LastYear"


@pytest.mark.parametrize("name", TEXTS)
def test_a_script_is_powershell_and_uses_only_what_microsoft_documents(name: str) -> None:
    assert grammar.unknown(TEXTS[name]) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Get-VMHosts", "command Get-VMHosts"),
        ("Get-VM -Uuid $p.vm_id", "Get-VM -uuid"),
        ("Get-CimInstance -ClassName Msvm_Nonsense", "class Msvm_Nonsense"),
        ("$prefix = 'Win32_'\nGet-CimInstance -ClassName ($prefix + 'Nonsense')", "class Win32_Nonsense"),
        ("(Get-VM).Memory", "member Memory"),
        ("[System.Nonsense]::Value()", "type System.Nonsense"),
        ("Get-CimInstance -ClassName Msvm_MigrationJob | Invoke-CimMethod -MethodName Stop", "method Stop"),
        ("if ($p.x) { Get-VM", "syntax: "),
    ],
)
def test_what_is_not_in_the_reference_is_found(text: str, problem: str) -> None:
    assert any(found.startswith(problem) for found in grammar.unknown(text)), grammar.unknown(text)


def test_every_row_of_the_reference_names_a_page_of_microsofts_and_is_used() -> None:
    rows = grammar.read_reference()
    assert len({(row.kind, row.name.lower()) for row in rows}) == len(rows)
    for row in rows:
        assert row.sources, row
        assert row.sources[0].startswith("https://learn.microsoft.com/"), row
    everything = "\n".join(TEXTS.values()).lower()
    unused = [row.name for row in rows if row.kind != "type" and _last_part(row.name) not in everything]
    assert unused == []


def _last_part(name: str) -> str:
    """Names of performance classes are put together from two strings."""
    return name.lower().removeprefix("win32_perfrawdata_")


def test_series_and_time_frames_of_the_history_are_those_that_windows_has() -> None:
    assert set(history.VM_SERIES) <= set(VM_SERIES.split())
    assert set(history.HOST_SERIES) <= set(NODE_SERIES.split())
    assert {name for name, unused in history.TIME_FRAMES} <= set(TIME_FRAMES.split())


def test_the_command_line_fits_into_cmd_exe_and_needs_no_quotes() -> None:
    line = " ".join((COMMAND, *ARGUMENTS))
    assert len(line) < CMD_LINE_LIMIT
    assert not set(line) & set("\"'`&|<>^%!()")


def test_scripts_are_plain_ascii_so_that_no_code_page_changes_them() -> None:
    for name, text in TEXTS.items():
        assert text.isascii(), name
        assert json.loads(json.dumps(text)) == text

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one command that every call runs: it reads script and parameters from its standard input and runs them.

It must not name PowerShell's automatic variable for piped input: powershell.exe would then read the standard input
itself (about_Automatic_Variables). Bytes are read from and written to the streams themselves, so that neither the
console's code page nor ``[Console]::InputEncoding`` with its byte-order mark has a say. A script that is meant for
one host does not run on another: the name of a cluster, or an address, may lead to a different node from call to call.
"""

from __future__ import annotations

import base64

BOOTSTRAP = """\
$ErrorActionPreference = 'Stop'
$ProgressPreference = 'SilentlyContinue'
$WarningPreference = 'SilentlyContinue'
Set-StrictMode -Version 1.0
$utf8 = New-Object -TypeName System.Text.UTF8Encoding -ArgumentList $false
$reader = New-Object -TypeName System.IO.StreamReader -ArgumentList ([Console]::OpenStandardInput()), $utf8
$call = ConvertFrom-Json -InputObject $reader.ReadToEnd()
try {
    if ($call.host -and $call.host -ne $env:COMPUTERNAME) { throw 'OtherHost' }
    $reply = @{ ok = $true; answer = (& ([scriptblock]::Create($call.script)) $call.parameters) }
} catch {
    $failure = $_
    $codes = @()
    $cause = $failure.Exception
    while ($cause) { $codes += '0x{0:X8}' -f $cause.HResult; $cause = $cause.InnerException }
    $reply = @{ ok = $false; error = @{
        message = [string]$failure.Exception.Message
        id = [string]$failure.FullyQualifiedErrorId
        category = [string]$failure.CategoryInfo.Category
        activity = [string]$failure.CategoryInfo.Activity
        target = [string]$failure.CategoryInfo.TargetName
        hresults = $codes } }
}
$json = ConvertTo-Json -InputObject $reply -Depth 8 -Compress
$bytes = $utf8.GetBytes("`n<<<" + $call.frame + "`n" + $json + "`n" + $call.frame + ">>>`n")
$stream = [Console]::OpenStandardOutput()
$stream.Write($bytes, 0, $bytes.Length)
$stream.Flush()
"""

#: What is run in the shell, and its arguments. The policy is this process's own; a group policy overrides it.
COMMAND = "powershell.exe"
ARGUMENTS = (
    "-NoLogo",
    "-NoProfile",
    "-NonInteractive",
    "-ExecutionPolicy",
    "RemoteSigned",
    "-EncodedCommand",
    base64.b64encode(BOOTSTRAP.encode("utf-16-le")).decode("ascii"),
)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scripts that look at a host and change nothing. `catalogue` lists what they take and answer."""

from __future__ import annotations

from .script import Script

IDENTIFY = Script(
    "identify",
    reads_only=True,
    text=r"""param($p)
$computer = Get-CimInstance -ClassName Win32_ComputerSystem
$os = Get-CimInstance -ClassName Win32_OperatingSystem
$domain = ''
$fqdn = [string]$computer.DNSHostName
if ($computer.PartOfDomain) {
    $domain = [string]$computer.Domain
    $fqdn = $fqdn + '.' + $domain
}
$cluster = $null
$nodes = @()
$service = Get-CimInstance -ClassName Win32_Service -Filter "Name = 'ClusSvc'"
if ($service -and $service.Started) {
    $cluster = [string](Get-Cluster).Name
    $nodes = @(Get-ClusterNode | ForEach-Object { [string]$_.Name })
}
@{
    computer_name = [string]$computer.Name
    domain = $domain
    fqdn = $fqdn
    os_version = [string]$os.Version
    hyperv_module = [bool](Get-Command -Name Get-VM -ErrorAction SilentlyContinue)
    cluster = $cluster
    node_names = $nodes
    ts = ([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalSeconds
}
""",
)

LOCATE = Script(
    "locate",
    reads_only=True,
    text=r"""param($p)
$filter = "Name = '{0}'" -f ([guid]$p.vm_id).ToString()
$system = Get-CimInstance -Namespace root\virtualization\v2 -ClassName Msvm_ComputerSystem -Filter $filter
$state = $null
if ($system) { $state = [int]$system.EnabledState }
@{ found = [bool]$system; enabled_state = $state }
""",
)

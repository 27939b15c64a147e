# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scripts of preflight and settlement: how hosts and a VM stand, and what Hyper-V keeps for one VM.

Parameters and answers are listed above each script. Names of enumerations are those of .NET, which no display
language changes.
"""

from __future__ import annotations

from .script import Script

#: ``{}`` -> ``{computer_name, fqdn, enabled: bool, authentication: 0 CredSSP | 1 Kerberos, compression: bool,
#: smb: bool, any_network: bool, subnets: [str], listener_addresses: [str], max_migrations, max_storage_migrations,
#: jobs: [{migration_type, job_type}] that are not over, vm_versions: ["9.0"], memory_free_bytes,
#: vm_path: default folder of VMs, switches: [{id, name, bandwidth_mode: "Default" | "Weight" | "Absolute" | "None"}]}``
MIGRATION_SETTINGS = Script(
    "migration_settings",
    reads_only=True,
    text=r"""param($p)
$namespace = 'root\virtualization\v2'
$machine = Get-VMHost
$system = Get-CimInstance -ClassName Win32_OperatingSystem
$service = Get-CimInstance -Namespace $namespace -ClassName Msvm_VirtualSystemMigrationService
$settings = Get-CimInstance -Namespace $namespace -ClassName Msvm_VirtualSystemMigrationServiceSettingData
$jobs = @(Get-CimInstance -Namespace $namespace -ClassName Msvm_MigrationJob |
    Where-Object { $_.JobState -ge 2 -and $_.JobState -le 6 })
@{
    computer_name = [string]$machine.ComputerName
    fqdn = [string]$machine.FullyQualifiedDomainName
    enabled = [bool]$settings.EnableVirtualSystemMigration
    authentication = [int]$settings.AuthenticationType
    compression = [bool]$settings.EnableCompression
    smb = [bool]$settings.EnableSmbTransport
    any_network = [bool]$machine.UseAnyNetworkForMigration
    subnets = @(Get-VMMigrationNetwork | ForEach-Object { [string]$_.Subnet })
    listener_addresses = @($service.MigrationServiceListenerIPAddressList | Where-Object { $_ })
    max_migrations = [int64]$settings.MaximumActiveVirtualSystemMigration
    max_storage_migrations = [int64]$settings.MaximumActiveStorageMigration
    jobs = @($jobs | ForEach-Object { @{ migration_type = [int]$_.MigrationType; job_type = [int]$_.JobType } })
    vm_versions = @(Get-VMHostSupportedVersion | ForEach-Object { [string]$_.Version })
    memory_free_bytes = [int64]$system.FreePhysicalMemory * 1024
    vm_path = [string]$machine.VirtualMachinePath
    switches = @(Get-VMSwitch | ForEach-Object {
        @{ id = [string]$_.Id; name = [string]$_.Name; bandwidth_mode = [string]$_.BandwidthReservationMode } })
}
""",
)

#: ``{vm_id}`` -> ``{found: false}``, or ``{found: true, name, enabled_state: 2 running | ..., clustered: bool,
#: version: "9.0", operational: [OperationalStatus of Msvm_ComputerSystem], vcpus, memory_assigned_bytes, checkpoints,
#: assigned_devices: [str], switch_names: [str] of connected adapters, disks: [{path, passthrough: bool}],
#: jobs: [{migration_type, job_type, destination}] of this VM that are not over}``
VM_FOR_MOVE = Script(
    "vm_for_move",
    reads_only=True,
    text=r"""param($p)
$namespace = 'root\virtualization\v2'
$id = [guid]$p.vm_id
$vm = Get-VM -Id $id -ErrorAction SilentlyContinue
if (-not $vm) { return @{ found = $false } }
$system = Get-CimInstance -Namespace $namespace -ClassName Msvm_ComputerSystem `
    -Filter ("Name = '{0}'" -f $id.ToString())
$jobs = @(Get-CimInstance -Namespace $namespace -ClassName Msvm_MigrationJob |
    Where-Object { $_.VirtualSystemName -eq $p.vm_id -and $_.JobState -ge 2 -and $_.JobState -le 6 })
$adapters = @(Get-VMNetworkAdapter -VM $vm | Where-Object { $_.Connected })
@{
    found = $true
    name = [string]$vm.Name
    enabled_state = [int]$system.EnabledState
    clustered = [bool]$vm.IsClustered
    version = [string]$vm.Version
    operational = @($system.OperationalStatus | Where-Object { $_ } | ForEach-Object { [int]$_ })
    vcpus = [int64]$vm.ProcessorCount
    memory_assigned_bytes = [int64]$vm.MemoryAssigned
    checkpoints = @(Get-VMSnapshot -VM $vm).Count
    assigned_devices = @(Get-VMAssignableDevice -VM $vm | ForEach-Object { [string]$_.LocationPath })
    switch_names = @($adapters | ForEach-Object { [string]$_.SwitchName })
    disks = @(Get-VMHardDiskDrive -VM $vm | ForEach-Object {
        @{ path = [string]$_.Path; passthrough = ($null -ne $_.DiskNumber) } })
    jobs = @($jobs | ForEach-Object {
        @{
            migration_type = [int]$_.MigrationType
            job_type = [int]$_.JobType
            destination = [string]$_.DestinationHost
        } })
}
""",
)

#: ``{vm_id}`` -> ``{found: false}``, or ``{found: true, name, notes, vcpus, cpu_reserve_percent, cpu_limit_percent,
#: dynamic_memory: bool, memory_minimum_bytes, memory_assigned_bytes,
#: adapters: [{id, switch_name, bandwidth_mode: that of its switch, "" where it has none, link_bits_s: of the switch's
#: physical adapters, 0 where it has none, other_weights: of all other ports of the switch, minimum_bits_s,
#: minimum_weight}],
#: disks: [{controller_type: "IDE" | "SCSI", controller_number, controller_location, minimum_iops}]}``.
#: The percentages are of the VM's own processors; ``minimum_iops`` counts operations of 8 KB.
TUNING = Script(
    "tuning",
    reads_only=True,
    text=r"""param($p)
$vm = Get-VM -Id ([guid]$p.vm_id) -ErrorAction SilentlyContinue
if (-not $vm) { return @{ found = $false } }
$processor = Get-VMProcessor -VM $vm
$ports = @(Get-VMNetworkAdapter -All -ErrorAction SilentlyContinue)  # a VM whose files are gone has none
$switches = @{}
Get-VMSwitch | ForEach-Object {
    $name = [string]$_.Name
    $links = @($_.NetAdapterInterfaceDescriptions)
    $speed = (Get-NetAdapter | Where-Object { $links -contains $_.InterfaceDescription } |
        Measure-Object -Property Speed -Sum).Sum
    $weights = ($ports | Where-Object { $_.SwitchName -eq $name } |
        ForEach-Object { [int64]$_.BandwidthSetting.MinimumBandwidthWeight } | Measure-Object -Sum).Sum
    $switches[$name] = @{
        mode = [string]$_.BandwidthReservationMode
        link = [int64]$speed
        weights = [int64]$weights + [int64]$_.DefaultFlowMinimumBandwidthWeight
    }
}
@{
    found = $true
    name = [string]$vm.Name
    notes = [string]$vm.Notes
    vcpus = [int64]$vm.ProcessorCount
    cpu_reserve_percent = [int64]$processor.Reserve
    cpu_limit_percent = [int64]$processor.Maximum
    dynamic_memory = [bool]$vm.DynamicMemoryEnabled
    memory_minimum_bytes = [int64]$vm.MemoryMinimum
    memory_assigned_bytes = [int64]$vm.MemoryAssigned
    adapters = @(Get-VMNetworkAdapter -VM $vm | ForEach-Object {
        $port = $switches[[string]$_.SwitchName]
        $weight = [int64]$_.BandwidthSetting.MinimumBandwidthWeight
        @{
            id = [string]$_.Id
            switch_name = [string]$_.SwitchName
            bandwidth_mode = [string]$port.mode
            link_bits_s = [int64]$port.link
            other_weights = [Math]::Max(0, [int64]$port.weights - $weight)
            minimum_bits_s = [int64]$_.BandwidthSetting.MinimumBandwidthAbsolute
            minimum_weight = $weight
        } })
    disks = @(Get-VMHardDiskDrive -VM $vm | ForEach-Object {
        @{
            controller_type = [string]$_.ControllerType
            controller_number = [int64]$_.ControllerNumber
            controller_location = [int64]$_.ControllerLocation
            minimum_iops = [int64]$_.MinimumIOPS
        } })
}
""",
)

#: ``{vm_id, notes: str | null, cpu_reserve_percent: int | null, memory_minimum_bytes: int | null,
#: adapters: [{id, minimum_bits_s: int | null, minimum_weight: int | null}],
#: disks: [{controller_type, controller_number, controller_location, minimum_iops}]}`` -> ``{found: bool, refused:
#: [{setting: "notes" | "cpu" | "memory" | "network" | "disk", message}]}``. What is null stays as it is. Each setting
#: is tried by itself, and what Hyper-V refuses is told.
SET_TUNING = Script(
    "set_tuning",
    reads_only=False,
    text=r"""param($p)
$vm = Get-VM -Id ([guid]$p.vm_id) -ErrorAction SilentlyContinue
if (-not $vm) { return @{ found = $false; refused = @() } }
$refused = @()
if ($null -ne $p.notes) {
    try { Set-VM -VM $vm -Notes ([string]$p.notes) }
    catch { $refused += @{ setting = 'notes'; message = [string]$_.Exception.Message } }
}
if ($null -ne $p.cpu_reserve_percent) {
    try { Set-VMProcessor -VM $vm -Reserve ([int64]$p.cpu_reserve_percent) }
    catch { $refused += @{ setting = 'cpu'; message = [string]$_.Exception.Message } }
}
if ($null -ne $p.memory_minimum_bytes) {
    try { Set-VMMemory -VM $vm -MinimumBytes ([int64]$p.memory_minimum_bytes) }
    catch { $refused += @{ setting = 'memory'; message = [string]$_.Exception.Message } }
}
foreach ($wanted in $p.adapters) {
    try {
        $adapter = @(Get-VMNetworkAdapter -VM $vm | Where-Object { $_.Id -eq $wanted.id })[0]
        if ($null -ne $wanted.minimum_bits_s) {
            Set-VMNetworkAdapter -VMNetworkAdapter $adapter -MinimumBandwidthAbsolute ([int64]$wanted.minimum_bits_s)
        }
        if ($null -ne $wanted.minimum_weight) {
            Set-VMNetworkAdapter -VMNetworkAdapter $adapter -MinimumBandwidthWeight ([int64]$wanted.minimum_weight)
        }
    } catch { $refused += @{ setting = 'network'; message = [string]$_.Exception.Message } }
}
foreach ($wanted in $p.disks) {
    try {
        $drive = @(Get-VMHardDiskDrive -VM $vm | Where-Object {
            [string]$_.ControllerType -eq $wanted.controller_type -and
            $_.ControllerNumber -eq $wanted.controller_number -and
            $_.ControllerLocation -eq $wanted.controller_location })[0]
        Set-VMHardDiskDrive -VMHardDiskDrive $drive -MinimumIOPS ([uint64]$wanted.minimum_iops)
    } catch { $refused += @{ setting = 'disk'; message = [string]$_.Exception.Message } }
}
@{ found = $true; refused = @($refused) }
""",
)

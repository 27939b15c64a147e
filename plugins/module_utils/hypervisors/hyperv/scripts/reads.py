# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scripts that look at a host and change nothing. `catalogue` lists what they take and answer."""

from __future__ import annotations

from .script import Script

#: Puts all VMs into ``$machines``. One whose files are gone is an error beside the others, which must not hide them;
#: where errors are all there is, asking for the host tells whether anything may be seen at all.
_ALL_VMS = r"""$machines = @(Get-VM -ErrorAction SilentlyContinue -ErrorVariable problems)
if ($problems.Count -and -not $machines.Count) { Get-VMHost | Out-Null }
"""

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
$history = $false
# services are for administrators to ask about, processes for everybody
if (Get-Process -Name clussvc -ErrorAction SilentlyContinue) {
    $cluster = [string](Get-Cluster).Name
    $history = [bool](Get-Cluster).S2DEnabled -and
        [bool](Get-Command -Name Get-ClusterPerformanceHistory -ErrorAction SilentlyContinue)
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
    performance_history = $history
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

CLUSTER = Script(
    "cluster",
    reads_only=True,
    text=r"""param($p)
$cluster = Get-Cluster
$nodes = @(Get-ClusterNode | ForEach-Object { @{
    name = [string]$_.Name
    state = [int]$_.State
    drain_status = [int]$_.DrainStatus
} })
$groups = @{}
foreach ($group in @(Get-ClusterGroup)) {
    $names = @($group.AntiAffinityClassNames | Where-Object { $_ } | ForEach-Object { [string]$_ })
    $groups[[string]$group.Name] = $names
}
$filter = "Type = 'Virtual Machine'"
$machines = @(Get-CimInstance -Namespace root\MSCluster -ClassName MSCluster_Resource -Filter $filter)
$roles = @(foreach ($machine in $machines) { @{
    vm_id = ([string]$machine.PrivateProperties.VmID).ToLowerInvariant()
    group = [string]$machine.OwnerGroup
    owner_node = [string]$machine.OwnerNode
    state = [int]$machine.State
    anti_affinity = @($groups[[string]$machine.OwnerGroup] | Where-Object { $_ })
} })
$rules = @()
if (Get-Command -Name Get-ClusterAffinityRule -ErrorAction SilentlyContinue) {
    $rules = @(Get-ClusterAffinityRule | ForEach-Object { @{
        name = [string]$_.Name
        kind = [string]$_.RuleType
        enabled = [bool][int]$_.Enabled
        groups = @($_.Groups | Where-Object { $_ } | ForEach-Object { [string]$_ })
    } })
}
$volumes = @(Get-ClusterSharedVolume | ForEach-Object {
    $name = [string]$_.Name
    foreach ($volume in @($_.SharedVolumeInfo)) { @{ name = $name; path = [string]$volume.FriendlyVolumeName } }
})
@{
    name = [string]$cluster.Name
    auto_balancer_mode = [int]$cluster.AutoBalancerMode
    nodes = $nodes
    roles = $roles
    rules = $rules
    volumes = $volumes
}
""",
)

HOST = Script(
    "host",
    reads_only=True,
    text=r"""param($p)
$virtualization = 'root\virtualization\v2'
$computer = Get-CimInstance -ClassName Win32_ComputerSystem
$os = Get-CimInstance -ClassName Win32_OperatingSystem
$processors = @(Get-CimInstance -ClassName Win32_Processor)
$cores = 0
foreach ($processor in $processors) { $cores += [int]$processor.NumberOfCores }
$vmhost = Get-VMHost
$fqdn = [string]$computer.DNSHostName
if ($computer.PartOfDomain) { $fqdn = $fqdn + '.' + [string]$computer.Domain }
$switches = @(Get-CimInstance -Namespace $virtualization -ClassName Msvm_VirtualEthernetSwitch | ForEach-Object { @{
    id = ([string]$_.Name).ToLowerInvariant()
    name = [string]$_.ElementName
} })
$filter = 'HardwareInterface = TRUE'
$adapters = @(Get-CimInstance -Namespace root\StandardCimv2 -ClassName MSFT_NetAdapter -Filter $filter |
    ForEach-Object { @{
    name = [string]$_.Name
    bits_per_s = [double]$_.Speed
    up = ($_.InterfaceOperationalStatus -eq 1)
} })
$numa = @(Get-VMHostNumaNode | ForEach-Object { @{
    node = [int]$_.NodeId
    memory_mib = [int64]$_.MemoryTotal
    processors = @($_.ProcessorsAvailability).Count
} })
$class = 'Msvm_VirtualSystemMigrationNetworkSettingData'
$subnets = @(Get-CimInstance -Namespace $virtualization -ClassName $class | ForEach-Object {
    '{0}/{1}' -f $_.SubnetNumber, $_.PrefixLength
})
@{
    computer_name = [string]$computer.Name
    fqdn = $fqdn
    os_version = [string]$os.Version
    os_caption = [string]$os.Caption
    logical_processors = [int]$vmhost.LogicalProcessorCount
    cores = $cores
    sockets = $processors.Count
    cpu_model = [string]$processors[0].Name
    cpu_vendor = [string]$processors[0].Manufacturer
    cpu_mhz = [int]$processors[0].MaxClockSpeed
    memory_bytes = [int64]$vmhost.MemoryCapacity
    memory_free_bytes = [int64]$os.FreePhysicalMemory * 1024
    switches = $switches
    adapters = $adapters
    numa_nodes = $numa
    migration_enabled = [bool]$vmhost.VirtualMachineMigrationEnabled
    migration_subnets = $subnets
    any_migration_network = [bool]$vmhost.UseAnyNetworkForMigration
    vm_versions = @(Get-VMHostSupportedVersion | ForEach-Object { [string]$_.Version })
    ts = ([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalSeconds
}
""",
)

VMS = Script(
    "vms",
    reads_only=True,
    text=r"""param($p)
$virtualization = 'root\virtualization\v2'
function Get-Owner($setting) { ([string]$setting.InstanceID -split '[:\\]')[1].ToLowerInvariant() }
$wanted = @{}
foreach ($id in @($p.vm_ids)) { $wanted[([guid]$id).ToString()] = $true }
$vms = @{}
foreach ($system in @(Get-CimInstance -Namespace $virtualization -ClassName Msvm_ComputerSystem)) {
    if ($system.Name.Length -ne 36) { continue }
    $id = $system.Name.ToLowerInvariant()
    if ($wanted.Count -and -not $wanted.ContainsKey($id)) { continue }
    $vms[$id] = @{
        id = $id; name = [string]$system.ElementName; enabled_state = [int]$system.EnabledState
        adapters = @(); disks = @(); pinned = @(); memory_assigned_mib = $null
    }
}
foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName Msvm_VirtualSystemSettingData)) {
    $id = ([string]$setting.VirtualSystemIdentifier).ToLowerInvariant()
    if ($setting.VirtualSystemType -ne 'Microsoft:Hyper-V:System:Realized' -or -not $vms.ContainsKey($id)) { continue }
    $vms[$id].version = [string]$setting.Version
    $vms[$id].generation = 1
    if ($setting.VirtualSystemSubType -eq 'Microsoft:Hyper-V:SubType:2') { $vms[$id].generation = 2 }
    $vms[$id].notes = [string](@($setting.Notes) -join "`n")
}
foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName Msvm_ProcessorSettingData)) {
    $id = Get-Owner $setting
    if (-not $vms.ContainsKey($id)) { continue }
    $vms[$id].vcpus = [int]$setting.VirtualQuantity
    $vms[$id].cpu_reserve = [int]$setting.Reservation
    $vms[$id].cpu_limit = [int]$setting.Limit
    $vms[$id].cpu_weight = [int]$setting.Weight
    $vms[$id].cpu_compatibility = [bool]$setting.LimitProcessorFeatures
}
foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName Msvm_MemorySettingData)) {
    $id = Get-Owner $setting
    if (-not $vms.ContainsKey($id)) { continue }
    $vms[$id].memory_startup_mib = [int64]$setting.VirtualQuantity
    $vms[$id].memory_minimum_mib = [int64]$setting.Reservation
    $vms[$id].memory_maximum_mib = [int64]$setting.Limit
    $vms[$id].memory_weight = [int]$setting.Weight
    $vms[$id].dynamic_memory = [bool]$setting.DynamicMemoryEnabled
}
"""
    + _ALL_VMS
    + r"""foreach ($vm in $machines) {
    $id = $vm.Id.ToString()
    if ($vms.ContainsKey($id) -and $vm.MemoryAssigned -gt 0) {
        $vms[$id].memory_assigned_mib = [double]$vm.MemoryAssigned / 1MB
    }
}
$bandwidths = @{}
$class = 'Msvm_EthernetSwitchPortBandwidthSettingData'
foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName $class)) {
    $parts = [string]$setting.InstanceID -split '\\'
    if ($parts.Count -gt 1) { $bandwidths[$parts[0] + '\' + $parts[1]] = $setting }
}
foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName Msvm_EthernetPortAllocationSettingData)) {
    $id = Get-Owner $setting
    $parts = [string]$setting.InstanceID -split '\\'
    if (-not $vms.ContainsKey($id) -or $parts.Count -lt 2) { continue }
    $adapter = @{
        id = $parts[1].ToLowerInvariant(); switch_id = $null; switch_name = [string]$setting.LastKnownSwitchName
        reserved_bits_s = $null; limit_bits_s = $null
    }
    $resource = [string](@($setting.HostResource)[0])
    if ($setting.EnabledState -eq 2 -and $resource -match 'Name="([0-9A-Fa-f-]{36})"') {
        $adapter.switch_id = $matches[1].ToLowerInvariant()
    }
    $bandwidth = $bandwidths[$parts[0] + '\' + $parts[1]]
    if ($bandwidth) {
        $adapter.reserved_bits_s = [double]$bandwidth.Reservation
        $adapter.limit_bits_s = [double]$bandwidth.Limit
    }
    $vms[$id].adapters += $adapter
}
foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName Msvm_StorageAllocationSettingData)) {
    $id = Get-Owner $setting
    if ($setting.ResourceSubType -ne 'Microsoft:Hyper-V:Virtual Hard Disk' -or -not $vms.ContainsKey($id)) { continue }
    $vms[$id].disks += @{
        path = [string](@($setting.HostResource)[0]); passthrough = $false
        iops_reserved = [double]$setting.IOPSReservation; iops_limit = [double]$setting.IOPSLimit
    }
}
$filter = "ResourceSubType = 'Microsoft:Hyper-V:Physical Disk Drive'"
$class = 'Msvm_ResourceAllocationSettingData'
foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName $class -Filter $filter)) {
    $id = Get-Owner $setting
    if (-not $vms.ContainsKey($id) -or -not $setting.HostResource) { continue }
    $vms[$id].disks += @{ path = ''; passthrough = $true; iops_reserved = $null; iops_limit = $null }
}
$devices = @{ Msvm_PciExpressSettingData = 'pci_device'; Msvm_GpuPartitionSettingData = 'gpu_partition' }
foreach ($class in @($devices.Keys)) {
    # an older Hyper-V does not have the class; a pattern that matches none is no error
    if (-not (Get-CimClass -Namespace $virtualization -ClassName ($class + '*'))) { continue }
    foreach ($setting in @(Get-CimInstance -Namespace $virtualization -ClassName $class)) {
        $id = Get-Owner $setting
        if ($vms.ContainsKey($id)) { $vms[$id].pinned += $devices[$class] }
    }
}
@{ vms = @($vms.Values) }
""",
)

COUNTERS = Script(
    "counters",
    reads_only=True,
    text=r"""param($p)
$prefix = 'Win32_PerfRawData_'
$os = Get-CimInstance -ClassName Win32_OperatingSystem
$times = @('Name', 'PercentTotalRunTime', 'Timestamp_PerfTime', 'Frequency_PerfTime')
$traffic = @('Name', 'BytesReceivedPersec', 'BytesSentPersec')
$transfers = @('Name', 'ReadBytesPersec', 'WriteBytesPersec', 'ReadOperationsPerSec', 'WriteOperationsPerSec')
$logical = @(Get-CimInstance -ClassName ($prefix + 'HvStats_HyperVHypervisorLogicalProcessor') -Property $times)
$virtual = @(Get-CimInstance -ClassName ($prefix + 'HvStats_HyperVHypervisorVirtualProcessor') -Property $times)
$nics = @(Get-CimInstance -ClassName ($prefix + 'NvspNicStats_HyperVVirtualNetworkAdapter') -Property $traffic)
$drives = @(Get-CimInstance -ClassName ($prefix + 'Counters_HyperVVirtualStorageDevice') -Property $transfers)
$statistics = @(Get-CimInstance -Namespace root\StandardCimv2 -ClassName MSFT_NetAdapterStatisticsSettingData)
$filter = 'HardwareInterface = TRUE'
$hardware = @{}
foreach ($adapter in @(Get-CimInstance -Namespace root\StandardCimv2 -ClassName MSFT_NetAdapter -Filter $filter)) {
    $hardware[[string]$adapter.Name] = $true
}
$disks = @()
$class = 'Msvm_StorageAllocationSettingData'
foreach ($setting in @(Get-CimInstance -Namespace root\virtualization\v2 -ClassName $class)) {
    if ($setting.ResourceSubType -ne 'Microsoft:Hyper-V:Virtual Hard Disk') { continue }
    $disks += @{
        path = [string](@($setting.HostResource)[0])
        vm_id = ([string]$setting.InstanceID -split '[:\\]')[1].ToLowerInvariant()
    }
}
"""
    + _ALL_VMS
    + r"""$perfTime = 0.0
$perfFrequency = 0.0
if ($logical.Count) {
    $perfTime = [double]$logical[0].Timestamp_PerfTime
    $perfFrequency = [double]$logical[0].Frequency_PerfTime
}
@{
    ts = ([DateTime]::UtcNow - [DateTime]'1970-01-01').TotalSeconds
    perf_time = $perfTime
    perf_frequency = $perfFrequency
    memory_total_kib = [int64]$os.TotalVisibleMemorySize
    memory_free_kib = [int64]$os.FreePhysicalMemory
    logical_processors = @($logical | Where-Object { $_.Name -ne '_Total' } | ForEach-Object { @{
        instance = [string]$_.Name; run_100ns = [double]$_.PercentTotalRunTime } })
    virtual_processors = @($virtual | Where-Object { $_.Name -ne '_Total' } | ForEach-Object { @{
        instance = [string]$_.Name; run_100ns = [double]$_.PercentTotalRunTime } })
    virtual_nics = @($nics | ForEach-Object { @{
        instance = [string]$_.Name
        received_bytes = [double]$_.BytesReceivedPersec; sent_bytes = [double]$_.BytesSentPersec } })
    virtual_disks = @($drives | ForEach-Object { @{
        instance = [string]$_.Name
        read_bytes = [double]$_.ReadBytesPersec; written_bytes = [double]$_.WriteBytesPersec
        reads = [double]$_.ReadOperationsPerSec; writes = [double]$_.WriteOperationsPerSec } })
    adapters = @($statistics | Where-Object { $hardware.ContainsKey([string]$_.Name) } | ForEach-Object { @{
        name = [string]$_.Name
        received_bytes = [double]$_.ReceivedBytes; sent_bytes = [double]$_.SentBytes } })
    vms = @($machines | ForEach-Object { @{
        id = $_.Id.ToString(); name = [string]$_.Name; vcpus = [int]$_.ProcessorCount
        cpu_percent = [double]$_.CPUUsage; memory_assigned_mib = [double]$_.MemoryAssigned / 1MB } })
    disks = $disks
}
""",
)

HISTORY = Script(
    "history",
    reads_only=True,
    text=r"""param($p)
$frame = [string]$p.time_frame
$problems = @{}
$rows = @()
function ConvertTo-Row($kind, $id, $series, $point) { @{
    kind = $kind; id = $id; series = $series; value = [double]$point.Value
    ts = (([DateTime]$point.Time).ToUniversalTime() - [DateTime]'1970-01-01').TotalSeconds } }
$name = [string](Get-CimInstance -ClassName Win32_ComputerSystem).Name
foreach ($series in @($p.host_series)) {
    try {
        $rows += @(Get-ClusterNode -Name $name |
            Get-ClusterPerformanceHistory -ClusterNodeSeriesName $series -TimeFrame $frame |
            Where-Object { $_.Time } | ForEach-Object { ConvertTo-Row 'host' $name $series $_ })
    } catch { $problems[$series] = [string]$_.Exception.Message }
}
foreach ($id in @($p.vm_ids)) {
    $vm = Get-VM -Id ([guid]$id) -ErrorAction SilentlyContinue
    if (-not $vm) { continue }
    foreach ($series in @($p.vm_series)) {
        try {
            $rows += @($vm | Get-ClusterPerformanceHistory -VMSeriesName $series -TimeFrame $frame |
                Where-Object { $_.Time } | ForEach-Object { ConvertTo-Row 'vm' $vm.Id.ToString() $series $_ })
        } catch { $problems[$series] = [string]$_.Exception.Message }
    }
}
@{
    rows = $rows
    problems = @($problems.Keys | ForEach-Object { @{ series = [string]$_; message = $problems[$_] } })
}
""",
)

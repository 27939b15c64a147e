# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Scripts of live migrations: jobs of the host's management service, which outlive the shell that started them.

A lone host is asked through the WMI class Msvm_VirtualSystemMigrationService, so that its service itself reaches the
destination, with the delegation that the host was given. A clustered VM is moved by its cluster. Parameters and
answers are listed above each script. Settings that go along are an instance of Msvm_VirtualSystemMigrationSettingData
with every property as the host offers it, but for the destination's addresses and the transport.
"""

from __future__ import annotations

from .script import Script

#: Puts into ``$arguments`` what Msvm_VirtualSystemMigrationService takes for a migration of ``vm_id``. Properties are
#: set through CimInstanceProperties since PowerShell itself refuses to set those that their class marks as read-only,
#: even on an instance that is only sent along.
_ARGUMENTS = r"""$namespace = 'root\virtualization\v2'
$filter = "Name = '{0}'" -f ([guid]$p.vm_id).ToString()
$vm = Get-CimInstance -Namespace $namespace -ClassName Msvm_ComputerSystem -Filter $filter
if (-not $vm) { return @{ found = $false } }
$serializer = [Microsoft.Management.Infrastructure.Serialization.CimSerializer]::Create()
$options = [Microsoft.Management.Infrastructure.Serialization.InstanceSerializationOptions]::None
$embed = { param($instance) [System.Text.Encoding]::Unicode.GetString($serializer.Serialize($instance, $options)) }
$type = 32768
if ($p.storage_path) { $type = 32771 }
$settings = @(Get-CimInstance -Namespace $namespace -ClassName Msvm_VirtualSystemMigrationSettingData |
    Where-Object { $_.MigrationType -eq $type })[0]
$settings.CimInstanceProperties['DestinationIPAddressList'].Value = [string[]]@($p.addresses)
if ($p.smb) { $settings.CimInstanceProperties['TransportType'].Value = [uint16]32768 }
$arguments = @{
    ComputerSystem = $vm
    DestinationHost = [string]$p.destination
    MigrationSettingData = (& $embed $settings)
}
if ($p.storage_path) {
    $system = @(Get-CimAssociatedInstance -InputObject $vm -Association Msvm_SettingsDefineState `
        -ResultClassName Msvm_VirtualSystemSettingData)[0]
    $folder = [System.IO.Path]::Combine([string]$p.storage_path, 'Virtual Hard Disks')
    $disks = @(Get-CimAssociatedInstance -InputObject $system -ResultClassName Msvm_StorageAllocationSettingData |
        Where-Object { $_.ResourceSubType -eq 'Microsoft:Hyper-V:Virtual Hard Disk' })
    $arguments.NewResourceSettingData = [string[]]@($disks | ForEach-Object {
        $file = [System.IO.Path]::GetFileName([string]@($_.HostResource)[0])
        $_.CimInstanceProperties['HostResource'].Value = [string[]]@([System.IO.Path]::Combine($folder, $file))
        & $embed $_ })
    foreach ($root in 'ConfigurationDataRoot', 'SnapshotDataRoot', 'SwapFileDataRoot') {
        $system.CimInstanceProperties[$root].Value = [string]$p.storage_path
    }
    $arguments.NewSystemSettingData = (& $embed $system)
}
$service = Get-CimInstance -Namespace $namespace -ClassName Msvm_VirtualSystemMigrationService
"""

#: ``{vm_id, destination: computer name, addresses: [its listeners'], smb: bool, storage_path: str | null, wait_s}`` ->
#: ``{found: false}``, or ``{found: true, return_value, state: JobState | null without a job, error, errors: [str]}``.
#: ``return_value`` 4096 means that a job was made; a ``state`` below 7, that it did not end within ``wait_s``.
#: ``errors`` are embedded instances of Msvm_Error in CIM-XML, whose MessageID is the one that Compare-VM shows.
#:
#: Compare-VM asks this same check; but it first prepares the VM on the destination, which is a change, and does so
#: with the caller's own credentials there, which is a second hop.
COMPARE = Script(
    "compare",
    reads_only=True,
    text="param($p)\n"
    + _ARGUMENTS
    + r"""$started = Invoke-CimMethod -InputObject $service -MethodName CheckVirtualSystemIsMigratable `
    -Arguments $arguments
$answer = @{
    found = $true
    return_value = [int64]$started.ReturnValue
    state = $null
    error = ''
    errors = @()
}
if ($started.ReturnValue -ne 4096) { return $answer }
$deadline = [DateTime]::UtcNow.AddSeconds([double]$p.wait_s)
$job = Get-CimInstance -InputObject $started.Job
while ($job.JobState -lt 7 -and [DateTime]::UtcNow -lt $deadline) {
    Start-Sleep -Milliseconds 250
    $job = Get-CimInstance -InputObject $job
}
$answer.state = [int]$job.JobState
$answer.error = [string]$job.ErrorDescription
if ($job.JobState -ge 8) {
    $failures = Invoke-CimMethod -InputObject $job -MethodName GetErrorEx
    $answer.errors = @($failures.Errors | Where-Object { $_ } | ForEach-Object { [string]$_ })
}
$answer
""",
)

#: ``{vm_id, clustered: bool, destination, addresses: [str], smb: bool, storage_path: str | null}`` ->
#: ``{found: false}``, or ``{found: true, return_value, job_id: InstanceID of the job | ""}``. ``return_value`` 4096
#: means that the job was started. A clustered VM's job is made by the cluster a little later, so it has no id yet;
#: ``destination`` is then the name of a node, and the rest but ``vm_id`` is not looked at.
START_MOVE = Script(
    "start_move",
    reads_only=False,
    text=r"""param($p)
if ($p.clustered) {
    $group = Move-ClusterVirtualMachineRole -VMId ([guid]$p.vm_id) -Node ([string]$p.destination) -MigrationType Live `
        -Wait 0
    return @{ found = [bool]$group; return_value = 4096; job_id = '' }
}
"""
    + _ARGUMENTS
    + r"""$started = Invoke-CimMethod -InputObject $service -MethodName MigrateVirtualSystemToHost -Arguments $arguments
$job_id = ''
if ($started.Job) { $job_id = [string]$started.Job.InstanceID }
@{ found = $true; return_value = [int64]$started.ReturnValue; job_id = $job_id }
""",
)

#: ``{vm_id}`` -> ``{found: bool: the VM is here, enabled_state: int | null, ts, jobs: [{id, state: JobState, percent,
#: migration_type, job_type: 305 and 306 move, 300 to 304 check, 307 moves storage only, destination, started_ts: number
#: | null, elapsed_s: number | null, error_code, error, errors: [CIM-XML as in `COMPARE`] of one that has failed}]}``:
#: every migration job of the VM that this host knows, ended ones for some minutes included. It is run again and again
#: while a VM moves, so it does without the Hyper-V module, which takes a second or more to load.
POLL_MOVE = Script(
    "poll_move",
    reads_only=True,
    text=r"""param($p)
$namespace = 'root\virtualization\v2'
$id = [guid]$p.vm_id
$epoch = [DateTime]'1970-01-01'
$system = Get-CimInstance -Namespace $namespace -ClassName Msvm_ComputerSystem `
    -Filter ("Name = '{0}'" -f $id.ToString())
$state = $null
if ($system) { $state = [int]$system.EnabledState }
$jobs = @(Get-CimInstance -Namespace $namespace -ClassName Msvm_MigrationJob |
    Where-Object { $_.VirtualSystemName -eq $p.vm_id })
@{
    found = [bool]$system
    enabled_state = $state
    ts = ([DateTime]::UtcNow - $epoch).TotalSeconds
    jobs = @($jobs | ForEach-Object {
        $started = $null
        $elapsed = $null
        $failures = @()
        if ($_.StartTime) { $started = (([DateTime]$_.StartTime).ToUniversalTime() - $epoch).TotalSeconds }
        if ($_.ElapsedTime) { $elapsed = ([TimeSpan]$_.ElapsedTime).TotalSeconds }
        if ($_.JobState -ge 8 -and $_.JobState -lt 32768) {
            $details = Invoke-CimMethod -InputObject $_ -MethodName GetErrorEx -ErrorAction SilentlyContinue
            $failures = @($details.Errors | Where-Object { $_ })
        }
        @{
            id = [string]$_.InstanceID
            state = [int]$_.JobState
            percent = [int]$_.PercentComplete
            migration_type = [int]$_.MigrationType
            job_type = [int]$_.JobType
            destination = [string]$_.DestinationHost
            started_ts = $started
            elapsed_s = $elapsed
            error_code = [int64]$_.ErrorCode
            error = [string]$_.ErrorDescription
            errors = @($failures | ForEach-Object { [string]$_ })
        } })
}
""",
)

#: ``{vm_id, clustered: bool, job_id: str}`` -> ``{cancelled: bool: it was asked to stop, return_value: int | null}``;
#: runs on the host that the VM leaves. A job that is over is not found, and nothing is cancelled.
CANCEL_MOVE = Script(
    "cancel_move",
    reads_only=False,
    text=r"""param($p)
if ($p.clustered) {
    Move-ClusterVirtualMachineRole -VMId ([guid]$p.vm_id) -Cancel | Out-Null
    return @{ cancelled = $true; return_value = 0 }
}
$jobs = @(Get-CimInstance -Namespace root\virtualization\v2 -ClassName Msvm_MigrationJob | Where-Object {
    $_.VirtualSystemName -eq $p.vm_id -and $_.InstanceID -eq $p.job_id -and $_.JobState -ge 2 -and $_.JobState -le 5 })
if ($jobs.Count -eq 0) { return @{ cancelled = $false; return_value = $null } }
$requested = Invoke-CimMethod -InputObject $jobs[0] -MethodName RequestStateChange `
    -Arguments @{ RequestedState = [uint16]4 }
@{ cancelled = ($requested.ReturnValue -eq 0); return_value = [int64]$requested.ReturnValue }
""",
)

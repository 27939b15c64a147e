# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All operations that this driver runs on Windows hosts: their parameters and answers.

Every script is a `Script` constant in this package; `reads` holds those that look at hosts and VMs, `settings` those
of preflight and settlement, `moves` those of migrations. Parameters and answers are JSON objects. Conventions:

- VM ids are GUIDs in lower case without braces; the host's Hyper-V compares them without regard to case.
- Sizes of memory are in MiB, those of hosts in bytes where the name says so; rates of networks in bits/s.
- States and reasons are numbers of CIM or of Hyper-V's enumerations, never localised texts.
- Absent values are null. Lists are always lists, also of none or of one.
- ``ts`` are Unix seconds (UTC) by the host's clock.

``identify`` (reads)
    {} -> {computer_name, domain, fqdn, os_version "10.0.20348", hyperv_module: bool, cluster: str | null,
    node_names: [str], performance_history: bool (Storage Spaces Direct keeps one), ts}. ``cluster`` is the name of the
    failover cluster that the host is a node of; ``domain`` is "" in a workgroup.
``cluster`` (reads; on any node)
    {} -> {name, auto_balancer_mode: 0 off | 1 at node join | 2 always,
    nodes: [{name, state: 0 up | 1 down | 2 paused | 3 joining, drain_status: 0 none | 1 draining | 2 done | 3 failed}],
    roles: [{vm_id, group, owner_node, state: 2 online | 3 offline | 4 failed, anti_affinity: [str]}],
    rules: [{name, kind: "SameNode" | "SameFaultDomain" | "DifferentNode" | "DifferentFaultDomain", enabled: bool,
    groups: [str]}], volumes: [{name, path}]}
``host`` (reads)
    {} -> {computer_name, fqdn, os_version, os_caption, logical_processors, cores, sockets, cpu_model, cpu_vendor,
    cpu_mhz, memory_bytes, memory_free_bytes, switches: [{id, name}], adapters: [{name, bits_per_s, up: bool}],
    numa_nodes: [{node, memory_mib, processors}], migration_enabled: bool, migration_subnets: ["10.0.0.0/24"],
    any_migration_network: bool, vm_versions: [str], ts}
``vms`` (reads)
    {vm_ids: [guid] (none: all)} -> {vms: [{id, name, enabled_state: 2 running | 3 off | 6 saved | 9 paused | 32768
    paused | 32769 saved | others in transition, generation, version, notes, vcpus,
    cpu_reserve: 1/1000 % of its vCPUs (0..100000), cpu_limit: the same, cpu_weight, cpu_compatibility: bool,
    memory_startup_mib, memory_minimum_mib, memory_maximum_mib, dynamic_memory: bool, memory_weight,
    memory_assigned_mib: null when it has none, pinned: ["pci_device" | "gpu_partition"],
    adapters: [{id, switch_id: null when not connected, switch_name, reserved_bits_s, limit_bits_s}],
    disks: [{path, iops_reserved, iops_limit, passthrough: bool}]}]}
``counters`` (reads)
    {} -> {ts, perf_time, perf_frequency, memory_total_kib, memory_free_kib,
    logical_processors: [{instance "Hv LP 0", run_100ns}],
    virtual_processors: [{instance "<VM's name>:Hv VP 0", run_100ns}],
    virtual_nics: [{instance "<VM's name>_<adapter>_<VM's GUID>--<adapter's GUID>", received_bytes, sent_bytes}],
    virtual_disks: [{instance: the disk's path with - for \\, read_bytes, written_bytes, reads, writes}],
    adapters: [{name, received_bytes, sent_bytes}], vms: [{id, name, vcpus, cpu_percent: of the host's processors,
    memory_assigned_mib}] (all VMs), disks: [{path, vm_id}]}. Raw totals, to be subtracted from those of an earlier
    reading; ``perf_time`` / ``perf_frequency`` are the seconds of the counters.
``history`` (reads; only where ``identify`` says ``performance_history``)
    {time_frame: "LastHour" | "LastDay" | "LastWeek" | "LastMonth" | "LastYear", host_series: [str], vm_ids: [guid],
    vm_series: [str]} -> {rows: [{kind: "vm" | "host", id: guid | computer name, series, ts, value}] of this host and
    of those VMs that are on it, problems: [{series, message}]: series that could not be read for some of them}
``locate`` (reads)
    {vm_id} -> {found: bool, enabled_state: int | null}; on the host itself

``migration_settings`` (settings; reads only)
    {} -> {computer_name, fqdn, enabled: bool, authentication: 0 CredSSP | 1 Kerberos, compression: bool, smb: bool,
    any_network: bool, subnets: [str], listener_addresses: [str], max_migrations, max_storage_migrations,
    jobs: [{migration_type, job_type}] (not over), vm_versions: [str], memory_free_bytes, vm_path,
    switches: [{id, name, bandwidth_mode: "Default" | "Weight" | "Absolute" | "None"}]}
``vm_for_move`` (settings; reads only)
    {vm_id} -> {found: bool, name, enabled_state, clustered: bool, version, operational: [int], vcpus,
    memory_assigned_bytes, checkpoints: int, assigned_devices: [str], switch_names: [str],
    disks: [{path, passthrough: bool}], jobs: [{migration_type, job_type, destination}] (not over)}
``tuning`` (settings; reads only)
    {vm_id} -> {found: bool, name, notes, vcpus, cpu_reserve_percent, cpu_limit_percent, dynamic_memory: bool,
    memory_minimum_bytes, memory_assigned_bytes,
    adapters: [{id, switch_name, bandwidth_mode, link_bits_s, other_weights, minimum_bits_s, minimum_weight}],
    disks: [{controller_type: "IDE" | "SCSI", controller_number, controller_location, minimum_iops}]}
``set_tuning`` (settings)
    {vm_id, notes: str | null, cpu_reserve_percent: int | null, memory_minimum_bytes: int | null,
    adapters: [{id, minimum_bits_s: int | null, minimum_weight: int | null}],
    disks: [{controller_type, controller_number, controller_location, minimum_iops}]}
    -> {found: bool, refused: [{setting: "notes" | "cpu" | "memory" | "network" | "disk", message}]}. Sets what is not
    null, each by itself. Hyper-V refuses to raise the minimum of dynamic memory while the VM runs.

``compare`` (moves; reads only)
    {vm_id, destination: computer name, addresses: [str], smb: bool, storage_path: str | null, wait_s}
    -> {found: bool, return_value: 4096 a job was made, state: JobState | null, error, errors: [str]}: the service's own
    check of a migration. ``errors`` are instances of Msvm_Error in CIM-XML:
    <INSTANCE CLASSNAME="Msvm_Error"><PROPERTY NAME="MessageID" TYPE="string"><VALUE>33012</VALUE></PROPERTY>
    <PROPERTY NAME="Message" TYPE="string"><VALUE>...</VALUE></PROPERTY></INSTANCE>
``start_move`` (moves)
    {vm_id, clustered: bool, destination, addresses: [str], smb: bool, storage_path: str | null}
    -> {found: bool, return_value: 4096 started, job_id: str ("" of a clustered VM)}; returns at once
``poll_move`` (moves; reads only)
    {vm_id} -> {found: bool, enabled_state: int | null, ts, jobs: [{id, state: JobState, percent,
    migration_type: 32768 | 32769 storage only | 32771 with storage, job_type: 301, 302 checks | 305, 306 moves | 307
    storage only, destination, started_ts: number | null, elapsed_s: number | null, error_code, error,
    errors: [str] as of ``compare``}]}: also jobs that have ended in the last five minutes
``cancel_move`` (moves)
    {vm_id, clustered: bool, job_id: str} -> {cancelled: bool, return_value: int | null}

An answer may hold more than is listed here; what is listed is what the driver and the tests rely on.
"""

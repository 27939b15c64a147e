# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All operations that this driver runs on Windows hosts: their parameters and answers.

Every script is a `Script` constant in this package; `reads` holds those that look at hosts and VMs, `settings` those
of preflight and holds, `moves` those of migrations. Parameters and answers are JSON objects. Conventions:

- VM ids are GUIDs in lower case without braces; the host's Hyper-V compares them without regard to case.
- Sizes of memory are in MiB, those of hosts in bytes where the name says so; rates of networks in bits/s.
- States and reasons are numbers of CIM or of Hyper-V's enumerations, never localised texts.
- Absent values are null. Lists are always lists, also of none or of one.
- ``ts`` are Unix seconds (UTC) by the host's clock.

``identify`` (reads)
    {} -> {computer_name, domain, fqdn, os_version "10.0.20348", hyperv_module: bool, cluster: str | null,
    node_names: [str], ts}. ``cluster`` is the name of the failover cluster that the host is a node of.
``cluster`` (reads; on any node)
    {} -> {name, auto_balancer_mode: 0 off | 1 at node join | 2 always,
    nodes: [{name, state: 0 up | 1 down | 2 paused | 3 joining, drain_status: 0 none | 1 draining | 2 done | 3 failed}],
    roles: [{vm_id, group, owner_node, state, anti_affinity: [str], preferred_owners: [str], possible_owners: [str]}],
    rules: [{name, kind: str, enabled: bool, groups: [str], soft: bool}], volumes: [{name, path}]}
``host`` (reads)
    {} -> {computer_name, fqdn, os_version, os_caption, logical_processors, cores, sockets, cpu_model, cpu_mhz,
    memory_bytes, memory_free_bytes, switches: [{id, name}], adapters: [{name, bits_per_s, up: bool}],
    numa_nodes: [{node, memory_mib, processors}], migration_enabled: bool, migration_subnets: [str],
    any_migration_network: bool, vm_versions: [str], ts}
``vms`` (reads)
    {vm_ids: [guid] (none: all)} -> {vms: [{id, name, enabled_state: 2 running | 3 off | 6 saved | 32768 paused |
    32769 suspended | others in transition, generation, version, notes, vcpus,
    cpu_reserve: 1/1000 % of its vCPUs (0..100000), cpu_limit: the same, cpu_weight, cpu_compatibility: bool,
    memory_startup_mib, memory_minimum_mib, memory_maximum_mib, dynamic_memory: bool, memory_weight,
    memory_assigned_mib: null when off, pinned: [str],
    adapters: [{id, switch_id, switch_name, reserved_bits_s, limit_bits_s}],
    disks: [{path, iops_reserved, iops_limit, passthrough: bool}]}]}
``counters`` (reads)
    {} -> {ts, ticks_100ns, memory_total_kib, memory_free_kib,
    logical_processors: [[instance, run_100ns]], virtual_processors: [[instance, run_100ns]],
    virtual_nics: [[instance, received_bytes, sent_bytes]],
    virtual_disks: [[instance, read_bytes, written_bytes, reads, writes]],
    adapters: [[name, received_bytes, sent_bytes]], vms: [{id, name, enabled_state, memory_mib}],
    disks: [[path, vm_id]]}. Raw totals, to be subtracted from those of an earlier reading; ``ticks_100ns`` is the
    time of the counters in 100 ns. Instances are named by VM (see `usage`).
``history`` (reads; Storage Spaces Direct only)
    {vm_ids: [guid], time_frame: "LastHour" | "LastDay" | "LastWeek" | "LastMonth" | "LastYear"}
    -> {available: bool, rows: [[kind "vm" | "host", vm_id | computer_name, series, ts, value]]}
``locate`` (reads)
    {vm_id} -> {found: bool, enabled_state: int | null}; on the host itself

``compare`` (settings; reads only)
    {vm_id, destination: computer name, storage_path: str | null} -> {incompatibilities: [{message_id: int, message,
    source: type name}]}, from Compare-VM. Errors of the comparison itself are script errors.
``migration_settings`` (settings; reads only)
    {} -> {enabled: bool, authentication: 0 Kerberos | 1 CredSSP ..., performance_option: int, max_migrations: int,
    max_storage_migrations: int, any_network: bool, subnets: [str], current_migrations: int}
``switches`` (settings; reads only)
    {} -> {switches: [{id, name, bandwidth_mode: 0 default | 1 weight | 2 absolute | 3 none}]}
``tuning`` (settings; reads only)
    {vm_id} -> what a settlement may change of the VM, in Hyper-V's own units, and its notes
``set_tuning`` (settings)
    {vm_id, ...} -> {changed: bool}; sets what is not null
``hold_records`` (settings; reads only)
    {} -> {records: [{vm_id, note}]}: VMs whose notes hold a record of ours
``set_hold_record`` (settings)
    {vm_id, note: str | null} -> {changed: bool}

``start_move`` (moves)
    {vm_id, destination, clustered: bool, storage_path: str | null} -> {job_id: str | null}; returns at once
``poll_move`` (moves; reads only)
    {vm_id, job_id: str | null} -> {found: bool, enabled_state: int | null, owner_node: str | null,
    jobs: [{id, state, percent, destination, started_ts, elapsed_s, error_code, error}]}
``cancel_move`` (moves)
    {vm_id, job_id: str | null} -> {cancelled: bool, return_value: int | null}

The colleagues' parts of a script's answer may hold more than is listed here; what is listed is what tests rely on.
"""

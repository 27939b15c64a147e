# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Queries that turn what common exporters measure into our metrics and units.

``$range`` is the length of a step; ``$where`` is replaced by label matchers. Rates are computed by the server, which
knows about counter resets. The queries aggregate by one label, in which the VM's or host's name (or uuid) is found.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """A PromQL expression whose series are ``metric`` of the entities of ``entity_kind`` named by ``label``."""

    metric: str
    entity_kind: str
    label: str
    query: str


#: Exporters of the kumina/libvirt_exporter lineage, whose names most libvirt exporters took over. Memory is what the
#: guest says it uses where it says so (balloon driver), else what the balloon gives it.
LIBVIRT = (
    MetricQuery(
        "cpu", "vm", "domain", "sum by (domain) (rate(libvirt_domain_info_cpu_time_seconds_total{$where}[$range]))"
    ),
    MetricQuery(
        "memory",
        "vm",
        "domain",
        "max by (domain) ("
        "avg_over_time(libvirt_domain_memory_stats_available_bytes{$where}[$range])"
        " - avg_over_time(libvirt_domain_memory_stats_usable_bytes{$where}[$range])"
        " or avg_over_time(libvirt_domain_info_memory_usage_bytes{$where}[$range])) / 1048576",
    ),
    MetricQuery(
        "network",
        "vm",
        "domain",
        "(sum by (domain) (rate(libvirt_domain_interface_stats_receive_bytes_total{$where}[$range]))"
        " + sum by (domain) (rate(libvirt_domain_interface_stats_transmit_bytes_total{$where}[$range]))) * 8 / 1e6",
    ),
    MetricQuery(
        "disk",
        "vm",
        "domain",
        "(sum by (domain) (rate(libvirt_domain_block_stats_read_bytes_total{$where}[$range]))"
        " + sum by (domain) (rate(libvirt_domain_block_stats_write_bytes_total{$where}[$range]))) / 1048576",
    ),
    MetricQuery(
        "disk_iops",
        "vm",
        "domain",
        "sum by (domain) (rate(libvirt_domain_block_stats_read_requests_total{$where}[$range]))"
        " + sum by (domain) (rate(libvirt_domain_block_stats_write_requests_total{$where}[$range]))",
    ),
)

#: windows_exporter's hyperv collector (sub-collectors hypervisor_virtual_processor, dynamic_memory_vm,
#: virtual_network_adapter). The run time has one name up to 0.31 and another since. Memory is pressure times
#: assigned memory, Hyper-V's own definition of demand. An adapter's instance is named
#: ``<name>_<VM's id>--<adapter's id>``. Virtual disks are named by path, which tells no VM, so there is no ``disk``.
HYPERV = (
    MetricQuery(
        "cpu",
        "vm",
        "vm",
        'sum by (vm) (rate(windows_hyperv_hypervisor_virtual_processor_run_time_total{$where,core!="_Total"}[$range])'
        ' or rate(windows_hyperv_hypervisor_virtual_processor_total_run_time_total{$where,core!="_Total"}[$range]))',
    ),
    MetricQuery(
        "memory",
        "vm",
        "vm",
        "max by (vm) (avg_over_time(windows_hyperv_dynamic_memory_vm_physical_bytes{$where}[$range])"
        " * avg_over_time(windows_hyperv_dynamic_memory_vm_pressure_current_ratio{$where}[$range])) / 1048576",
    ),
    MetricQuery(
        "network",
        "vm",
        "vm_id",
        "sum by (vm_id) (label_replace("
        "rate(windows_hyperv_virtual_network_adapter_received_bytes_total{$where}[$range])"
        " + rate(windows_hyperv_virtual_network_adapter_sent_bytes_total{$where}[$range]),"
        ' "vm_id", "$1", "adapter", ".*_([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})--.*")) * 8 / 1e6',
    ),
)

#: pryorda/vmware_exporter. MHz become cores by the speed of the host's cores; memory is in KiB, traffic in KiB/s.
VMWARE = (
    MetricQuery(
        "cpu",
        "vm",
        "vm_name",
        "sum by (vm_name) (avg_over_time(vmware_vm_cpu_usagemhz_average{$where}[$range])"
        " / on (host_name) group_left () max by (host_name) (vmware_host_cpu_max / vmware_host_num_cpu))",
    ),
    MetricQuery(
        "memory",
        "vm",
        "vm_name",
        "max by (vm_name) (avg_over_time(vmware_vm_mem_active_average{$where}[$range])) / 1024",
    ),
    MetricQuery(
        "network",
        "vm",
        "vm_name",
        "sum by (vm_name) (avg_over_time(vmware_vm_net_received_average{$where}[$range])"
        " + avg_over_time(vmware_vm_net_transmitted_average{$where}[$range])) * 8 * 1024 / 1e6",
    ),
    MetricQuery(
        "disk",
        "vm",
        "vm_name",
        "sum by (vm_name) (avg_over_time(vmware_vm_disk_read_average{$where}[$range])"
        " + avg_over_time(vmware_vm_disk_write_average{$where}[$range])) / 1024",
    ),
    MetricQuery(
        "cpu",
        "host",
        "host_name",
        "max by (host_name) (avg_over_time(vmware_host_cpu_usage{$where}[$range])"
        " / (vmware_host_cpu_max{$where} / vmware_host_num_cpu{$where}))",
    ),
    MetricQuery(
        "memory", "host", "host_name", "max by (host_name) (avg_over_time(vmware_host_memory_usage{$where}[$range]))"
    ),
)

_HOST = ', "host", "$1", "instance", "(.*?)(?::[0-9]+)?")'
_NO_VIRTUAL_NETWORK = 'device!~"lo|veth.*|tap.*|vnet.*|br.*|virbr.*|docker.*|bond.*|team.*|ovs.*|.*\\\\..*"'
_NO_VIRTUAL_DISK = 'device!~"dm-.*|loop.*|md.*|sr.*|ram.*|zram.*"'

#: node_exporter on KVM hosts; the host is the target's address without its port. Guests' time is in ``user``. Virtual
#: network interfaces and stacked block devices would count the same bytes again.
NODE = (
    MetricQuery(
        "cpu",
        "host",
        "host",
        'label_replace(sum by (instance) (rate(node_cpu_seconds_total{$where,mode!~"idle|iowait|steal"}[$range]))'
        + _HOST,
    ),
    MetricQuery(
        "memory",
        "host",
        "host",
        "label_replace(max by (instance) (avg_over_time(node_memory_MemTotal_bytes{$where}[$range])"
        " - avg_over_time(node_memory_MemAvailable_bytes{$where}[$range])) / 1048576" + _HOST,
    ),
    MetricQuery(
        "network",
        "host",
        "host",
        "label_replace(sum by (instance) ("
        f"rate(node_network_receive_bytes_total{{$where,{_NO_VIRTUAL_NETWORK}}}[$range])"
        f" + rate(node_network_transmit_bytes_total{{$where,{_NO_VIRTUAL_NETWORK}}}[$range])) * 8 / 1e6" + _HOST,
    ),
    MetricQuery(
        "disk",
        "host",
        "host",
        f"label_replace(sum by (instance) (rate(node_disk_read_bytes_total{{$where,{_NO_VIRTUAL_DISK}}}[$range])"
        f" + rate(node_disk_written_bytes_total{{$where,{_NO_VIRTUAL_DISK}}}[$range])) / 1048576" + _HOST,
    ),
)

#: Presets by the name under which playbooks ask for them.
PRESETS: dict[str, tuple[MetricQuery, ...]] = {
    "libvirt_exporter": LIBVIRT,
    "windows_exporter": HYPERV,
    "vmware_exporter": VMWARE,
    "node_exporter": NODE,
}

#!/usr/bin/python
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Collect the estate and its metrics."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vm_metrics_facts
short_description: Collect hosts, VMs and their metrics from all hypervisors
version_added: 1.0.0
description:
  - Asks all O(endpoints) at once for hosts, VMs, capacities, rules and current use, and where the platform keeps
    history, for that history since the last collection.
  - Samples are added to the store. The estate is stored as a snapshot, which later tasks work from.
  - An endpoint that fails does not keep the others from being collected. Its error is returned with its name.
  - It only reads from the hypervisors, and may run every few minutes. Collecting the same twice stores it once.
  - The store is described in the collection's C(docs/artefacts.md), metrics and their units in C(docs/metrics.md).
author:
  - foresight.migration contributors (@foresight)
extends_documentation_fragment:
  - foresight.migration.estate
  - foresight.migration.store
  - foresight.migration.ledger
  - foresight.migration.progress
  - foresight.migration.attributes
attributes:
  check_mode:
    support: full
    details: The endpoints are asked as usual and nothing is stored, so later tasks cannot use the returned snapshot.
  diff_mode:
    support: none
    details: Nothing on the hypervisors is changed, so there is nothing to compare.
options:
  gather_subset:
    description:
      - What to gather beside the inventory, of V(usage) (what hosts and VMs use now) and V(history) (what the platform
        recorded since the last collection).
      - V(all) stands for everything, V(min) for the inventory alone. A leading V(!) leaves one out.
    type: list
    elements: str
    default: [all]
  history_hours:
    description: How far back history is fetched where nothing was collected yet, in hours.
    type: float
    default: 336.0
  vms:
    description: VMs, by name or uuid, whose details are returned under RV(vms).
    type: list
    elements: str
    default: []
  hosts:
    description: Hosts, by name or key, whose details are returned under RV(hosts).
    type: list
    elements: str
    default: []
  deadline_s:
    description: How long each endpoint may take to answer everything, in seconds. A later one is reported as failed.
    type: float
    default: 240.0
seealso:
  - module: foresight.migration.vm_forecast
"""

EXAMPLES = r"""
- name: Collect from two KVM hosts and a vCenter
  foresight.migration.vm_metrics_facts:
    endpoints:
      - name: kvm-01
        type: libvirt
        uri: qemu+tls://kvm-01.example.org/system
      - name: vc
        type: vmware
        hostname: vcenter.example.org

- name: Show one VM as it is now
  foresight.migration.vm_metrics_facts:
    gather_subset: [usage]
    vms: [web01]
  register: metrics
"""

RETURN = r"""
snapshot_id:
  description: The id of the stored snapshot of the estate.
  returned: success
  type: str
  sample: 20260301T210500000Z-5cec6ef82991
taken:
  description: When it was taken, in UTC.
  returned: success
  type: str
  sample: "2026-03-01T21:05:00Z"
summary:
  description:
    - Counts of hosts, VMs, clusters, rules and stored samples, and capacity, allocation and use of the whole estate.
    - C(used) is what the hosts use, their own load included; C(vms_used) is what the VMs use.
  returned: success
  type: dict
  sample:
    hosts: 3
    hosts_by_state: {up: 3}
    vms: 40
    vms_by_power_state: {running: 38, "off": 2}
    clusters: 1
    rules: 2
    capacity: {cpu_cores: 96.0, memory_mib: 786432.0, network_mbit_s: 30000.0, disk_mib_s: 3000.0}
    used: {cpu_cores: 31.2, memory_mib: 402000.0, network_mbit_s: 512.0, disk_mib_s: 80.5}
    vms_used: {cpu_cores: 29.8, memory_mib: 388000.0, network_mbit_s: 500.0, disk_mib_s: 79.0}
    allocated: {cpu_cores: 160.0, memory_mib: 655360.0, network_mbit_s: 0.0, disk_mib_s: 0.0}
    samples_written: 172
endpoints:
  description:
    - What came of each endpoint. RV(endpoints[].error) is C(null), or has C(code), C(message), C(advice), C(details).
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The endpoint.
      type: str
      returned: always
    reachable:
      description: Whether it gave its inventory.
      type: bool
      returned: always
    error:
      description: What failed, C(null) when nothing did.
      type: dict
      returned: always
    samples_written:
      description: Samples stored.
      type: int
      returned: always
    samples_left_out:
      description: Samples that could not be stored, counted by reason.
      type: dict
      returned: when reachable
    newest_sample:
      description: The time of the newest sample stored now.
      type: str
      returned: when reachable
    hosts:
      description: Its hosts.
      type: int
      returned: when reachable
    vms:
      description: Its VMs.
      type: int
      returned: when reachable
    history_until:
      description: Until when its own history is stored without a gap, C(null) where it keeps none.
      type: str
      returned: when reachable
    clock_skew_s:
      description: How far its clock is ahead of this controller's, C(null) where it does not tell.
      type: float
      returned: when reachable
vms:
  description: All that is known of the VMs named in O(vms).
  returned: success
  type: list
  elements: dict
hosts:
  description: All that is known of the hosts named in O(hosts), with the number, allocation and use of their VMs.
  returned: success
  type: list
  elements: dict
warnings_found:
  description: What is doubtful about the data, such as old samples, gaps, clocks that differ, values left out.
  returned: success
  type: list
  elements: str
ansible_facts:
  description: Facts of the estate.
  returned: success
  type: dict
  contains:
    foresight:
      description: The ids and figures of this collection, as RV(snapshot_id), RV(taken), RV(summary) and RV(endpoints).
      type: dict
      returned: success
error:
  description: What failed, as C(code), C(message), C(advice) and C(details).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.foresight.migration.plugins.module_utils.ansible.arguments import (
    ENDPOINTS,
    LEDGER,
    PROGRESS,
    STORE,
    argument_spec,
)
from ansible_collections.foresight.migration.plugins.module_utils.ansible.task import run_task
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import CollectRequest, collect

OPTIONS = {
    "gather_subset": {"type": "list", "elements": "str", "default": ["all"]},
    "history_hours": {"type": "float", "default": 336.0},
    "vms": {"type": "list", "elements": "str", "default": []},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "deadline_s": {"type": "float", "default": 240.0},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(ENDPOINTS, STORE, LEDGER, PROGRESS, OPTIONS), supports_check_mode=True
    )
    options = {name: module.params[name] for name in (*OPTIONS, "endpoints", "store")}
    run_task(module, lambda context: collect(CollectRequest(**options), context))


if __name__ == "__main__":
    main()

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
      - What to gather beside the inventory, of V(usage) (what hosts and VMs use now), V(history) (what the platform
        recorded since the last collection) and V(sources) (what O(sources) have recorded since).
      - V(all) stands for everything, V(min) for the inventory alone. A leading V(!) leaves one out.
    type: list
    elements: str
    default: [all]
  sources:
    description: Where metrics are kept beside the hypervisors. They are read after the endpoints, all at once.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Your name for this source, unlike any endpoint's, under which its samples are stored.
        type: str
        required: true
      type:
        description: V(prometheus) for a server that speaks Prometheus' API, V(file) for a CSV or Parquet file.
        type: str
        choices: [prometheus, file]
        required: true
      url:
        description: For V(prometheus), the server's URL, without C(/api/v1) and without credentials.
        type: str
      auth:
        description: For V(prometheus), how to log in, by O(sources[].auth.username) or by O(sources[].auth.token).
        type: dict
        suboptions:
          username:
            description: User name for basic authentication.
            type: str
          password:
            description:
              - Password for basic authentication.
              - If not set, the environment variable E(FORESIGHT_PROMETHEUS_PASSWORD) is used.
            type: str
          token:
            description:
              - Bearer token.
              - If not set, the environment variable E(FORESIGHT_PROMETHEUS_TOKEN) is used.
            type: str
      ca_path:
        description: For V(prometheus), a file with the certificate authorities to trust, PEM. The system's if not set.
        type: path
      validate_certs:
        description: For V(prometheus), whether to verify the server's certificate.
        type: bool
        default: true
      timeout_s:
        description: For V(prometheus), how long one request may take, in seconds.
        type: float
        default: 60.0
      step_s:
        description: For V(prometheus), the step of the samples in seconds. Each is the mean or rate over one step.
        type: int
        default: 300
      preset:
        description:
          - For V(prometheus), the exporter whose metrics to take. What each gives is told in the collection's
            C(docs/metrics.md).
        type: str
        choices: [libvirt_exporter, windows_exporter, vmware_exporter, node_exporter]
      matchers:
        description: For V(prometheus), labels with the values that the metrics of the O(sources[].preset) must have.
        type: dict
        default: {}
      queries:
        description:
          - For V(prometheus), your own queries, for example for the latency and throughput of applications.
        type: list
        elements: dict
        default: []
        suboptions:
          metric:
            description: The metric that it gives, such as V(cpu), V(latency_ms) or V(requests_s).
            type: str
            required: true
          query:
            description:
              - PromQL that gives one series for each VM or host. C($range) stands for the length of a step, C($where)
                for the O(sources[].matchers).
            type: str
            required: true
          label:
            description: The label in which the uuid or name of the VM, or the name of the host, is found.
            type: str
            required: true
          entity_kind:
            description: What the series belong to. V(app) is an application attached to the VM it runs in.
            type: str
            choices: [vm, host, app]
            default: vm
      path:
        description: For V(file), the file. It is read again whenever it has changed.
        type: path
      format:
        description: For V(file), what it is. By the file's name if not set.
        type: str
        choices: [csv, parquet]
      delimiter:
        description: For V(file), what separates the fields of a CSV file.
        type: str
        default: ","
      entity_column:
        description: For V(file), the column that names the VM or host.
        type: str
      entity_kind:
        description: For V(file), what the rows belong to.
        type: str
        choices: [vm, host, app]
        default: vm
      entity_match:
        description:
          - For V(file), V(estate) finds VMs and hosts of the estate by uuid or name, V(as_given) takes the column for
            the id.
        type: str
        choices: [estate, as_given]
        default: estate
      time_column:
        description: For V(file), the column with the time.
        type: str
      time_format:
        description: For V(file), how times are written, V(iso) for ISO 8601, or Unix time in seconds or milliseconds.
        type: str
        choices: [iso, unix_s, unix_ms]
        default: iso
      timezone:
        description: For V(file), the time zone of ISO 8601 times without an offset.
        type: str
        default: UTC
      metrics:
        description: For V(file) with a column for each metric, which columns make which metric.
        type: list
        elements: dict
        default: []
        suboptions:
          metric:
            description: The metric.
            type: str
            required: true
          columns:
            description: The columns that are summed.
            type: list
            elements: str
            required: true
          scale:
            description: What the sum is multiplied by to be in the metric's unit.
            type: float
            default: 1.0
          counter:
            description:
              - Whether the columns are running totals, of which the growth per second is taken.
              - A total that falls was reset, and nothing is known of the time since the row before.
            type: bool
            default: false
          wraps_at:
            description: The value at which a running total starts again from 0, such as 4294967296.
            type: float
      metric_column:
        description: For V(file) with one value in each row, the column with the metric's name.
        type: str
      value_column:
        description: For V(file) with one value in each row, the column with the value.
        type: str
      on_bad_line:
        description: For V(file), whether a line that cannot be understood fails the whole source or is left out.
        type: str
        choices: [fail, skip]
        default: fail
  events:
    description:
      - Scheduled events that change the demand of VMs, which forecasts take into account.
      - The list replaces the events stored before. Without this option those are left as they are.
    type: list
    elements: dict
    suboptions:
      name:
        description: The event's name. Not needed with O(events[].ical_path).
        type: str
      uid:
        description: An id that stays the same when the name changes. Made from the name if not set.
        type: str
      vms:
        description:
          - The VMs it concerns, by name or uuid.
          - It concerns all VMs if neither this, O(events[].labels) nor O(events[].select) is set.
        type: list
        elements: str
        default: []
      labels:
        description: Labels that the VMs it concerns have.
        type: dict
        default: {}
      select:
        description: A JMESPath expression that holds for the VMs it concerns, put to each VM of the snapshot.
        type: str
      start:
        description: The first start, ISO 8601, local to O(events[].timezone) unless it has an offset.
        type: str
      rrule:
        description: How it recurs, as an RRULE of RFC 5545.
        type: str
      timezone:
        description: The time zone in which it recurs.
        type: str
        default: UTC
      times:
        description: Explicit starts, ISO 8601, beside or instead of O(events[].start).
        type: list
        elements: str
        default: []
      excluded:
        description: Starts that do not take place, ISO 8601.
        type: list
        elements: str
        default: []
      duration_minutes:
        description: How long it lasts.
        type: float
      effect:
        description: What it is expected to add to the demand of each VM. Learned from history if not set.
        type: dict
        suboptions:
          cpu_cores:
            description: CPU in cores.
            type: float
          memory_mib:
            description: Memory in MiB.
            type: float
          network_mbit_s:
            description: Network in Mbit/s.
            type: float
          disk_mib_s:
            description: Disk in MiB/s.
            type: float
      ical_path:
        description: An iCalendar file whose events are taken, for the VMs and with the effect given here.
        type: path
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
  if_running:
    description:
      - What to do when another collection into the same store is running. Two at once do no harm, only work twice.
      - V(skip) returns at once, with RV(collected=false).
    type: str
    choices: [run, skip]
    default: run
  keep_others_minutes:
    description:
      - Endpoints that are not among O(endpoints) stay in the snapshot when they were collected at most so long ago.
      - Set it where each job collects a part of the estate, so that every snapshot shows the whole.
    type: float
    default: 0.0
  retention_days:
    description:
      - Samples older than this are removed from the store, in days. At least 1.
      - The store is kept in order by each collection, see the collection's C(docs/artefacts.md).
    type: float
    default: 35.0
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

- name: Take history and application latency from Prometheus
  foresight.migration.vm_metrics_facts:
    sources:
      - name: prom
        type: prometheus
        url: https://prometheus.example.org:9090
        ca_path: /etc/pki/prometheus-ca.pem
        auth:
          username: foresight
          password: "{{ prometheus_password }}"
        preset: libvirt_exporter
        matchers:
          job: libvirt
        queries:
          - metric: latency_ms
            entity_kind: app
            label: vm
            query: >-
              1000 * histogram_quantile(0.95,
              sum by (vm, le) (rate(http_request_duration_seconds_bucket[$range])))

- name: Bring in a recorded trace
  foresight.migration.vm_metrics_facts:
    sources:
      - name: trace
        type: file
        path: /srv/traces/cpu.csv
        entity_column: vm
        time_column: timestamp
        timezone: Europe/Berlin
        metrics:
          - metric: cpu
            columns: [cpu_percent]
            scale: 0.04

- name: Say that backups run every night at two, and what the calendar says
  foresight.migration.vm_metrics_facts:
    events:
      - name: backup
        select: "labels.backup == 'nightly'"
        start: "2026-01-01T02:00:00"
        rrule: FREQ=DAILY
        timezone: Europe/Berlin
        duration_minutes: 90
        effect:
          disk_mib_s: 80
      - ical_path: /srv/calendars/batch.ics
        vms: [batch01, batch02]
"""

RETURN = r"""
collected:
  description: Whether anything was collected. V(false) when O(if_running=skip) and another collection is running.
  returned: success
  type: bool
snapshot_id:
  description: The id of the stored snapshot of the estate, of the newest one when nothing was collected.
  returned: success
  type: str
  sample: 20260301T210500000Z-5cec6ef82991
taken:
  description: When it was taken, in UTC.
  returned: when RV(collected=true)
  type: str
  sample: "2026-03-01T21:05:00Z"
summary:
  description:
    - Counts of hosts, VMs, clusters, rules and stored samples, and capacity, allocation and use of the whole estate.
    - C(used) is what the hosts use, their own load included; C(vms_used) is what the VMs use.
  returned: when RV(collected=true)
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
sources:
  description: What came of each source, as under RV(endpoints), and whether it was unchanged since the last collection.
  returned: success
  type: list
  elements: dict
events:
  description:
    - The scheduled events, each with how many VMs it concerns and its present or next start within eight days.
    - At most the first 100; a warning tells when they are more.
  returned: when RV(collected=true)
  type: list
  elements: dict
  sample:
    - name: backup
      uid: 5b1c0b1e5f3a9c77
      vms: 12
      next_start: "2026-03-02T01:00:00Z"
      duration_minutes: 90.0
vms:
  description: All that is known of the VMs named in O(vms).
  returned: when RV(collected=true)
  type: list
  elements: dict
hosts:
  description: All that is known of the hosts named in O(hosts), with the number, allocation and use of their VMs.
  returned: when RV(collected=true)
  type: list
  elements: dict
warnings_found:
  description: What is doubtful about the data, such as old samples, gaps, clocks that differ, values left out.
  returned: success
  type: list
  elements: str
ansible_facts:
  description: Facts of the estate.
  returned: when RV(collected=true)
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

_AUTH = {
    "username": {"type": "str"},
    "password": {"type": "str", "no_log": True, "fallback_env": "FORESIGHT_PROMETHEUS_PASSWORD"},
    "token": {"type": "str", "no_log": True, "fallback_env": "FORESIGHT_PROMETHEUS_TOKEN"},
}
_QUERY = {
    "metric": {"type": "str", "required": True},
    "query": {"type": "str", "required": True},
    "label": {"type": "str", "required": True},
    "entity_kind": {"type": "str", "choices": ["vm", "host", "app"], "default": "vm"},
}
_METRIC_COLUMNS = {
    "metric": {"type": "str", "required": True},
    "columns": {"type": "list", "elements": "str", "required": True},
    "scale": {"type": "float", "default": 1.0},
    "counter": {"type": "bool", "default": False},
    "wraps_at": {"type": "float"},
}
_SOURCE = {
    "name": {"type": "str", "required": True},
    "type": {"type": "str", "choices": ["prometheus", "file"], "required": True},
    "url": {"type": "str"},
    "auth": {"type": "dict", "options": _AUTH},
    "ca_path": {"type": "path"},
    "validate_certs": {"type": "bool", "default": True},
    "timeout_s": {"type": "float", "default": 60.0},
    "step_s": {"type": "int", "default": 300},
    "preset": {
        "type": "str",
        "choices": ["libvirt_exporter", "windows_exporter", "vmware_exporter", "node_exporter"],
    },
    "matchers": {"type": "dict", "default": {}},
    "queries": {"type": "list", "elements": "dict", "default": [], "options": _QUERY},
    "path": {"type": "path"},
    "format": {"type": "str", "choices": ["csv", "parquet"]},
    "delimiter": {"type": "str", "default": ","},
    "entity_column": {"type": "str"},
    "entity_kind": {"type": "str", "choices": ["vm", "host", "app"], "default": "vm"},
    "entity_match": {"type": "str", "choices": ["estate", "as_given"], "default": "estate"},
    "time_column": {"type": "str"},
    "time_format": {"type": "str", "choices": ["iso", "unix_s", "unix_ms"], "default": "iso"},
    "timezone": {"type": "str", "default": "UTC"},
    "metrics": {"type": "list", "elements": "dict", "default": [], "options": _METRIC_COLUMNS},
    "metric_column": {"type": "str"},
    "value_column": {"type": "str"},
    "on_bad_line": {"type": "str", "choices": ["fail", "skip"], "default": "fail"},
}
_EVENT = {
    "name": {"type": "str"},
    "uid": {"type": "str"},
    "vms": {"type": "list", "elements": "str", "default": []},
    "labels": {"type": "dict", "default": {}},
    "select": {"type": "str"},
    "start": {"type": "str"},
    "rrule": {"type": "str"},
    "timezone": {"type": "str", "default": "UTC"},
    "times": {"type": "list", "elements": "str", "default": []},
    "excluded": {"type": "list", "elements": "str", "default": []},
    "duration_minutes": {"type": "float"},
    "effect": {
        "type": "dict",
        "options": {name: {"type": "float"} for name in ("cpu_cores", "memory_mib", "network_mbit_s", "disk_mib_s")},
    },
    "ical_path": {"type": "path"},
}
OPTIONS = {
    "gather_subset": {"type": "list", "elements": "str", "default": ["all"]},
    "sources": {"type": "list", "elements": "dict", "default": [], "options": _SOURCE},
    "events": {"type": "list", "elements": "dict", "options": _EVENT},
    "history_hours": {"type": "float", "default": 336.0},
    "vms": {"type": "list", "elements": "str", "default": []},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "deadline_s": {"type": "float", "default": 240.0},
    "if_running": {"type": "str", "choices": ["run", "skip"], "default": "run"},
    "keep_others_minutes": {"type": "float", "default": 0.0},
    "retention_days": {"type": "float", "default": 35.0},
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

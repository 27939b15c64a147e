#!/usr/bin/python
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move a VM live to its reserved destination."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vm_migrate
short_description: Move a VM live to the host on which capacity is reserved for it
version_added: 1.0.0
description:
  - Moves one running VM through the hypervisor's own live migration, to the host for which
    M(foresight.migration.host_reserve) holds capacity.
  - Before anything is touched it checks that the reservation is active, covers the current forecast and is really
    enforced, that the destination still has the room, that a move may run now, and that the hypervisor agrees.
  - It measures how fast the VM writes memory, predicts what each allowed way of moving would cost, and takes the
    gentlest one that keeps O(sla). When none does, it refuses.
  - While the move runs it watches the job, both hosts and the application, and adjusts bandwidth, allowed downtime,
    throttling and the reservation, or aborts. An abort leaves the VM running on its source.
  - Afterwards it asks both sides where the VM is, and settles the reservation. After a failure the reservation is
    released and what held it is removed. A VM is never stopped, and never moved cold.
  - It can be run again at any time. A VM that is already there only has its reservation settled. A move that an earlier
    run left in flight is taken over.
  - Between hypervisor families nothing moves live; that is refused.
  - How it decides is written down in the collection's C(docs/migration.md).
author:
  - foresight.migration contributors (@foresight)
extends_documentation_fragment:
  - foresight.migration.estate
  - foresight.migration.store
  - foresight.migration.ledger
  - foresight.migration.sla
  - foresight.migration.progress
  - foresight.migration.attributes
attributes:
  check_mode:
    support: full
    details: All checks are made, the dirty rate is measured, and the strategy is chosen.
  diff_mode:
    support: full
    details: Shows the host before and after.
options:
  vm:
    description: The VM, by its uuid or its exact name. It is found wherever it runs now.
    type: str
    required: true
  vm_endpoint:
    description: The endpoint of the VM, to tell VMs of the same name apart.
    type: str
  reservation_id:
    description:
      - The reservation that M(foresight.migration.host_reserve) made, which also says where to.
      - Without it and O(destination), the VM's one active reservation is used.
    type: str
  destination:
    description:
      - The host to move to, by its key (C(endpoint/host_id)), id or exact name.
      - Without O(reservation_id), the VM's active reservation there is used. In check mode there may be none yet.
    type: str
  forecast_id:
    description: The forecast that the reservation must cover. The default is the newest in O(store), if there is one.
    type: str
  forecast_level:
    description: The level of that forecast which counts as the VM's need, between 0 and 1.
    type: float
    default: 0.95
  means:
    description:
      - What may be used to make the move end within O(sla), beyond plain pre-copy.
      - V(parallel_connections) uses several connections on fast links, V(compression) takes CPU on both hosts,
        V(auto_converge) slows the VM down when it writes memory faster than the link carries.
      - V(post_copy) lets the VM run on at the destination before all of its memory is there. If a host or the link
        fails then, the VM is lost. So it is off unless you name it.
    type: list
    elements: str
    choices: [parallel_connections, compression, auto_converge, post_copy]
    default: [parallel_connections, compression, auto_converge]
  bandwidth_mib_s:
    description: The most that the transfer may use, in MiB/s. The default is what the hosts' migration links carry.
    type: float
  storage_copy:
    description: Whether disks that the destination does not reach are copied too, where the platform can.
    type: bool
    default: false
  windows:
    description:
      - Times in which a move may start. Without it, a move may start at any time.
      - Each is either O(windows[].start) and O(windows[].end), or O(windows[].dtstart) and O(windows[].duration_hours),
        which recur by O(windows[].rrule).
    type: list
    elements: dict
    suboptions:
      start:
        description: The beginning, as ISO 8601, taken as UTC unless it has an offset.
        type: str
      end:
        description: The end, as ISO 8601, taken as UTC unless it has an offset.
        type: str
      dtstart:
        description: The beginning of the first window, as ISO 8601, local to O(windows[].timezone).
        type: str
      duration_hours:
        description: How long each window is.
        type: float
      rrule:
        description: How it recurs, as in RFC 5545, for example C(FREQ=WEEKLY;BYDAY=SA,SU). Without it there is one.
        type: str
      timezone:
        description: The time zone of O(windows[].dtstart), as an IANA name.
        type: str
        default: UTC
  limits:
    description: How many migrations may run at once. Counted are those of VMs that hold an active reservation.
    type: dict
    suboptions:
      incoming_per_host:
        description: Into the destination, this one included.
        type: int
        default: 2
      outgoing_per_host:
        description: Out of the source, this one included.
        type: int
        default: 2
      total:
        description: In all, this one included. Without it there is no such limit.
        type: int
  lease_minutes:
    description: How long the reservation lives without a sign of life while the move runs; it is renewed in time.
    type: float
    default: 30
  dirty_rate_s:
    description:
      - Seconds for which the dirty rate is measured beforehand, where the platform can. V(0) for not at all.
      - On KVM it takes at least 3 seconds, and up to three times as long for a VM of which few pages are sampled.
    type: float
    default: 2
  latency_url:
    description:
      - Where to ask the VM's application during the move, as C(tcp://host:port), C(http://host/path) or
        C(https://host/path), five times a second. Only that it answers counts, and how fast.
      - The transfer backs off while the answer takes longer than O(sla.max_latency_ms). The longest time without an
        answer is in the result.
    type: str
  driver_options:
    description: Options for the endpoint's driver, as its own page in C(docs/) names them.
    type: dict
seealso:
  - module: foresight.migration.host_select
  - module: foresight.migration.host_reserve
"""

EXAMPLES = r"""
- name: Move the VM to where capacity is reserved for it
  foresight.migration.vm_migrate:
    endpoints: "{{ foresight_endpoints }}"
    vm: web01
    reservation_id: "{{ reserved.reservation_id }}"
    sla:
      max_downtime_ms: 300
      max_duration_s: 600

- name: See first whether it could be moved, and how
  foresight.migration.vm_migrate:
    endpoints: "{{ foresight_endpoints }}"
    vm: web01
    destination: kvm-b
  check_mode: true
  diff: true

- name: Move a database gently, at night only, watching that it answers
  foresight.migration.vm_migrate:
    endpoints: "{{ foresight_endpoints }}"
    vm: db01
    reservation_id: "{{ reserved.reservation_id }}"
    means: [parallel_connections]
    latency_url: tcp://db01.example.com:5432
    sla:
      max_latency_ms: 20
      max_downtime_ms: 400
    windows:
      - dtstart: 2026-03-02T22:00:00
        duration_hours: 6
        rrule: FREQ=DAILY
        timezone: Europe/Berlin
"""

RETURN = r"""
state:
  description:
    - V(moved) or V(already_there); in check mode V(would_move), or V(in_flight) when a run would take over a move.
  returned: success
  type: str
vm:
  description: The VM's C(name) and C(uuid).
  returned: success
  type: dict
source:
  description: Key of the host that the VM left, or would leave. Null when it is already there.
  returned: success
  type: str
destination:
  description: Key of the destination.
  returned: success
  type: str
reservation_id:
  description: The reservation that was used.
  returned: success
  type: str
checks:
  description: Every check, as C(code), C(passed), C(blocking) and C(message).
  returned: when a move was planned
  type: list
  elements: dict
strategy:
  description:
    - The C(name) of the way chosen, C(why), the C(order) given to the hypervisor, and every way C(considered) with its
      predicted cost and the limits that it would break.
  returned: when a move was planned
  type: dict
basis:
  description: What the prediction rests on, and whether it was measured, told by the platform, or assumed.
  returned: when a move was planned
  type: dict
predicted:
  description:
    - What was predicted, with C(duration_s), C(transferred_mib), C(downtime_ms), C(rounds), C(converges),
      C(throttle_percent) and C(degraded_s).
  returned: when a move was planned
  type: dict
actual:
  description:
    - What was measured, with C(duration_s), C(transferred_mib), C(downtime_ms), C(downtime_measured_by),
      C(application_silence_ms) and C(rounds).
    - A figure that nobody measured is null. The configured downtime is never quoted.
  returned: when a move was carried out
  type: dict
adopted:
  description: Whether the move had been started before, by an earlier or a parallel run.
  returned: when a move was carried out
  type: bool
verification:
  description: What both sides said afterwards, as C(verdict) and C(evidence).
  returned: when a move was carried out
  type: dict
settlement:
  description:
    - What became of the reservation, as C(state), C(changed) and, per resource, C(guaranteed_by).
    - Null when there was none.
  returned: when a move was carried out, or the VM is already there
  type: dict
timeline:
  description: Every step of the move, in order, as C(at), C(elapsed_s), C(step) and C(message).
  returned: when a move was carried out
  type: list
  elements: dict
warnings_found:
  description: The warnings of this task.
  returned: success
  type: list
  elements: str
error:
  description:
    - What failed, as C(code), C(message), C(advice) and C(details).
    - C(precheck_failed) lists every failed check in C(details.failed); C(migration_failed) names the C(cause), what was
      C(undone) and what is C(left).
  returned: failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.foresight.migration.plugins.module_utils.ansible.arguments import (
    ENDPOINTS,
    LEDGER,
    PROGRESS,
    SLA,
    STORE,
    argument_spec,
)
from ansible_collections.foresight.migration.plugins.module_utils.ansible.task import run_task
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import MigrateRequest, migrate_vm

MEANS = ["parallel_connections", "compression", "auto_converge", "post_copy"]
OPTIONS = {
    "vm": {"type": "str", "required": True},
    "vm_endpoint": {"type": "str"},
    "reservation_id": {"type": "str"},
    "destination": {"type": "str"},
    "forecast_id": {"type": "str"},
    "forecast_level": {"type": "float", "default": 0.95},
    "means": {"type": "list", "elements": "str", "choices": MEANS, "default": MEANS[:3]},
    "bandwidth_mib_s": {"type": "float"},
    "storage_copy": {"type": "bool", "default": False},
    "windows": {
        "type": "list",
        "elements": "dict",
        "options": {
            "start": {"type": "str"},
            "end": {"type": "str"},
            "dtstart": {"type": "str"},
            "duration_hours": {"type": "float"},
            "rrule": {"type": "str"},
            "timezone": {"type": "str", "default": "UTC"},
        },
    },
    "limits": {
        "type": "dict",
        "options": {
            "incoming_per_host": {"type": "int", "default": 2},
            "outgoing_per_host": {"type": "int", "default": 2},
            "total": {"type": "int"},
        },
    },
    "lease_minutes": {"type": "float", "default": 30.0},
    "dirty_rate_s": {"type": "float", "default": 2.0},
    "latency_url": {"type": "str"},
    "driver_options": {"type": "dict"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(ENDPOINTS, STORE, LEDGER, SLA, PROGRESS, OPTIONS),
        supports_check_mode=True,
    )
    options = {name: module.params[name] for name in (*OPTIONS, "endpoints", "store", "ledger", "sla")}
    for name in ("sla", "limits", "driver_options"):
        options[name] = options[name] or {}
    run_task(module, lambda context: migrate_vm(MigrateRequest(**options), context))


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Hold capacity of a host for a VM."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_reserve
short_description: Hold capacity of a host for a VM before it moves there
version_added: 1.0.0
description:
  - Claims CPU, memory, network and disk throughput of a host for a VM over a time window in a ledger that all
    controllers share, and has the hypervisor enforce the claim as far as it can.
  - A claim is granted only when it fits at every step of the window beside everything else that is held there and the
    forecast load of the VMs on the host. Otherwise the task fails and names the shortfall per resource.
  - Claims of any number of playbooks at the same time never give the same capacity away twice.
  - Every reservation has a lease and frees itself when that runs out, so a playbook that dies holds nothing for ever.
  - How it works and how to set up a shared ledger is in the collection's C(docs/reservations.md).
author:
  - foresight.migration contributors (@foresight)
extends_documentation_fragment:
  - foresight.migration.estate
  - foresight.migration.store
  - foresight.migration.ledger
  - foresight.migration.capacity_limits
  - foresight.migration.progress
  - foresight.migration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
options:
  state:
    description:
      - V(present) holds the capacity. Asking again for the same VM, host and O(purpose) is the same reservation; a
        changed amount, tier or window changes it at once or not at all.
      - V(absent) gives it back. Nothing to give back is fine.
      - While the VM is being moved there, a change and giving back fail with the code C(reservation_in_use).
      - V(reconciled) expires what has lapsed, removes holds on the hypervisors whose reservation has ended, repairs
        those of living reservations, reports hosts that hold more than they have, and forgets what ended more than
        O(retention_days) ago.
        It needs no VM and no host, and is best run on a schedule.
    type: str
    choices: [present, absent, reconciled]
    default: present
  vm:
    description:
      - The VM, by its uuid or its exact name.
      - Needed with O(state=present), and with O(state=absent) unless O(reservation_id) is given.
    type: str
  vm_endpoint:
    description: The endpoint of the VM, to tell VMs of the same name apart.
    type: str
  host:
    description:
      - The host, by its key C(endpoint/host_id), its id or its name.
      - Needed with O(state=present). With O(state=absent) only what is held there is given back.
    type: str
  reservation_id:
    description: With O(state=absent), the reservation to give back.
    type: str
  tier:
    description:
      - V(hard) is guaranteed. The hard reservations and the forecast load never pass the limit at any step.
      - V(soft) is best effort. It may pass the limit up to O(soft_overcommit), and the result says how likely it holds.
        It yields to hard claims.
      - What the hypervisor refuses to hold is not held. A hard claim is then taken back and the task fails.
    type: str
    choices: [hard, soft]
    default: hard
  amount:
    description:
      - How much to hold. What is not named is 0.
      - If not set, the amount is the VM's forecast peak at O(level), for CPU and memory at most its configured size.
    type: dict
    suboptions:
      cpu_cores:
        description: Physical cores.
        type: float
      memory_mib:
        description: Memory in MiB.
        type: float
      network_mbit_s:
        description: Received and sent together, in Mbit/s.
        type: float
      disk_mib_s:
        description: Read and written together, in MiB/s.
        type: float
  level:
    description:
      - The level of the forecast at which the host's load, and the VM's need if O(amount) is not set, are taken.
      - At 0.95 the load is exceeded in one of twenty of the forecast's scenarios at each step.
    type: float
    choices: [0.5, 0.9, 0.95, 0.99]
    default: 0.95
  soft_overcommit:
    description: How far soft reservations may pass the limit, as a factor on it. Above 0 and at most 100.
    type: float
    default: 1.25
  window_start:
    description:
      - When the reservation begins, in ISO 8601. Without an offset it is UTC.
      - Now if not set. A reservation that is held already then keeps its window while half of it is left, unless
        O(window_hours) asks for another length.
    type: str
  window_hours:
    description:
      - How long the window is, at most 744 hours (31 days).
      - To the end of the forecast if not set, but then at most 24 hours.
    type: float
  ttl_minutes:
    description:
      - How long the reservation lives without being renewed. A running migration renews it.
      - Asking again renews it once half of this time has passed.
    type: float
    default: 120
  owner:
    description:
      - Who the reservation is for, as shown to others and in the audit trail. An AWX job's id serves well.
      - The user and machine that the task runs on if not set.
    type: str
  purpose:
    description: What the reservation is for. A VM can have one on each host for each purpose.
    type: str
    default: migration
  allow_second_host:
    description:
      - Whether the VM may be reserved on this host while it is reserved on another.
      - That usually means that two playbooks are moving the same VM, so it fails by default and names the other.
    type: bool
    default: false
  retention_days:
    description:
      - With O(state=reconciled), how long a reservation that has ended is kept with its audit trail, in days since its
        last change and the end of its window. At least 1.
      - On PostgreSQL this needs the right to delete. Without it everything is kept, and a warning says so.
    type: float
    default: 90
  snapshot_id:
    description: The snapshot of the estate to work from.
    type: str
    default: latest
  forecast_id:
    description: The forecast to work from.
    type: str
    default: latest
seealso:
  - module: foresight.migration.host_select
  - module: foresight.migration.host_reserve_info
  - module: foresight.migration.vm_migrate
"""

EXAMPLES = r"""
- name: Hold what web01 is forecast to need on the host that was chosen
  foresight.migration.host_reserve:
    vm: web01
    host: "{{ choice.destination }}"
  register: held

- name: Hold a stated amount tonight, best effort, in a ledger that all controllers share
  foresight.migration.host_reserve:
    ledger: postgresql+psycopg://foresight@db.example.org/foresight?sslmode=verify-full
    vm: 4c4c4544-0042-3510-8054-b4c04f4d3132
    host: cluster-a/kvm-07
    tier: soft
    amount:
      cpu_cores: 4
      memory_mib: 16384
    window_start: "2026-03-01T21:00:00Z"
    window_hours: 6
    owner: "awx job {{ awx_job_id }}"

- name: Give it back
  foresight.migration.host_reserve:
    state: absent
    vm: web01

- name: Set right what crashed jobs left, every quarter of an hour
  foresight.migration.host_reserve:
    state: reconciled
"""

RETURN = r"""
action:
  description:
    - What was done in the ledger, C(created), C(updated), C(renewed) or C(unchanged).
    - C(not_needed) when the VM already runs on the host.
  returned: when O(state=present)
  type: str
  sample: created
reservation_id:
  description: The id to hand to M(foresight.migration.vm_migrate).
  returned: when O(state=present)
  type: str
  sample: r-6f2377ef-31c95ca2b653dca1
reservation:
  description: The reservation as it is now, empty when none is needed.
  returned: when O(state=present)
  type: dict
  contains:
    reservation_id:
      description: Its id.
      type: str
    host:
      description: The host's key.
      type: str
    vm_uuid:
      description: The VM's uuid.
      type: str
    vm_name:
      description: The VM's name when it was reserved.
      type: str
    amount:
      description: What is held, as C(cpu_cores), C(memory_mib), C(network_mbit_s) and C(disk_mib_s).
      type: dict
    tier:
      description: C(hard) or C(soft).
      type: str
    state:
      description: C(active), C(consumed), C(released) or C(expired).
      type: str
    window_start:
      description: When it begins.
      type: str
    window_end:
      description: When it ends.
      type: str
    lease_expires:
      description: When it frees itself unless it is renewed.
      type: str
    owner:
      description: Who it is for.
      type: str
    purpose:
      description: What it is for.
      type: str
    enforced_by:
      description: Who enforces it, per resource.
      type: dict
    generation:
      description: A number that grows with every change.
      type: int
    created:
      description: When it was made.
      type: str
    updated:
      description: When it was last changed.
      type: str
host:
  description: The key of the host.
  returned: when O(state=present)
  type: str
  sample: cluster-a/kvm-07
vm:
  description: The key of the VM.
  returned: when O(state=present)
  type: str
enforced_by:
  description: Per resource C(hypervisor), or C(ledger) where only those who use this ledger keep to it.
  returned: when O(state=present) and a reservation is needed
  type: dict
  sample: {"cpu": "hypervisor", "memory": "hypervisor", "network": "ledger", "disk": "ledger"}
likelihood:
  description: The share of the forecast's scenarios in which the limit holds at every step with everything reserved.
  returned: when O(state=present) and a reservation is needed
  type: float
  sample: 0.97
yielding:
  description: Ids of soft reservations that this hard one leaves without full cover at the forecast load.
  returned: when O(state=present) and a reservation is needed
  type: list
  elements: str
calendar:
  description:
    - The host's allocation plan over the window, C(before) and C(after), as at most 24 rows each.
    - A row has C(from), C(until), and by resource the worst C(load), C(hard), C(soft) and C(free) of its steps.
  returned: when O(state=present) and a reservation is needed
  type: dict
expired:
  description:
    - With O(state=present), ids of lapsed reservations of that host that were swept away.
    - With O(state=reconciled), the lapsed reservations that were marked as expired. Of this and each list below at most
      40 are shown, and a warning tells how many they are.
  returned: when O(state=present) or O(state=reconciled)
  type: list
released:
  description: The reservations given back.
  returned: when O(state=absent)
  type: list
  elements: dict
removed_holds:
  description: Holds removed from hypervisors because no living reservation stands behind them.
  returned: when O(state=absent) or O(state=reconciled)
  type: list
  elements: dict
settled:
  description: Reservations whose VM had arrived although its mover died before it could say so.
  returned: when O(state=reconciled)
  type: list
  elements: dict
adopted:
  description: Reservations whose hold was in place but not noted in the ledger.
  returned: when O(state=reconciled)
  type: list
  elements: dict
placed_again:
  description: Reservations whose hold had vanished or held another amount, and was placed again.
  returned: when O(state=reconciled)
  type: list
  elements: dict
unenforced:
  description: Active reservations that no hypervisor has been asked to hold yet. They lapse unless their owner goes on.
  returned: when O(state=reconciled)
  type: list
  elements: dict
foreign_holds:
  description:
    - Holds made through another ledger. They are left alone.
    - O(state=absent) with their O(reservation_id) removes one.
  returned: when O(state=reconciled)
  type: list
  elements: dict
unrepaired:
  description:
    - Repairs that could not be made, each with what was C(wanted) and the C(error). They are tried again the next time.
  returned: when O(state=reconciled)
  type: list
  elements: dict
clocks_corrected:
  description: Hosts whose last change lay in the future, as a clock that was set back leaves it.
  returned: when O(state=reconciled)
  type: list
  elements: str
forgotten:
  description: How many reservations that ended more than O(retention_days) ago were removed with their audit trails.
  returned: when O(state=reconciled)
  type: int
unreachable:
  description: The endpoints that did not answer, each with its error.
  returned: when O(state=reconciled)
  type: dict
overcommitted:
  description:
    - Hosts that hold more than they have, because capacity shrank or load grew.
    - Each with its C(reservations), and per resource the C(excess), the first and the worst step.
  returned: when O(state=reconciled)
  type: list
  elements: dict
warnings_found:
  description: The warnings of this task.
  returned: success
  type: list
  elements: str
error:
  description: Why it failed, as C(code), C(message), C(advice) and C(details); C(capacity_short) holds C(shortfall).
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.foresight.migration.plugins.module_utils.ansible.arguments import (
    CAPACITY_LIMITS,
    ENDPOINTS,
    LEDGER,
    PROGRESS,
    STORE,
    argument_spec,
)
from ansible_collections.foresight.migration.plugins.module_utils.ansible.task import run_task
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve import reserve
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_request import ReserveRequest

OPTIONS = {
    "state": {"type": "str", "choices": ["present", "absent", "reconciled"], "default": "present"},
    "vm": {"type": "str"},
    "vm_endpoint": {"type": "str"},
    "host": {"type": "str"},
    "reservation_id": {"type": "str"},
    "retention_days": {"type": "float", "default": 90},
    "tier": {"type": "str", "choices": ["hard", "soft"], "default": "hard"},
    "amount": {
        "type": "dict",
        "options": {name: {"type": "float"} for name in ("cpu_cores", "memory_mib", "network_mbit_s", "disk_mib_s")},
    },
    "level": {"type": "float", "choices": [0.5, 0.9, 0.95, 0.99], "default": 0.95},
    "soft_overcommit": {"type": "float", "default": 1.25},
    "window_start": {"type": "str"},
    "window_hours": {"type": "float"},
    "ttl_minutes": {"type": "float", "default": 120},
    "owner": {"type": "str"},
    "purpose": {"type": "str", "default": "migration"},
    "allow_second_host": {"type": "bool", "default": False},
    "snapshot_id": {"type": "str", "default": "latest"},
    "forecast_id": {"type": "str", "default": "latest"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(ENDPOINTS, STORE, LEDGER, PROGRESS, CAPACITY_LIMITS, OPTIONS),
        required_if=[("state", "present", ("vm", "host")), ("state", "absent", ("vm", "reservation_id"), True)],
        supports_check_mode=True,
    )
    options = {name: module.params[name] for name in (*OPTIONS, "endpoints", "store", "ledger", "limits")}
    options["limits"] = options["limits"] or {}
    run_task(module, lambda context: reserve(ReserveRequest(**options), context))


if __name__ == "__main__":
    main()

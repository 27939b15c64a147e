#!/usr/bin/python
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Show reservations and hosts' calendars."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_reserve_info
short_description: Show who holds capacity of which hosts, and what is free when
version_added: 1.0.0
description:
  - Reads the ledger of M(foresight.migration.host_reserve) by host, VM, state and window.
  - With O(calendar=true) it also returns each host's calendar of load, reservations and free capacity.
  - A ledger that does not exist yet reads as empty. Nothing is created.
author:
  - foresight.migration contributors (@foresight)
extends_documentation_fragment:
  - foresight.migration.estate
  - foresight.migration.store
  - foresight.migration.ledger
  - foresight.migration.capacity_limits
  - foresight.migration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Nothing is changed, so there is nothing to compare.
options:
  hosts:
    description: Only reservations on these hosts, each given as key C(endpoint/host_id), id or name.
    type: list
    elements: str
  vms:
    description: Only reservations for these VMs, each given as uuid, or as the name it had when it was reserved.
    type: list
    elements: str
  reservation_ids:
    description: Only these reservations.
    type: list
    elements: str
  states:
    description: Only reservations in these states. One whose lease has run out counts as V(expired).
    type: list
    elements: str
    choices: [active, consumed, released, expired]
  window_start:
    description:
      - Only reservations whose window ends after this time, in ISO 8601. Without an offset it is UTC.
      - Now if only O(window_hours) is set.
    type: str
  window_hours:
    description: Only reservations whose window begins within so many hours of O(window_start).
    type: float
  calendar:
    description: Whether to return the calendars of O(hosts), or of all hosts with a fitting reservation, six at most.
    type: bool
    default: false
  audit:
    description: Whether to return every change of each reservation, with who made it and when.
    type: bool
    default: false
  level:
    description: The level of the forecast at which calendars show the hosts' load.
    type: float
    choices: [0.5, 0.9, 0.95, 0.99]
    default: 0.95
  snapshot_id:
    description: The snapshot of the estate that calendars work from.
    type: str
    default: latest
  forecast_id:
    description: The forecast that calendars work from.
    type: str
    default: latest
seealso:
  - module: foresight.migration.host_reserve
"""

EXAMPLES = r"""
- name: See what is held for web01
  foresight.migration.host_reserve_info:
    vms: [web01]
    states: [active]
  register: held

- name: See what kvm-07 has free over the next 12 hours, and who did what there
  foresight.migration.host_reserve_info:
    hosts: [kvm-07]
    window_hours: 12
    calendar: true
    audit: true
  register: plan
"""

RETURN = r"""
reservations:
  description:
    - The reservations that fit, oldest first, at most the 100 newest, with O(audit=true) the 20 newest.
    - Each as M(foresight.migration.host_reserve) returns it, with C(audit) where that was asked for.
  returned: success
  type: list
  elements: dict
count:
  description: How many fit, those not shown included.
  returned: success
  type: int
  sample: 1
ledger:
  description: The ledger's URL without its password. Ansible hides it where it is just what O(ledger) was set to.
  returned: success
  type: str
calendars:
  description:
    - By host key, at most 24 rows over the window, or from now to the end of the forecast.
    - A row has C(from), C(until), and by resource the worst C(load), C(hard), C(soft) and C(free) of its steps.
  returned: when O(calendar=true)
  type: dict
warnings_found:
  description: The warnings of this task.
  returned: success
  type: list
  elements: str
error:
  description: Why it failed, as C(code), C(message), C(advice) and C(details).
  returned: on failure
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.foresight.migration.plugins.module_utils.ansible.arguments import (
    CAPACITY_LIMITS,
    ENDPOINTS,
    LEDGER,
    STORE,
    argument_spec,
)
from ansible_collections.foresight.migration.plugins.module_utils.ansible.task import run_task
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_info import (
    ReserveInfoRequest,
    reserve_info,
)

OPTIONS = {
    "hosts": {"type": "list", "elements": "str"},
    "vms": {"type": "list", "elements": "str"},
    "reservation_ids": {"type": "list", "elements": "str"},
    "states": {"type": "list", "elements": "str", "choices": ["active", "consumed", "released", "expired"]},
    "window_start": {"type": "str"},
    "window_hours": {"type": "float"},
    "calendar": {"type": "bool", "default": False},
    "audit": {"type": "bool", "default": False},
    "level": {"type": "float", "choices": [0.5, 0.9, 0.95, 0.99], "default": 0.95},
    "snapshot_id": {"type": "str", "default": "latest"},
    "forecast_id": {"type": "str", "default": "latest"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(ENDPOINTS, STORE, LEDGER, CAPACITY_LIMITS, OPTIONS), supports_check_mode=True
    )
    options = {name: module.params[name] for name in (*OPTIONS, "endpoints", "store", "ledger", "limits")}
    options["limits"] = options["limits"] or {}
    run_task(module, lambda context: reserve_info(ReserveInfoRequest(**options), context))


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What would have happened with another placement."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: estate_replay
short_description: Replay recorded demand and say how overloaded the hosts would have been
version_added: 1.0.0
description:
  - Replays the recorded demand of an estate's VMs over a window, once for the placement as it is and once with
    O(moves), and returns in both cases for how many host-hours more is wanted of a host than it has.
  - It judges what was recorded, not what was forecast, so it tells afterwards whether a decision was right.
  - Without O(snapshot_id) it replays simulated endpoints, whose recorded demand reaches beyond the present.
  - With O(snapshot_id) it replays what O(store) has recorded of your own VMs, for their placement in that snapshot. Use
    it to see what a move would have changed before any policy may move anything.
  - Demand counts in full, also where a host could not deliver it. A host's own load is taken as constant.
  - Nothing is changed, and no hypervisor is asked for anything but its inventory.
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
  diff_mode:
    support: none
    details: Nothing is changed, so there is nothing to compare.
options:
  snapshot_id:
    description:
      - The snapshot in O(store) whose placement is replayed with the metrics that the store has recorded.
      - V(latest) is the newest one.
    type: str
  start:
    description:
      - When the window begins, as ISO 8601.
      - By default the present of a simulated estate, and with O(snapshot_id) O(hours) before the snapshot.
    type: str
  hours:
    description: How long the window is, in hours, above 0 and at most 336.
    type: float
    default: 24.0
  placement:
    description:
      - Where the VMs are when the window begins.
      - V(now) is where they are now, V(first) where those of a simulated estate began, before anything was moved.
    type: str
    choices: [now, first]
    default: now
  moves:
    description: The moves to compare with, made in the order of O(moves[].at).
    type: list
    elements: dict
    default: []
    suboptions:
      vm:
        description: The VM, by its uuid or its exact name.
        type: str
        required: true
      vm_endpoint:
        description: The endpoint of the VM, to tell VMs of the same name apart.
        type: str
      host:
        description: Where it goes, by the host's key, id or name. The host must be of the same hypervisor family.
        type: str
        required: true
      at:
        description: When it goes, as ISO 8601; by default when the window begins.
        type: str
"""

EXAMPLES = r"""
- name: Contention over the next 24 hours with and without a move
  foresight.migration.estate_replay:
    endpoints:
      - name: lab
        type: simulated
        scenario: estate.yml
    moves:
      - vm: orders-db
        host: kvm-04
  register: replay

- name: What would last week have been with db01 elsewhere?
  foresight.migration.estate_replay:
    store: /var/lib/foresight
    snapshot_id: latest
    hours: 168
    moves:
      - vm: db01
        host: esx-07
"""

RETURN = r"""
as_is:
  description: How overloaded the hosts are without O(moves).
  returned: success
  type: dict
  contains:
    overload_host_hours:
      description:
        - Hours in which more is wanted of a host than it has, summed over all hosts, for each resource.
        - C(any) counts an hour once, however many resources are short.
      type: dict
      sample:
        cpu: 6.75
        memory: 0.0
        network: 0.0
        disk: 0.0
        any: 6.75
    overloaded_hosts:
      description: How many hosts are overloaded at any time.
      type: int
    hosts:
      description:
        - The hosts that a move touches and the most overloaded ones, at most 50.
        - C(peak_share) is the most that is ever wanted, as a share of the host's capacity.
        - C(unserved_hours) is what is wanted and cannot be delivered, in resource-hours.
      type: list
      elements: dict
with_moves:
  description: The same with O(moves).
  returned: success
  type: dict
saved_host_hours:
  description:
    - Host-hours of overload that O(moves) save, for each resource and C(any).
    - Negative when they make it worse.
  returned: success
  type: dict
moves:
  description: The moves as they were understood, with uuid, C(from), C(to) and C(at).
  returned: success
  type: list
  elements: dict
window:
  description: The time replayed, C(start) and C(end).
  returned: success
  type: dict
coverage:
  description: Share of the window's demand that was really recorded, 0 to 1. What is missing counts as no demand.
  returned: success
  type: float
warnings_found:
  description: The warnings of this task.
  returned: success
  type: list
  elements: str
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
from ansible_collections.foresight.migration.plugins.module_utils.operations.replay import ReplayRequest, replay

MOVE = {
    "vm": {"type": "str", "required": True},
    "vm_endpoint": {"type": "str"},
    "host": {"type": "str", "required": True},
    "at": {"type": "str"},
}
OPTIONS = {
    "snapshot_id": {"type": "str"},
    "start": {"type": "str"},
    "hours": {"type": "float", "default": 24.0},
    "placement": {"type": "str", "choices": ["now", "first"], "default": "now"},
    "moves": {"type": "list", "elements": "dict", "default": [], "options": MOVE},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(ENDPOINTS, STORE, LEDGER, PROGRESS, OPTIONS), supports_check_mode=True
    )
    options = {name: module.params[name] for name in (*OPTIONS, "endpoints", "store")}
    run_task(module, lambda context: replay(ReplayRequest(**options), context))


if __name__ == "__main__":
    main()

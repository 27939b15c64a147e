#!/usr/bin/python
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choose the host that should take a VM."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: host_select
short_description: Choose the host that will still be right for a VM hours from now
version_added: 1.0.0
description:
  - Judges every host of the estate as the destination of one VM, from the snapshot that
    M(foresight.migration.vm_metrics_facts) took, the forecast of M(foresight.migration.vm_forecast), and the ledger.
  - Hosts that cannot take the VM are rejected with every reason. The others are scored on the load that they would
    carry together with the VM over the window, on what the move costs, on the SLA and on balance.
  - Staying is an answer too. A move must gain O(min_gain) points over it.
  - The hypervisor itself is asked whether it agrees to the move (preflight), also in check mode.
  - Nothing is changed. Hold the capacity with M(foresight.migration.host_reserve) next.
  - The filters with their reason codes, the formulae and the weights are in the collection's C(docs/placement.md).
author:
  - foresight.migration contributors (@foresight)
extends_documentation_fragment:
  - foresight.migration.estate
  - foresight.migration.store
  - foresight.migration.ledger
  - foresight.migration.capacity_limits
  - foresight.migration.sla
  - foresight.migration.progress
  - foresight.migration.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: none
    details: Nothing is changed, so there is nothing to compare.
options:
  vm:
    description: The VM, by its uuid or its exact name.
    type: str
    required: true
  vm_endpoint:
    description: The endpoint of the VM, to tell VMs of the same name apart.
    type: str
  snapshot_id:
    description: The snapshot of the estate to work from.
    type: str
    default: latest
  forecast_id:
    description: The forecast to work from.
    type: str
    default: latest
  policy:
    description:
      - What to strive for.
      - V(balanced) weighs the risk of overload most, V(spread) also prefers emptier hosts, V(pack) fuller ones.
      - V(threshold) gives each host the weight of every resource whose available amount covers the VM's predicted need,
        and takes the highest sum.
    type: str
    choices: [balanced, pack, spread, threshold]
    default: balanced
  weights:
    description:
      - Weights that replace those of the policy, by component C(risk), C(impact), C(migration), C(sla), C(balance).
      - With O(policy=threshold), by resource C(cpu), C(memory), C(network), C(disk).
    type: dict
  filter:
    description:
      - A JMESPath expression that is put to each host; hosts for which it does not hold are rejected.
      - It sees the fields of a host in the snapshot, such as C(name), C(cluster), C(labels), C(facts) and C(capacity).
    type: str
  window_hours:
    description: How far ahead hosts are judged, at most 24 hours. As far as the forecast goes if not set.
    type: float
  min_gain:
    description:
      - Points that the best host must score above staying.
      - A VM that cannot stay (its host is not up, or a mandatory rule or hard limit is broken there) moves in any case.
      - O(policy=threshold) does not compare with staying.
    type: float
    default: 5.0
  cooldown_minutes:
    description: How long a VM stays after a move, so that it is not moved back and forth.
    type: float
    default: 30.0
  hosts:
    description: Hosts, by name or key, that are judged in full and returned under RV(asked) however poor they are.
    type: list
    elements: str
    default: []
  explain:
    description: Whether to show the decision as a table while the task runs, and return it as RV(explanation).
    type: bool
    default: false
  rival_balancer:
    description:
      - What to do about a balancer of the platform that moves VMs by itself, such as DRS in fully automated mode.
      - V(refuse) fails when it rules the VM's cluster, and rejects the hosts of other clusters that it rules.
      - V(warn) goes ahead and warns.
    type: str
    choices: [refuse, warn]
    default: refuse
  tier:
    description:
      - The tier in which the capacity will be reserved. A host on which the ledger would refuse that is passed over,
        with the reason C(reservation).
      - V(none) does not ask the ledger.
    type: str
    choices: [hard, soft, none]
    default: hard
  level:
    description: The level of the forecast at which the capacity will be reserved, as in host_reserve.
    type: float
    default: 0.95
seealso:
  - module: foresight.migration.vm_forecast
  - module: foresight.migration.host_reserve
"""

EXAMPLES = r"""
- name: Choose a host for web01
  foresight.migration.host_select:
    vm: web01
    sla:
      max_downtime_ms: 300
      max_overload_probability: 0.05
    explain: true
  register: choice

- name: Choose among the hosts of one rack, and ask why kvm-07 is not it
  foresight.migration.host_select:
    vm: web01
    filter: "labels.rack == 'b4'"
    hosts: [kvm-07]
  register: choice

- name: Hold the capacity there
  foresight.migration.host_reserve:
    vm: web01
    host: "{{ choice.destination }}"
    tier: hard
  when: choice.decision == 'move'

- name: Use the threshold rule with memory counting double
  foresight.migration.host_select:
    vm: web01
    policy: threshold
    weights:
      memory: 2
"""

RETURN = r"""
decision:
  description: V(move) or V(stay). When no host can take the VM the task fails with the code V(no_host_fits).
  returned: success
  type: str
  sample: move
destination:
  description: The key of the chosen host, to be given to host_reserve. None when the VM should stay.
  returned: success
  type: str
  sample: lab/kvm-03
destination_name:
  description: The name of the chosen host.
  returned: success
  type: str
  sample: kvm-03.example.org
score:
  description: The score of the chosen host, 0 to 100, or under O(policy=threshold) the sum of the weights it earned.
  returned: success
  type: float
  sample: 91.4
reasons:
  description: Why this was decided, each with C(code), C(message) and C(details).
  returned: success
  type: list
  elements: dict
must_leave:
  description: Why the VM cannot stay where it is; empty when it can.
  returned: success
  type: list
  elements: dict
migration_cost:
  description: What the move to the chosen host is predicted to cost.
  returned: success
  type: dict
  sample:
    duration_s: 14.2
    transferred_mib: 4410.0
    downtime_ms: 210.0
    converges: true
    strategy: plain
    throttle_percent: 0
    bandwidth_mib_s: 1192.1
    link_share_source: 1.0
    link_share_destination: 1.0
staying:
  description: The verdict on the VM's present host, as under RV(ranking).
  returned: success
  type: dict
ranking:
  description:
    - The best hosts, best first, at most 10.
    - Each has its C(score), C(components) (0-100 each), C(why), C(load) and C(migration_cost).
    - C(load) holds the probabilities of overload, jointly and by resource, the expected overload in hours, the part of
      it that the VM adds, and the headroom at the 95 % level. C(own_load) is the mean of what the host uses besides its
      VMs; C(own_load_from) says per resource whether it is from the C(forecast), as at C(present), or C(unknown).
  returned: success
  type: list
  elements: dict
rejected:
  description: Rejected hosts with all their reasons, at most 25 of them.
  returned: success
  type: list
  elements: dict
rejected_by_reason:
  description: How many hosts were rejected for each reason code.
  returned: success
  type: dict
asked:
  description: The verdicts on O(hosts), as under RV(ranking).
  returned: success
  type: list
  elements: dict
counts:
  description:
    - How many hosts were ranked, how many were not judged in full because they could not reach the best score, and how
      many were rejected.
  returned: success
  type: dict
  sample:
    ranked: 64
    outscored: 912
    rejected: 24
vm:
  description: The VM with its present host.
  returned: success
  type: dict
policy:
  description: The policy used.
  returned: success
  type: str
weights:
  description: The weights used.
  returned: success
  type: dict
window:
  description: The time that was judged, C(start) and C(end).
  returned: success
  type: dict
snapshot_id:
  description: The snapshot used.
  returned: success
  type: str
forecast_id:
  description: The forecast used.
  returned: success
  type: str
explanation:
  description: The lines of the table, when O(explain=true).
  returned: success
  type: list
  elements: str
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
    CAPACITY_LIMITS,
    ENDPOINTS,
    LEDGER,
    PROGRESS,
    SLA,
    STORE,
    argument_spec,
)
from ansible_collections.foresight.migration.plugins.module_utils.ansible.task import run_task
from ansible_collections.foresight.migration.plugins.module_utils.operations.select import (
    SelectRequest,
    select_destination,
)

OPTIONS = {
    "vm": {"type": "str", "required": True},
    "vm_endpoint": {"type": "str"},
    "snapshot_id": {"type": "str", "default": "latest"},
    "forecast_id": {"type": "str", "default": "latest"},
    "policy": {"type": "str", "choices": ["balanced", "pack", "spread", "threshold"], "default": "balanced"},
    "weights": {"type": "dict"},
    "filter": {"type": "str"},
    "window_hours": {"type": "float"},
    "min_gain": {"type": "float", "default": 5.0},
    "cooldown_minutes": {"type": "float", "default": 30.0},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "explain": {"type": "bool", "default": False},
    "rival_balancer": {"type": "str", "choices": ["refuse", "warn"], "default": "refuse"},
    "tier": {"type": "str", "choices": ["hard", "soft", "none"], "default": "hard"},
    "level": {"type": "float", "default": 0.95},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(ENDPOINTS, STORE, LEDGER, SLA, PROGRESS, CAPACITY_LIMITS, OPTIONS),
        supports_check_mode=True,
    )
    options = {name: module.params[name] for name in (*OPTIONS, "endpoints", "store", "ledger", "limits", "sla")}
    for name in ("weights", "limits", "sla"):
        options[name] = options[name] or {}
    run_task(module, lambda context: select_destination(SelectRequest(**options), context))


if __name__ == "__main__":
    main()

#!/usr/bin/python
# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Forecast the demand of VMs and hosts."""

from __future__ import annotations

DOCUMENTATION = r"""
---
module: vm_forecast
short_description: Forecast the demand of VMs and hosts
version_added: 1.0.0
description:
  - Forecasts CPU, memory, network and disk demand of every VM, and what each host uses for itself, for the next hours.
  - States for each step the mean, the standard deviation and quantiles; the distribution of the highest demand over the
    horizon; and coherent scenarios in which VMs move together as they did in history, so that hosts can be judged
    on the sum of what they would carry.
  - Reads the history that M(foresight.migration.vm_metrics_facts) collected and writes the forecast into the store.
  - The same history and options lead to the same forecast and the same RV(forecast_id); asked again, nothing changes.
author:
  - foresight.migration contributors (@foresight)
options:
  snapshot_id:
    description: The estate snapshot whose VMs and time are meant; V(latest) is the newest.
    type: str
    default: latest
  vms:
    description: Names or uuids of the VMs to forecast. If empty, all VMs that run or are paused.
    type: list
    elements: str
    default: []
  hosts:
    description:
      - Names or keys of the hosts whose own load (what their VMs do not use) is forecast too.
      - If empty, all hosts, or none when O(vms) is given.
    type: list
    elements: str
    default: []
  metrics:
    description: The resources to forecast.
    type: list
    elements: str
    choices: [cpu, memory, network, disk]
    default: [cpu, memory, network, disk]
  horizon_hours:
    description: How far ahead, from 1 to 24 hours.
    type: float
    default: 24.0
  step_minutes:
    description: Length of a step. It must divide a day.
    type: int
    default: 5
  history_days:
    description: How much history is used.
    type: int
    default: 14
  model:
    description:
      - The model for all series, or a dictionary of one for each metric; metrics that it does not name take V(auto).
      - V(auto) chooses for each series by backtest. Known besides are the cheap members such as V(seasonal_quantile),
        V(week_naive), V(arima), V(ets), V(prophet), V(lstm) and V(global). V(prophet) needs that library.
      - A model that fails on a series leaves that series to V(auto), with the reason.
    type: raw
    default: auto
  levels:
    description: Levels of the quantiles to return. The stored forecast always has all of its levels.
    type: list
    elements: float
    default: [0.5, 0.9, 0.95]
  seed:
    description: Decides the groups that scenarios are calibrated on. The same seed gives the same numbers.
    type: int
    default: 0
  executor:
    description: Where the work is done. The numbers are the same everywhere.
    type: dict
    default: {}
    suboptions:
      type:
        description: V(local) for processes on this machine, V(dask) for a Dask cluster.
        type: str
        choices: [local, dask]
        default: local
      workers:
        description: Number of local processes. With V(0), one for each CPU this process may use, for long work only.
        type: int
        default: 0
      scheduler:
        description: Address of the Dask scheduler, such as V(tcp://scheduler:8786).
        type: str
  on_no_history:
    description:
      - What to do with a VM that has no usable history. V(abstain) leaves it out and says so.
      - V(allocated) takes its configured size as constant demand.
    type: str
    choices: [abstain, allocated]
    default: abstain
  report_paths:
    description:
      - Files for a picture of the forecast, C(.html) (a page that needs nothing beside itself) or C(.png).
      - It shows hosts and VMs, at most 20 of each, with history, bands, the peak's range and scheduled events.
      - In check mode they are drawn and compared with the files there, and not written. Needs matplotlib.
    type: list
    elements: path
    default: []
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
    support: full
requirements:
  - numpy
  - pyarrow
  - statsmodels (for O(model=arima) and O(model=ets))
  - prophet (for O(model=prophet))
  - distributed (for O(executor.type=dask))
  - matplotlib (for O(report_paths))
seealso:
  - module: foresight.migration.vm_metrics_facts
  - module: foresight.migration.host_select
"""

EXAMPLES = r"""
- name: Forecast the whole fleet for a day
  foresight.migration.vm_forecast:
    store: /var/lib/foresight
  register: demand

- name: Forecast two VMs for six hours, CPU by ARIMA
  foresight.migration.vm_forecast:
    vms: [web01, db01]
    horizon_hours: 6
    model:
      cpu: arima

- name: Show the highest CPU demand to expect, at the 95 % level
  ansible.builtin.debug:
    msg: "{{ item.name }}: {{ item.resources.cpu.peak.q95 }} cores"
  loop: "{{ demand.vms }}"
  loop_control:
    label: "{{ item.name }}"

- name: Forecast on a Dask cluster
  foresight.migration.vm_forecast:
    executor:
      type: dask
      scheduler: tcp://scheduler.example.com:8786
"""

RETURN = r"""
forecast_id:
  description: The id of the forecast in the store, made from the history and the options.
  returned: success
  type: str
  sample: f-20260301t2105-3f0c9a51d2be7714
snapshot_id:
  description: The snapshot whose VMs were forecast.
  returned: success
  type: str
origin:
  description: When the forecast begins (ISO 8601, UTC).
  returned: success
  type: str
  sample: "2026-03-01T21:05:00Z"
end:
  description: When it ends.
  returned: success
  type: str
step_minutes:
  description: Length of a step.
  returned: success
  type: int
series:
  description: How many series were forecast.
  returned: success
  type: int
models:
  description: How many series each model forecast.
  returned: success
  type: dict
  sample: {"global": 410, "same_time": 30}
scores:
  description:
    - Medians over all series of the backtest on the last days. RV(scores.score) is the loss relative to
      "same time yesterday" (lower is better), the others are the shares of values inside the 80 % and 95 % intervals.
  returned: success
  type: dict
  contains:
    score:
      description: Relative loss.
      type: float
    coverage_80:
      description: Coverage of the 80 % interval.
      type: float
    coverage_95:
      description: Coverage of the 95 % interval.
      type: float
track_record:
  description:
    - How the latest forecasts that have come due turned out, by model, C(forecasts), C(coverage_80), C(coverage_95),
      C(peaks_exceeded) (at the 95 % level) and C(relative_loss) to taking the day before as it was.
    - A model that fails a series three times in a row is not used for it by V(auto) any more.
  returned: success
  type: dict
vms:
  description: The VMs asked for, or the first 50 of the fleet. All are in the stored forecast.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The VM's name.
      type: str
    uuid:
      description: The VM's uuid.
      type: str
    resources:
      description:
        - For each resource its C(unit), C(mean), C(sd), C(quantiles) and C(intervals) (averages over the horizon of
          what is stated for each step), the C(peak) over the horizon, and the C(model) with C(why), C(history_steps),
          C(score), C(coverage_80), C(coverage_95), C(warnings) and, where
          forecasts have come due, C(track_record).
      type: dict
vms_left_off:
  description: How many VMs RV(vms) does not show.
  returned: success
  type: int
hosts:
  description:
    - What each host carries together, its VMs and its own load summed in scenarios, for each resource. At most 50.
  returned: success
  type: list
  elements: dict
hosts_left_off:
  description: How many hosts RV(hosts) does not show.
  returned: success
  type: int
abstained:
  description: Series without usable history, with the reason; at most 50.
  returned: success
  type: list
  elements: dict
abstained_count:
  description: How many there are in all.
  returned: success
  type: int
reports:
  description: The files of O(report_paths).
  returned: success
  type: list
  elements: str
warnings_found:
  description: What to beware of, with the number of series concerned.
  returned: success
  type: list
  elements: str
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
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast import (
    ForecastVmsRequest,
    forecast_vms,
)

METRICS = ["cpu", "memory", "network", "disk"]
OPTIONS = {
    "snapshot_id": {"type": "str", "default": "latest"},
    "vms": {"type": "list", "elements": "str", "default": []},
    "hosts": {"type": "list", "elements": "str", "default": []},
    "metrics": {"type": "list", "elements": "str", "choices": METRICS, "default": METRICS},
    "horizon_hours": {"type": "float", "default": 24.0},
    "step_minutes": {"type": "int", "default": 5},
    "history_days": {"type": "int", "default": 14},
    "model": {"type": "raw", "default": "auto"},
    "levels": {"type": "list", "elements": "float", "default": [0.5, 0.9, 0.95]},
    "seed": {"type": "int", "default": 0},
    "executor": {
        "type": "dict",
        "default": {},
        "required_if": [("type", "dask", ["scheduler"])],
        "options": {
            "type": {"type": "str", "choices": ["local", "dask"], "default": "local"},
            "workers": {"type": "int", "default": 0},
            "scheduler": {"type": "str"},
        },
    },
    "report_paths": {"type": "list", "elements": "path", "default": []},
    "on_no_history": {"type": "str", "choices": ["abstain", "allocated"], "default": "abstain"},
}


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec=argument_spec(ENDPOINTS, STORE, LEDGER, PROGRESS, OPTIONS), supports_check_mode=True
    )
    given = module.params
    executor = given["executor"]
    request = ForecastVmsRequest(
        **{name: given[name] for name in ("store", *OPTIONS) if name != "executor"},
        workers=executor.get("workers") or 0,
        dask_scheduler=executor.get("scheduler") if executor.get("type") == "dask" else None,
    )
    run_task(module, lambda context: forecast_vms(request, context))


if __name__ == "__main__":
    main()

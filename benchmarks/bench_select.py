# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How long host_select takes on a large estate: one VM among 1,000 hosts that carry 10,000 VMs, as one whole task.

Builds a simulated estate, its snapshot, a ledger with a reservation on every fifth host, and a forecast of every VM
and every host's own load (fourteen days of joint past at five minutes), then runs the module through
ansible-playbook. Prints the task's wall time, and the playbook's CPU time and peak memory.

    python benchmarks/bench_select.py [--hosts 1000] [--vms 10000] [--folder FOLDER] [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DAY_STEPS, HISTORY_DAYS, STEP_S = 288, 14, 300
PLAY = """
- hosts: localhost
  gather_facts: false
  vars:
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  tasks:
    - ansible.builtin.set_fact:
        began: "{{ now().timestamp() }}"
    - foresight.migration.host_select:
        endpoints: ["{{ endpoint }}"]
        store: "{{ store }}"
        vm: vm00001
        min_gain: -100
      register: choice
    - ansible.builtin.copy:
        content: "{{ {'task_s': now().timestamp() - began | float, 'counts': choice.counts} | to_json }}"
        dest: "{{ answer }}"
        mode: "0600"
"""


def _collections_path() -> Path:
    """Return the folder of ``ansible_collections`` that holds this checkout."""
    sys.path.insert(0, str(ROOT / "tests"))
    import conftest  # makes this checkout importable as the collection

    return Path(conftest._PATH)


def build(folder: Path, hosts: int, vms: int) -> None:
    """Write scenario, snapshot and forecast below ``folder``, and last the endpoint options."""
    _collections_path()
    import numpy as np
    from ansible_collections.foresight.migration.plugins.module_utils.estate.forecast import Forecast, SeriesReport
    from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import RESOURCES
    from ansible_collections.foresight.migration.plugins.module_utils.estate.scenarios import WindowScenarios
    from ansible_collections.foresight.migration.plugins.module_utils.estate.series import SeriesKey
    from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate
    from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.simulated.driver import (
        SimulatedDriver,
    )
    from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

    scenario = folder / "scenario.yml"
    scenario.write_text(json.dumps(_scenario(hosts, vms)), encoding="utf-8")
    endpoint = {"name": "sim", "type": "simulated", "scenario": str(scenario), "state_path": str(folder / "state.db")}
    with SimulatedDriver("sim", endpoint) as driver:
        inventory, now_ts = driver.inventory(), driver.clock.now()
    workspace = Workspace.open(str(folder / "store"))
    snapshot = Estate(
        "",
        now_ts,
        (),
        {host.key: host for host in inventory.hosts},
        {vm.key: vm for vm in inventory.vms},
    )
    workspace.snapshots.write(snapshot)
    rng = np.random.default_rng(1)
    entities = [("host", host.key) for host in inventory.hosts] + [("vm", vm.uuid) for vm in inventory.vms]
    keys = tuple(SeriesKey(kind, entity, name) for kind, entity in sorted(entities) for name in sorted(RESOURCES))
    level = {"cpu": 1.2, "memory": 3000.0, "network": 40.0, "disk": 8.0}
    share = {"host": 0.5, "vm": 1.0}
    scale = np.array([share[key.entity_kind] * level[key.metric] for key in keys]) * rng.lognormal(0.0, 0.5, len(keys))
    steps = DAY_STEPS * HISTORY_DAYS
    daily = 1.0 + 0.4 * np.sin(np.arange(steps, dtype=np.float32) * (2 * np.pi / DAY_STEPS))
    history = rng.standard_exponential((len(keys), steps), np.float32)
    history *= 0.3
    history += daily.astype(np.float32)
    starts = np.arange(steps - DAY_STEPS, -1, -12, dtype=np.int32)
    mean = (scale[:, None] * daily[None, :DAY_STEPS]).astype(np.float32)
    peak = mean.max(axis=1)
    forecast = Forecast(
        keys=keys,
        origin_ts=now_ts,
        step_s=STEP_S,
        mean=mean,
        sd=mean * np.float32(0.3),
        quantiles=mean[:, :, None] * np.linspace(0.4, 2.5, 14, dtype=np.float32),
        peak_mean=peak,
        peak_sd=peak * np.float32(0.1),
        peak_quantiles=peak[:, None] * np.array([1.0, 1.2, 1.3, 1.5], np.float32),
        reports=tuple(SeriesReport("benchmark", "made up", steps, 0.7, 0.8, 0.95) for _key in keys),
        scenarios=WindowScenarios(
            keys=keys,
            metrics=tuple(sorted(RESOURCES)),
            history=history,
            scale=scale,
            history_step_s=STEP_S,
            steps=DAY_STEPS,
            starts=starts,
            multipliers=rng.lognormal(0.0, 0.05, (len(starts), len(RESOURCES))).astype(np.float32),
        ),
    )
    workspace.forecasts.write("bench", forecast)
    reserve(folder, [host.key for host in inventory.hosts[::5]], now_ts)
    (folder / "endpoint.json").write_text(json.dumps(endpoint), encoding="utf-8")


def reserve(folder: Path, hosts: Sequence[str], now_ts: float) -> None:
    """Hold a VM's worth on each of ``hosts`` in the store's ledger."""
    import numpy as np
    from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
    from ansible_collections.foresight.migration.plugins.module_utils.reservations.claims import ClaimRequest
    from ansible_collections.foresight.migration.plugins.module_utils.reservations.host_calendar import HostRoom
    from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger

    room = HostRoom(Resources(1e6, 1e9, 1e6, 1e6), {}, np.ones((4, DAY_STEPS)), now_ts, STEP_S)
    with open_ledger(f"sqlite:///{folder.resolve()}/store/ledger.db", actor="benchmark") as ledger:
        for number, host in enumerate(hosts):
            amount = Resources(1.2, 3000.0, 40.0, 8.0)
            end_ts = now_ts + 4 * 3600.0
            request = ClaimRequest(f"elsewhere-{number}", host, amount, "hard", now_ts, end_ts, "benchmark")
            ledger.claim(request, room, now_ts)


def _scenario(hosts: int, vms: int) -> dict[str, Any]:
    return {
        "version": 1,
        "clock": {"start": "2026-03-02T20:00:00Z", "mode": "stepped", "speed": 0},
        "clusters": [{"name": "main"}],
        "hosts": [
            {
                "name": "host{n}",
                "count": hosts,
                "family": "kvm",
                "cluster": "main",
                "capacity": {"cpu_cores": 32, "memory_mib": 131072, "network_mbit_s": 10000, "disk_mib_s": 1000},
                "networks": ["prod"],
                "storages": ["shared"],
                "migration_link_mbit_s": 10000,
            }
        ],
        "vms": [
            {
                "name": "vm{n}",
                "count": vms,
                "hosts": ["*"],
                "allocated": {"cpu_cores": 4, "memory_mib": 8192},
                "demand": {"cpu_cores": 1.2, "memory_mib": 3000, "network_mbit_s": 40, "disk_mib_s": 8},
                "networks": ["prod"],
                "storages": ["shared"],
            }
        ],
    }


def run(folder: Path, endpoint: dict[str, Any], collections: Path) -> dict[str, Any]:
    """Run the task once; returns what it answered with its wall time."""
    (folder / "play.yml").write_text(PLAY, encoding="utf-8")
    variables = {"endpoint": endpoint, "store": str(folder / "store"), "answer": str(folder / "answer.json")}
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "-i", "localhost,", "-c", "local"]
    process = subprocess.Popen(
        [*command, "-e", json.dumps(variables), str(folder / "play.yml")],
        stdout=subprocess.DEVNULL,
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(collections)},
    )
    _pid, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"ansible-playbook failed with status {process.returncode}")
    answer: dict[str, Any] = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
    return {**answer, "peak_mib": usage.ru_maxrss / 1024, "cpu_s": usage.ru_utime + usage.ru_stime}


def main() -> None:
    """Build, run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--vms", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="keep the estate here, and use it again")
    options = parser.parse_args()
    collections = _collections_path()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        kept = folder / "endpoint.json"
        if not kept.exists():
            context = multiprocessing.get_context("spawn")
            builder = context.Process(target=build, args=(folder, options.hosts, options.vms))
            builder.start()  # apart, so that its memory is not inherited by the processes that are measured
            builder.join()
        endpoint = json.loads(kept.read_text(encoding="utf-8"))
        answers = [run(folder, endpoint, collections) for _unused in range(options.runs)]
    wall_s, cpu_s = (statistics.median(answer[name] for answer in answers) for name in ("task_s", "cpu_s"))
    peak_mib = max(answer["peak_mib"] for answer in answers)
    print(f"{options.hosts} hosts, {options.vms} VMs, median of {options.runs} runs:")
    print(f"{wall_s:.2f} s for the task, {cpu_s:.2f} s of CPU for the whole playbook, {peak_mib:.0f} MiB at most")
    print(json.dumps(answers[-1]["counts"]))


if __name__ == "__main__":
    main()

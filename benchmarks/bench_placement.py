# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What becomes of an estate when destinations are chosen by different rules: recorded demand, replayed on 50 hosts.

Every rule is asked for the same moves: at every full hour of a week, the same VMs must leave the host they are on. What
each rule then chose is replayed with the demand that really came. Overload is demand above capacity, in host-hours.

    python benchmarks/bench_placement.py [--traces FILE] [--hosts 50] [--vms 500] [--moves-per-hour 4] [--days 7]
        [--seeds 1 2 3]

Every seed is an estate of its own: which VMs share a host at first, and which are asked to move. The table gives their
sums and each estate's overload.

FILE is a Parquet file of columns vm, ts, cpu_cores, memory_mib, network_mbit_s, disk_mib_s, as the shipped sample,
which is used without it; or of the Bitbrains archive resampled to 300 s (see tools/make_trace_sample.py).

Rules: first fit on current use; least loaded now; the threshold rule (available now against the predicted need); the
placement of LR-MMT of Beloglazov and Buyya, "Optimal online deterministic algorithms and adaptive heuristics for energy
and performance efficient dynamic consolidation of virtual machines in Cloud data centers", 2012, as CloudSim has it
(power-aware best fit among hosts that local regression does not see overloaded, safety 1.2); and host_select. SLAV is
that paper's metric: share of time that hosts are at full CPU x share of CPU demand lost to migrations.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes this checkout importable as the collection
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import (  # noqa: E402
    FIELD_OF,
    RESOURCES,
    Resources,
)
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import (  # noqa: E402
    SeriesKey,
    SeriesSet,
)
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.history import prepare  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.forecasting.joint import (  # noqa: E402
    build_scenarios,
)
from ansible_collections.foresight.migration.plugins.module_utils.placement.migration_cost import (  # noqa: E402
    MigrationDemand,
    predict_precopy,
)
from ansible_collections.foresight.migration.plugins.module_utils.placement.policies import policy  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.placement.question import PredictedMove, Question  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.placement.selection import select_host  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.placement.verdict import NoHostFits  # noqa: E402

if TYPE_CHECKING:
    from ansible_collections.foresight.migration.plugins.module_utils.estate.scenarios import WindowScenarios

SAMPLE = ROOT / "playbooks" / "files" / "demo" / "demand.parquet"
STEP_S, DAY, HOUR = 300, 288, 12
HISTORY_DAYS = 14
#: Forecasts are made anew this often, in hours.
FORECAST_HOURS = 6
#: Share of capacity that the rules on current use fill, as host_select's own limits.
LIMITS = np.array([0.9, 0.95, 0.9, 0.9])
LINK_MIB_S = 1000.0
#: Power in W at 0, 10 … 100 % CPU of the HP ProLiant ML110 G4, table 2 of the paper.
POWER_W = np.array([86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117])
#: Samples of history that CloudSim's local regression looks at, and its safety parameter.
LR_SAMPLES, LR_SAFETY = 10, 1.2
#: Share of its CPU that a VM loses while it migrates, as the paper assumes.
MIGRATION_LOSS = 0.1

Floats = NDArray[np.float32]


@dataclass
class World:
    """Demand of every VM, shape (vms, resources, steps), identical hosts of ``capacity``, and where VMs are."""

    demand: Floats
    capacity: NDArray[np.float64]
    hosts: int
    host_of: NDArray[np.int64]

    def use(self, step: int) -> NDArray[np.float64]:
        """Return the demand on each host, shape (hosts, resources)."""
        total = np.zeros((self.hosts, len(RESOURCES)))
        np.add.at(total, self.host_of, self.demand[:, :, step])
        return total


#: A rule takes (world, vm, step) and returns the host to move to, or None to stay.
Rule = Callable[[World, int, int], "int | None"]


def read_traces(path: Path) -> Floats:
    """Return recorded demand, shape (traces, resources, steps), gaps filled with the value before."""
    table = pq.read_table(path)
    names = np.asarray(table.column("vm").to_pylist()).astype(str)
    ts = np.asarray(table.column("ts").to_numpy(), np.int64)
    columns = _columns(table)
    start = ts.min() // 86400 * 86400
    steps = int((ts.max() - start) // 86400 + 1) * DAY
    distinct, rows = np.unique(names, return_inverse=True)
    dense = np.full((len(distinct), len(RESOURCES), steps), np.nan, np.float32)
    for place, values in enumerate(columns):
        dense[rows, place, (ts - start) // STEP_S] = values
    known = ~np.isnan(dense)
    last = np.maximum.accumulate(np.where(known, np.arange(steps), -1), axis=2)
    filled = np.take_along_axis(dense, np.where(last < 0, np.argmax(known, axis=2)[:, :, None], last), axis=2)
    return np.nan_to_num(filled)


def _columns(table: object) -> list[Floats]:
    columns = {name: table.column(name).to_numpy() for name in table.column_names if name not in ("vm", "ts")}  # type: ignore[attr-defined]
    if "cpu_mhz" not in columns:
        return [columns[name] for name in FIELD_OF.values()]
    return [
        columns["cpu_mhz"] / 2600.0,
        columns["mem_kb"] / 1024.0,
        (columns["net_rx_kbps"] + columns["net_tx_kbps"]) * 1024 * 8 / 1e6,
        (columns["disk_r_kbps"] + columns["disk_w_kbps"]) / 1024.0,
    ]


def make_world(traces: Floats, hosts: int, vms: int, steps: int, rng: np.random.Generator) -> World:
    """Spread ``vms`` VMs over the hosts at random; each replays a trace, shifted by whole days where traces repeat.

    Hosts are as large as nine in ten random groups of VMs at their peak need: an estate that is well used, in which
    a careful placement can avoid most overload.
    """
    days = traces.shape[2] // DAY
    demand = np.stack(
        [
            np.roll(traces[vm % len(traces)], -(vm // len(traces)) * 3 % days * DAY, axis=1)[:, :steps]
            for vm in range(vms)
        ]
    )
    size = vms // hosts
    groups = np.stack([demand[rng.choice(vms, size, replace=False)].sum(axis=0) for _unused in range(200)])
    capacity = np.quantile(groups.max(axis=2), 0.9, axis=0)
    return World(demand, capacity, hosts, rng.permutation(np.arange(vms) % hosts))


def first_fit(world: World, vm: int, step: int) -> int:
    """The first host on which the VM fits by current use; the least loaded where it fits nowhere."""
    load = (world.use(step) + world.demand[vm, :, step]) / world.capacity
    fits = (load <= LIMITS).all(axis=1)
    fits[world.host_of[vm]] = False
    return int(np.argmax(fits)) if fits.any() else least_loaded(world, vm, step)


def least_loaded(world: World, vm: int, step: int) -> int:
    """The host whose fullest resource is emptiest now, with the VM on it."""
    load = ((world.use(step) + world.demand[vm, :, step]) / world.capacity).max(axis=1)
    load[world.host_of[vm]] = np.inf
    return int(np.argmin(load))


def threshold(world: World, vm: int, step: int) -> int:
    """The first host on which most resources' available amount covers the VM's 95 % level of daily peaks."""
    history = world.demand[vm, :, step - 7 * DAY : step].reshape(len(RESOURCES), 7, DAY)
    need = np.quantile(history.max(axis=2), 0.95, axis=1)
    score = (world.capacity - world.use(step) >= need).sum(axis=1)
    score[world.host_of[vm]] = -1
    return int(np.argmax(score))


def lr_mmt(world: World, vm: int, step: int) -> int:
    """The host whose power rises least, among those that local regression does not foresee overloaded."""
    use = world.use(step)
    suitable = ((use + world.demand[vm, :, step]) <= world.capacity).all(axis=1)
    suitable[world.host_of[vm]] = False
    past = slice(step - LR_SAMPLES + 1, step + 1)
    cpu = np.zeros((world.hosts, LR_SAMPLES))
    np.add.at(cpu, world.host_of, world.demand[:, 0, past])
    after = (cpu + world.demand[vm, 0, past]) / world.capacity[0]
    suitable &= LR_SAFETY * _local_regression(after) < 1.0
    if not suitable.any():
        return least_loaded(world, vm, step)
    before_w = np.where(use[:, 0] > 0, _power(use[:, 0] / world.capacity[0]), 0.0)
    rise = _power((use[:, 0] + world.demand[vm, 0, step]) / world.capacity[0]) - before_w
    return int(np.argmin(np.where(suitable, rise, np.inf)))


def _local_regression(history: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a line through the samples, weighed by Cleveland's tricube towards the newest, says of the next."""
    x = np.arange(1, LR_SAMPLES + 1, dtype=float)
    spread = x[-1] - x[0]
    weight = (1 - ((x[-1] - x) / spread) ** 3) ** 3
    design = np.stack([np.ones_like(x), x], axis=1)
    solve = np.linalg.pinv(design * np.sqrt(weight)[:, None])
    estimate = (history * np.sqrt(weight)) @ solve.T
    return estimate[:, 0] + estimate[:, 1] * (LR_SAMPLES + 1)


def _power(share: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.interp(np.clip(share, 0, 1), np.linspace(0, 1, 11), POWER_W)


class HostSelect:
    """Our own selection, on scenarios of the joint past that are made anew every `FORECAST_HOURS`."""

    def __init__(self, world: World, *, may_stay: bool) -> None:
        vms = len(world.demand)
        self._may_stay = may_stay
        self._uuids = [f"vm{number:05}" for number in range(vms)]
        self._keys = tuple(SeriesKey("vm", uuid, resource) for uuid in self._uuids for resource in RESOURCES)
        self._capacity = Resources(*(float(amount) for amount in world.capacity))
        self._hosts = {f"lab/h{n:03}": self._host(n) for n in range(world.hosts)}
        self._origin = -1
        self._scenarios: WindowScenarios | None = None

    def _host(self, number: int) -> Host:
        return Host(
            "lab", f"h{number:03}", f"h{number:03}", "kvm", "up", self._capacity, migration_link_mbit_s=10_000.0
        )

    def __call__(self, world: World, vm: int, step: int) -> int | None:
        self._forecast(world, step)
        estate = Estate("s", step * STEP_S, (), self._hosts, self._vms(world, step))
        question = Question(
            vm=estate.vms[f"lab/{self._uuids[vm]}"],
            estate=estate,
            scenarios=self._scenarios,  # type: ignore[arg-type]  # made just before
            origin_ts=self._origin * STEP_S,
            now_ts=step * STEP_S,
            window_s=86400.0,
            policy=policy("balanced"),
            predict_move=lambda bandwidth: _cost(world, vm, step, bandwidth),
            min_gain=5.0 if self._may_stay else -1000.0,
        )
        try:
            selection = select_host(question)
        except NoHostFits:
            return None if self._may_stay else least_loaded(world, vm, step)
        return None if selection.chosen is None else int(selection.chosen.host_key[5:])

    def _vms(self, world: World, step: int) -> dict[str, Vm]:
        return {
            f"lab/{uuid}": Vm(
                "lab",
                uuid,
                uuid,
                f"lab/h{world.host_of[number]:03}",
                "running",
                Resources(),
                used=Resources(*world.demand[number, :, step].tolist()),
            )
            for number, uuid in enumerate(self._uuids)
        }

    def _forecast(self, world: World, step: int) -> None:
        origin = step // (FORECAST_HOURS * HOUR) * FORECAST_HOURS * HOUR
        if origin == self._origin:
            return
        past = world.demand[:, :, origin - HISTORY_DAYS * DAY : origin].reshape(len(self._keys), -1)
        history, _abstained = prepare(SeriesSet(self._keys, (origin - HISTORY_DAYS * DAY) * STEP_S, STEP_S, past))
        self._scenarios, self._origin = build_scenarios(history, DAY, seed=0), origin


def _cost(world: World, vm: int, step: int, bandwidth_mib_s: float) -> PredictedMove:
    cpu, memory = (float(amount) for amount in world.demand[vm, :2, step])
    demand = MigrationDemand(memory_mib=memory, dirty_mib_s=10.0 * cpu, bandwidth_mib_s=bandwidth_mib_s)
    return PredictedMove(predict_precopy(demand))


@dataclass(frozen=True)
class Report:
    """What came of a rule."""

    name: str
    migrations: int
    overload_host_h: float
    overload_depth_h: float
    slav: float
    seconds: float


def replay(name: str, rule: Rule, start: World, moves: Sequence[Sequence[int]], first: int) -> Report:
    """Replay the week under ``rule``; ``moves[h]`` are the VMs that must move at hour ``h`` after step ``first``."""
    world = replace(start, host_of=start.host_of.copy())
    migrations, over_steps, depth, lost = 0, 0.0, 0.0, 0.0
    full, active = np.zeros(world.hosts), np.zeros(world.hosts)
    spent = 0.0
    for hour, asked in enumerate(moves):
        step = first + hour * HOUR
        began = time.process_time()
        for vm in asked:
            target = rule(world, vm, step)
            if target is not None and target != world.host_of[vm]:
                world.host_of[vm] = target
                migrations += 1
                lost += MIGRATION_LOSS * float(world.demand[vm, 0, step] * world.demand[vm, 1, step]) / LINK_MIB_S
        spent += time.process_time() - began
        for now in range(step, step + HOUR):
            share = world.use(now) / world.capacity
            over_steps += int((share > 1.0).any(axis=1).sum())
            depth += float(np.maximum(share - 1.0, 0).sum())
            full += share[:, 0] >= 1.0
            active += share[:, 0] > 0
    asked_cpu = float(world.demand[:, 0, first : first + len(moves) * HOUR].sum()) * STEP_S
    slav = float((full / np.maximum(active, 1)).mean()) * lost / asked_cpu
    hours = STEP_S / 3600
    return Report(name, migrations, over_steps * hours, depth * hours, slav, spent)


def replay_estate(options: argparse.Namespace, seed: int) -> list[Report]:
    """Return what came of every rule on the estate of that seed."""
    rng = np.random.default_rng(seed)
    first = HISTORY_DAYS * DAY
    world = make_world(read_traces(options.traces), options.hosts, options.vms, first + options.days * DAY, rng)
    moves = [
        rng.choice(options.vms, options.moves_per_hour, replace=False).tolist() for _unused in range(options.days * 24)
    ]
    rules: dict[str, Rule] = {
        "no moves at all": lambda _world, _vm, _step: None,
        "first fit on current use": first_fit,
        "least loaded now": least_loaded,
        "threshold rule": threshold,
        "LR-MMT placement": lr_mmt,
        "host_select": HostSelect(world, may_stay=False),
        "host_select, free to stay": HostSelect(world, may_stay=True),
    }
    return [replay(name, rule, world, moves, first) for name, rule in rules.items()]


def main() -> None:
    """Replay every rule on every estate and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traces", type=Path, default=SAMPLE)
    parser.add_argument("--hosts", type=int, default=50)
    parser.add_argument("--vms", type=int, default=500)
    parser.add_argument("--moves-per-hour", type=int, default=4)
    parser.add_argument("--days", type=int, default=7)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    options = parser.parse_args()
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
        estates = list(pool.map(replay_estate, [options] * len(options.seeds), options.seeds))
    seeds = ", ".join(map(str, options.seeds))
    print(f"{options.traces.name}: {options.vms} VMs on {options.hosts} hosts, {options.days} days, seeds {seeds}")
    print("| rule | migrations | overload, host-hours | of each estate | depth x hours | SLAV x 10^6 | CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for reports in zip(*estates, strict=True):
        each = ", ".join(f"{report.overload_host_h:.1f}" for report in reports)
        print(
            f"| {reports[0].name} | {sum(report.migrations for report in reports)} "
            f"| {sum(report.overload_host_h for report in reports):.1f} | {each} "
            f"| {sum(report.overload_depth_h for report in reports):.2f} "
            f"| {np.mean([report.slav for report in reports]) * 1e6:.2f} "
            f"| {sum(report.seconds for report in reports):.1f} |"
        )


if __name__ == "__main__":
    main()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Our moves beside plain ``virsh migrate`` on real KVM hosts: duration, bytes, silence, and the prediction's worth.

    python benchmarks/kvm.py [--repeat 3] [--guest NAME ...] [--way NAME ...] [--details]

Brings up a lab of its own (see docs/kvm.md), or says why this machine cannot. Every way moves the same guest over the
same link. ``duration`` is that of libvirt's job (of the virsh command where libvirt keeps no account of it), ``silent``
the longest time without a heartbeat of the guest; everything is the median of the repeats. ``--guest`` and ``--way``
choose rows, so that the table can be made in parts; ``--details`` also prints each of our moves, with what its
prediction rests on, as one line of JSON.
"""

from __future__ import annotations

import argparse
import importlib
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes this checkout importable as the collection
import libvirt  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.errors import ForesightError  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.migration.strategy import DEFAULT_MEANS  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import (  # noqa: E402
    CollectRequest,
    collect,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast import (  # noqa: E402
    ForecastVmsRequest,
    forecast_vms,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import (  # noqa: E402
    MigrateRequest,
    migrate_vm,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve import reserve  # noqa: E402
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_request import (  # noqa: E402
    ReserveRequest,
)
from ansible_collections.foresight.migration.tests.labs.kvm.guests import (  # noqa: E402
    GuestSpec,
    Heartbeats,
    clear_guests,
    start_guest,
)
from ansible_collections.foresight.migration.tests.labs.kvm.lab import Lab  # noqa: E402
from ansible_collections.foresight.migration.tests.labs.kvm.packages import LabUnavailable  # noqa: E402

#: What the link between the hosts carries: 200 Mbit/s.
LINK, LINK_MBIT_S, LINK_MIB_S = "200mbit", 200.0, 200e6 / 8 / 2**20
WORKLOADS = {
    "idle": GuestSpec(1),
    "writes 8 MiB/s": GuestSpec(1, rate_mib_s=8),
    "writes 40 MiB/s": GuestSpec(1, rate_mib_s=40),
}
#: A move that has not ended by then counts as one that does not end, and is aborted.
LIMIT_S = 45
MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """One move. ``predicted_s`` and ``predicted_mib`` are there for our own moves."""

    duration_s: float
    transferred_mib: float | None
    silent_ms: float
    predicted_s: float | None = None
    predicted_mib: float | None = None
    how: str = ""


class Bench:
    """A lab, its heartbeats, and the ways to move a guest from its first host to its second."""

    def __init__(self, lab: Lab, heartbeats: Heartbeats, folder: Path, details: bool) -> None:
        self._lab = lab
        self._details = details
        self._heartbeats = heartbeats
        self._store = str(folder / "store")
        self._endpoints = [
            {
                "name": host.name,
                "type": "libvirt",
                "uri": host.uri,
                "migration_uri": host.peer_uri,
                "migration_link_mbit_s": LINK_MBIT_S,
                "timeout_s": 60.0,
            }
            for host in lab.hosts
        ]

    def virsh(self, spec: GuestSpec, *flags: str) -> Measured | None:
        """Move by virsh; None when that does not end."""
        source, target = self._lab.hosts[:2]
        since = time.monotonic()
        command = ("timeout", str(LIMIT_S), "virsh", "migrate", "--live", "--p2p", *flags, spec.name, target.peer_uri)
        try:
            source.run(*command, timeout=LIMIT_S + 30.0)
        except LabUnavailable:
            source.run("bash", "-c", 'virsh domjobabort "$1" || true', "abort", spec.name)
            return None
        took_s = time.monotonic() - since
        connection = libvirt.open(target.uri)
        stats = connection.lookupByUUIDString(spec.uuid).jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)
        connection.close()
        if not stats.get("type"):  # after a post-copy the destination keeps none
            return Measured(took_s, None, self._silence(spec, since))
        return Measured(stats["time_elapsed"] / 1000, stats["data_processed"] / MIB, self._silence(spec, since))

    def ours(self, spec: GuestSpec, *means: str) -> Measured | None:
        """Move by vm_migrate's operation, with a reservation; None when it refuses or fails."""
        context, base = Context(), {"endpoints": self._endpoints, "store": self._store}
        collect(CollectRequest(**base, history_hours=0.0), context)
        forecast_vms(ForecastVmsRequest(self._store, horizon_hours=2.0, on_no_history="allocated"), context)
        amount = {"cpu_cores": 1.0, "memory_mib": 256.0}
        request = ReserveRequest(**base, vm=spec.uuid, host="labh2", amount=amount, window_hours=1.0)
        reserve(request, context)
        since = time.monotonic()
        terms = {"max_downtime_ms": 1000.0, "max_duration_s": float(LIMIT_S)}
        try:
            outcome = migrate_vm(MigrateRequest(**base, vm=spec.uuid, sla=terms, means=means), context)
        except ForesightError as error:
            print(f"  {error.code}: {error.message}", flush=True)
            return None
        actual, predicted = outcome.result["actual"], outcome.result["predicted"]
        silent_ms = self._silence(spec, since)
        if self._details:
            shown = ("basis", "predicted", "actual", "timeline")
            details = {key: outcome.result[key] for key in shown} | outcome.result["strategy"]
            print(json.dumps({**details, "silent_ms": silent_ms}), file=sys.stderr, flush=True)
        return Measured(
            actual["duration_s"],
            actual["transferred_mib"],
            silent_ms,
            predicted["duration_s"],
            predicted["transferred_mib"],
            outcome.result["strategy"]["name"],
        )

    def _silence(self, spec: GuestSpec, since_s: float) -> float:
        self._heartbeats.next_beat(spec.name)
        return self._heartbeats.life(spec.name, since_s).silence_ms

    def repeat(self, spec: GuestSpec, way: Callable[[GuestSpec], Measured | None], times: int) -> list[Measured | None]:
        """Move a fresh guest several times."""
        results = []
        for _turn in range(times):
            clear_guests(self._lab)
            start_guest(self._lab, self._lab.hosts[0], spec)
            self._heartbeats.next_beat(spec.name)
            results.append(way(spec))
        return results


WAYS: dict[str, Callable[[Bench, GuestSpec], Measured | None]] = {
    "virsh": lambda bench, spec: bench.virsh(spec),
    "virsh --auto-converge": lambda bench, spec: bench.virsh(spec, "--auto-converge"),
    "virsh --postcopy": lambda bench, spec: bench.virsh(spec, "--postcopy", "--postcopy-after-precopy"),
    "virsh --compressed": lambda bench, spec: bench.virsh(spec, "--compressed", "--comp-methods", "xbzrle"),
    "vm_migrate": lambda bench, spec: bench.ours(spec, *sorted(DEFAULT_MEANS)),
    "vm_migrate, post_copy allowed": lambda bench, spec: bench.ours(spec, "post_copy"),
}


def row(workload: str, way: str, results: Sequence[Measured | None]) -> str:
    """Return one line of the table."""
    ended = [result for result in results if result is not None]
    if not ended:
        return f"| {workload} | {way} | does not end | | | | |"

    def middle(value: Callable[[Measured], float | None]) -> float | None:
        known = [number for result in ended if (number := value(result)) is not None]
        return statistics.median(known) if known else None

    def ratio(over: Callable[[Measured], float | None], under: Callable[[Measured], float | None]) -> str:
        above, below = middle(over), middle(under)
        return f"{above / below:.2f}" if above is not None and below else ""

    def figure(value: Callable[[Measured], float | None], form: str) -> str:
        number = middle(value)
        return "" if number is None else form.format(number)

    figures = (
        figure(lambda r: r.duration_s, "{:.1f} s"),
        figure(lambda r: r.transferred_mib, "{:.0f} MiB"),
        figure(lambda r: r.silent_ms, "{:.0f} ms"),
        ratio(lambda r: r.predicted_s, lambda r: r.duration_s),
        ratio(lambda r: r.predicted_mib, lambda r: r.transferred_mib),
    )
    how = f" ({ended[0].how})" if ended[0].how else ""
    missed = len(results) - len(ended)
    return f"| {workload} | {way}{how}{f', {missed} did not end' if missed else ''} | {' | '.join(figures)} |"


def main() -> int:
    """Run everything and print the table; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--guest", action="append", choices=WORKLOADS, help="only this guest; may be repeated")
    parser.add_argument("--way", action="append", choices=WAYS, help="only this way; may be repeated")
    parser.add_argument("--details", action="store_true", help="print each of our moves as JSON to stderr")
    arguments = parser.parse_args()
    lab = Lab("bench", host_memory_mib=1024)
    libvirt.registerErrorHandler(lambda _context, _error: None, None)
    try:
        lab.up()
        for host in lab.hosts[:2]:
            host.shape_link(LINK)
        with Heartbeats(lab) as heartbeats, tempfile.TemporaryDirectory() as folder:
            bench = Bench(lab, heartbeats, Path(folder), arguments.details)
            print("| guest | way | duration | sent | silent | predicted / actual duration | ... bytes |")
            print("| --- | --- | --- | --- | --- | --- | --- |")
            for workload in arguments.guest or WORKLOADS:
                for way in arguments.way or WAYS:
                    results = bench.repeat(WORKLOADS[workload], partial(WAYS[way], bench), arguments.repeat)
                    print(row(workload, way, results), flush=True)
    except LabUnavailable as exc:
        print(f"skipped: {exc}", file=sys.stderr)
        return 1
    finally:
        lab.down()
    return 0


if __name__ == "__main__":
    sys.exit(main())

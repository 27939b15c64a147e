# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What it costs to read a vCenter: our collection of facts beside the info modules of other collections.

All run as Ansible modules, one after the other, against the same simulated vCenter on this machine: wall time, CPU time
of the client, and calls that the vCenter served. The others come from PyPI's `ansible` wheel and are installed below
.build on the first run. Ours reads hosts, clusters, rules, networks and storage besides the VMs that the others read.

    python benchmarks/bench_vmware.py [--vms 50 250] [--large 5000] [--ansible 12.3.0]
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes this checkout importable as the collection
from ansible_collections.foresight.migration.tests.labs.vcenter.lab import VCenter, build, running  # noqa: E402

OURS = "foresight.migration.vm_metrics_facts"
OTHERS = ("community.vmware.vmware_vm_info", "vmware.vmware.vm_resource_info")
MODULE_TIMEOUT_S = 1800


@dataclass(frozen=True)
class Cost:
    """What one module run took."""

    wall_s: float
    client_cpu_s: float
    calls: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--vms", type=int, nargs="*", default=[50, 250], help="sizes of inventory that all modules read"
    )
    parser.add_argument("--large", type=int, default=5000, help="size of inventory that only ours reads, 0 for none")
    parser.add_argument("--ansible", default="12.3.0", help="version of PyPI's ansible")
    options = parser.parse_args()
    collections = install(options.ansible)
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for vms in options.vms:
            with running(program, Path(folder, f"vcenter-{vms}"), flags(vms)) as vcenter:
                compare(vcenter, vms, OTHERS, collections, Path(folder, f"store-{vms}"))
        if options.large:
            with running(program, Path(folder, "large"), flags(options.large)) as vcenter:
                compare(vcenter, options.large, (), collections, Path(folder, "store-large"))
    return 0


def install(version: str) -> Path:
    """Return the folder that holds the other collections, installed when it is missing."""
    target = ROOT / ".build" / f"ansible-{version}"
    if not (target / "ansible_collections").is_dir():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target)]
        subprocess.run([*command, f"ansible=={version}"], check=True)
    return target


def compare(vcenter: VCenter, vms: int, others: Sequence[str], collections: Path, store: Path) -> None:
    """Show what our module and the others cost on the same vCenter."""
    ours = measure(OURS, our_arguments(vcenter, store), vcenter, collections)
    show(f"{OURS}, {vms} VMs", ours, ours)
    for module in others:
        show(f"{module}, {vms} VMs", measure(module, arguments(vcenter), vcenter, collections), ours)


def flags(vms: int) -> list[str]:
    return ["-clusters", "2", "-hosts", "8", "-copies", str(vms - 6)]


def our_arguments(vcenter: VCenter, store: Path) -> dict[str, Any]:
    return {"endpoints": [vcenter.endpoint(timeout_s=120.0)], "store": str(store), "gather_subset": ["min"]}


def arguments(vcenter: VCenter) -> dict[str, Any]:
    full = vcenter.endpoint()
    known = {name: full[name] for name in ("hostname", "port", "username", "password")}
    return {**known, "validate_certs": False}  # the others have no ca_path


def measure(module: str, options: Mapping[str, Any], vcenter: VCenter, collections: Path) -> Cost:
    """Run one module and return what it cost; raises when it fails."""
    vcenter.reset_requests()
    paths = os.pathsep.join([os.environ["PYTHONPATH"].split(os.pathsep)[0], str(collections)])
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": paths, "ANSIBLE_LOCALHOST_WARNING": "False"}
    command = [str(Path(sys.executable).with_name("ansible")), "localhost", "-i", "localhost,", "-c", "local"]
    command += ["-e", f"ansible_python_interpreter={sys.executable}", "-m", module, "-a", json.dumps(dict(options))]
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=MODULE_TIMEOUT_S, check=False
    )
    wall_s, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise RuntimeError(f"{module} failed:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Cost(wall_s, cpu_s, sum(vcenter.requests().values()))


def show(what: str, cost: Cost, base: Cost) -> None:
    print(
        f"{what:58} {cost.wall_s:7.1f} s wall ({cost.wall_s / base.wall_s:5.1f} x)"
        f" {cost.client_cpu_s:7.1f} s CPU ({cost.client_cpu_s / base.client_cpu_s:5.1f} x)"
        f" {cost.calls:7} calls ({cost.calls / base.calls:6.1f} x)",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())

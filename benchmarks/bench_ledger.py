# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How many claims per second the ledger grants, and what one costs in CPU time, on SQLite and on PostgreSQL.

Each writer is a process of its own. Claims go to 32 hosts in turn, each for another VM over the next hours, so that
every claim is a new reservation that is checked against all that the host holds already. PostgreSQL is started for
this from the installed server package, with the durability of its defaults; without one it is left out, with a note.

    python benchmarks/bench_ledger.py [--claims 2000] [--writers 1 16] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Barrier
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))
importlib.import_module("conftest")  # makes this checkout importable as the collection

HOSTS = 32
STEPS, STEP_S = 288, 300
START_TS = 1_800_000_000.0


def write_claims(url: str, writer: int, claims: int, gate: Barrier, cpu_s: Synchronized[float]) -> None:
    """Make ``claims`` claims, all granted, once every writer is ready; adds its CPU time to ``cpu_s``."""
    import numpy as np
    from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
    from ansible_collections.foresight.migration.plugins.module_utils.reservations.claims import ClaimRequest
    from ansible_collections.foresight.migration.plugins.module_utils.reservations.host_calendar import HostRoom
    from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger

    room = HostRoom(Resources(1e6, 1e9, 1e6, 1e6), {}, np.ones((4, STEPS)), START_TS, STEP_S)
    with open_ledger(url, actor=f"writer {writer}") as ledger:
        ledger.ledger_id()
        gate.wait()
        began_s = time.process_time()
        for number in range(claims):
            request = ClaimRequest(
                vm_uuid=f"vm-{writer}-{number}",
                host_key=f"e/h{(writer + number) % HOSTS}",
                amount=Resources(1.0, 1024.0, 10.0, 1.0),
                tier="hard",
                start_ts=START_TS,
                end_ts=START_TS + 4 * 3600.0,
                owner="benchmark",
            )
            ledger.claim(request, room, START_TS)
        with cpu_s.get_lock():
            cpu_s.value += time.process_time() - began_s
        gate.wait()


def claims_per_second(url: str, writers: int, claims: int) -> tuple[float, float]:
    """Return how many claims per second ``writers`` processes are granted together, and their CPU ms per claim."""
    gate = multiprocessing.Barrier(writers + 1)
    cpu_s = multiprocessing.Value("d", 0.0)
    each = claims // writers
    processes = [
        multiprocessing.Process(target=write_claims, args=(url, writer, each, gate, cpu_s)) for writer in range(writers)
    ]
    for process in processes:
        process.start()
    gate.wait()
    began = time.monotonic()
    gate.wait()
    elapsed_s = time.monotonic() - began
    for process in processes:
        process.join()
    return each * writers / elapsed_s, cpu_s.value / (each * writers) * 1000


@contextlib.contextmanager
def ledgers(folder: Path) -> Iterator[dict[str, list[str]]]:
    """Give, per database, a supply of URLs of empty ledgers."""
    from ansible_collections.foresight.migration.tests.labs.postgresql.server import programs, running

    with contextlib.ExitStack() as stack:
        urls = {"SQLite": [f"sqlite:///{folder}/ledger-{number}.db" for number in range(16)]}
        if programs() is None:
            print("PostgreSQL is left out: no server is installed (Debian package: postgresql)")
        else:
            server = stack.enter_context(running(durable=True))
            urls["PostgreSQL"] = [server.url(server.database()) for _unused in range(16)]
        yield urls


def main() -> None:
    """Print one line per database and number of writers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--claims", type=int, default=2000)
    parser.add_argument("--writers", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--folder", type=Path, help="where SQLite's files go (default: a temporary folder)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder, ledgers(Path(folder)) as urls:
        for database, supply in urls.items():
            for writers in options.writers:
                rate, cpu_ms = claims_per_second(supply.pop(), writers, options.claims)
                print(f"{database:<12}{writers:>3} writers  {rate:>6.0f} claims/s  {cpu_ms:>5.1f} ms CPU per claim")


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    main()

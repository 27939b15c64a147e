# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The guard over real moves: it yields to the application, grows the reservation, keeps the SLA and the budget."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.migration.errors import (
    MigrationFailed,
    PrecheckFailed,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.collect import CollectRequest, collect
from ansible_collections.foresight.migration.plugins.module_utils.operations.context import Context
from ansible_collections.foresight.migration.plugins.module_utils.operations.forecast import (
    ForecastVmsRequest,
    forecast_vms,
)
from ansible_collections.foresight.migration.plugins.module_utils.operations.migrate import MigrateRequest, migrate_vm
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve import reserve
from ansible_collections.foresight.migration.plugins.module_utils.operations.reserve_request import ReserveRequest
from ansible_collections.foresight.migration.plugins.module_utils.reservations.ledger import open_ledger
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace

from .conftest import Site, endpoint_options
from .guests import GuestSpec, Heartbeats
from .lab import LabHost
from .namespaces import wait_until
from .plays import holds
from .test_failures import BREAKS, repair

pytestmark = pytest.mark.lab

AMOUNT = {"cpu_cores": 1.0, "memory_mib": 256.0, "network_mbit_s": 10.0}


class Desk:
    """What the modules do, done in this process: a store, reservations on the second host, moves to it."""

    def __init__(self, site: Site, folder: Path) -> None:
        self._site = site
        self.store = str(folder / "store")
        endpoints = [
            {"name": host.name, "type": "libvirt", **endpoint_options(site.lab, host)} for host in site.lab.hosts
        ]
        self._base: dict[str, Any] = {"endpoints": endpoints, "store": self.store}

    def prepare(self) -> None:
        """Collect and forecast what runs now."""
        collect(CollectRequest(**self._base, history_hours=0.0), Context())
        forecast_vms(ForecastVmsRequest(self.store, horizon_hours=2.0, on_no_history="allocated"), Context())

    def reserve(self, guest: GuestSpec, amount: Mapping[str, float] | None = None, tier: str = "hard") -> str:
        """Reserve on the second host; returns the reservation's id."""
        amount = AMOUNT if amount is None else amount
        request = ReserveRequest(**self._base, vm=guest.uuid, host="labh2", tier=tier, amount=amount, window_hours=1.0)
        return str(reserve(request, Context()).result["reservation_id"])

    def migrate(self, guest: GuestSpec, **terms: Any) -> Mapping[str, Any]:
        """Move the guest to where it is reserved; returns vm_migrate's result."""
        return migrate_vm(MigrateRequest(**self._base, vm=guest.uuid, **terms), Context()).result

    def reconcile(self) -> None:
        """Remove what hosts hold for reservations that have ended."""
        reserve(ReserveRequest(**self._base, state="reconciled"), Context())

    def amount(self, reservation_id: str) -> Mapping[str, float]:
        """Return what is reserved."""
        with open_ledger(f"sqlite:///{self.store}/ledger.db", actor="test", writable=False) as ledger:
            return ledger.get(reservation_id).amount.as_dict()

    def state(self, reservation_id: str) -> str:
        """Return the state of a reservation."""
        with open_ledger(f"sqlite:///{self.store}/ledger.db", actor="test", writable=False) as ledger:
            return ledger.get(reservation_id).state


@pytest.fixture
def desk(site: Site, tmp_path: Path) -> Desk:
    return Desk(site, tmp_path)


@contextmanager
def door_to(guest: GuestSpec, beats: Heartbeats, client: LabHost) -> Iterator[str]:
    """Yield the URL of a page that is there once the guest has answered a question of a client on a host."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the library's name
            beats.tell(guest, f"name {guest.name}", client)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def codes(result: Mapping[str, Any]) -> list[str]:
    return [entry.get("code", "") for entry in result["timeline"]]


def test_the_guard_backs_off_while_the_application_behind_a_full_link_answers_late(site: Site, desk: Desk) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    desk.prepare()
    reservation = desk.reserve(guest)
    # the queue of 50 ms in front of the destination is full while the move sends all it can, and the guest's answers to
    # a client there wait in it
    site.lab.hosts[1].shape_link("40mbit")
    with door_to(guest, site.beats, site.lab.hosts[1]) as url:
        result = desk.migrate(guest, latency_url=url, sla={"max_latency_ms": 25, "soft": ["max_latency_ms"]})
    assert "back_off" in codes(result), result["timeline"]
    assert result["actual"]["application_silence_ms"] > 0
    site.assert_alone(guest, on=1, since_s=since)
    assert (holds(site.drivers), desk.state(reservation)) == ([], "consumed")


def test_a_reservation_that_the_guest_outgrows_while_it_moves_grows_with_it(site: Site, desk: Desk) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    desk.prepare()
    reservation = desk.reserve(guest, {**AMOUNT, "network_mbit_s": 0.1})
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(desk.migrate, guest, bandwidth_mib_s=5.0)
        wait_until(lambda: site.drivers[0].find_migration(guest.uuid), 60.0, "the move has not begun")
        site.beats.tell(guest, "hb 1")  # heartbeats of some 100 bytes, several hundred a second
        result = moving.result()
    site.beats.tell(guest, f"hb {guest.heartbeat_ms}")
    assert "demand_outgrew_reservation" in codes(result), result["timeline"]
    assert desk.amount(reservation)["network_mbit_s"] > 0.1
    assert desk.amount(reservation)["memory_mib"] >= AMOUNT["memory_mib"]
    site.assert_alone(guest, on=1, since_s=since)
    assert (holds(site.drivers), desk.state(reservation)) == ([], "consumed")


def test_a_move_that_outlasts_its_sla_is_aborted_and_kept_on_record(site: Site, desk: Desk) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    desk.prepare()
    reservation = desk.reserve(guest)
    site.lab.hosts[0].shape_link("20mbit")  # nobody has told the plan, which takes the link for a gigabit
    with pytest.raises(MigrationFailed) as failure:
        desk.migrate(guest, sla={"max_duration_s": 6})
    assert failure.value.details["cause"]["code"] == "sla_duration"
    site.assert_alone(guest, on=0, since_s=since)
    assert (holds(site.drivers), desk.state(reservation)) == ([], "released")
    (record,) = Workspace.open(desk.store).migrations.read()
    assert (record["outcome"], record["cause"]) == ("migration_failed", "sla_duration")
    assert 0 < record["actual"]["transferred_mib"] < record["predicted"]["transferred_mib"]


@pytest.mark.parametrize(
    "what",
    ["destination QEMU killed", "destination libvirtd killed", "destination powered off", "source libvirtd killed"],
)
def test_what_breaks_a_move_leaves_nothing_held_or_reserved_once_it_is_mended(
    site: Site, desk: Desk, what: str
) -> None:
    guest, since = site.start(GuestSpec(1)), time.monotonic()
    desk.prepare()
    reservation = desk.reserve(guest)
    with ThreadPoolExecutor(1) as pool:
        moving = pool.submit(desk.migrate, guest, bandwidth_mib_s=6.0)
        wait_until(lambda: site.drivers[0].find_migration(guest.uuid), 60.0, "the move has not begun")
        BREAKS[what](site.lab, guest)
        site.beats.next_beat(guest.name)
        repair(site.lab)
        with pytest.raises(MigrationFailed) as failure:
            moving.result()
    assert failure.value.details["cause"]["code"] in ("hypervisor_fault", "job_vanished")
    site.assert_alone(guest, on=0, since_s=since)
    assert desk.state(reservation) == "released"
    if failure.value.details["left"]:
        desk.reconcile()
    assert holds(site.drivers) == []


class Meter:
    """Counts, four times a second, what a host receives over its cable. Use it as a context manager."""

    def __init__(self, host: LabHost) -> None:
        self._host = host
        self._readings: list[tuple[float, int]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> Meter:
        self._thread.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    def _count(self) -> None:
        while not self._stop.wait(0.25):
            before_s, received, after_s = time.monotonic(), self._host.received_bytes(), time.monotonic()
            if after_s - before_s < 0.05:  # else a busy machine has kept it, and nobody knows when that was true
                self._readings.append((after_s, received))

    def fastest_mib_s(self, over_s: float) -> float:
        """Return the highest mean rate over any ``over_s`` seconds."""
        pairs = itertools.combinations(self._readings, 2)
        rates = [(after[1] - before[1]) / 2**20 / (after[0] - before[0]) for before, after in pairs
                 if over_s <= after[0] - before[0] < 2 * over_s]  # fmt: skip
        return max(rates)


def test_two_moves_at_once_into_one_host_share_the_link_and_keep_their_budget(site: Site, desk: Desk) -> None:
    first, second, since = site.start(GuestSpec(1)), site.start(GuestSpec(2), host=2), time.monotonic()
    desk.prepare()
    share = {**AMOUNT, "cpu_cores": 0.3}  # the lab's hosts are too small for two whole cores
    reservations = [desk.reserve(guest, share, "soft") for guest in (first, second)]
    budget_mib_s = 5.0
    with ThreadPoolExecutor(2) as pool, Meter(site.lab.hosts[1]) as meter:
        one = pool.submit(desk.migrate, first, bandwidth_mib_s=budget_mib_s)
        wait_until(lambda: site.drivers[0].find_migration(first.uuid), 60.0, "the first move has not begun")
        with pytest.raises(PrecheckFailed) as refusal:
            desk.migrate(second, limits={"incoming_per_host": 1}, dirty_rate_s=0.0)
        other = pool.submit(desk.migrate, second, bandwidth_mib_s=budget_mib_s)
        wait_until(lambda: site.drivers[2].find_migration(second.uuid), 60.0, "the second move has not begun")
        assert site.drivers[0].find_migration(first.uuid) is not None
        results = [one.result(), other.result()]
    assert "concurrency_incoming" in {failed["code"] for failed in refusal.value.details["failed"]}
    assert results[1]["basis"]["bandwidth_mib_s"] <= budget_mib_s
    assert meter.fastest_mib_s(over_s=2.0) < 2 * budget_mib_s * 1.2
    for guest, reservation in zip((first, second), reservations, strict=True):
        site.assert_alone(guest, on=1, since_s=since)
        assert desk.state(reservation) == "consumed"
    assert holds(site.drivers) == []

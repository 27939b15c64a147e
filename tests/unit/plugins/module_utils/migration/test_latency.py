# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The application's latency, asked of real sockets on loopback."""

from __future__ import annotations

import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.migration.errors import MigrationFailed
from ansible_collections.foresight.migration.plugins.module_utils.migration.latency import (
    PROBE_TIMEOUT_S,
    LatencyProbe,
    parse_target,
)

from .conftest import Estate

#: Longest wait for something that should happen at once, seconds.
LIMIT_S = 20.0


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


class _Application(BaseHTTPRequestHandler):
    """Answers after ``delay_s``; redirects when asked for ``/elsewhere``."""

    delay_s = 0.0
    asked: list[str] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        time.sleep(self.delay_s)
        self.send_response(302 if self.path == "/elsewhere" else 200)
        self.send_header("Location", "/followed")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def _serve(delay_s: float = 0.0) -> Iterator[tuple[int, type[_Application]]]:
    handler = type("Handler", (_Application,), {"delay_s": delay_s, "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1], handler
        finally:
            server.shutdown()
            thread.join(LIMIT_S)


def test_an_http_application_is_timed_and_redirects_are_not_followed() -> None:
    with _serve(delay_s=0.1) as served, LatencyProbe(f"http://127.0.0.1:{served[0]}/elsewhere?a=b") as probe:
        handler = served[1]
        _until(lambda: len(handler.asked) >= 2)
        _until(lambda: (probe.latency_ms() or 0) >= 100)
    assert set(handler.asked) == {"/elsewhere?a=b"}


def test_a_tcp_application_is_timed() -> None:
    with _serve() as served, LatencyProbe(f"tcp://127.0.0.1:{served[0]}") as probe:
        _until(lambda: probe.longest_silence_ms() is not None)
        _until(lambda: (probe.latency_ms() or PROBE_TIMEOUT_S * 1000) < PROBE_TIMEOUT_S * 1000)


def test_silence_is_measured_from_answer_to_answer() -> None:
    with _serve() as served, LatencyProbe(f"http://127.0.0.1:{served[0]}/") as probe:
        handler = served[1]
        _until(lambda: probe.longest_silence_ms() is not None)
        handler.delay_s = 0.6
        _until(lambda: (probe.longest_silence_ms() or 0) >= 600)


def test_an_application_that_has_fallen_silent_shows_before_it_answers_again() -> None:
    with _serve() as served, LatencyProbe(f"http://127.0.0.1:{served[0]}/") as probe:
        handler = served[1]
        _until(lambda: probe.longest_silence_ms() is not None)
        handler.delay_s = 1.5 * PROBE_TIMEOUT_S
        _until(lambda: (probe.longest_silence_ms() or 0) >= PROBE_TIMEOUT_S * 1000)
        handler.delay_s = 0.0
        probe.await_answer()
        assert (probe.latency_ms() or 0) > 0
        assert (probe.longest_silence_ms() or 0) >= PROBE_TIMEOUT_S * 1000


def test_an_application_that_does_not_answer_counts_with_the_timeout() -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), socketserver.BaseRequestHandler) as closed:
        port = closed.server_address[1]
    with LatencyProbe(f"tcp://127.0.0.1:{port}") as probe:
        _until(lambda: probe.latency_ms() is not None)
        assert probe.latency_ms() == 2000
        assert probe.longest_silence_ms() is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ping",
        "ftp://h/",
        "file:///etc/passwd",
        "tcp://h",
        "http://",
        "http://u:p@h/",
        "tcp://h:99999",
        "http://[::1",
    ],
)
def test_a_target_that_cannot_be_asked_safely_is_refused(url: str) -> None:
    with pytest.raises(InvalidOption):
        parse_target(url)


def test_a_move_that_makes_the_application_too_slow_backs_off_and_then_gives_up(estate: Estate) -> None:
    reservation = estate.reserve()
    estate.run_clock(speed=20)
    with _serve(delay_s=0.1) as (port, _handler), pytest.raises(MigrationFailed) as caught:
        estate.migrate(latency_url=f"http://127.0.0.1:{port}/", sla={"max_latency_ms": 50})
    codes = [entry.get("code") for entry in caught.value.details["timeline"]]
    assert codes.count("back_off") >= 3
    assert caught.value.details["cause"]["code"] == "sla_latency"
    assert estate.host_of() == "a"
    assert estate.reservations() == {reservation.reservation_id: "released"}

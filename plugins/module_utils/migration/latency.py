# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How fast an application answers while its VM moves: a TCP connect or an HTTP GET, again and again, in a thread."""

from __future__ import annotations

import http.client
import socket
import threading
import time
from urllib.parse import SplitResult, urlsplit

from ..errors import InvalidOption

#: Seconds between two questions, and how long one may wait for its answer.
PROBE_INTERVAL_S = 0.2
PROBE_TIMEOUT_S = 2.0
#: The latency reported is the slowest of so many last answers, so that one look of the guard misses none.
RECENT = 5


def parse_target(url: str) -> SplitResult:
    """Return the parsed ``tcp://host:port``, ``http://...`` or ``https://...``; raises `InvalidOption` for others."""
    try:
        target = urlsplit(url)
        port = target.port
    except ValueError as exc:
        raise InvalidOption("latency_url", f"{url!r} is not a URL: {exc}") from None
    if target.scheme not in ("tcp", "http", "https") or not target.hostname:
        raise InvalidOption("latency_url", f"{url!r} is not tcp://host:port, http://host/path or https://host/path")
    if target.username is not None:
        raise InvalidOption("latency_url", "it must not hold credentials")
    if target.scheme == "tcp" and port is None:
        raise InvalidOption("latency_url", f"{url!r} names no port")
    return target


class LatencyProbe:
    """Asks the application every `PROBE_INTERVAL_S` while it is open. Use it as a context manager.

    Only that it answers counts, and how fast; HTTP redirects are not followed, no proxy is used.
    """

    def __init__(self, url: str) -> None:
        """Take where to ask; raises `InvalidOption` for a URL that cannot be used. Nothing is sent yet."""
        self._target = parse_target(url)
        self._stop = threading.Event()
        self._lock = threading.Condition()
        self._recent_ms: list[float] = []
        self._answered_at: float | None = None
        self._silence_s = 0.0
        self._thread = threading.Thread(target=self._run, name="latency-probe", daemon=True)

    def __enter__(self) -> LatencyProbe:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join(PROBE_TIMEOUT_S + 1.0)

    def latency_ms(self) -> float | None:
        """Return the slowest of the last answers, ms; a missing one counts as the timeout; None: nothing asked yet."""
        with self._lock:
            return max(self._recent_ms, default=None)

    def longest_silence_ms(self) -> float | None:
        """Return the longest time between two answers so far, ms, to within the interval; None: it never answered.

        The time since the last answer counts too, so that an application that has fallen silent shows.
        """
        with self._lock:
            if self._answered_at is None:
                return None
            return max(self._silence_s, time.monotonic() - self._answered_at) * 1000.0

    def await_answer(self) -> None:
        """Wait until the application has answered once more, but no longer than one answer may take.

        A VM that has just been handed over is silent for a moment longer than its move lasts.
        """
        asked = time.monotonic()
        with self._lock:
            self._lock.wait_for(
                lambda: self._answered_at is not None and self._answered_at > asked,
                PROBE_TIMEOUT_S + PROBE_INTERVAL_S,
            )

    def _run(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            answered = self._ask()
            self._remember(started, time.monotonic(), answered)
            self._stop.wait(PROBE_INTERVAL_S)

    def _remember(self, started: float, ended: float, answered: bool) -> None:
        latency_ms = (ended - started) * 1000.0 if answered else PROBE_TIMEOUT_S * 1000.0
        with self._lock:
            self._recent_ms = [*self._recent_ms[1 - RECENT :], latency_ms]
            if answered:
                if self._answered_at is not None:
                    self._silence_s = max(self._silence_s, ended - self._answered_at)
                self._answered_at = ended
                self._lock.notify_all()

    def _ask(self) -> bool:
        """Return whether the application answered."""
        try:
            if self._target.scheme == "tcp":
                self._connect()
            else:
                self._get()
        except (OSError, http.client.HTTPException):
            return False
        return True

    def _connect(self) -> None:
        with socket.create_connection((self._target.hostname or "", self._target.port or 0), PROBE_TIMEOUT_S):
            pass

    def _get(self) -> None:
        kind = http.client.HTTPSConnection if self._target.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._target.hostname or "", self._target.port, timeout=PROBE_TIMEOUT_S)
        path = self._target.path or "/"
        try:
            connection.request("GET", f"{path}?{self._target.query}" if self._target.query else path)
            connection.getresponse().read(1)
        finally:
            connection.close()

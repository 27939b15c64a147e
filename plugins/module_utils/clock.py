# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Time as the estate sees it: real for real hypervisors, replayed for simulated ones."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from .errors import InvalidOption


class Clock(Protocol):
    """What says which time it is and waits for it to pass. Times are Unix seconds, UTC."""

    def now(self) -> float:
        """Return the current time in Unix seconds."""

    def sleep(self, seconds: float) -> None:
        """Return when ``seconds`` of this clock's time have passed."""


class SystemClock:
    """The time of this machine."""

    def now(self) -> float:
        return time.time()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def to_iso(ts: float) -> str:
    """Return Unix seconds as ISO 8601 in UTC to the second, for example ``2026-03-01T21:05:00Z``."""
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_iso(text: str, option: str) -> float:
    """Return the Unix seconds of an ISO 8601 time; one without an offset is taken as UTC.

    Raises `InvalidOption` naming ``option`` when the text is not such a time.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidOption(option, f"{text!r} is not an ISO 8601 time such as 2026-03-01T21:05:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp()

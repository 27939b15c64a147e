# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Times as files have them, to Unix seconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ..errors import InvalidOption

TIME_FORMATS = ("iso", "unix_s", "unix_ms")


class TimeReader:
    """Turns one file's times into Unix seconds.

    ISO 8601 times without an offset are local to ``timezone``. When clocks are set back, an hour of local times comes
    twice: a repeated time is the later one when the entity has passed the earlier already, as rows come in order.
    """

    def __init__(self, time_format: str, timezone: str) -> None:
        """Raises `InvalidOption` for an unknown format or zone."""
        if time_format not in TIME_FORMATS:
            raise InvalidOption("sources.time_format", f"{time_format!r} is none of {', '.join(TIME_FORMATS)}")
        try:
            self._zone = ZoneInfo(timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InvalidOption("sources.timezone", f"{timezone!r} is not a time zone such as Europe/Berlin") from None
        self._scale = {"unix_s": 1.0, "unix_ms": 1e-3}.get(time_format)
        self._last: dict[str, float] = {}

    def read(self, value: Any, entity: str) -> float:
        """Return the Unix seconds; raises ValueError that says what is wrong."""
        ts = self._moment(value, entity) if self._scale is None else self._number(value) * self._scale
        self._last[entity] = ts
        return ts

    def _number(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} is not a Unix time") from None
        if not math.isfinite(number):
            raise ValueError(f"{value!r} is not a Unix time")
        return number

    def _moment(self, value: Any, entity: str) -> float:
        if isinstance(value, datetime):
            moment = value
        else:
            try:
                moment = datetime.fromisoformat(str(value).strip())
            except ValueError:
                raise ValueError(f"{value!r} is not an ISO 8601 time") from None
        if moment.tzinfo is not None:
            return moment.timestamp()
        return self._local(moment, entity)

    def _local(self, moment: datetime, entity: str) -> float:
        earlier = moment.replace(tzinfo=self._zone, fold=0)
        later = moment.replace(tzinfo=self._zone, fold=1)
        if earlier.utcoffset() == later.utcoffset():
            return earlier.timestamp()
        if earlier.astimezone(UTC).astimezone(self._zone).replace(tzinfo=None) != moment:
            raise ValueError(f"{moment.isoformat()} does not exist in {self._zone.key}: the clocks were set forward")
        return (earlier if earlier.timestamp() > self._last.get(entity, -math.inf) else later).timestamp()

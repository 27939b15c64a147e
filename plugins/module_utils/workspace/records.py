# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Small JSON records: finished migrations, counters between collections, scheduled events."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..estate.event import Event
from ..estate.serialise import from_data, to_data
from .errors import BadArtefact
from .files import Files
from .names import encode_part


def read_json(files: Files, path: str) -> Any:
    """Return the file's JSON; raises FileNotFoundError, or `BadArtefact` when it is not JSON."""
    try:
        return json.loads(files.read(path))
    except ValueError as exc:
        raise BadArtefact(f"{files.location}/{path} is not JSON: {exc}", advice="Remove that file.") from exc


def write_json(files: Files, path: str, data: Any) -> None:
    """Store ``data`` (nouns allowed) as JSON."""
    files.write(path, json.dumps(to_data(data), separators=(",", ":"), sort_keys=True).encode())


#: The ``outcome`` of a record whose VM has arrived; otherwise it is the code of the error that the run ended with.
ARRIVED = "moved"


class MigrationLog:
    """What was predicted of each migration and what it really was; one file each, so that writers never meet."""

    FOLDER = "migrations"

    def __init__(self, files: Files) -> None:
        self._files = files

    def append(self, record: Mapping[str, Any]) -> None:
        """Store one JSON-able record."""
        name = f"{time.time_ns() // 1000:017d}-{uuid.uuid4().hex[:12]}.json"
        write_json(self._files, f"{self.FOLDER}/{name}", record)

    def read(self) -> list[dict[str, Any]]:
        """Return all records in the order in which they were stored; raises `BadArtefact` for a damaged one."""
        return list(self.newest_first())[::-1]

    def newest_first(self) -> Iterator[dict[str, Any]]:
        """Yield the records, the one stored last first, each read when it is asked for; raises as `read` does."""
        for entry in reversed(self._files.files(self.FOLDER)):
            yield dict(read_json(self._files, f"{self.FOLDER}/{entry.name}"))


class Counters:
    """What a collection must remember for the next one, by endpoint or source."""

    FOLDER = "counters"

    def __init__(self, files: Files) -> None:
        self._files = files

    def read(self, endpoint: str) -> Mapping[str, Any]:
        """Return what was last written for that endpoint; empty when nothing was, or when it is damaged.

        Losing it costs one reading of rates, so damage is no reason to fail.
        """
        try:
            data = read_json(self._files, self._path(endpoint))
        except (FileNotFoundError, BadArtefact):
            return {}
        return data if isinstance(data, dict) else {}

    def write(self, endpoint: str, counters: Mapping[str, Any]) -> None:
        """Replace what is remembered for that endpoint."""
        write_json(self._files, self._path(endpoint), counters)

    def _path(self, endpoint: str) -> str:
        return f"{self.FOLDER}/{encode_part(endpoint, 'endpoints.name')}.json"


class Events:
    """The scheduled events of the estate, one file each by uid."""

    FOLDER = "events"

    def __init__(self, files: Files) -> None:
        self._files = files

    def put(self, events: Iterable[Event], *, replace: bool = False) -> None:
        """Store ``events``; one with the uid of a stored event takes its place. ``replace`` removes all others.

        Raises `InvalidOption` for an event that cannot be used, before anything is stored.
        """
        paths = {self._path(event.check()): event for event in events}
        for path, event in paths.items():
            write_json(self._files, path, event)
        if replace:
            for entry in self._files.files(self.FOLDER):
                if f"{self.FOLDER}/{entry.name}" not in paths:
                    self._files.delete(f"{self.FOLDER}/{entry.name}")

    def all(self) -> tuple[Event, ...]:
        """Return the stored events by name and uid; raises `BadArtefact` for a damaged one."""
        stored = (read_json(self._files, f"{self.FOLDER}/{entry.name}") for entry in self._files.files(self.FOLDER))
        return tuple(sorted((from_data(Event, data) for data in stored), key=lambda event: (event.name, event.uid)))

    def _path(self, event: Event) -> str:
        return f"{self.FOLDER}/{hashlib.sha256(event.uid.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}.json"

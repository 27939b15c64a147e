# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Estate snapshots: one JSON file each."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from ..estate.serialise import from_data, to_data
from ..estate.snapshot import Estate
from .errors import ArtefactMissing, BadArtefact
from .files import Files
from .names import check_id

FOLDER = "estate"
LATEST = "latest"
_FILE = re.compile(r"\d{8}T\d{9}Z-[0-9a-f]{12}\.json")


class Snapshots:
    """What the estate was at each collection. Ids sort by time and are safe as file names."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def write(self, estate: Estate) -> str:
        """Store ``estate`` and return its id, made of its time and content; the same estate has the same id."""
        snapshot_id, content = _encode(estate)
        self._files.write(f"{FOLDER}/{snapshot_id}.json", content)
        return snapshot_id

    def read(self, snapshot_id: str) -> Estate:
        """Return the estate of that id, or the newest for ``latest``; raises `ArtefactMissing` or `BadArtefact`."""
        if snapshot_id == LATEST:
            return self.latest()
        try:
            content = self._files.read(f"{FOLDER}/{check_id(snapshot_id, 'snapshot_id')}.json")
        except FileNotFoundError:
            raise ArtefactMissing(
                f"{self._files.location} holds no estate snapshot {snapshot_id!r}", advice=_COLLECT_FIRST
            ) from None
        return _decode(snapshot_id, content)

    def latest(self) -> Estate:
        """Return the newest estate; raises `ArtefactMissing` when there is none."""
        ids = self.ids()
        if not ids:
            raise ArtefactMissing(f"{self._files.location} holds no estate snapshot", advice=_COLLECT_FIRST)
        return self.read(ids[-1])

    def ids(self) -> list[str]:
        """Return all ids, oldest first."""
        return [entry.name.removesuffix(".json") for entry in self._files.files(FOLDER) if _FILE.fullmatch(entry.name)]

    def delete(self, snapshot_id: str) -> None:
        """Remove that snapshot; one that is gone already is fine."""
        self._files.delete(f"{FOLDER}/{check_id(snapshot_id, 'snapshot_id')}.json")


_COLLECT_FIRST = "Collect the estate first (vm_metrics_facts, role metrics), or check the store."


def snapshot_id_of(estate: Estate) -> str:
    """Return the id that `Snapshots.write` would give this estate."""
    return _encode(estate)[0]


def _encode(estate: Estate) -> tuple[str, bytes]:
    data = to_data(replace(estate, snapshot_id=""))
    content = json.dumps(data, separators=(",", ":"), sort_keys=True).encode()
    moment = datetime.fromtimestamp(estate.taken_ts, UTC)
    stamp = f"{moment:%Y%m%dT%H%M%S}{moment.microsecond // 1000:03d}Z"
    return f"{stamp}-{hashlib.sha256(content).hexdigest()[:12]}", content


def _decode(snapshot_id: str, content: bytes) -> Estate:
    try:
        data: Any = json.loads(content)
    except ValueError as exc:
        raise BadArtefact(f"Estate snapshot {snapshot_id!r} is not JSON: {exc}", advice=_COLLECT_FIRST) from exc
    return replace(from_data(Estate, data), snapshot_id=snapshot_id)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The workspace: where tasks leave for each other what they measured, saw and forecast."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import InvalidOption
from .errors import BadArtefact, StoreTooNew
from .files import Files, LocalFiles
from .forecasts import Forecasts
from .metrics import MetricsDataset
from .object_files import ObjectFiles
from .records import Counters, Events, MigrationLog, read_json, write_json
from .scores import ForecastScores
from .snapshots import Snapshots

#: The layout that this code writes, see docs/artefacts.md. A reader refuses a store with a higher number.
FORMAT_VERSION = 1
_STAMP = "workspace.json"


class Workspace:
    """One store. Its parts: `metrics`, `snapshots`, `forecasts`, `scores`, `migrations`, `events`, `counters`."""

    def __init__(self, files: Files, *, writable: bool) -> None:
        """Use `open`."""
        self.files = files
        self.metrics = MetricsDataset(files, writable=writable)
        self.snapshots = Snapshots(files)
        self.forecasts = Forecasts(files)
        self.migrations = MigrationLog(files)
        self.scores = ForecastScores(files)
        self.events = Events(files)
        self.counters = Counters(files)

    @classmethod
    def open(cls, store: str, *, writable: bool = True) -> Workspace:
        """Open the store at a folder's path or an ``s3://`` URL; a writable one is created when it is not there.

        A store that does not exist reads as an empty one. Raises `InvalidOption` for an unusable ``store``,
        `StoreTooNew` for one written by a newer version, `StoreNotWritable` or `StoreNotReadable`.
        """
        files = _open_files(store)
        if writable:
            files.check_writable()
        stamped = _check_version(files)
        if writable and not stamped:
            write_json(files, _STAMP, {"format": "foresight.migration workspace", "version": FORMAT_VERSION})
        return cls(files, writable=writable)

    @property
    def location(self) -> str:
        """Where the store is, as shown to people."""
        return self.files.location


def _open_files(store: str) -> Files:
    if not store:
        raise InvalidOption("store", "a folder or an s3:// URL is needed")
    scheme, separator, _rest = store.partition("://")
    if not separator:
        return LocalFiles(Path(store).expanduser().absolute())
    if scheme == "s3":
        return ObjectFiles.from_url(store)
    raise InvalidOption("store", f"{scheme}:// is not supported; give a folder or an s3:// URL")


def _check_version(files: Files) -> bool:
    """Return whether the store has a version stamp; raises `StoreTooNew` or `BadArtefact`."""
    try:
        stamp: Any = read_json(files, _STAMP)
    except FileNotFoundError:
        return False
    version = stamp.get("version") if isinstance(stamp, dict) else None
    if not isinstance(version, int):
        raise BadArtefact(f"{files.location}/{_STAMP} does not tell the version of the store")
    if version > FORMAT_VERSION:
        raise StoreTooNew(
            f"The store {files.location} has format version {version}, this collection reads up to {FORMAT_VERSION}",
            advice="Update the foresight.migration collection, or use another store.",
            details={"store_version": version, "supported_version": FORMAT_VERSION},
        )
    return True

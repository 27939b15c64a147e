# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a workspace's files lie: a local folder or an object store, behind one small interface."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from ..libraries import library
from .errors import StoreFull, StoreNotReadable, StoreNotWritable

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
else:
    np = library("numpy")
    pa = library("pyarrow")

#: Unfinished writes are named so; readers of Parquet data sets skip names that begin with a dot.
_UNFINISHED_PREFIX = "."
_UNFINISHED_SUFFIX = ".part"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FileEntry(NamedTuple):
    """One finished file of a folder. ``modified_ts`` is the storage's own time in Unix seconds."""

    name: str
    size: int
    modified_ts: float


class Files(Protocol):
    """Files under one root. Paths are relative, with ``/``; a file is seen whole or not at all."""

    @property
    def location(self) -> str:
        """The root, as shown to people."""

    def read(self, path: str) -> bytes:
        """Return the file's content; raises FileNotFoundError, or `StoreNotReadable`."""

    def open(self, path: str) -> Any:
        """Return what ``pyarrow.parquet.ParquetFile`` opens for random access; raises like `read`."""

    def open_array(self, path: str) -> Any:
        """Return the NumPy array in the ``.npy`` file, from disk as it is touched where possible; raises like `read`.

        Raises ValueError when the file is not one.
        """

    def write(self, path: str, *content: bytes | memoryview) -> None:
        """Create or replace the file by ``content``, joined, atomically; raises `StoreFull` or `StoreNotWritable`."""

    def delete(self, path: str) -> None:
        """Remove the file; one that is gone already is fine."""

    def delete_folder(self, path: str) -> None:
        """Remove the folder and all in it; one that is gone already is fine."""

    def files(self, folder: str) -> list[FileEntry]:
        """Return the finished files directly in ``folder`` by name; empty when there is no such folder."""

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly in ``folder``, sorted."""

    def tree(self, folder: str) -> list[str]:
        """Return the paths of all finished files below ``folder``, sorted; empty when there is no such folder."""

    def clean(self, before_ts: float) -> None:
        """Remove what writes left that were begun before ``before_ts`` (the storage's time) and never finished."""

    def check_writable(self) -> None:
        """Raise `StoreNotWritable` when nothing can be written under the root."""


class LocalFiles:
    """Files below a local folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def location(self) -> str:
        return str(self._root)

    @property
    def root(self) -> Path:
        """The folder itself."""
        return self._root

    def read(self, path: str) -> bytes:
        with self._reading(path):
            return (self._root / path).read_bytes()

    def open(self, path: str) -> Any:
        with self._reading(path):
            return pa.OSFile(str(self._root / path))

    def open_array(self, path: str) -> Any:
        with self._reading(path):
            return np.load(self._root / path, mmap_mode="r", allow_pickle=False)

    def write(self, path: str, *content: bytes | memoryview) -> None:
        target = self._root / path
        unfinished = target.parent / f"{_UNFINISHED_PREFIX}{uuid.uuid4().hex}{_UNFINISHED_SUFFIX}"
        with self._writing(path):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with unfinished.open("xb") as stream:
                    stream.writelines(content)
                    stream.flush()
                    os.fsync(stream.fileno())
                unfinished.replace(target)
            finally:
                unfinished.unlink(missing_ok=True)
            _sync_folder(target.parent)

    def delete(self, path: str) -> None:
        with self._writing(path):
            (self._root / path).unlink(missing_ok=True)

    def delete_folder(self, path: str) -> None:
        with self._writing(path):
            for folder, _subfolders, names in os.walk(self._root / path, topdown=False):
                for name in names:
                    Path(folder, name).unlink(missing_ok=True)
                _remove_if_empty(Path(folder))

    def files(self, folder: str) -> list[FileEntry]:
        found = []
        for entry in self._scan(folder):
            try:
                if entry.is_file() and not entry.name.startswith(_UNFINISHED_PREFIX):
                    status = entry.stat()
                    found.append(FileEntry(entry.name, status.st_size, status.st_mtime))
            except FileNotFoundError:
                continue  # another process merged or removed it while we listed
        return sorted(found)

    def folders(self, folder: str) -> list[str]:
        return sorted(entry.name for entry in self._scan(folder) if entry.is_dir() and not entry.name.startswith("."))

    def tree(self, folder: str) -> list[str]:
        found = []
        for place, _folders, names in os.walk(self._root / folder, onerror=self._refuse):
            relative = Path(place).relative_to(self._root).as_posix()
            found += [f"{relative}/{name}" for name in names if not name.startswith(_UNFINISHED_PREFIX)]
        return sorted(found)

    def clean(self, before_ts: float) -> None:
        with self._writing(""):
            for place, _folders, names in os.walk(self._root):
                for name in names:
                    unfinished = name.startswith(_UNFINISHED_PREFIX) and name.endswith(_UNFINISHED_SUFFIX)
                    if unfinished and _modified_ts(Path(place, name)) < before_ts:
                        Path(place, name).unlink(missing_ok=True)

    def check_writable(self) -> None:
        with self._writing(""):
            self._root.mkdir(parents=True, exist_ok=True)
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise StoreNotWritable(f"The store {self.location} cannot be written to", advice=_OWNER_ADVICE)

    def _scan(self, folder: str) -> list[os.DirEntry[str]]:
        try:
            with self._reading(folder), os.scandir(self._root / folder) as entries:
                return list(entries)
        except FileNotFoundError:
            return []

    def _refuse(self, exc: OSError) -> None:
        """Raise for a folder that cannot be listed, unless it is gone."""
        if not isinstance(exc, FileNotFoundError):
            raise StoreNotReadable(f"{exc.filename} cannot be read: {exc.strerror}", advice=_READ_ADVICE) from exc

    @contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise StoreNotReadable(f"{self._shown(path)} cannot be read: {exc.strerror}", advice=_READ_ADVICE) from exc

    @contextmanager
    def _writing(self, path: str) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            problem = f"{self._shown(path)} cannot be written: {exc.strerror}"
            if exc.errno in _FULL:
                raise StoreFull(problem, advice="Free some space, or lower retention_days.") from exc
            raise StoreNotWritable(problem, advice=_OWNER_ADVICE) from exc

    def _shown(self, path: str) -> str:
        return str(self._root / path)


_READ_ADVICE = "Check its owner and permissions."
_OWNER_ADVICE = "Check the owner and permissions of the folder, or set another store."


def _sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except FileNotFoundError:
        return
    except OSError as exc:
        if exc.errno != errno.ENOTEMPTY:
            raise


def _modified_ts(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")

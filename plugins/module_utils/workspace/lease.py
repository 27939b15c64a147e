# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One process at a time for a piece of work: a file lock in a folder, a leased object in an object store."""

from __future__ import annotations

import fcntl
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from .errors import BadArtefact
from .files import Files, LocalFiles
from .names import check_id
from .records import read_json, write_json

FOLDER = "leases"


def lease(files: Files, name: str, ttl_s: float) -> AbstractContextManager[bool]:
    """Return a context that holds the lease ``name``; it gives False when another process holds it.

    In a local folder it is a lock that the system frees whatever becomes of its holder. An object store has no such
    lock: there the lease is an object that counts for ``ttl_s`` seconds, and two processes that start within the same
    moment may both get it. It is for work that two may do at once without harm, only in vain.
    """
    return _local(files, name) if isinstance(files, LocalFiles) else _remote(files, name, ttl_s)


@contextmanager
def _local(files: LocalFiles, name: str) -> Iterator[bool]:
    path = f"{FOLDER}/{check_id(name, 'lease')}.lock"
    lock = files.root / path
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(descriptor)


@contextmanager
def _remote(files: Files, name: str, ttl_s: float) -> Iterator[bool]:
    path, owner = f"{FOLDER}/{check_id(name, 'lease')}.json", uuid.uuid4().hex
    if _holder(files, path) is not None:
        yield False
        return
    write_json(files, path, {"owner": owner, "until_ts": time.time() + ttl_s})
    held = _holder(files, path) == owner
    try:
        yield held
    finally:
        if held and _holder(files, path) == owner:
            files.delete(path)


def _holder(files: Files, path: str) -> str | None:
    """Return who holds the lease now."""
    try:
        stored = read_json(files, path)
        return str(stored["owner"]) if float(stored["until_ts"]) > time.time() else None
    except (FileNotFoundError, BadArtefact, KeyError, TypeError, ValueError):
        return None

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where the ledger is: its URL, and whether a file there would be safe."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..errors import InvalidOption
from ..libraries import library
from .ledger_errors import LedgerUnsafeLocation

if TYPE_CHECKING:
    import sqlalchemy as sa
else:
    sa = library("sqlalchemy")

#: Query parameters of a PostgreSQL URL that are secrets themselves.
SECRET_PARAMETERS = ("password", "sslpassword")

#: File systems on one machine's own disks or memory, whose locks and shared memory SQLite's WAL can rely on.
LOCAL_FILE_SYSTEMS = frozenset({"ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "tmpfs", "ramfs", "overlay"})
#: File systems shared between machines, on which SQLite's locks are not dependable
#: (https://www.sqlite.org/faq.html#q5 and https://www.sqlite.org/wal.html).
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "ncpfs", "9p", "virtiofs", "vboxsf", "vmhgfs",
        "ceph", "glusterfs", "lustre", "gpfs", "ocfs2", "gfs2", "beegfs", "orangefs", "pvfs2", "davfs", "prl_fs",
    }
)  # fmt: skip
#: FUSE file systems that are local all the same.
LOCAL_FUSE = frozenset({"fuse.fuse-overlayfs", "fuseblk"})

_MOUNTS = "/proc/self/mountinfo"


def ledger_url(ledger: str | None, store: str) -> str:
    """Return the URL of the ledger: ``ledger`` where it is given, else ``ledger.db`` in a local ``store``.

    Raises `InvalidOption` when the store is an object store, which cannot hold a database.
    """
    if ledger:
        return ledger
    if "://" in store:
        raise InvalidOption(
            "ledger",
            "must be given, because the store is not a local folder",
            advice="Set it to a PostgreSQL database: postgresql+psycopg://user@host/database",
        )
    return "sqlite:///" + os.path.join(os.path.abspath(os.path.expanduser(store)), "ledger.db")


def parse_url(url: str) -> sa.URL:
    """Return the parsed URL; ``postgresql://`` is taken as ``postgresql+psycopg://``.

    Raises `InvalidOption`, without quoting the URL, for any other kind and for a SQLite path that is not absolute.
    """
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise InvalidOption("ledger", "is not a URL", advice=_EXAMPLES) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername == "postgresql+psycopg":
        return parsed
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite"):
        raise InvalidOption("ledger", f"{parsed.drivername!r} is not a database it can be kept in", advice=_EXAMPLES)
    path = os.path.expanduser(parsed.database or "")
    if not os.path.isabs(path) or parsed.query:
        raise InvalidOption("ledger", "a SQLite ledger needs an absolute path and no parameters", advice=_EXAMPLES)
    return parsed.set(drivername="sqlite", database=os.path.normpath(path))


_EXAMPLES = "Use sqlite:////absolute/path/ledger.db or postgresql+psycopg://user@host/database."


def masked(url: str) -> str:
    """Return the URL as it may be shown: every password in it as ``***``."""
    parsed = parse_url(url)
    hidden = {name: "***" for name in SECRET_PARAMETERS if name in parsed.query}
    shown = parsed.update_query_dict(hidden) if hidden else parsed
    return shown.render_as_string(hide_password=True)


def secrets_of(url: sa.URL) -> tuple[str, ...]:
    """Return every secret in the URL, so that it can be taken out of other texts."""
    found: list[str] = [str(url.password)] if url.password else []
    for name in SECRET_PARAMETERS:
        value = url.query.get(name, ())
        found.extend([value] if isinstance(value, str) else value)
    return tuple(secret for secret in found if secret)


def without_secrets(text: str, url: sa.URL) -> str:
    """Return ``text`` with every secret of ``url`` replaced by ``***``."""
    for secret in sorted(secrets_of(url), key=len, reverse=True):
        text = text.replace(secret, "***")
    return text


def check_file_system(path: str, mounts: Iterable[str] | None = None) -> bool:
    """Return whether SQLite's WAL is safe at ``path``; False means its rollback journal has to do.

    Raises `LedgerUnsafeLocation` where locks are not dependable. ``mounts`` are the lines of
    ``/proc/self/mountinfo`` (default: read from there; on platforms without it the rollback journal is used).
    """
    kind = _file_system(path, _read_mounts() if mounts is None else mounts)
    if kind in NETWORK_FILE_SYSTEMS or (kind.startswith("fuse.") and kind not in LOCAL_FUSE):
        raise LedgerUnsafeLocation(
            f"{path} is on a {kind} file system, where SQLite's locks do not protect the ledger",
            advice="Keep the file on a local disk, or use a PostgreSQL ledger to share it between machines.",
            details={"path": path, "file_system": kind},
        )
    return kind in LOCAL_FILE_SYSTEMS


def _read_mounts() -> list[str]:
    if not os.path.exists(_MOUNTS):
        return []
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read().splitlines()


def _file_system(path: str, mounts: Iterable[str]) -> str:
    """Return the type of the file system that ``path`` is on, or will be on; empty when unknown."""
    real = os.path.realpath(path)
    best, kind = "", ""
    for line in mounts:
        fields = line.split(" ")
        mount_point = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), fields[4])
        prefix = mount_point.rstrip("/") + "/"
        if real.startswith(prefix) and len(prefix) >= len(best):  # a later mount covers an earlier one
            best, kind = prefix, fields[fields.index("-") + 1]
    return kind

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a VM's disks are, which of them other hosts reach too, and which a move must copy."""

from __future__ import annotations

import posixpath
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .xml import attribute

#: Pool types whose volumes every host with that pool sees; all others live on one host.
SHARED_POOLS = frozenset({"netfs", "iscsi", "iscsi-direct", "rbd", "gluster", "sheepdog", "vstorage", "mpath", "scsi"})


@dataclass(frozen=True, slots=True)
class Pool:
    """An active storage pool. ``path`` is where its volumes appear on the host; empty where they do not."""

    name: str
    kind: str
    path: str
    available_mib: float

    @property
    def shared(self) -> bool:
        """Whether the other hosts with this pool see the same volumes."""
        return self.kind in SHARED_POOLS


def shared_paths(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the folders that the endpoint's options declare to be the same on all hosts, without trailing slashes."""
    return tuple(posixpath.normpath(path) for path in options.get("shared_storage") or ())


def storage_name(pool: Pool, host_name: str) -> str:
    """Return how a pool is called in the estate: a pool of one host carries the host's name."""
    return pool.name if pool.shared else f"{pool.name}@{host_name}"


def is_under(path: str, folder: str) -> bool:
    """Return whether ``path`` lies in ``folder``, both as the host writes them."""
    return bool(folder) and posixpath.normpath(path).startswith(posixpath.normpath(folder).rstrip("/") + "/")


def disk_storage(disk: ET.Element, pools: Sequence[Pool], shared: Sequence[str], host_name: str) -> str | None:
    """Return the name of the storage a disk is on; None for an empty drive."""
    source = disk.find("source")
    if source is None:
        return None
    if disk.get("type") == "network":
        return f"{source.get('protocol', '')}:{posixpath.dirname(source.get('name', ''))}"
    pool = pool_of(disk, pools)
    if disk.get("type") == "volume":
        return storage_name(pool, host_name) if pool else source.get("pool")
    path = path_of(disk)
    if not path:
        return None
    folder = next((folder for folder in shared if is_under(path, folder)), None)
    if folder is not None:
        return folder
    return storage_name(pool, host_name) if pool else f"{posixpath.dirname(path)}@{host_name}"


def disks(description: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """Yield (target, element) of every disk of a VM that has something in it."""
    for disk in description.iterfind("devices/disk"):
        if disk.find("source") is not None:
            yield attribute(disk, "target", "dev"), disk


def path_of(disk: ET.Element) -> str:
    """Return where a disk appears on its host; empty where it does not."""
    source = disk.find("source")
    if source is None:
        return ""
    return source.get("file") or source.get("dev") or source.get("dir") or ""


def pool_of(disk: ET.Element, pools: Sequence[Pool]) -> Pool | None:
    """Return which of a host's ``pools`` a disk is in, or would be in there."""
    if disk.get("type") == "volume":
        name = attribute(disk, "source", "pool")
        return next((pool for pool in pools if pool.name == name), None)
    path = path_of(disk)
    inside = [pool for pool in pools if path and is_under(path, pool.path)]
    return max(inside, key=lambda pool: len(pool.path), default=None)


def is_reached(disk: ET.Element, pools: Sequence[Pool], shared: Sequence[str]) -> bool:
    """Return whether a host with those ``pools`` and ``shared`` folders has the very disk that the VM has now."""
    if disk.get("type") == "network" or disk.find("shareable") is not None:
        return True
    if any(is_under(path_of(disk), folder) for folder in shared):
        return True
    pool = pool_of(disk, pools)
    return pool is not None and pool.shared


def copied_disks(description: ET.Element, pools: Sequence[Pool], shared: Sequence[str]) -> tuple[str, ...]:
    """Return the targets of the disks to copy to a host with those ``pools`` and ``shared`` folders.

    libvirt must be told them: by itself it copies every writable disk of one VM, also one that both hosts reach, onto
    itself (``qemuMigrationAnyCopyDisk`` in its qemu_migration.c).
    """
    return tuple(
        target
        for target, disk in disks(description)
        if disk.find("readonly") is None and not is_reached(disk, pools, shared)
    )

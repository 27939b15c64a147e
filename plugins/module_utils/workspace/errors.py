# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What can go wrong with a workspace."""

from __future__ import annotations

from ..errors import ForesightError
from ..estate.serialise import BadArtefact

__all__ = ["ArtefactMissing", "BadArtefact", "StoreFull", "StoreNotReadable", "StoreNotWritable", "StoreTooNew"]


class StoreNotWritable(ForesightError):
    """The store cannot be written to."""

    code = "store_not_writable"


class StoreFull(StoreNotWritable):
    """There is no space left (or the quota is used up). Nothing half-written is left to be read."""

    code = "store_full"


class StoreNotReadable(ForesightError):
    """The store is there but cannot be read, or the object store does not answer."""

    code = "store_not_readable"


class StoreTooNew(ForesightError):
    """The store was written by a newer version of this collection than this one can read."""

    code = "store_too_new"


class ArtefactMissing(ForesightError):
    """The store holds no artefact of that id."""

    code = "artefact_missing"

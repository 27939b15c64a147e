# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one protocol of sources of metric history that are not hypervisors, and which class serves which type."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import ForesightError, InvalidOption
from ..estate.series import Samples
from .entities import Entities


class SourceFailed(ForesightError):
    """A source of metrics did not answer, or not with what was asked for."""

    code = "source_failed"


class Source(ABC):
    """Metric history kept elsewhere. ``warnings`` fills while samples are read."""

    def __init__(self, options: Mapping[str, Any], entities: Entities) -> None:
        """Take one item of ``sources`` and the VMs and hosts it may speak of; no I/O.

        Raises `InvalidOption` for options that cannot be used.
        """
        self.name = str(options["name"])
        self.entities = entities
        self.warnings: list[str] = []

    @abstractmethod
    def samples(self, since_ts: float, until_ts: float) -> Iterator[Samples]:
        """Yield samples in batches; raises `SourceFailed` or `InvalidOption`."""

    def fingerprint(self) -> str | None:
        """Return what changes whenever there is something new to read; None where that is not known."""
        return None


def open_source(options: Mapping[str, Any], entities: Entities) -> Source:
    """Return the source that ``options`` describe; raises `InvalidOption` for an unknown type."""
    kind = str(options["type"])
    if kind not in _SOURCES:
        raise InvalidOption("sources.type", f"unknown type {kind!r}; known are {', '.join(_SOURCES)}")
    return _SOURCES[kind]()(options, entities)


def _prometheus() -> type[Source]:
    from .prometheus import PrometheusSource

    return PrometheusSource


def _file() -> type[Source]:
    from .file_source import FileSource

    return FileSource


_SOURCES: dict[str, Callable[[], type[Source]]] = {"prometheus": _prometheus, "file": _file}
#: Source types that playbooks may name.
TYPES: tuple[str, ...] = tuple(_SOURCES)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The four resources that a host has, a VM needs and a reservation holds, as one vector with units."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any

from ..errors import InvalidOption

#: Resource name (as in the metrics dataset) -> field of `Resources`, whose name carries the unit.
FIELD_OF = {"cpu": "cpu_cores", "memory": "memory_mib", "network": "network_mbit_s", "disk": "disk_mib_s"}
#: The resources in the order every vector and array of them uses.
RESOURCES: tuple[str, ...] = tuple(FIELD_OF)
#: Share of a host's capacity that its load may reach, unless the user says otherwise; the rest is for the host itself
#: and for what no forecast sees.
DEFAULT_LIMITS: Mapping[str, float] = {"cpu": 0.9, "memory": 0.95, "network": 0.9, "disk": 0.9}
#: Units as people write them.
UNITS = {"cpu": "cores", "memory": "MiB", "network": "Mbit/s", "disk": "MiB/s"}


@dataclass(frozen=True, slots=True)
class Resources:
    """An amount of each resource.

    ``cpu_cores`` in physical cores (fractions allowed), ``memory_mib`` in MiB, ``network_mbit_s`` as received plus
    sent in Mbit/s, ``disk_mib_s`` as read plus written in MiB/s.
    """

    cpu_cores: float = 0.0
    memory_mib: float = 0.0
    network_mbit_s: float = 0.0
    disk_mib_s: float = 0.0

    def __iter__(self) -> Iterator[float]:
        """Yield the amounts in the order of `RESOURCES`."""
        return iter((self.cpu_cores, self.memory_mib, self.network_mbit_s, self.disk_mib_s))

    def __getitem__(self, resource: str) -> float:
        """Return the amount of ``resource`` (a name from `RESOURCES`)."""
        return float(getattr(self, FIELD_OF[resource]))

    def __add__(self, other: Resources) -> Resources:
        return self._combine(other, lambda a, b: a + b)

    def __sub__(self, other: Resources) -> Resources:
        return self._combine(other, lambda a, b: a - b)

    def scaled(self, factor: float) -> Resources:
        """Return every amount times ``factor``."""
        return Resources(*(amount * factor for amount in self))

    def maximum(self, other: Resources) -> Resources:
        """Return the larger amount of each resource."""
        return self._combine(other, max)

    def _combine(self, other: Resources, operation: Callable[[float, float], float]) -> Resources:
        return Resources(*(operation(a, b) for a, b in zip(self, other, strict=True)))

    def as_dict(self) -> dict[str, float]:
        """Return ``{cpu_cores, memory_mib, network_mbit_s, disk_mib_s}``."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], option: str = "resources") -> Resources:
        """Build from the fields' names; absent ones are 0.

        Raises `InvalidOption` naming ``option`` for an unknown field or a value that is not a finite number.
        """
        unknown = sorted(set(data) - set(FIELD_OF.values()))
        if unknown:
            raise InvalidOption(option, f"unknown resource {unknown[0]!r}; known are {', '.join(FIELD_OF.values())}")
        return cls(**{name: _finite(value, f"{option}.{name}") for name, value in data.items() if value is not None})


def checked_limits(given: Mapping[str, float | None]) -> dict[str, float]:
    """Return the limit of every resource, `DEFAULT_LIMITS` where ``given`` names none.

    Raises `InvalidOption` for an unknown resource or a value that is no share of a capacity.
    """
    unknown = sorted(set(given) - set(RESOURCES))
    if unknown:
        raise InvalidOption("limits", f"unknown resource {unknown[0]!r}; known are {', '.join(RESOURCES)}")
    limits = {**DEFAULT_LIMITS, **{name: share for name, share in given.items() if share is not None}}
    for name, share in limits.items():
        if not 0 < share <= 1:
            raise InvalidOption(f"limits.{name}", f"{share!r} is not a share of capacity above 0 and up to 1")
    return limits


def _finite(value: Any, option: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InvalidOption(option, f"{value!r} is not a number") from None
    if not math.isfinite(number):
        raise InvalidOption(option, f"{value!r} is not a finite number")
    return number

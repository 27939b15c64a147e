# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CPU compatibility in vCenter's own terms: EVC modes, each of which contains the features of those below it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class CpuModes:
    """The EVC modes a vCenter knows, as (key, vendor, tier); a mode of a vendor includes its lower tiers."""

    known: tuple[tuple[str, str, int], ...] = ()

    @classmethod
    def build(cls, modes: Iterable[Any]) -> CpuModes:
        """Build from `vim.EVCMode` objects."""
        return cls(tuple((str(mode.key), str(mode.vendor), int(mode.vendorTier)) for mode in modes))

    def up_to(self, key: str | None) -> frozenset[str]:
        """Return the mode ``key`` and all that it includes; empty for an unknown one, of which nothing can be said."""
        highest = next((mode for mode in self.known if mode[0] == key), None)
        if highest is None:
            return frozenset()
        vendor, tier = highest[1:]
        return frozenset(name for name, maker, level in self.known if maker == vendor and level <= tier)

    def required(self, key: str | None) -> frozenset[str]:
        """Return what a VM that needs mode ``key`` requires of a host; empty when that mode is unknown."""
        return frozenset({key}) if key and any(mode[0] == key for mode in self.known) else frozenset()

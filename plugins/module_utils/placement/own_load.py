# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a host uses besides its VMs: as forecast where there is a forecast of it, else as it is now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..estate.forecast import Scenarios
from ..estate.nouns import Host, Vm
from ..estate.resources import RESOURCES, UNITS
from ..estate.series import SeriesKey
from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Where the figure for a resource comes from: the forecast; what is used now; or nowhere, so that it counts as 0.
SOURCES = ("forecast", "present", "unknown")


@dataclass(frozen=True, slots=True)
class OwnLoad:
    """A host's own load. ``keys`` are its series, one per resource, to be summed with those of its VMs per scenario.

    ``constant`` is what counts besides at every step, for the resources without a forecast, shape (`RESOURCES`,);
    ``sources`` says per resource which of `SOURCES` it is.
    """

    host_key: str
    keys: tuple[SeriesKey, ...]
    constant: NDArray[np.float32]
    sources: Mapping[str, str]

    def caution(self, left_out: Mapping[SeriesKey, str]) -> str:
        """Return in a clause what is not forecast, what was taken instead and why; empty when nothing is amiss.

        ``left_out`` holds the forecast's own reasons. What is nothing now is not worth a word.
        """
        taken = [
            f"{name} {amount:.4g} {UNITS[name]}"
            for name, amount in zip(RESOURCES, self.constant.tolist(), strict=True)
            if self.sources[name] == "present" and amount > 0
        ]
        unknown = [name for name in RESOURCES if self.sources[name] == "unknown"]
        if not taken and not unknown:
            return ""
        clauses = [f"{', '.join(taken)} as now"] if taken else []
        if unknown:
            clauses.append(f"{', '.join(unknown)} as 0, for the use of the host or of a VM there is not known")
        missing = [key for key in self.keys if self.sources[key.metric] != "forecast"]
        why = sorted({left_out.get(key, "the forecast does not hold it") for key in missing})
        return f"{' and '.join(clauses)} ({'; '.join(why)})"


def own_keys(host: Host) -> tuple[SeriesKey, ...]:
    """Return the keys of the host's own load, in the order of `RESOURCES`."""
    return tuple(SeriesKey("host", host.key, resource) for resource in RESOURCES)


def own_load(host: Host, residents: Sequence[Vm], scenarios: Scenarios) -> OwnLoad:
    """Return the own load of ``host``, which carries ``residents``."""
    keys = own_keys(host)
    missing = {key.metric for key in scenarios.missing(keys)}
    present = present_own_load(host, residents) if missing else None
    instead = "unknown" if present is None else "present"
    constant = np.array(
        [present[row] if present is not None and name in missing else 0.0 for row, name in enumerate(RESOURCES)],
        np.float32,
    )
    return OwnLoad(host.key, keys, constant, {name: instead if name in missing else "forecast" for name in RESOURCES})


def present_own_load(host: Host, residents: Sequence[Vm]) -> tuple[float, ...] | None:
    """Return what the host uses now less what its VMs use, per resource; None where that cannot be told."""
    uses = [vm.used for vm in residents if vm.power_state != "off"]
    if host.used is None or any(use is None for use in uses):
        return None
    by_vms = [sum(amounts) for amounts in zip(*uses, strict=True)] if uses else [0.0] * len(RESOURCES)
    return tuple(max(all_ - vms, 0.0) for all_, vms in zip(host.used, by_vms, strict=True))

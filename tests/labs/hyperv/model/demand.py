# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a VM asks for over time: a recorded pattern that repeats, its value and its running total at any moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

KINDS = ("cpu_cores", "network_mib_s", "disk_mib_s")


@dataclass(frozen=True)
class Demand:
    """One value per step and kind; after the last step the pattern begins again, counted from Unix time 0."""

    cpu_cores: Sequence[float] = (0.0,)
    network_mib_s: Sequence[float] = (0.0,)
    disk_mib_s: Sequence[float] = (0.0,)
    step_s: float = 300.0

    def at(self, kind: str, ts: float) -> float:
        """Return the demand at ``ts``."""
        values: Sequence[float] = getattr(self, kind)
        return values[int(ts // self.step_s) % len(values)]

    def used(self, kind: str, since_ts: float, until_ts: float) -> float:
        """Return the demand summed over a span: core seconds, or MiB."""
        return self._total(kind, until_ts) - self._total(kind, since_ts)

    def _total(self, kind: str, ts: float) -> float:
        values: Sequence[float] = getattr(self, kind)
        sums = [0.0, *accumulate(value * self.step_s for value in values)]
        rounds, rest_s = divmod(ts, self.step_s * len(values))
        step = int(rest_s // self.step_s)
        return rounds * sums[-1] + sums[step] + values[step] * (rest_s - step * self.step_s)


def steady(cpu_cores: float, network_mib_s: float = 1.0, disk_mib_s: float = 2.0) -> Demand:
    """Return a demand that never changes."""
    return Demand((cpu_cores,), (network_mib_s,), (disk_mib_s,))

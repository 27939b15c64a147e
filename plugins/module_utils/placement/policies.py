# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a selection strives for: the weights of the score's components under each policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidOption
from ..estate.resources import RESOURCES

#: The components of the score, in the order in which they are shown.
COMPONENTS = ("risk", "impact", "migration", "sla", "balance")

#: Weights of the components under each scored policy. They are shares of the score and need not sum to 100.
WEIGHTS: Mapping[str, Mapping[str, float]] = {
    "balanced": {"risk": 40.0, "impact": 15.0, "migration": 15.0, "sla": 15.0, "balance": 15.0},
    "spread": {"risk": 30.0, "impact": 10.0, "migration": 10.0, "sla": 10.0, "balance": 40.0},
    "pack": {"risk": 35.0, "impact": 10.0, "migration": 5.0, "sla": 10.0, "balance": 40.0},
}
#: The points that the threshold rule gives per resource.
THRESHOLD_WEIGHTS: Mapping[str, float] = dict.fromkeys(RESOURCES, 1.0)

POLICIES = (*WEIGHTS, "threshold")


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy's ``name`` and ``weights``: of `COMPONENTS`, or of the resources when it is ``threshold``."""

    name: str
    weights: Mapping[str, float]

    @property
    def is_threshold(self) -> bool:
        """Whether hosts are judged by the threshold rule instead of the score."""
        return self.name == "threshold"


def policy(name: str, weights: Mapping[str, Any] | None = None) -> Policy:
    """Return the policy ``name`` with ``weights`` laid over its own.

    Raises `InvalidOption` for an unknown policy, an unknown weight, a negative one, or weights that are all 0.
    """
    if name not in POLICIES:
        raise InvalidOption("policy", f"unknown policy {name!r}; known are {', '.join(POLICIES)}")
    chosen = dict(THRESHOLD_WEIGHTS if name == "threshold" else WEIGHTS[name])
    for key, weight in (weights or {}).items():
        if key not in chosen:
            raise InvalidOption("weights", f"{key!r} has no weight under policy {name}; known are {', '.join(chosen)}")
        chosen[key] = _weight(key, weight)
    if not any(chosen.values()):
        raise InvalidOption("weights", "at least one weight must be above 0")
    return Policy(name, chosen)


def _weight(key: str, value: Any) -> float:
    """Return the weight, which comes from a playbook as a number or as text."""
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight < float("inf"):
        raise InvalidOption(f"weights.{key}", f"{value!r} is not a number of at least 0")
    return weight

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a selection answers: a verdict per host, and the decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import ForesightError
from ..estate.resources import Resources


@dataclass(frozen=True, slots=True)
class Reason:
    """Why something was decided: a stable ``code``, a sentence, and the figures behind it."""

    code: str
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OwnUse:
    """What a host uses besides its VMs: the ``mean`` over the window, by resource in its unit.

    ``sources`` says where each figure comes from (`own_load.SOURCES`), ``caution`` in a clause what is not forecast
    and why; empty when nothing is amiss.
    """

    mean: Mapping[str, float]
    sources: Mapping[str, str]
    caution: str = ""


@dataclass(frozen=True, slots=True)
class Load:
    """The load a host would carry with the VM over the window, from all scenarios.

    ``overload_probability``: that any resource passes its limit at any step; ``overload_by_resource``: each alone.
    ``expected_overload_h``: expected time above the limit times the depth (share of the limit), summed over
    resources, in hours. ``added_overload_h``: the part of it that is there only with the VM. ``peak_level``: the
    level (95 % of the scenarios, and never below the peak of the mean) of the highest load; ``headroom``: the share
    of the limit left above it, per resource (negative: exceeded). ``mean_use``: mean load as a share of capacity.
    Resources whose capacity is unknown are absent. ``own`` is the part that is the host's own, None where the load
    was not judged in full.
    """

    overload_probability: float
    overload_by_resource: Mapping[str, float]
    expected_overload_h: float
    added_overload_h: float
    peak_level: Mapping[str, float]
    headroom: Mapping[str, float]
    mean_use: Mapping[str, float]
    mean_peak_use: Mapping[str, float]
    own: OwnUse | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What moving the VM to one host costs, with the ``strategy`` that suits it best.

    ``throttle_percent`` is how far the VM would be slowed at most. The link shares are the parts of both ends' links
    that the move fills. ``firm`` is as in `PredictedMove`.
    """

    duration_s: float
    transferred_mib: float
    downtime_ms: float
    converges: bool
    bandwidth_mib_s: float
    link_share_source: float
    link_share_destination: float
    throttle_percent: float = 0.0
    strategy: str = "plain"
    firm: bool = True


#: ``chosen`` and ``ranked`` hosts could take the VM; ``rejected`` ones could not; ``outscored`` ones cannot reach the
#: best host's score whatever their full distribution says, so it was not computed; ``source`` is where the VM is.
STATUSES = ("chosen", "ranked", "rejected", "outscored", "source")


@dataclass(frozen=True, slots=True)
class HostVerdict:
    """One host's result. ``score`` is 0-100 (the sum of weights under ``threshold``), None where there is none.

    ``bound`` is the score it could have reached at best, as far as computed. ``components`` are 0-100 each.
    """

    host_key: str
    host_name: str
    status: str
    score: float | None = None
    bound: float | None = None
    components: Mapping[str, float] = field(default_factory=dict)
    reasons: tuple[Reason, ...] = ()
    load: Load | None = None
    cost: Cost | None = None
    available: Resources | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The decision: ``move`` to ``chosen``, or ``stay``, with the reasons for it.

    ``ranking`` holds the hosts that could take the VM, best first; ``outscored`` and ``rejected`` all others, in the
    order of their keys; ``staying`` is the verdict on the VM's present host. ``must_leave`` says why it is no option.
    """

    decision: str
    reasons: tuple[Reason, ...]
    chosen: HostVerdict | None
    ranking: tuple[HostVerdict, ...]
    outscored: tuple[HostVerdict, ...]
    rejected: tuple[HostVerdict, ...]
    staying: HostVerdict | None
    must_leave: tuple[Reason, ...] = ()
    warnings: tuple[str, ...] = ()

    def verdict(self, host_key: str) -> HostVerdict | None:
        """Return the verdict on that host, None when it was no candidate."""
        everywhere = (*self.ranking, *self.outscored, *self.rejected, *((self.staying,) if self.staying else ()))
        return next((found for found in everywhere if found.host_key == host_key), None)


class NoHostFits(ForesightError):
    """Every candidate was rejected. ``details['reasons']`` counts them by code, ``details['hosts']`` names them."""

    code = "no_host_fits"


class VmNotForecast(ForesightError):
    """The forecast holds nothing for this VM."""

    code = "vm_not_forecast"


class ForecastTooShort(ForesightError):
    """The forecast does not cover any of the window that is to be judged."""

    code = "forecast_stale"


class VmNotMovable(ForesightError):
    """The VM is not running, is a template, or its host is not in the snapshot."""

    code = "vm_not_movable"


class RivalBalancerActive(ForesightError):
    """Something else moves VMs on this cluster by itself."""

    code = "rival_balancer_active"

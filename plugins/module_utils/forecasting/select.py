# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""`auto`: who forecasts each series, by what would have served it best on its own last days."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..libraries import library
from . import backtest
from .backtest import Origin
from .evidence import Evidence
from .global_network import GlobalNetwork, weigh
from .levels import monotone
from .members import MEMBERS
from .model import Task
from .week_naive import WeekNaive

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: Beside the network's members: the days of the week, which they do not see.
WEEKLY = WeekNaive()
#: Past days on which the network is scored against the members, and which calibration sees.
SCORED_DAYS = 2
#: How much lower than the network's a member's loss must have been to be preferred: the network already weighs the
#: members by their losses, so that a small lead of one of them is mostly luck. Chosen on VMs that no published score
#: is of, around a network that had not learnt from them (docs/model-card.md).
CLEAR_LEAD = 0.85


@dataclass(frozen=True)
class Chosen:
    """What `auto` came to for some series: quantiles ahead and on past origins, with the model's name and the reason.

    Shapes: ``ahead`` and each of ``said`` (series, horizon, levels).
    """

    ahead: NDArray[np.float32]
    said: tuple[NDArray[np.float32], ...]
    models: tuple[str, ...]
    reasons: tuple[str, ...]


def choose(task: Task, past: Sequence[Origin], demoted: Sequence[frozenset[str]]) -> Chosen:
    """Forecast every series of ``task`` by the network, or by the member that was clearly better on the last days.

    ``past`` are its past origins; a model that a series has ``demoted`` is passed over for it.
    """
    scored = min(SCORED_DAYS, len(past))
    evidence = Evidence(task, past, kept=scored)
    ahead = weigh(task, evidence.now, evidence.losses)
    said = [weigh(past[day].task, evidence.then[day], evidence.losses[:, :, day + 1 :]) for day in range(scored)]
    network = _mean_known(
        np.stack([_loss(past[day], said[day]) for day in range(scored)], axis=1)
        if scored
        else np.full((len(ahead), 1), np.nan, np.float32)
    )
    candidates = _candidates(task, past[:scored], evidence)
    models, reasons = [], []
    for row, unwanted in enumerate(demoted):
        losses = {one.name: float(one.loss[row]) for one in candidates if one.name not in unwanted}
        name, reason = _pick(losses, network[row], GlobalNetwork.NAME in unwanted, scored)
        if name != GlobalNetwork.NAME:
            one = next(one for one in candidates if one.name == name)
            ahead[row] = one.ahead[row]
            for day in range(scored):
                said[day][row] = one.said[day][row]
        models.append(name)
        reasons.append(reason)
    return Chosen(monotone(ahead), tuple(monotone(one) for one in said), tuple(models), tuple(reasons))


@dataclass(frozen=True)
class _Candidate:
    """One that may be chosen instead of the network, with its mean ``loss`` on past origins (series,); as `Chosen`."""

    name: str
    ahead: NDArray[np.float32]
    said: tuple[NDArray[np.float32], ...]
    loss: NDArray[np.float64]


def _candidates(task: Task, scored: Sequence[Origin], evidence: Evidence) -> list[_Candidate]:
    """Return the members, and the week's rule where every past origin knew enough for it."""
    found = []
    for at, member in enumerate(MEMBERS):
        said = tuple(then[:, at] for then in evidence.then)
        loss = _mean_known(evidence.losses[:, at, : len(scored)])
        found.append(_Candidate(member.NAME, evidence.now[:, at], said, loss))
    if scored and all(WEEKLY.knows_enough(origin.task) for origin in scored):
        said = tuple(np.maximum(WEEKLY.quantiles(origin.task), 0.0) for origin in scored)
        losses = [_loss(origin, one) for origin, one in zip(scored, said, strict=True)]
        ahead = np.maximum(WEEKLY.quantiles(task), 0.0)
        found.append(_Candidate(WEEKLY.NAME, ahead, said, _mean_known(np.stack(losses, axis=1))))
    return found


def _pick(losses: Mapping[str, float], network: float, without_network: bool, days: int) -> tuple[str, str]:
    """Return whom to take and why, by the candidates' ``losses`` and the ``network``'s (NaN without a backtest)."""
    known = {name: loss for name, loss in losses.items() if np.isfinite(loss)}
    best = min(known, key=known.__getitem__, default=None)
    if without_network:
        if best is None:
            name = next(iter(losses), MEMBERS[0].NAME)
            return name, "the network keeps failing on this series, and nothing could be backtested"
        return best, f"the network keeps failing on this series; lowest loss of the members on {days} past day(s)"
    if best is None or not np.isfinite(network):
        return GlobalNetwork.NAME, "too little history for a backtest; the network knows what such series did"
    if known[best] + backtest.NEGLIGIBLE < CLEAR_LEAD * network:
        return best, f"clearly lower loss than the network's on {days} past day(s)"
    return GlobalNetwork.NAME, f"no member was clearly better on {days} past day(s)"


def _loss(origin: Origin, said: NDArray[np.float32]) -> NDArray[np.float32]:
    loss = backtest.mean_loss(monotone(said), origin.actual, origin.task.levels)
    return np.asarray(np.where(origin.counted, loss, np.nan), np.float32)


def _mean_known(losses: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the mean over the last axis of what is not NaN; NaN where nothing is."""
    known = np.isfinite(losses)
    total = np.where(known, losses, 0.0).sum(axis=-1)
    return np.asarray(np.where(known.any(axis=-1), total / np.maximum(known.sum(axis=-1), 1), np.nan), np.float64)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How to move a VM: the gentlest means that meets the SLA, with what it is predicted to cost and why it was chosen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..clock import to_iso
from ..estate.nouns import Sla
from ..hypervisors.protocol import Capabilities
from ..placement.migration_cost import (
    DEFAULT_SWITCHOVER_MS,
    STANDSTILL_SHARE,
    MigrationCost,
    MigrationDemand,
    predict_post_copy,
    predict_precopy,
)

#: Means a user may allow or forbid, gentlest first. ``post_copy`` is off unless asked for: a failure after the
#: hand-over loses the VM.
MEANS = ("parallel_connections", "compression", "auto_converge", "post_copy")
DEFAULT_MEANS = frozenset({"parallel_connections", "compression", "auto_converge"})

#: Connections used where several are allowed, and what one alone carries of a fast link, MiB/s. One QEMU migration
#: thread fills about 10 Gbit/s (QEMU docs/devel/migration: multifd was made to go beyond that).
PARALLEL_CONNECTIONS = 4
SINGLE_CONNECTION_MIB_S = 1200.0
#: MiB of memory per MiB sent, assumed for compressing transports; a cautious figure for memory that is not all zero.
COMPRESSION_RATIO = 1.5
#: Downtime allowed where the SLA names none, ms: the default of Nova's ``live_migration_downtime``.
DOWNTIME_WITHOUT_SLA_MS = 500.0
#: Lowest downtime limit to begin with, ms; below it platforms would go on copying for little gain.
LEAST_DOWNTIME_MS = 30.0
#: A lower limit than the SLA's is begun with as long as it makes the move at most this much longer.
WORTHWHILE_SHARE = 0.05
#: A way that is sure to end does so also when the working set is so many standard errors larger than measured, which
#: it is in one of forty measurements.
SURE_ERRORS = 2
#: Above this ratio of dirty rate to bandwidth, auto-converge is armed although plain pre-copy should do.
ARM_THROTTLE_RATIO = 0.8


def downtime_ceiling(sla: Sla) -> float:
    """Return the highest downtime, ms, that may be handed to the hypervisor.

    It is what the SLA allows less the switch-over itself, as the hypervisor reckons it: by the link's rate.
    """
    if sla.max_downtime_ms is None:
        return DOWNTIME_WITHOUT_SLA_MS
    return max(1.0, STANDSTILL_SHARE * (sla.max_downtime_ms - DEFAULT_SWITCHOVER_MS))


@dataclass(frozen=True, slots=True)
class Strategy:
    """A way to move, with its prediction. ``violations`` names the SLA limits that it is predicted to break.

    ``max_downtime_ms`` is the downtime limit to begin with, on which the prediction rests.
    ``post_copy`` counts on a switch after the first round; ``post_copy_armed`` only makes one possible.
    ``doubt`` is 0 when it ends also if the VM writes as fast as can be over a working set that is `SURE_ERRORS`
    standard errors larger than measured, and one more for each standard error less that it bears.
    """

    name: str
    prediction: MigrationCost
    max_downtime_ms: float
    auto_converge: bool = False
    post_copy: bool = False
    post_copy_armed: bool = False
    compression: bool = False
    parallel_connections: int = 0
    violations: tuple[str, ...] = ()
    doubt: int = 0

    @property
    def harm(self) -> int:
        """How much it may hurt.

        0: nobody; 1: it takes CPU on the hosts, and its gain is assumed; 2: the VM is slowed; 3: the VM could be lost
        if the move breaks after the hand-over.
        """
        if self.post_copy:
            return 3
        return 2 if self.auto_converge else int(self.compression)


@dataclass(frozen=True, slots=True)
class Choice:
    """The outcome: ``go`` with ``strategy``, ``wait`` until ``wait_until_ts``, or ``refuse``. ``why`` is for people.

    To ``wait`` means that nothing fits now, and something would at the quieter hour that begins then.

    ``considered`` holds every strategy that was weighed, in the order of preference.
    """

    verdict: str
    why: str
    strategy: Strategy | None = None
    considered: tuple[Strategy, ...] = ()
    wait_until_ts: float | None = None


def choose_strategy(
    demand: MigrationDemand,
    capabilities: Capabilities,
    sla: Sla,
    means: frozenset[str] = DEFAULT_MEANS,
    *,
    assumed: bool = False,
) -> Choice:
    """Return the strategy that keeps the SLA with the least harm, then the least downtime and data.

    Several connections do no harm, so they are used wherever one cannot fill the link. Post-copy is neither used nor
    armed over several: QEMU before 10.1 does not start such a move (migration/options.c).

    ``demand.max_downtime_ms`` is the highest downtime that may be handed to the hypervisor. Only what the platform can
    (``capabilities``) and the user allows (``means``, names from `MEANS`) is considered. Refuses when nothing fits;
    limits named in ``sla.soft`` never refuse, and where the dirty rate is only ``assumed`` a refusal rests on what even
    an idle VM would break: the guard keeps the rest.
    """
    weighed = tuple(sorted(_candidates(demand, capabilities, sla, means), key=_preference))
    fitting = [strategy for strategy in weighed if not _hard(strategy.violations, sla)]
    if not fitting and not (assumed and _possible_when_idle(demand, capabilities, sla, means)):
        return Choice("refuse", _why_not(weighed), considered=weighed)
    chosen = fitting[0] if fitting else weighed[0]
    return Choice("go", _why(chosen, weighed), _armed(chosen, demand, capabilities, means), weighed)


def wait_for_quiet(
    refused: Choice,
    demand: MigrationDemand,
    capabilities: Capabilities,
    sla: Sla,
    means: frozenset[str],
    ahead: Iterable[tuple[float, float]],
) -> Choice:
    """Return when the move that was refused now would fit: at the first hour at which the VM is quiet enough.

    ``ahead`` holds (start in Unix seconds, CPU demand as a share of now) by time; a VM is taken to write memory in
    proportion to the CPU that it uses. Returns ``refused`` when there is no such hour.
    """
    for start_ts, share in ahead:
        if share >= 1.0:
            continue
        later = choose_strategy(replace(demand, dirty_mib_s=demand.dirty_mib_s * share), capabilities, sla, means)
        if later.strategy is not None:
            why = f"{refused.why}; it would fit at {to_iso(start_ts)}, when the VM is {100 * (1 - share):.0f} % quieter"
            return Choice("wait", why, considered=refused.considered, wait_until_ts=start_ts)
    return refused


def _possible_when_idle(demand: MigrationDemand, capabilities: Capabilities, sla: Sla, means: frozenset[str]) -> bool:
    return choose_strategy(replace(demand, dirty_mib_s=0.0), capabilities, sla, means).strategy is not None


def _candidates(
    demand: MigrationDemand, capabilities: Capabilities, sla: Sla, means: frozenset[str]
) -> Iterator[Strategy]:
    faster = demand.bandwidth_mib_s > SINGLE_CONNECTION_MIB_S
    single = replace(demand, bandwidth_mib_s=min(demand.bandwidth_mib_s, SINGLE_CONNECTION_MIB_S))
    name, base, connections = "plain", single, 0
    if faster and capabilities.parallel_connections and "parallel_connections" in means:
        name, base, connections = "parallel", demand, PARALLEL_CONNECTIONS
    transports = [(name, base, False)]
    if capabilities.compression and "compression" in means:
        first = None if capabilities.compresses_first_pass or connections else 1.0
        compressed_base = replace(base, compression_ratio=COMPRESSION_RATIO, first_pass_ratio=first)
        transports.append((f"{name}+compression", compressed_base, True))
    for name, over, compressed in transports:
        limit_ms, cost = _least_downtime(over, capabilities, auto_converge=False)
        plain = Strategy(name, cost, limit_ms, compression=compressed, parallel_connections=connections)
        yield _judged(replace(plain, doubt=_doubt(over)), sla)
        if capabilities.auto_converge and "auto_converge" in means:
            limit_ms, cost = _least_downtime(over, capabilities, auto_converge=True)
            slowed = replace(plain, prediction=cost, max_downtime_ms=limit_ms, auto_converge=True)
            yield _judged(replace(slowed, name=f"{name}+auto_converge"), sla)
    if capabilities.post_copy and "post_copy" in means:
        limit_ms = _least_downtime(single, capabilities, auto_converge=False)[0]
        yield _judged(Strategy("plain+post_copy", predict_post_copy(single), limit_ms, post_copy=True), sla)


def _doubt(demand: MigrationDemand) -> int:
    """Return `Strategy.doubt` of a pre-copy that does not slow the VM."""
    ends = [predict_precopy(demand.fastest(float(errors))).converges for errors in range(SURE_ERRORS + 1)]
    return ends.count(False)


def _least_downtime(
    demand: MigrationDemand, capabilities: Capabilities, *, auto_converge: bool
) -> tuple[float, MigrationCost]:
    """Return the lowest downtime limit, ms, that costs hardly more time than the highest allowed one, and its cost.

    It must do so also for a VM that is as busy as the measurement leaves open: too low a limit makes a move endless.
    Where the platform lets nobody set the limit, it is the highest allowed one.
    """

    def cost_at(limit_ms: float, of: MigrationDemand) -> MigrationCost:
        return predict_precopy(replace(of, max_downtime_ms=limit_ms), auto_converge=auto_converge)

    limit_ms, busiest = demand.max_downtime_ms, demand.busiest
    longest_s = [(1 + WORTHWHILE_SHARE) * cost_at(limit_ms, of).duration_s for of in (demand, busiest)]
    cost = cost_at(limit_ms, demand)
    while capabilities.downtime_limit and cost.converges and limit_ms / 2 >= LEAST_DOWNTIME_MS:
        lower = [cost_at(limit_ms / 2, of) for of in (demand, busiest)]
        if not all(c.converges and c.duration_s <= most_s for c, most_s in zip(lower, longest_s, strict=True)):
            break
        limit_ms, cost = limit_ms / 2, lower[0]
    return limit_ms, cost


def _judged(strategy: Strategy, sla: Sla) -> Strategy:
    cost = strategy.prediction
    broken = [
        "convergence" if not cost.converges else "",
        "max_downtime_ms" if sla.max_downtime_ms is not None and cost.downtime_ms > sla.max_downtime_ms else "",
        "max_duration_s" if sla.max_duration_s is not None and cost.duration_s > sla.max_duration_s else "",
    ]
    return replace(strategy, violations=tuple(filter(None, broken)))


def _hard(violations: tuple[str, ...], sla: Sla) -> bool:
    return any(limit not in sla.soft for limit in violations)


def _preference(strategy: Strategy) -> tuple[int, bool, bool, int, int, float, float, str]:
    """Return what to sort by: among ways that hurt no VM the surest one goes first, before those that do hurt one."""
    cost = strategy.prediction
    return (
        len(strategy.violations),
        strategy.doubt > 1,
        strategy.harm > 1,
        strategy.doubt,
        strategy.harm,
        cost.downtime_ms,
        cost.transferred_mib,
        strategy.name,
    )


def _armed(chosen: Strategy, demand: MigrationDemand, capabilities: Capabilities, means: frozenset[str]) -> Strategy:
    """Arm what acts only when the VM turns out busier than measured: some platforms cannot arm it later."""
    close = demand.busiest.dirty_mib_s > ARM_THROTTLE_RATIO * demand.send_mib_s
    return replace(
        chosen,
        auto_converge=chosen.auto_converge or (close and capabilities.auto_converge and "auto_converge" in means),
        post_copy_armed=not chosen.parallel_connections and capabilities.post_copy and "post_copy" in means,
    )


def _why(chosen: Strategy, weighed: tuple[Strategy, ...]) -> str:
    if chosen.violations:
        return f"{chosen.name}: expected to break {', '.join(chosen.violations)}, which is soft or rests on assumptions"
    gentler = [other for other in weighed if other.harm < chosen.harm]
    if gentler:
        broken = sorted({limit for other in gentler for limit in other.violations})
        if not broken:
            return f"{chosen.name}: a gentler way might not end, as busy as the VM may be"
        return f"{chosen.name}: every gentler way would break {', '.join(broken)}"
    return f"{chosen.name}: keeps every limit with {_figures(chosen.prediction)}"


def _why_not(weighed: tuple[Strategy, ...]) -> str:
    return "; ".join(f"{s.name} would break {', '.join(s.violations)} ({_figures(s.prediction)})" for s in weighed)


def _figures(cost: MigrationCost) -> str:
    return f"{cost.downtime_ms:.0f} ms downtime, {cost.duration_s:.0f} s, {cost.transferred_mib:.0f} MiB"

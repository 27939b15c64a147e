# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Select a destination for one VM: from the snapshot, the forecast and the ledger, confirmed by the hypervisor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from ..clock import to_iso
from ..errors import ForesightError, InvalidOption
from ..estate.forecast import Outline, Scenarios
from ..estate.nouns import Host, Sla, Vm
from ..estate.reservation import Reservation
from ..estate.resources import Resources, checked_limits
from ..estate.selection import select as matching
from ..estate.sla import sla_from
from ..estate.snapshot import Estate
from ..hypervisors.fleet import Fleet
from ..hypervisors.protocol import Capabilities, MoveOrder
from ..migration.strategy import choose_strategy, downtime_ceiling
from ..placement.explain import explain
from ..placement.loads import demand_keys, stand_in
from ..placement.migration_cost import STANDSTILL_SHARE, MigrationDemand, memory_activity, memory_to_send
from ..placement.policies import policy
from ..placement.question import PredictedMove, Question
from ..placement.selection import select_host
from ..placement.verdict import NoHostFits, Reason, Selection, VmNotMovable
from ..reservations.ledger import Ledger, open_ledger
from ..reservations.location import ledger_url
from ..workspace.records import ARRIVED
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .host_room import Outlook, residents_of
from .reserve_present import Peaks, claim_refusal
from .reserve_request import ReserveRequest
from .select_result import result_of

#: Hosts that the ledger and the hypervisor may refuse, best first, before the selection gives up.
MOST_REFUSALS = 10
#: Moves may end in another order than their records are stored; by so much at most, in seconds.
STORED_LATE_S = 86_400.0
#: Age of a snapshot from which the answer carries a warning, in seconds.
OLD_SNAPSHOT_S = 3600.0
#: The level of the VM's highest demand that the threshold rule takes as its predicted need.
NEED_LEVEL = 0.95


@dataclass(frozen=True)
class SelectRequest:
    """The options of host_select. ``limits`` are shares of capacity by resource, ``hosts`` names asked about.

    ``window_hours`` None means as far as the forecast goes. ``rival_balancer`` is ``refuse`` or ``warn``.
    """

    endpoints: Sequence[Mapping[str, Any]]
    store: str
    vm: str
    ledger: str | None = None
    vm_endpoint: str | None = None
    snapshot_id: str = "latest"
    forecast_id: str = "latest"
    policy: str = "balanced"
    weights: Mapping[str, float] = field(default_factory=dict)
    sla: Mapping[str, Any] = field(default_factory=dict)
    filter: str | None = None
    limits: Mapping[str, float] = field(default_factory=dict)
    window_hours: float | None = None
    min_gain: float = 5.0
    cooldown_minutes: float = 30.0
    hosts: Sequence[str] = ()
    explain: bool = False
    rival_balancer: str = "refuse"
    tier: str = "hard"
    level: float = 0.95


def select_destination(request: SelectRequest, context: Context) -> Outcome:
    """Return the decision (``move`` or ``stay``), the destination, and why; changes nothing.

    Raises `NoHostFits` when every host is rejected, and what reading the store, the ledger and the endpoints raises.
    """
    _check(request)
    chosen_policy = policy(request.policy, request.weights)
    sla, limits = sla_from(request.sla), checked_limits(request.limits)
    workspace = Workspace.open(request.store, writable=False)
    snapshot = workspace.snapshots.read(request.snapshot_id)
    url = ledger_url(request.ledger, request.store)
    with Fleet(request.endpoints) as fleet, open_ledger(url, actor="host_select", writable=False) as ledger:
        now_ts = fleet.clock.now()
        estate, vm, warnings = _find_now(snapshot, snapshot.find_vm(request.vm, request.vm_endpoint), fleet)
        forecast_id = workspace.forecasts.find(request.forecast_id)
        outline, scenarios = workspace.forecasts.outline(forecast_id), workspace.forecasts.scenarios(forecast_id)
        peaks = workspace.forecasts.peaks(forecast_id, demand_keys(vm))
        question = Question(
            vm=vm,
            estate=estate,
            scenarios=scenarios,
            origin_ts=outline.origin_ts,
            now_ts=now_ts,
            window_s=_window_s(request.window_hours, scenarios),
            policy=chosen_policy,
            predict_move=_predictor(vm, sla, fleet.driver(vm.endpoint).capabilities()),
            reservations=_reservations(ledger, estate, now_ts),
            sla=sla,
            limits=limits,
            threshold_need=_need(vm, peaks) if chosen_policy.is_threshold else Resources(),
            allowed_hosts=_allowed(estate, request.filter),
            min_gain=request.min_gain,
            cooldown_s=request.cooldown_minutes * 60.0,
            last_move_ts=_last_move_ts(workspace, vm, now_ts - request.cooldown_minutes * 60.0),
            refuse_rivals=request.rival_balancer == "refuse",
            refused=_out_of_reach(estate, fleet),
            asked_hosts=frozenset(estate.find_host(name).key for name in request.hosts),
            left_out=outline.abstained,
        )
        selection, findings = _confirmed(question, fleet, _ledger_word(request, ledger, outline, peaks))
    lines = explain(vm, selection, question.asked_hosts) if request.explain else []
    for line in lines:
        context.report(line, {})
    warnings += [*_snapshot_warnings(estate, now_ts), *findings, *selection.warnings]
    result = result_of(question, selection)
    result.update({"snapshot_id": estate.snapshot_id, "forecast_id": forecast_id, "explanation": lines})
    return Outcome(changed=False, result=result, warnings=tuple(warnings))


def _check(request: SelectRequest) -> None:
    """Raise `InvalidOption` for a number that nothing could be decided with."""
    if not 0 <= request.cooldown_minutes < math.inf:
        raise InvalidOption("cooldown_minutes", f"{request.cooldown_minutes!r} is not a number of at least 0")
    if not math.isfinite(request.min_gain):
        raise InvalidOption("min_gain", f"{request.min_gain!r} is not a finite number")


def _window_s(hours: float | None, scenarios: Scenarios) -> float:
    if hours is None:
        return scenarios.horizon_steps * float(scenarios.step_s)
    if not 0 < hours <= 24:
        raise InvalidOption("window_hours", f"{hours!r} is not above 0 and at most 24")
    return hours * 3600.0


def _find_now(estate: Estate, vm: Vm, fleet: Fleet) -> tuple[Estate, Vm, list[str]]:
    """Return the estate and the VM with its present host, asked of every endpoint, and warnings."""
    sightings, errors = fleet.locate(vm.uuid)
    warnings = [f"endpoint {name!r} could not be asked for the VM: {error.message}" for name, error in errors.items()]
    seen = [(endpoint, found) for endpoint, places in sightings.items() for found in places if found.active]
    if not seen and not errors:
        raise VmNotMovable(
            f"No endpoint knows VM {vm.name!r} any more, which the snapshot shows on {vm.host_key}",
            advice="Collect a fresh snapshot.",
            details={"vm": vm.key},
        )
    if len(seen) != 1:
        if seen:
            warnings.append(
                f"several endpoints show the VM as running: {', '.join(endpoint for endpoint, _place in seen)}"
            )
        return estate, vm, warnings
    endpoint, place = seen[0]
    found = replace(vm, endpoint=endpoint, host_key=f"{endpoint}/{place.host_id}", power_state=place.power_state)
    if found == vm:
        return estate, vm, warnings
    if found.host_key != vm.host_key:
        warnings.append(f"the VM has moved from {vm.host_key} to {found.host_key} since the snapshot")
    others = {key: other for key, other in estate.vms.items() if key != vm.key}
    return replace(estate, vms={**others, found.key: found}), found, warnings


def _out_of_reach(estate: Estate, fleet: Fleet) -> dict[str, Reason]:
    """Return the hosts of the snapshot that nobody can be asked about, with the reason."""
    return {
        host.key: Reason("preflight", f"its endpoint {host.endpoint!r} is not among the given endpoints")
        for host in estate.hosts.values()
        if host.endpoint not in fleet.names
    }


def _predictor(vm: Vm, sla: Sla, able: Capabilities) -> Callable[[float], PredictedMove]:
    """Return what foretells the move of ``vm`` at a bandwidth in MiB/s, by the strategy that vm_migrate would take."""
    activity = memory_activity(vm)
    most_ms = downtime_ceiling(sla)

    @cache
    def predict(bandwidth_mib_s: float) -> PredictedMove:
        demand = MigrationDemand(
            memory_mib=memory_to_send(vm),
            dirty_mib_s=activity.dirty_mib_s,
            working_set_mib=activity.working_set_mib,
            bandwidth_mib_s=bandwidth_mib_s,
            switchover_mib_s=STANDSTILL_SHARE * bandwidth_mib_s,
            max_downtime_ms=most_ms,
        )
        choice = choose_strategy(demand, able, sla, assumed=activity.method == "assumed")
        strategy = choice.strategy or choice.considered[0]
        return PredictedMove(
            strategy.prediction, strategy.name, firm=choice.strategy is None or not strategy.violations
        )

    return predict


def _reservations(ledger: Ledger, estate: Estate, now_ts: float) -> tuple[Reservation, ...]:
    """Return what the ledger holds from the snapshot's time on; the ledger is not created for this."""
    return ledger.find(states=("active", "consumed"), start_ts=min(estate.taken_ts, now_ts), now_ts=now_ts)


def _need(vm: Vm, peaks: Peaks) -> Resources:
    """Return the VM's highest demand over the horizon at `NEED_LEVEL`; what it uses now where that is not forecast."""
    return Resources(*(peaks[key][NEED_LEVEL] if key in peaks else stand_in(vm, key.metric) for key in demand_keys(vm)))


def _allowed(estate: Estate, expression: str | None) -> frozenset[str] | None:
    if not expression:
        return None
    return frozenset(host.key for host in matching(estate.hosts.values(), expression, "filter"))


def _last_move_ts(workspace: Workspace, vm: Vm, since_ts: float) -> float | None:
    """Return when the VM last arrived anywhere since ``since_ts``; attempts that failed moved nothing.

    No more records are read than that takes, for a store keeps those of years.
    """
    for record in workspace.migrations.newest_first():
        if record["ended_ts"] < since_ts - STORED_LATE_S:
            return None
        if record["vm_uuid"] == vm.uuid and record["outcome"] == ARRIVED:
            return float(record["ended_ts"])
    return None


def _ledger_word(
    request: SelectRequest, ledger: Ledger, outline: Outline, peaks: Peaks
) -> Callable[[Question, Host], Reason | None]:
    """Return what asks the ledger whether it would hold the VM's need on a host, in the tier that will be reserved."""
    claim = ReserveRequest(
        endpoints=request.endpoints,
        store=request.store,
        tier=request.tier,
        level=request.level,
        limits=request.limits,
        window_hours=request.window_hours,
    )

    def ask(question: Question, host: Host) -> Reason | None:
        if request.tier == "none":
            return None
        residents = residents_of(question.estate, host, question.vm)
        known = Outlook(host, question.estate, outline, question.scenarios, residents)
        refusal = claim_refusal(claim, ledger, known, question.vm, peaks, question.now_ts)
        return None if refusal is None else Reason("reservation", f"the ledger refuses: {refusal.message}", {})

    return ask


def _confirmed(
    question: Question, fleet: Fleet, ask_ledger: Callable[[Question, Host], Reason | None]
) -> tuple[Selection, list[str]]:
    """Return the best selection that the ledger and the hypervisor agree to, and the hypervisor's remarks.

    Raises `NoHostFits` when they refuse the best `MOST_REFUSALS` hosts one after the other.
    """
    selection, refusals = select_host(question), 0
    while selection.chosen is not None:
        host = question.estate.hosts[selection.chosen.host_key]
        remarks: list[str] = []
        refusal = ask_ledger(question, host)
        if refusal is None:
            refusal, remarks = _preflight(question, host, fleet)
        if refusal is None:
            return selection, remarks
        question = replace(question, refused={**question.refused, host.key: refusal})
        refusals += 1
        if refusals >= MOST_REFUSALS:
            raise NoHostFits(
                f"The {MOST_REFUSALS} best hosts for VM {question.vm.name!r} were refused: {refusal.message}",
                advice="details.refusals gives the reasons; they often concern the VM itself.",
                details={"decision": "none", "refusals": {key: r.message for key, r in question.refused.items()}},
            )
        selection = select_host(question)
    return selection, []


def _preflight(question: Question, host: Host, fleet: Fleet) -> tuple[Reason | None, list[str]]:
    """Return (why the platform refuses the move to ``host``, or None; remarks that do not forbid it)."""
    vm = question.vm
    source = fleet.driver(vm.endpoint)
    order = MoveOrder(vm.uuid, host.host_id, reservation_id="")
    try:
        findings = fleet.driver(host.endpoint).preflight(vm.uuid, source, host.host_id, order)
    except ForesightError as error:
        return Reason("preflight", f"the host's endpoint could not confirm: {error.message}", error.as_dict()), []
    blocking = [finding for finding in findings if finding.blocking]
    remarks = [f"preflight of {host.name}: {finding.message}" for finding in findings if not finding.blocking]
    if not blocking:
        return None, remarks
    told = "; ".join(finding.message for finding in blocking)
    return Reason("preflight", f"the hypervisor refuses: {told}", {"codes": [f.code for f in blocking]}), remarks


def _snapshot_warnings(estate: Estate, now_ts: float) -> list[str]:
    found = [
        f"endpoint {status.name!r} is not in the snapshot, so its hosts are no candidates"
        for status in estate.endpoints
        if not status.reachable
    ]
    age_s = now_ts - estate.taken_ts
    if age_s > OLD_SNAPSHOT_S:
        found.append(f"the snapshot is from {to_iso(estate.taken_ts)}, {age_s / 3600:.1f} h ago")
    return found

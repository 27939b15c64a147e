# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is asked of a selection: which VM, among which hosts, under which rules, for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ..estate.forecast import Scenarios
from ..estate.nouns import Host, Rule, Sla, Vm
from ..estate.reservation import Reservation
from ..estate.resources import DEFAULT_LIMITS, Resources
from ..estate.series import SeriesKey
from ..estate.snapshot import Estate
from .migration_cost import MigrationCost
from .policies import Policy
from .verdict import Reason

#: Points that the best host must score above staying before a move is worth its cost.
DEFAULT_MIN_GAIN = 5.0


@dataclass(frozen=True, slots=True)
class PredictedMove:
    """What moving the VM would cost, and how it would be done.

    ``firm`` is False where the prediction rests on an assumed dirty rate and a quieter VM would keep every hard limit:
    then it costs score, and rejects nothing.
    """

    cost: MigrationCost
    strategy: str = "plain"
    firm: bool = True


@dataclass(frozen=True)
class Question:
    """One VM, and everything that bears on where it should go. Pure data, except for ``predict_move``.

    ``scenarios`` begin at ``origin_ts``; judged is the window of ``window_s`` seconds from ``now_ts``.
    ``reservations`` are the ledger's; the VM's own are ignored, for this choice replaces them. ``refused`` are hosts
    to which the platform itself said no, with its reason.
    ``predict_move`` foretells the move of this VM at a bandwidth in MiB/s. ``threshold_need`` is the predicted
    need that the threshold rule compares. ``allowed_hosts`` are the keys that the user's own expression keeps (None:
    no expression). ``min_gain`` is in points of the score. ``last_move_ts`` is when the VM was last moved.
    ``asked_hosts`` are judged in full however poor they look. ``left_out`` are the series that the forecast could not
    make, with its reasons.
    """

    vm: Vm
    estate: Estate
    scenarios: Scenarios
    origin_ts: float
    now_ts: float
    window_s: float
    policy: Policy
    predict_move: Callable[[float], PredictedMove]
    reservations: tuple[Reservation, ...] = ()
    sla: Sla = Sla()
    limits: Mapping[str, float] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    threshold_need: Resources = Resources()
    allowed_hosts: frozenset[str] | None = None
    min_gain: float = DEFAULT_MIN_GAIN
    cooldown_s: float = 0.0
    last_move_ts: float | None = None
    refuse_rivals: bool = True
    refused: Mapping[str, Reason] = field(default_factory=dict)
    asked_hosts: frozenset[str] = frozenset()
    left_out: Mapping[SeriesKey, str] = field(default_factory=dict)

    @cached_property
    def source(self) -> Host | None:
        """The host that the VM runs on, None when the snapshot does not show it."""
        return self.estate.hosts.get(self.vm.host_key or "")

    @cached_property
    def other_reservations(self) -> tuple[Reservation, ...]:
        """Reservations of other VMs that the snapshot does not show on their host.

        They are those that are active and not lapsed, and those consumed since the snapshot was taken.
        """
        home = {vm.uuid: vm.host_key for vm in self.estate.vms.values()} if self.reservations else {}
        return tuple(
            held
            for held in self.reservations
            if self._holds(held) and held.vm_uuid != self.vm.uuid and home.get(held.vm_uuid) != held.host_key
        )

    def _holds(self, held: Reservation) -> bool:
        if held.state == "active":
            return min(held.lease_expires_ts, held.end_ts) > self.now_ts
        return held.state == "consumed" and held.updated_ts > self.estate.seen_ts(held.host_key)

    @cached_property
    def promised(self) -> Mapping[str, Resources]:
        """`Host.key` -> hard reservations there plus what the platform guarantees its VMs, this VM left out."""
        sums: dict[str, Resources] = {}
        for held in self.other_reservations:
            if held.tier == "hard":
                sums[held.host_key] = sums.get(held.host_key, Resources()) + held.amount
        for vm in self.estate.vms.values():
            if vm.host_key is not None and vm.guaranteed != Resources() and vm.key != self.vm.key:
                sums[vm.host_key] = sums.get(vm.host_key, Resources()) + vm.guaranteed
        return sums

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that name this VM."""
        return tuple(
            rule for rule in self.estate.rules if rule.endpoint == self.vm.endpoint and self.vm.uuid in rule.vm_uuids
        )

    @cached_property
    def whereabouts(self) -> Mapping[str, frozenset[str]]:
        """VM uuid -> keys of the hosts it counts on, for every other VM that a rule of this VM names.

        A VM on its way counts on both hosts: where it runs, and where a reservation holds room for it.
        """
        peers = {uuid for rule in self.rules for uuid in rule.vm_uuids} - {self.vm.uuid}
        places: dict[str, set[str]] = {uuid: set() for uuid in peers}
        for vm in self.estate.vms.values() if peers else ():
            if vm.uuid in peers and vm.endpoint == self.vm.endpoint and vm.host_key is not None:
                places[vm.uuid].add(vm.host_key)
        for held in self.other_reservations:
            if held.vm_uuid in peers:
                places[held.vm_uuid].add(held.host_key)
        return {uuid: frozenset(keys) for uuid, keys in places.items()}

    @cached_property
    def rival_of(self) -> Mapping[str, str]:
        """`Host.key` -> name of the balancer that moves VMs on that host by itself."""
        return {
            key: cluster.rival_balancer
            for cluster in self.estate.clusters
            if cluster.rival_balancer
            for key in cluster.host_keys
        }

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What would have happened: replay recorded demand over a window for a placement, and for it with some moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..clock import from_iso, to_iso
from ..errors import InvalidOption
from ..estate.nouns import Host, Vm
from ..estate.resources import FIELD_OF, RESOURCES, Resources
from ..estate.series import SeriesKey
from ..estate.snapshot import EndpointStatus, Estate
from ..hypervisors.fleet import Fleet
from ..hypervisors.simulated.contention import Contention, contention, host_totals
from ..hypervisors.simulated.driver import SimulatedDriver
from ..hypervisors.simulated.traces import STEP_S
from ..libraries import library
from ..workspace.workspace import Workspace
from .context import Context, Outcome

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")

#: The longest window, in hours: two weeks bound the memory that 10,000 VMs take.
MOST_HOURS = 336.0
#: How many hosts a result describes, the worst first.
MOST_HOSTS = 50
_NOWHERE = -1


@dataclass(frozen=True)
class ReplayRequest:
    """The options of estate_replay. ``snapshot_id`` None means: replay the simulated ``endpoints``.

    ``placement`` is ``now``, or ``first`` for where the VMs of a simulated estate began. Each move has ``vm``,
    ``host`` and optionally ``vm_endpoint`` and ``at`` (ISO 8601, default: the window's start).
    """

    endpoints: Sequence[Mapping[str, Any]]
    store: str
    snapshot_id: str | None = None
    start: str | None = None
    hours: float = 24.0
    placement: str = "now"
    moves: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True)
class Recording:
    """Demand of ``vms`` (vms, resources, steps) from ``start_ts``, and the hosts it falls on.

    ``host_of`` (vms,) holds host numbers, -1 for a VM that runs nowhere. ``own_load`` and ``capacity`` are (hosts,
    resources); an unknown capacity is infinite. ``coverage`` is the share of the demand that was really recorded.
    """

    estate: Estate
    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]
    host_of: NDArray[np.int64]
    demand: NDArray[np.floating]
    own_load: NDArray[np.float64]
    capacity: NDArray[np.float64]
    start_ts: float
    coverage: float

    @property
    def end_ts(self) -> float:
        """Unix seconds at which the window ends."""
        return self.start_ts + STEP_S * int(self.demand.shape[2])

    def wanted(self) -> NDArray[np.float64]:
        """Return what is wanted of each host without any move, shape (hosts, resources, steps)."""
        return host_totals(self.demand, self.host_of, len(self.hosts)) + self.own_load[:, :, None]


@dataclass(frozen=True, slots=True)
class ReplayMove:
    """From ``at_ts`` on VM number ``vm`` runs on host number ``host``."""

    vm: int
    host: int
    at_ts: float


def replay(request: ReplayRequest, context: Context) -> Outcome:
    """Return host-hours of overload in the window for the placement as it is and with ``moves``; changes nothing."""
    if not 0 < request.hours <= MOST_HOURS:
        raise InvalidOption("hours", f"{request.hours!r} is not above 0 and at most {MOST_HOURS:g}")
    recording = _of_store(request) if request.snapshot_id else _of_endpoints(request)
    moves = _moves(request.moves, recording)
    as_is = recording.wanted()
    with_moves = _moved(recording, as_is, moves)
    touched = {move.host for move in moves} | {int(recording.host_of[move.vm]) for move in moves} - {_NOWHERE}
    before, after = _measured(recording, as_is), _measured(recording, with_moves)
    hours_before, hours_after = before.estate_hours(), after.estate_hours()
    shown = _shown(before, after, touched)
    context.report(
        f"overload: {hours_before['any']:.2f} host-hours as it is, {hours_after['any']:.2f} with the moves", {}
    )
    result = {
        "window": {"start": to_iso(recording.start_ts), "end": to_iso(recording.end_ts)},
        "coverage": round(recording.coverage, 4),
        "moves": [_move_result(recording, move) for move in moves],
        "as_is": _summary(recording, as_is, before, shown),
        "with_moves": _summary(recording, with_moves, after, shown),
        "saved_host_hours": {name: round(hours_before[name] - hours_after[name], 3) for name in hours_before},
    }
    return Outcome(changed=False, result=result, warnings=_warnings(recording))


def _warnings(recording: Recording) -> tuple[str, ...]:
    if recording.coverage >= 0.9:
        return ()
    return (f"Only {recording.coverage:.0%} of the demand in the window is recorded; the rest counts as none.",)


def _of_endpoints(request: ReplayRequest) -> Recording:
    """Read the recording of simulated endpoints."""
    with Fleet(request.endpoints) as fleet:
        drivers = [_simulated(fleet, name) for name in fleet.names]
        start_ts = fleet.clock.now() if request.start is None else from_iso(request.start, "start")
        steps = _steps(request.hours)
        inventories = [driver.inventory() for driver in drivers]
        estate = Estate(
            snapshot_id="",
            taken_ts=start_ts,
            endpoints=tuple(EndpointStatus(name, "simulated", True, start_ts) for name in fleet.names),
            hosts={host.key: host for inventory in inventories for host in inventory.hosts},
            vms={vm.key: vm for inventory in inventories for vm in inventory.vms},
        )
        demand = [
            driver.recorded_demand([vm.uuid for vm in inventory.vms], start_ts, steps)
            for driver, inventory in zip(drivers, inventories, strict=True)
        ]
        homes = None
        if request.placement == "first":
            key_of = {host.host_id: host.key for host in estate.hosts.values()}
            homes = {uuid: key_of.get(host_id) for driver in drivers for uuid, host_id in driver.first_homes().items()}
    own_load = {host.key: Resources.from_dict(host.facts["own_load"]) for host in estate.hosts.values()}
    return _recording(estate, np.concatenate(demand), own_load, start_ts, 1.0, homes)


def _simulated(fleet: Fleet, name: str) -> SimulatedDriver:
    driver = fleet.driver(name)
    if not isinstance(driver, SimulatedDriver):
        raise InvalidOption(
            "endpoints",
            f"{name!r} is a real hypervisor, whose future nobody has recorded",
            advice="Give simulated endpoints only, or a snapshot_id to replay what the store has recorded.",
        )
    return driver


def _of_store(request: ReplayRequest) -> Recording:
    """Read a snapshot, and the demand that the store recorded in the window."""
    if request.placement != "now":
        raise InvalidOption("placement", "a snapshot only knows where the VMs were then; use now")
    workspace = Workspace.open(request.store, writable=False)
    estate = workspace.snapshots.read(str(request.snapshot_id))
    end_ts = estate.taken_ts
    start_ts = end_ts - request.hours * 3600.0 if request.start is None else from_iso(request.start, "start")
    vms = tuple(estate.vms.values())
    keys = [SeriesKey("vm", vm.uuid, metric) for vm in vms for metric in RESOURCES]
    steps = _steps(request.hours)
    series = workspace.metrics.read(keys, start_ts, start_ts + steps * STEP_S, STEP_S)
    values = np.asarray(series.values).reshape(len(vms), len(RESOURCES), steps)
    coverage = float(np.isfinite(values).mean()) if values.size else 0.0
    return _recording(estate, np.nan_to_num(values, nan=0.0), _own_loads(estate), start_ts, coverage, None)


def _own_loads(estate: Estate) -> dict[str, Resources]:
    """Return each host's own load: what it used at the snapshot less what its VMs used."""
    loads = {}
    for key, host in estate.hosts.items():
        rest = host.used or Resources()
        for vm in estate.vms_by_host[key] if host.used is not None else ():
            rest = rest - (vm.used or Resources())
        loads[key] = rest.maximum(Resources())
    return loads


def _recording(
    estate: Estate,
    demand: NDArray[np.floating],
    own_load: Mapping[str, Resources],
    start_ts: float,
    coverage: float,
    homes: Mapping[str, str | None] | None,
) -> Recording:
    hosts, vms = tuple(estate.hosts.values()), tuple(estate.vms.values())
    number = {host.key: index for index, host in enumerate(hosts)}
    places = [vm.host_key if homes is None else homes[vm.uuid] for vm in vms]
    running = [vm.power_state == "running" and not vm.is_template for vm in vms]
    host_of = [number.get(place or "", _NOWHERE) if on else _NOWHERE for place, on in zip(places, running, strict=True)]
    capacity = _table([host.capacity for host in hosts])
    return Recording(
        estate=estate,
        hosts=hosts,
        vms=vms,
        host_of=np.array(host_of, dtype=np.int64),
        demand=demand,
        own_load=_table([own_load[host.key] for host in hosts]),
        capacity=np.where(capacity > 0, capacity, np.inf),
        start_ts=start_ts,
        coverage=coverage,
    )


def _steps(hours: float) -> int:
    return max(1, round(hours * 3600.0 / STEP_S))


def _table(rows: Sequence[Resources]) -> NDArray[np.float64]:
    return np.array([list(row) for row in rows], dtype=np.float64).reshape(len(rows), len(RESOURCES))


def _moves(given: Sequence[Mapping[str, Any]], recording: Recording) -> list[ReplayMove]:
    """Return the moves in order of time; raises what finding the VM or host raises, and `InvalidOption`."""
    vm_number = {vm.key: index for index, vm in enumerate(recording.vms)}
    host_number = {host.key: index for index, host in enumerate(recording.hosts)}
    moves = []
    for index, item in enumerate(given):
        vm = recording.estate.find_vm(item["vm"], item.get("vm_endpoint"))
        host = recording.estate.find_host(item["host"])
        at_ts = from_iso(item["at"], f"moves[{index}].at") if item.get("at") else recording.start_ts
        move = ReplayMove(vm_number[vm.key], host_number[host.key], at_ts)
        _check_family(recording, move, f"moves[{index}].host")
        moves.append(move)
    return sorted(moves, key=lambda move: move.at_ts)


def _check_family(recording: Recording, move: ReplayMove, option: str) -> None:
    home = int(recording.host_of[move.vm])
    if home == _NOWHERE:
        raise InvalidOption(option, f"{recording.vms[move.vm].name!r} does not run, so it cannot be moved")
    source, destination = recording.hosts[home], recording.hosts[move.host]
    if source.family != destination.family:
        raise InvalidOption(
            option, f"{destination.name!r} is a {destination.family} host, the VM runs on {source.family}"
        )


def _moved(recording: Recording, as_is: NDArray[np.float64], moves: Sequence[ReplayMove]) -> NDArray[np.float64]:
    """Return what is wanted of each host when the moves are made."""
    wanted = as_is.copy()
    home = recording.host_of.copy()
    for move in moves:
        first = max(0, int(np.ceil((move.at_ts - recording.start_ts) / STEP_S)))
        load = recording.demand[move.vm, :, first:]
        wanted[home[move.vm], :, first:] -= load
        wanted[move.host, :, first:] += load
        home[move.vm] = move.host
    return wanted


def _measured(recording: Recording, wanted: NDArray[np.float64]) -> Contention:
    return contention(wanted, recording.capacity, STEP_S)


def _shown(before: Contention, after: Contention, touched: set[int]) -> list[int]:
    """Return the numbers of the hosts to describe: those that a move touches, then the most overloaded."""
    worst = np.maximum(before.any_hours, after.any_hours)
    ranked = sorted(range(len(worst)), key=lambda host: (host not in touched, -worst[host], host))
    return [host for host in ranked if host in touched or worst[host] > 0][:MOST_HOSTS]


def _summary(
    recording: Recording, wanted: NDArray[np.float64], measured: Contention, shown: Sequence[int]
) -> dict[str, Any]:
    return {
        "overload_host_hours": {name: round(hours, 3) for name, hours in measured.estate_hours().items()},
        "overloaded_hosts": int((measured.any_hours > 0).sum()),
        "hosts": [_host_summary(recording, wanted, measured, host) for host in shown],
    }


def _host_summary(
    recording: Recording, wanted: NDArray[np.float64], measured: Contention, number: int
) -> dict[str, Any]:
    over = (wanted[number] > recording.capacity[number][:, None]).any(axis=0)
    first_ts = recording.start_ts + STEP_S * int(np.argmax(over)) if over.any() else None
    return {
        "host": recording.hosts[number].key,
        "name": recording.hosts[number].name,
        "overload_hours": _named(measured.overload_hours[number]),
        "any_overload_hours": round(float(measured.any_hours[number]), 3),
        "first_overload": None if first_ts is None else to_iso(first_ts),
        "peak_share": _named(measured.peak[number] / recording.capacity[number]),
        "unserved_hours": {
            FIELD_OF[name]: round(float(measured.unserved[number, index]), 3) for index, name in enumerate(RESOURCES)
        },
    }


def _named(values: NDArray[np.float64]) -> dict[str, float]:
    return {name: round(float(values[index]), 3) for index, name in enumerate(RESOURCES)}


def _move_result(recording: Recording, move: ReplayMove) -> dict[str, Any]:
    return {
        "vm": recording.vms[move.vm].name,
        "vm_uuid": recording.vms[move.vm].uuid,
        "from": recording.hosts[int(recording.host_of[move.vm])].key,
        "to": recording.hosts[move.host].key,
        "at": to_iso(move.at_ts),
    }

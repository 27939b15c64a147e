# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The VMs beside a hold, restrained so that the CPU, network and disk held stay free, and given back what they had.

What restraint a host's VMs need follows from the holds on it, so every change computes all of it anew. A restrained
VM carries a mark: for which holds, what it had before and what it was given. The mark is written before anything is
changed and removed after everything is put back, so that a crash between leaves what the next change repairs. What
somebody else changed meanwhile is theirs: it is left as it is, and counts as the VM's own from then on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ...errors import InvalidOption
from ...estate.resources import FIELD_OF, Resources
from ...libraries import library
from ..protocol import Hold, HypervisorFault
from .faults import is_code
from .levers import LIMITS, SHARES, Lever, LimitLever, Settings, SharesLever
from .marks import GUARANTEE, RESTRAINT, hold_of, is_placeholder, mark_of, read_mark, remove_mark, write_mark
from .restraint import Need, cores_left, scaled_shares, share_out
from .state import SITES_ELSEWHERE, domain_state

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

CPU = "cpu"
LEVERS: Mapping[str, Lever] = {CPU: SharesLever(), **LIMITS}
#: Per VM the settings it shall have.
Plan = dict[str, Settings]


@dataclass
class Resident:
    """A VM on the host. ``settings`` are what it has now per resource; None where there is no lever on it.

    ``former`` and ``given`` are what its mark says: per resource what it had, and what we may have given it (two where
    a change was cut short). ``forecast`` is what it is expected to need, ``promised`` what a reservation gave it.
    """

    domain: libvirt.virDomain
    uuid: str
    settings: Mapping[str, Settings | None]
    forecast: Resources | None = None
    promised: Resources = Resources()
    former: Mapping[str, Settings] = field(default_factory=dict)
    given: Mapping[str, list[Settings]] = field(default_factory=dict)
    mark: dict[str, str] | None = None
    holds: tuple[Hold, ...] = ()

    @property
    def marked_on(self) -> str:
        """The host on which it was restrained; empty when it is not."""
        return "" if self.mark is None else self.mark["host"]

    def own(self, resource: str) -> Settings | None:
        """Return the settings that it had before we gave it ours, or that somebody else gave it since."""
        current = self.settings.get(resource)
        return self.former[resource] if current in self.given.get(resource, ()) else current

    def floor(self, resource: str) -> float | None:
        """Return what must be left to it; None where nothing is known of that."""
        if self.forecast is None:
            return self.promised[resource] or None
        return max(self.forecast[resource], self.promised[resource])


@dataclass(frozen=True)
class Scene:
    """One host at one moment: its VMs but those that holds wait for, and how much of everything it has."""

    residents: tuple[Resident, ...]
    capacity: Resources

    def own_shares(self) -> dict[str, int]:
        """Return the CPU shares of every resident as they are without our doing; 0 where there is no lever."""
        found = {}
        for resident in self.residents:
            own = resident.own(CPU)
            found[resident.uuid] = own[""][SHARES] if own else 0
        return found


def read_scene(raw: libvirt.virConnect, capacity: Resources, without: Iterable[str], resources: Iterable[str]) -> Scene:
    """Read the VMs on the host, but those whose uuid is in ``without``, and their settings of ``resources``."""
    skipped, wanted = set(without), tuple(resources)
    residents = []
    for domain in raw.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        uuid = domain.UUIDString()
        if uuid in skipped or is_placeholder(domain.name(), uuid):
            continue
        try:
            if domain_state(domain).site not in SITES_ELSEWHERE:
                residents.append(_read_resident(domain, uuid, wanted))
        except libvirt.libvirtError as error:
            if not is_code(error, "NO_DOMAIN"):  # gone since it was listed
                raise
    return Scene(tuple(residents), capacity)


def _read_resident(domain: libvirt.virDomain, uuid: str, resources: tuple[str, ...]) -> Resident:
    mark, guarantee = read_mark(domain, RESTRAINT), read_mark(domain, GUARANTEE) or {}
    found = Resident(domain, uuid, settings={name: LEVERS[name].read(domain) for name in resources}, mark=mark)
    try:
        found.promised = Resources.from_dict({name: guarantee.get(name, 0.0) for name in FIELD_OF.values()})
        if mark is not None:
            found.given, former = json.loads(mark["given"]), json.loads(mark["former"])
            found.former = {resource: former[resource] for resource in found.given}
            found.holds = tuple(hold_of(each) for each in json.loads(mark["holds"]))
            found.forecast = Resources.from_dict(json.loads(mark["forecast"])) if mark["forecast"] else None
    except (KeyError, TypeError, ValueError, InvalidOption) as error:
        raise HypervisorFault(
            f"A mark of this collection on VM {uuid} cannot be read: {error!r}",
            advice=f"Look at it with virsh metadata {uuid} {RESTRAINT}, put back by hand what it says, and remove it.",
        ) from error
    return found


class Residents:
    """The restraint of one host's VMs. ``limited`` are the resources for which limits may be put on them."""

    def __init__(self, host_id: Callable[[], str], limited: Iterable[str]) -> None:
        self._host_id = host_id
        self.resources = (CPU, *sorted(set(limited)))

    def restrain(
        self,
        raw: libvirt.virConnect,
        capacity: Resources,
        holds: Iterable[Hold],
        *,
        asked: Hold | None = None,
        gone: str = "",
    ) -> frozenset[str]:
        """Restrain the VMs as ``holds`` and ``asked`` need, and return the resources that are held for ``asked``.

        ``holds`` are those with placeholders; those that only marks of VMs still tell of count too, but for the
        reservation ``gone``. A resource that cannot be held for ``asked`` stays as the others need it.
        """
        broken: set[str] = set()
        while True:
            scene, standing = self._read(raw, capacity, holds, asked, gone)
            plans, held = self._plan(scene, standing, asked, broken)
            failed = self._apply(scene, plans, _granted(standing, asked, held))
            if failed is None:
                return frozenset(held)
            broken.add(failed)

    def _read(
        self, raw: libvirt.virConnect, capacity: Resources, holds: Iterable[Hold], asked: Hold | None, gone: str
    ) -> tuple[Scene, dict[str, Hold]]:
        """Return the host's VMs and the holds on it by id, without the one that is asked for."""
        scene = read_scene(raw, capacity, (), self.resources)
        standing = {hold.reservation_id: hold for hold in (*self._noted(scene), *holds)}
        for reservation_id in (gone, asked.reservation_id if asked else ""):
            standing.pop(reservation_id, None)
        awaited = {hold.vm_uuid for hold in (*standing.values(), *([asked] if asked else []))}
        residents = tuple(resident for resident in scene.residents if resident.uuid not in awaited)
        for resident in residents:
            if asked is not None:
                resident.forecast = asked.floors.get(resident.uuid, resident.forecast)
        return Scene(residents, capacity), standing

    def _noted(self, scene: Scene) -> tuple[Hold, ...]:
        """Return the holds on this host that marks of its VMs tell of."""
        here = (resident for resident in scene.residents if resident.marked_on == self._host_id())
        return tuple(hold for resident in here for hold in resident.holds)

    def _plan(
        self, scene: Scene, standing: Mapping[str, Hold], asked: Hold | None, broken: set[str]
    ) -> tuple[dict[str, Plan], set[str]]:
        plans: dict[str, Plan] = {}
        held: set[str] = set()
        for resource in self.resources:
            if resource in broken:
                continue
            before = [hold for hold in standing.values() if hold.enforced_by.get(resource) == "hypervisor"]
            if asked is not None and asked.amount[resource] > 0:
                plan = _plan_of(scene, resource, [*before, asked])
                if plan is not None:
                    plans[resource] = plan
                    held.add(resource)
                    continue
            plan = _plan_of(scene, resource, before) if before else None
            if plan is not None:
                plans[resource] = plan
        return plans, held

    def _apply(self, scene: Scene, plans: Mapping[str, Plan], holds: Iterable[Hold]) -> str | None:
        """Give every VM what the plans say or, where they say nothing, its own; returns a resource that failed."""
        notes = [mark_of(hold) for hold in holds]
        for resident in scene.residents:
            try:
                failed = _give(resident, plans, self._host_id(), notes)
            except libvirt.libvirtError as error:
                if not is_code(error, "NO_DOMAIN"):
                    raise
                continue
            if failed is not None:
                return failed
        return None

    def names(self, raw: libvirt.virConnect, reservation_id: str) -> bool:
        """Return whether a VM here is restrained for that reservation, or was elsewhere and came here so."""
        residents = read_scene(raw, Resources(), (), ()).residents
        return any(hold.reservation_id == reservation_id for resident in residents for hold in resident.holds)

    def own_shares(self, raw: libvirt.virConnect, without: str) -> int:
        """Return the CPU shares of all VMs here together but one, as they are without our restraint."""
        return sum(read_scene(raw, Resources(), (without,), (CPU,)).own_shares().values())

    def found(self, raw: libvirt.virConnect, capacity: Resources, holds: Iterable[Hold]) -> tuple[Hold, ...]:
        """Return ``holds``, and those that only marks tell of, with what is really left free for each."""
        listed = {hold.reservation_id: hold for hold in holds}
        for resident in read_scene(raw, capacity, (), ()).residents:
            for hold in resident.holds:
                listed.setdefault(hold.reservation_id, _only_noted(hold, self._host_id()))
        enforced = {name for hold in listed.values() for name, who in hold.enforced_by.items() if who == "hypervisor"}
        wanted = [resource for resource in LEVERS if resource in enforced]
        if not wanted:
            return tuple(listed.values())
        scene = read_scene(raw, capacity, {hold.vm_uuid for hold in listed.values()}, wanted)
        return tuple(_measured(scene, hold, tuple(listed.values())) for hold in listed.values())


def _granted(standing: Mapping[str, Hold], asked: Hold | None, held: set[str]) -> list[Hold]:
    """Return the holds as they are once ``held`` of ``asked`` is in force."""
    if asked is None:
        return list(standing.values())
    enforced = {**asked.enforced_by, **dict.fromkeys(held, "hypervisor")}
    return [*standing.values(), replace(asked, enforced_by=enforced)]


def _plan_of(scene: Scene, resource: str, holds: list[Hold]) -> Plan | None:
    if resource == CPU:
        return _plan_cpu(scene, holds)
    return _plan_limits(scene, resource, LIMITS[resource], holds)


def _plan_cpu(scene: Scene, holds: list[Hold]) -> Plan | None:
    own = scene.own_shares()
    arriving = max((int(hold.tokens.get("arriving_shares", 0)) for hold in holds), default=0)
    if not arriving or not all(own.values()):
        return None
    shares = scaled_shares(
        own,
        [hold.amount.cpu_cores for hold in holds],
        scene.capacity.cpu_cores,
        arriving,
        {resident.uuid: resident.promised.cpu_cores for resident in scene.residents},
    )
    return None if shares is None else {uuid: {"": {SHARES: value}} for uuid, value in shares.items()}


def _plan_limits(scene: Scene, resource: str, lever: LimitLever, holds: list[Hold]) -> Plan | None:
    own = {resident.uuid: resident.own(resource) for resident in scene.residents}
    if not own or scene.capacity[resource] <= 0:
        return None  # nobody is limited, or to nothing known
    needs: dict[str, Need] = {}
    for resident in scene.residents:
        settings = own[resident.uuid]
        if settings is None:
            return None
        limit = lever.limit(settings)
        if limit is None and any(settings.values()):
            return None  # it has settings of its own that we would have to change
        floor = resident.floor(resource)
        needs[resident.uuid] = Need(None if floor is None else lever.least(settings, floor), limit)
    limits = share_out(scene.capacity[resource], sum(hold.amount[resource] for hold in holds), needs)
    if limits is None:
        return None
    return {
        uuid: lever.limited(settings, limits[uuid]) if uuid in limits else settings
        for uuid, settings in own.items()
        if settings is not None
    }


def _give(resident: Resident, plans: Mapping[str, Plan], host_id: str, holds: list[dict[str, str]]) -> str | None:
    """Bring a VM to what the plans say, or back to its own; returns the resource whose setting its host refused."""
    own = {resource: settings for resource in resident.settings if (settings := resident.own(resource)) is not None}
    wanted = {resource: plans[resource].get(resident.uuid, own[resource]) if resource in plans else own[resource]
              for resource in own}  # fmt: skip
    given = {resource: settings for resource, settings in wanted.items() if settings != own[resource]}
    earlier = {resource: values for resource, values in resident.given.items() if resource in own}
    unsure = {resource: [*earlier.get(resource, ()), given[resource]] for resource in given}
    _note(resident, host_id, holds, own, {**earlier, **unsure})
    for resource, settings in wanted.items():
        if settings == resident.settings[resource]:
            continue
        try:
            LEVERS[resource].apply(resident.domain, settings)
        except libvirt.libvirtError as error:
            if is_code(error, "NO_DOMAIN") or resource not in given:
                raise
            LEVERS[resource].apply(resident.domain, own[resource])  # libvirt may have set it in part, and not say so
            return resource
    _note(resident, host_id, holds, own, {resource: [settings] for resource, settings in given.items()})
    return None


def _note(
    resident: Resident,
    host_id: str,
    holds: list[dict[str, str]],
    own: Mapping[str, Settings],
    given: Mapping[str, list[Settings]],
) -> None:
    """Write on a VM what it had and was given; take the mark off where it was given nothing."""
    mark = None
    if given:
        mark = {
            "host": host_id,
            "holds": json.dumps(holds),
            "former": json.dumps({resource: own[resource] for resource in given}),
            "given": json.dumps(given),
            "forecast": json.dumps(resident.forecast.as_dict()) if resident.forecast else "",
        }
    if mark == resident.mark:
        return
    if mark is None:
        remove_mark(resident.domain, RESTRAINT, live_only=True)
    else:
        write_mark(resident.domain, RESTRAINT, mark, live_only=True)
    resident.mark = mark


def _only_noted(hold: Hold, host_id: str) -> Hold:
    """Return a hold of which nothing but the marks of restrained VMs is left, as found on this host."""
    enforced = {**hold.enforced_by, "memory": "ledger"}
    return replace(hold, host_id=host_id, enforced_by=enforced, amount=replace(hold.amount, memory_mib=0.0))


def _measured(scene: Scene, hold: Hold, holds: tuple[Hold, ...]) -> Hold:
    """Return the hold with no more of CPU, network and disk than the restraint on the host leaves free for it."""
    amounts: dict[str, Any] = hold.amount.as_dict()
    if hold.enforced_by.get(CPU) == "hypervisor":
        arrivals = sum(each.enforced_by.get(CPU) == "hypervisor" for each in holds)
        current = [(resident.settings.get(CPU) or {"": {SHARES: 0}})[""][SHARES] for resident in scene.residents]
        arriving = int(hold.tokens.get("arriving_shares", 0))
        amounts["cpu_cores"] = min(
            hold.amount.cpu_cores, cores_left(current, arrivals, scene.capacity.cpu_cores, arriving)
        )
    for resource, lever in LIMITS.items():
        if hold.enforced_by.get(resource) == "hypervisor":
            taken = _taken(scene, resource, lever)
            others = sum(
                each.amount[resource]
                for each in holds
                if each.reservation_id != hold.reservation_id and each.enforced_by.get(resource) == "hypervisor"
            )
            left = 0.0 if taken is None else max(0.0, scene.capacity[resource] - taken - others)
            amounts[FIELD_OF[resource]] = min(hold.amount[resource], left)
    return replace(hold, amount=Resources.from_dict(amounts))


def _taken(scene: Scene, resource: str, lever: LimitLever) -> float | None:
    """Return the most that the VMs on the host can take together now; None where one of them is not limited."""
    total = 0.0
    for resident in scene.residents:
        settings = resident.settings.get(resource)
        limit = None if settings is None else lever.limit(settings)
        if limit is None:
            return None
        total += limit
    return total

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which VM or host a name or uuid in someone else's data stands for."""

from __future__ import annotations

from collections import Counter, defaultdict

from ..estate.snapshot import Estate

#: How many unmatched names a warning shows.
_SHOWN = 5


class Entities:
    """Finds entity ids by uuid or by exact name, and remembers what could not be found.

    VMs are found by uuid or name, applications by those of the VM they run in, hosts by key, id or name. A name that
    several have matches none of them: guessing would mix their histories.
    """

    def __init__(self, estate: Estate) -> None:
        self._vms: dict[str, set[str]] = defaultdict(set)
        self._hosts: dict[str, set[str]] = defaultdict(set)
        for vm in estate.vms.values():
            self._vms[vm.name].add(vm.uuid)
        for vm in estate.vms.values():
            self._vms[vm.uuid.lower()] = {vm.uuid}  # a guest may call itself like another's uuid
        for host in estate.hosts.values():
            for name in (host.key, host.host_id, host.name):
                self._hosts[name].add(host.key)
        self._unknown: Counter[tuple[str, str]] = Counter()
        self._ambiguous: Counter[tuple[str, str]] = Counter()

    def find(self, entity_kind: str, text: str) -> str | None:
        """Return the entity id for ``text``, None when nothing or more than one thing is called so."""
        names = self._hosts if entity_kind == "host" else self._vms
        found = names.get(text) or names.get(text.lower()) or set()
        if len(found) == 1:
            return next(iter(found))
        (self._ambiguous if found else self._unknown)[(entity_kind, text)] += 1
        return None

    def take_warnings(self, source: str) -> list[str]:
        """Return what could not be matched since the last call, in a sentence each."""
        problems = (
            (self._unknown, "names match no VM or host of this estate, their series were left out"),
            (self._ambiguous, "names belong to several VMs or hosts, their series were left out"),
        )
        warnings = []
        for names, problem in problems:
            if names:
                examples = ", ".join(repr(text[:80]) for _kind, text in sorted(names)[:_SHOWN])
                warnings.append(f"{source}: {len(names)} {problem}: {examples}")
            names.clear()
        return warnings

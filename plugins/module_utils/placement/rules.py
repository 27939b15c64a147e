# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Whether a host keeps the placement rules of a VM, while the VM moves and afterwards."""

from __future__ import annotations

from collections.abc import Callable

from ..estate.nouns import Host, Rule
from .question import Question
from .verdict import Reason


def keeps_rule(rule: Rule, host: Host, question: Question) -> bool:
    """Return whether ``rule`` holds with the VM on ``host``.

    VMs on their way count on both hosts, so a rule is kept also in the middle of every move under way.
    """
    return not _OBSTACLES[rule.kind](rule, host, question)


def broken_rules(kind: str, host: Host, question: Question) -> Reason | None:
    """Return a reason that names the mandatory rules of ``kind`` broken by ``host`` and by whom, or None."""
    broken = {
        rule.name: sorted(_OBSTACLES[kind](rule, host, question))
        for rule in question.rules
        if rule.kind == kind and rule.mandatory and not keeps_rule(rule, host, question)
    }
    if not broken:
        return None
    names = ", ".join(sorted(broken))
    return Reason(kind, f"{_SENTENCE[kind]} ({names})", {"rules": broken})


def _peers_here(rule: Rule, host: Host, question: Question) -> set[str]:
    return {uuid for uuid in rule.vm_uuids if host.key in question.whereabouts.get(uuid, ())}


def _peers_elsewhere(rule: Rule, host: Host, question: Question) -> set[str]:
    placed = {uuid for uuid in rule.vm_uuids if question.whereabouts.get(uuid)}
    return placed - _peers_here(rule, host, question)


def _outside_group(rule: Rule, host: Host, _question: Question) -> set[str]:
    return set() if host.key in rule.host_keys else {host.key}


def _inside_group(rule: Rule, host: Host, _question: Question) -> set[str]:
    return {host.key} if host.key in rule.host_keys else set()


#: Kind of rule -> what stands against the VM on a host: uuids of VMs, or the host's key.
_OBSTACLES: dict[str, Callable[[Rule, Host, Question], set[str]]] = {
    "vm_anti_affinity": _peers_here,
    "vm_affinity": _peers_elsewhere,
    "vm_host_affinity": _outside_group,
    "vm_host_anti_affinity": _inside_group,
}
_SENTENCE = {
    "vm_anti_affinity": "a VM that must be apart from this one runs here or is on its way",
    "vm_affinity": "a VM that must be together with this one is elsewhere",
    "vm_host_affinity": "the host is outside the group that the VM is tied to",
    "vm_host_anti_affinity": "the host is in the group that the VM is kept away from",
}

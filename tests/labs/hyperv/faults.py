# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Trouble on request: what a server does to the requests that a rule names."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from ansible_collections.foresight.migration.tests.labs.hyperv import wsman


@dataclass
class Trouble:
    """What happens to requests of one operation (Create, Command, Send, Receive, Signal, Delete).

    ``kind`` is ``hang`` (no answer until the server stops), ``close`` (half an answer, then the end of the
    connection) or ``fault`` (the answer is ``fault``). The first ``skip`` requests pass, the next ``times`` do not.
    """

    operation: str
    kind: str
    fault: wsman.Fault | None = None
    skip: int = 0
    times: int = 1


class Troubles:
    """The rules that are in force, and a count of every operation seen."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.seen: dict[str, int] = {}
        self._rules: list[Trouble] = []
        self._lock = threading.Lock()

    def add(self, *rules: Trouble) -> None:
        """Put rules in force, until each has been used up."""
        with self._lock:
            self._rules += rules

    def next(self, operation: str) -> Trouble | None:
        """Count a request and return what is to happen to it."""
        with self._lock:
            self.seen[operation] = self.seen.get(operation, 0) + 1
            for rule in self._rules:
                if rule.operation != operation:
                    continue
                if rule.skip:
                    rule.skip -= 1
                    continue
                rule.times -= 1
                if not rule.times:
                    self._rules.remove(rule)
                return rule
        return None

    def hang(self) -> None:
        """Return when the server stops."""
        self.released.wait()


def silence(timeouts: int) -> Trouble:
    """Return a rule by which the server says that its operation timeout has passed, that many times at once.

    It stands for a long silence: a host that sends nothing for five minutes answers fifteen Receive requests of
    20 s so, and a client cannot tell the two apart but by its clock.
    """
    return Trouble("Receive", "fault", wsman.timed_out(), times=timeouts)

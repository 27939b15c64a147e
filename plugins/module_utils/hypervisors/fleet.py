# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All endpoints of one call: opened when first needed, asked in parallel, closed together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, TypeVar

from ..clock import Clock, SystemClock
from ..errors import ForesightError, InvalidOption
from .parallel import DeadlinePassed, answer_all
from .protocol import Driver, Whereabouts
from .registry import driver_class

T = TypeVar("T")


class Fleet:
    """The drivers of a call's ``endpoints``. Use it as a context manager."""

    def __init__(self, endpoints: Sequence[Mapping[str, Any]]) -> None:
        """Take endpoint options, each with ``name`` and ``type``; no I/O.

        Raises `InvalidOption` for none at all, an unknown type or a doubled name.
        """
        self._drivers: dict[str, Driver] = {}
        self._connected: set[str] = set()
        self._busy: set[str] = set()
        if not endpoints:
            raise InvalidOption("endpoints", "at least one is needed to ask a hypervisor")
        for endpoint in endpoints:
            name = endpoint["name"]
            if not name or "/" in name:  # it parts the endpoint from the host in every host's key
                raise InvalidOption("endpoints.name", f"{name!r} is empty or holds a slash")
            if name in self._drivers:
                raise InvalidOption("endpoints.name", f"two endpoints are called {name!r}")
            self._drivers[name] = driver_class(endpoint["type"])(name, endpoint)

    def __enter__(self) -> Fleet:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for name in self._drivers.keys() - self._busy:  # closing one that is still being asked would wait for it
            self._drivers[name].close()
        self._connected.clear()

    @property
    def names(self) -> tuple[str, ...]:
        """The endpoints' names in the order they were given."""
        return tuple(self._drivers)

    @property
    def clock(self) -> Clock:
        """The clock of the estate: a simulated endpoint brings its own, and then serves all.

        Raises `InvalidOption` when simulated endpoints are mixed with real ones, whose time cannot be replayed.
        """
        clocks = [driver.clock for driver in self._drivers.values()]
        replayed = [clock for clock in clocks if not isinstance(clock, SystemClock)]
        if replayed and len(replayed) < len(clocks):
            raise InvalidOption("endpoints", "simulated endpoints cannot be mixed with real ones in one call")
        return replayed[0] if replayed else SystemClock()

    def driver(self, endpoint: str) -> Driver:
        """Return the connected driver of ``endpoint``; raises what its `Driver.connect` raises."""
        if endpoint not in self._drivers:
            raise InvalidOption("endpoints", f"no endpoint is called {endpoint!r}; given are {', '.join(self.names)}")
        driver = self._drivers[endpoint]
        if endpoint not in self._connected:
            driver.connect()
            self._connected.add(endpoint)
        return driver

    def ask(
        self,
        question: Callable[[Driver], T],
        endpoints: Iterable[str] | None = None,
        deadline_s: float | None = None,
    ) -> dict[str, T | ForesightError]:
        """Put ``question`` to the endpoints (default: all) in parallel.

        Returns per endpoint the answer, or the `ForesightError` that connecting or answering raised; one that has
        not answered completely after ``deadline_s`` seconds is given up as `parallel.DeadlinePassed`.
        """
        names = list(self.names if endpoints is None else endpoints)
        answers = answer_all({name: partial(self._answer, name, question) for name in names}, deadline_s)
        self._busy |= {name for name, answer in answers.items() if isinstance(answer, DeadlinePassed)}
        return answers

    def _answer(self, name: str, question: Callable[[Driver], T]) -> T:
        return question(self.driver(name))

    def locate(self, vm_uuid: str) -> tuple[dict[str, tuple[Whereabouts, ...]], dict[str, ForesightError]]:
        """Ask every endpoint where the VM is now; returns (sightings, errors), each by endpoint."""
        answers = self.ask(lambda driver: driver.locate(vm_uuid))
        sightings = {name: answer for name, answer in answers.items() if not isinstance(answer, ForesightError)}
        errors = {name: answer for name, answer in answers.items() if isinstance(answer, ForesightError)}
        return {name: seen for name, seen in sightings.items() if seen}, errors

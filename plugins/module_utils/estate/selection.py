# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Choosing hosts and VMs by what is known of them, with JMESPath."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InvalidOption
from ..libraries import library
from .serialise import to_data

if TYPE_CHECKING:
    import jmespath
    from jmespath import exceptions as jmespath_exceptions
else:
    jmespath = library("jmespath")
    jmespath_exceptions = library("jmespath.exceptions")

T = TypeVar("T")


def select(items: Iterable[T], expression: str, option: str) -> tuple[T, ...]:
    """Return the hosts or VMs for which the JMESPath ``expression`` holds, in their order.

    The expression is put to each item by itself, to the fields of `Host` or `Vm` (for example
    ``labels.tier == 'gold' && !contains(pinned_by, 'gpu')``); it holds unless the answer is null, false or empty.
    Raises `InvalidOption` naming ``option`` for an expression that cannot be parsed or put to one of the items.
    """
    try:
        compiled = jmespath.compile(expression)
    except jmespath_exceptions.JMESPathError as exc:
        raise InvalidOption(option, f"not a JMESPath expression: {_first_line(exc)}") from exc
    return tuple(item for item in items if _holds(compiled, item, option))


def _holds(compiled: Any, item: object, option: str) -> bool:
    data = to_data(item)
    try:
        answer = compiled.search(data)
    except jmespath_exceptions.JMESPathError as exc:
        raise InvalidOption(
            option,
            f"the expression fails for {data.get('name', '?')!r}: {_first_line(exc)}",
            advice="Guard a field that may be absent: labels.tier && starts_with(labels.tier, 'g').",
        ) from exc
    return not (answer is None or answer is False or answer in ("", [], {}))


def _first_line(exc: Exception) -> str:
    return str(exc).splitlines()[0]

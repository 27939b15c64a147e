# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nouns to JSON-able dicts and back, field by field, so that an artefact holds what the class declares."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache, partial
from types import NoneType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import ForesightError

T = TypeVar("T")
_Restorer = Callable[[Any], Any]
#: Types that are data already; most values are, so they are asked for first.
_PLAIN = frozenset((str, float, int, bool, NoneType))


class BadArtefact(ForesightError):
    """Stored data does not have the shape that this version writes."""

    code = "artefact_invalid"


def to_data(value: Any) -> Any:
    """Return ``value`` with dataclasses as dicts, tuples as lists and sets as sorted lists."""
    kind = type(value)
    if kind in _PLAIN:
        return value
    if is_dataclass(kind):
        return {name: to_data(getattr(value, name)) for name in _field_names(kind)}
    if isinstance(value, Mapping):
        return {str(key): to_data(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(to_data(item) for item in value)
    if isinstance(value, list | tuple):
        return [to_data(item) for item in value]
    return value


def from_data(cls: type[T], data: Any) -> T:
    """Build the dataclass ``cls`` from what `to_data` made of it.

    Fields this version does not know are ignored, absent ones take their default; raises `BadArtefact` when one
    without a default is absent or has another shape.
    """
    if not isinstance(data, dict):
        raise BadArtefact(f"expected an object for {cls.__name__}, found {type(data).__name__}")
    try:
        names, restorers = _restoration(cls)  # type: ignore[arg-type]  # a class is hashable, TypeVar hides it
        values = dict(data) if data.keys() <= names else {name: data[name] for name in names & data.keys()}
        for name, restore in restorers:
            if name in values:
                values[name] = restore(values[name])
        return cls(**values)
    except (AttributeError, TypeError, ValueError) as exc:
        raise BadArtefact(f"not a valid {cls.__name__}: {exc}") from exc


@cache
def _field_names(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(cls))


@cache
def _restoration(cls: type) -> tuple[frozenset[str], tuple[tuple[str, _Restorer], ...]]:
    """Return the names of the fields, and what turns data into a value for those that need it.

    It is worked out once per class: an estate has tens of thousands of objects, and type hints are slow to read.
    """
    hints = get_type_hints(cls)
    names = [field.name for field in fields(cls) if field.init]
    restorers = ((name, _restorer(hints[name])) for name in names)
    return frozenset(names), tuple((name, restore) for name, restore in restorers if restore is not None)


def _restorer(hint: Any) -> _Restorer | None:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _optional(_restorer(_required(arguments)))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _fixed(tuple(_restorer(kind) for kind in arguments))
    if origin in (tuple, frozenset, set):
        return _collection(tuple if origin is tuple else frozenset, _restorer(arguments[0]))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return _mapping(_restorer(arguments[1]))
    if is_dataclass(hint) and isinstance(hint, type):
        return partial(from_data, hint)
    return None


def _required(alternatives: tuple[Any, ...]) -> Any:
    """Return the one alternative of an optional type that is not None."""
    return next(kind for kind in alternatives if kind is not NoneType)


def _optional(restore: _Restorer | None) -> _Restorer | None:
    return None if restore is None else lambda value: None if value is None else restore(value)


def _fixed(kinds: tuple[_Restorer | None, ...]) -> _Restorer:
    return lambda value: tuple(
        item if restore is None else restore(item) for restore, item in zip(kinds, value, strict=True)
    )


def _collection(kind: Callable[[Iterable[Any]], Any], restore: _Restorer | None) -> _Restorer:
    return kind if restore is None else lambda value: kind(map(restore, value))


def _mapping(restore: _Restorer | None) -> _Restorer:
    return lambda value: {key: item if restore is None else restore(item) for key, item in value.items()}

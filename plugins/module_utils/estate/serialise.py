# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Nouns to JSON-able dicts and back, field by field, so that an artefact holds what the class declares."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import ForesightError

T = TypeVar("T")


class BadArtefact(ForesightError):
    """Stored data does not have the shape that this version writes."""

    code = "artefact_invalid"


def to_data(value: Any) -> Any:
    """Return ``value`` with dataclasses as dicts, tuples as lists and sets as sorted lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_data(getattr(value, field.name)) for field in fields(value)}
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
    if not isinstance(data, Mapping):
        raise BadArtefact(f"expected an object for {cls.__name__}, found {type(data).__name__}")
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable, TypeVar hides it
    try:
        return cls(**{name: _restore(hint, data[name]) for name, hint in hints.items() if name in data})
    except (TypeError, ValueError) as exc:
        raise BadArtefact(f"not a valid {cls.__name__}: {exc}") from exc


@cache
def _hints(cls: type) -> dict[str, Any]:
    hints = get_type_hints(cls)
    return {field.name: hints[field.name] for field in fields(cls) if field.init}


def _required(alternatives: tuple[Any, ...]) -> Any:
    """Return the one alternative of an optional type that is not None."""
    return next(kind for kind in alternatives if kind is not NoneType)


def _restore(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return None if value is None else _restore(_required(arguments), value)
    if origin is tuple:
        if arguments[-1] is Ellipsis:
            return tuple(_restore(arguments[0], item) for item in value)
        return tuple(_restore(kind, item) for kind, item in zip(arguments, value, strict=True))
    if origin in (frozenset, set):
        return frozenset(_restore(arguments[0], item) for item in value)
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        return {key: _restore(arguments[1], item) for key, item in value.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return from_data(hint, value)
    return value

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reading a scenario's options: each is typed, each error names the option, unknown ones are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ...clock import from_iso
from ...errors import InvalidOption
from ...estate.resources import Resources


class Fields:
    """One mapping of the scenario. Every reader raises `InvalidOption` that names the option by its full path."""

    def __init__(self, data: Any, path: str) -> None:
        """Take the mapping found at ``path`` (for messages); None counts as an empty one."""
        if data is None:
            data = {}
        if not isinstance(data, Mapping):
            raise InvalidOption(path, f"must be a mapping, not {_kind(data)}")
        self._data = data
        self._read: set[str] = set()
        self.path = path

    def __contains__(self, name: str) -> bool:
        return self._has(name)

    def refuse_unknown(self) -> None:
        """Raise for any option that no reader has asked for."""
        unknown = sorted(str(name) for name in self._data if name not in self._read)
        if unknown:
            raise InvalidOption(
                f"{self.path}.{unknown[0]}", f"is not an option here; known are {', '.join(sorted(self._read))}"
            )

    def text(self, name: str, default: str | None = None) -> str:
        """Return a text; a number is taken as its text. Required when there is no default."""
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise self._wrong(name, "a text", value)
        return str(value)

    def optional_text(self, name: str) -> str | None:
        """Return a text, or None when it is absent."""
        return self.text(name) if self._has(name) else None

    def choice(self, name: str, choices: Sequence[str], default: str | None = None) -> str:
        """Return one of ``choices``."""
        value = self.text(name, default)
        if value not in choices:
            raise InvalidOption(f"{self.path}.{name}", f"{value!r} is none of {', '.join(choices)}")
        return value

    def number(
        self, name: str, default: float | None = None, *, minimum: float | None = None, maximum: float | None = None
    ) -> float:
        """Return a finite number within the bounds. Required when there is no default."""
        value = self._take(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "a number", value)
        number = float(value)
        low = float("-inf") if minimum is None else minimum
        high = float("inf") if maximum is None else maximum
        if not low <= number <= high or number in (float("inf"), float("-inf")):
            raise InvalidOption(f"{self.path}.{name}", f"{value!r} is not between {low:g} and {high:g}")
        return number

    def optional_number(self, name: str, *, minimum: float | None = None, maximum: float | None = None) -> float | None:
        """Return a number, or None when it is absent."""
        return self.number(name, minimum=minimum, maximum=maximum) if self._has(name) else None

    def integer(self, name: str, default: int | None = None, *, minimum: int, maximum: int | None = None) -> int:
        """Return a whole number within the bounds."""
        number = self.number(name, default, minimum=minimum, maximum=maximum)
        if number != int(number):
            raise InvalidOption(f"{self.path}.{name}", f"{number!r} is not a whole number")
        return int(number)

    def flag(self, name: str, default: bool) -> bool:
        """Return true or false."""
        value = self._take(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false", value)
        return value

    def moment(self, name: str, default: float | None = None) -> float:
        """Return an ISO 8601 time as Unix seconds; YAML's own timestamps are taken too. Required without a default."""
        value = self._take(name, default)
        if isinstance(value, datetime):
            return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
        if isinstance(value, str):
            return from_iso(value, f"{self.path}.{name}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(name, "an ISO 8601 time", value)
        return float(value)

    def optional_moment(self, name: str) -> float | None:
        """Return a time as Unix seconds, or None when it is absent."""
        return self.moment(name) if self._has(name) else None

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts, empty when absent."""
        value = self._take(name, ())
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._wrong(name, "a list of texts", value)
        for index, item in enumerate(value):
            if not isinstance(item, str):
                raise InvalidOption(f"{self.path}.{name}[{index}]", f"must be a text, not {_kind(item)}")
        return tuple(value)

    def labels(self, name: str) -> dict[str, str]:
        """Return a mapping of texts to texts, empty when absent."""
        nested = Fields(self._take(name, {}), f"{self.path}.{name}")
        return {str(key): nested.text(str(key)) for key in nested._data}

    def resources(self, name: str, *, required: bool = False) -> Resources:
        """Return amounts that are not negative; absent ones are 0."""
        value = self._take(name, None if required else {})
        path = f"{self.path}.{name}"
        if not isinstance(value, Mapping):
            raise self._wrong(name, "a mapping of resources", value)
        amounts = Resources.from_dict(value, path)
        if min(amounts) < 0:
            raise InvalidOption(path, "an amount is negative")
        return amounts

    def nested(self, name: str) -> Fields:
        """Return the mapping under ``name``, empty when absent."""
        return Fields(self._take(name, {}), f"{self.path}.{name}")

    def raw(self, name: str) -> Any:
        """Return the value as it stands, None when absent."""
        self._read.add(name)
        return self._data.get(name)

    def items(self, name: str) -> Iterator[Fields]:
        """Yield the mappings of a list, none when it is absent."""
        value = self._take(name, ())
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise self._wrong(name, "a list", value)
        for index, item in enumerate(value):
            yield Fields(item, f"{self.path}.{name}[{index}]")

    def _has(self, name: str) -> bool:
        self._read.add(name)
        return self._data.get(name) is not None

    def _take(self, name: str, default: Any) -> Any:
        if self._has(name):
            return self._data[name]
        if default is None:
            raise InvalidOption(f"{self.path}.{name}", "is required")
        return default

    def _wrong(self, name: str, wanted: str, value: Any) -> InvalidOption:
        return InvalidOption(f"{self.path}.{name}", f"must be {wanted}, not {_kind(value)}")


def _kind(value: Any) -> str:
    """Name the kind of a YAML value for people."""
    if value is None:
        return "empty"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    return repr(value)

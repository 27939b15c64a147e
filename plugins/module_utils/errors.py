# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The one hierarchy of errors that rooms raise and modules turn into a failed result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar


class ForesightError(Exception):
    """Something the user can act on.

    Subclasses set ``code``, a stable machine-readable name that playbooks may test for. ``message`` says what
    happened, ``advice`` what to do about it, ``details`` holds JSON-able figures. None of them may hold a secret.
    """

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, advice: str = "", details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.advice = advice
        self.details: dict[str, Any] = dict(details or {})

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.advice, self.details))

    def as_dict(self) -> dict[str, Any]:
        """Return ``{code, message, advice, details}`` as modules show it under ``error``."""
        return {"code": self.code, "message": self.message, "advice": self.advice, "details": self.details}


def _rebuild(cls: type[ForesightError], message: str, advice: str, details: dict[str, Any]) -> ForesightError:
    """Unpickle an error that crossed a process boundary."""
    error = cls.__new__(cls)
    ForesightError.__init__(error, message, advice=advice, details=details)
    return error


class InvalidOption(ForesightError):
    """An option's value cannot be used. ``details['option']`` names the option."""

    code = "invalid_option"

    def __init__(self, option: str, problem: str, *, advice: str = "") -> None:
        super().__init__(f"{option}: {problem}", advice=advice, details={"option": option})


class MissingLibrary(ForesightError):
    """A Python library that this call needs is not installed."""

    code = "missing_library"

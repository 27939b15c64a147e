# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Third-party libraries, imported on first use.

A module is a fresh process, so a library that a call does not touch must not cost that call its import time, and
a missing one must be a clear error rather than a traceback. Write::

    if TYPE_CHECKING:
        import numpy as np
    else:
        np = library("numpy")
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

from .errors import MissingLibrary


class _Library(types.ModuleType):
    """Stands for a library until one of its attributes is asked for."""

    def __init__(self, name: str, package: str) -> None:
        super().__init__(name)
        self.__dict__["_package"] = package

    def __getattr__(self, attribute: str) -> Any:
        if attribute.startswith("__") and attribute.endswith("__"):
            raise AttributeError(attribute)  # introspection must not import anything
        value = getattr(require(self.__name__, self.__dict__["_package"]), attribute)
        self.__dict__[attribute] = value
        return value


def library(name: str, package: str = "") -> Any:
    """Return a stand-in for module ``name`` that imports it on first use.

    ``package`` is the name to install where it differs from the top-level module. Using a library that is not
    installed raises `MissingLibrary`.
    """
    return _Library(name, package or name.partition(".")[0])


def require(name: str, package: str = "") -> types.ModuleType:
    """Import module ``name`` now and return it; raises `MissingLibrary` with what to install."""
    wanted = package or name.partition(".")[0]
    try:
        return importlib.import_module(name)
    except ImportError as exc:
        raise MissingLibrary(
            f"The Python library '{wanted}' cannot be imported by {sys.executable}: {exc}",
            advice=f"Install it for that interpreter: {sys.executable} -m pip install '{wanted}'",
            details={"library": wanted, "interpreter": sys.executable},
        ) from exc

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""pyVmomi, VMware's SDK: imported on first use, and untyped, since its stubs leave out what it makes at run time."""

from __future__ import annotations

from typing import Any

from ...libraries import library

pyvmomi: Any = library("pyVmomi", "pyvmomi")

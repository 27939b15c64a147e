# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The order of the rooms is what keeps the core pure; these tests hold every file to it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

UTILS = Path(__file__).resolve().parents[2] / "plugins" / "module_utils"
PACKAGE = "ansible_collections.foresight.migration.plugins.module_utils"
#: Lowest first. A room may import the ground floor, itself, and rooms before it.
ROOMS = (
    "estate",
    "workspace",
    "forecasting",
    "placement",
    "reservations",
    "hypervisors",
    "sources",
    "migration",
    "operations",
    "ansible",
)
GROUND_FLOOR = ("errors", "libraries", "clock")
#: Rooms that share a level of the building and must not know each other, though the order alone would let them.
STRANGERS = {
    ("hypervisors", "forecasting"),
    ("hypervisors", "placement"),
    ("hypervisors", "reservations"),
    ("hypervisors", "workspace"),
    ("reservations", "placement"),
    ("reservations", "forecasting"),
    ("forecasting", "workspace"),
    ("placement", "workspace"),
    ("sources", "hypervisors"),
}
#: Rooms that compute only: no files, no network, no processes of their own beyond what their executor is.
PURE = {"estate", "placement"}
IO_MODULES = {"os", "io", "socket", "subprocess", "pathlib", "sqlite3", "shutil", "tempfile", "urllib", "http"}

FILES = sorted(UTILS.rglob("*.py"))


def _imports(path: Path) -> set[str]:
    """Return the absolute names of all modules that ``path`` imports."""
    here = [*PACKAGE.split("."), *path.relative_to(UTILS).with_suffix("").parts]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(UTILS)))
def test_a_file_imports_only_rooms_below_its_own(path: Path) -> None:
    room = path.relative_to(UTILS).parts[0].removesuffix(".py")
    allowed = set(GROUND_FLOOR)
    if room in ROOMS:
        allowed |= set(ROOMS[: ROOMS.index(room) + 1])
        allowed -= {other for own, other in STRANGERS if own == room}
    reached = {name[len(PACKAGE) + 1 :].split(".")[0] for name in _imports(path) if name.startswith(PACKAGE + ".")}
    assert reached <= allowed, f"{path.name} in {room} imports {sorted(reached - allowed)}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(UTILS)))
def test_pure_rooms_do_no_io_and_only_the_top_room_knows_ansible(path: Path) -> None:
    room = path.relative_to(UTILS).parts[0]
    roots = {name.split(".")[0] for name in _imports(path)}
    if room in PURE:
        assert not roots & IO_MODULES
    if room != "ansible":
        assert "ansible" not in roots


def test_every_room_in_the_tree_has_its_place_in_the_order() -> None:
    assert {path.name for path in UTILS.iterdir() if path.is_dir() and path.name != "__pycache__"} <= set(ROOMS)

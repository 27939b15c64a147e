# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a PowerShell script names: found in its syntax tree and looked up in reference.tsv.

The reference has a row for every command, CIM class and .NET type that scripts may use, with those of its parameters,
properties or methods that they may use and the pages of Microsoft's documentation that have them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import tree_sitter
import tree_sitter_pwsh

REFERENCE = Path(__file__).with_name("reference.tsv")
#: Parameters that every cmdlet has (about_CommonParameters).
COMMON_PARAMETERS = frozenset({"erroraction", "errorvariable", "warningaction", "verbose"})
_PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_pwsh.language()))
_CLASS_PARAMETERS = {"-classname", "-resultclassname", "-association"}
#: What the methods of a class return instances of.
_RETURNED = {"Msvm_VirtualSystemMigrationService": "Msvm_MigrationJob"}
_CLASS = re.compile(r"(Win32|Msvm|MSFT|MSCluster)_\w+")


@dataclass(frozen=True)
class Row:
    """One row of the reference: a command, a class or a type, what it has, and where that is documented."""

    kind: str
    name: str
    members: frozenset[str]
    more: frozenset[str]
    sources: tuple[str, ...]


def read_reference() -> tuple[Row, ...]:
    """Return the reference's rows; names of members are in lower case, as PowerShell does not tell cases apart."""
    with REFERENCE.open(newline="") as file:
        return tuple(
            Row(kind, name, _words(members), _words(more), tuple(sources.split()))
            for kind, name, members, more, sources in list(csv.reader(file, delimiter="\t"))[1:]
        )


def _words(text: str) -> frozenset[str]:
    return frozenset(text.lower().split())


class Script:
    """The syntax tree of a script, and what it names."""

    def __init__(self, text: str) -> None:
        self._root = _PARSER.parse(text.encode()).root_node
        self.functions = {_text(node).lower() for node in self._all("function_name")}
        self._strings = dict(self._constants())

    def errors(self) -> list[str]:
        """Return where the grammar finds no sense."""
        return [
            f"line {node.start_point[0] + 1}: {_text(node)[:60]}"
            for node in _walk(self._root)
            if node.type == "ERROR" or node.is_missing
        ]

    def commands(self) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
        """Yield each command with its parameters and the constant that follows each, where one does."""
        for node in self._all("command"):
            name = node.child_by_field_name("command_name")
            if name is None or not re.fullmatch(r"[A-Za-z]+-\w+", _text(name)):
                continue
            elements = [one for part in node.children if part.type == "command_elements" for one in part.children]
            words = [one for one in elements if one.type != "command_argument_sep"]
            pairs = zip_longest(words, words[1:])
            yield (
                _text(name),
                [
                    (_text(word).lower(), None if value is None else self._constant(value))
                    for word, value in pairs
                    if word.type == "command_parameter"
                ],
            )

    def classes(self) -> set[str]:
        """Return the CIM classes that are named: as a command's argument, or as a string of that form."""
        named = {
            value
            for unused_name, parameters in self.commands()
            for parameter, value in parameters
            if parameter in _CLASS_PARAMETERS and value is not None and "*" not in value
        }
        strings = {_literal(node) for node in self._all("string_literal")}
        return named | {text for text in strings if _CLASS.fullmatch(text) and text not in self._strings.values()}

    def methods(self) -> set[str]:
        """Return the names of the CIM methods that are invoked."""
        return {
            value
            for name, parameters in self.commands()
            for parameter, value in parameters
            if parameter == "-methodname" and value is not None
        }

    def types(self) -> set[str]:
        """Return the .NET types: of casts and static members, and of New-Object."""
        literals = {
            _text(node).strip("[]") + ("[]" if "[]" in _text(node) else "") for node in self._all("type_literal")
        }
        made = {
            value
            for name, parameters in self.commands()
            for parameter, value in parameters
            if parameter == "-typename" and value is not None
        }
        return literals | made

    def members(self) -> set[str]:
        """Return the members of Windows' own objects that are named; names of ours begin in lower case."""
        names = (_text(node.children[-1]) for node in self._all("member_access"))
        return {name for name in names if name[:1].isupper()}

    def _all(self, kind: str) -> Iterator[tree_sitter.Node]:
        return (node for node in _walk(self._root) if node.type == kind)

    def _constants(self) -> Iterator[tuple[str, str]]:
        """Yield the variables that are assigned one string."""
        for node in self._all("assignment_expression"):
            found = re.fullmatch(r"(\$\w+)\s*=\s*'([^']*)'", _text(node).strip())
            if found:
                yield found.group(1).lower(), found.group(2)

    def _constant(self, node: tree_sitter.Node) -> str | None:
        """Return the string that an argument is: a word, a literal, a variable, or a sum of those."""
        text = _text(node).strip()
        if re.fullmatch(r"[\w.\\*-]+", text):
            return text
        parts = [part.strip() for part in text.strip("()").split("+")]
        values = [part.strip("'") if part.startswith("'") else self._strings.get(part.lower()) for part in parts]
        return None if None in values else "".join(value for value in values if value)


def unknown(text: str) -> list[str]:
    """Return what is wrong with a script: syntax, and names that the reference does not have."""
    script, rows = Script(text), read_reference()
    by_name = {(row.kind, row.name.lower()): row for row in rows}
    problems = [f"syntax: {error}" for error in script.errors()]
    used: list[Row] = []

    def look_up(kind: str, name: str) -> Row | None:
        row = by_name.get((kind, name.lower()))
        if row is None:
            problems.append(f"{kind} {name}")
        else:
            used.append(row)
        return row

    for name, parameters in script.commands():
        row = None if name.lower() in script.functions else look_up("command", name)
        known = (row.members if row else frozenset()) | COMMON_PARAMETERS
        problems += [f"{name} {word}" for word, unused in parameters if row and word.lstrip("-") not in known]
    named = script.classes()
    for name in named | {_RETURNED[name] for name in named & set(_RETURNED)}:
        look_up("class", name)
    for name in script.types():
        look_up("type", name)
    methods = {name for row in used if row.kind == "class" for name in row.more}
    problems += [f"method {name}" for name in script.methods() if name.lower() not in methods]
    return problems + _unknown_members(script, used, rows)


def _unknown_members(script: Script, used: list[Row], rows: tuple[Row, ...]) -> list[str]:
    """Return members that none of the used commands and classes, and no type at all, has."""
    known = {name for row in used if row.kind == "class" for name in row.members}
    known |= {name for row in used if row.kind == "command" for name in row.more}
    known |= {name for row in rows if row.kind == "type" for name in row.members}
    return [f"member {name}" for name in script.members() if name.lower() not in known]


def _walk(node: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: tree_sitter.Node) -> str:
    return (node.text or b"").decode()


def _literal(node: tree_sitter.Node) -> str:
    return _text(node).strip("'\"")

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""XML from and for libvirt: parsed and built as trees, never pasted together as text."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from ..protocol import HypervisorFault


def parse(text: str) -> ET.Element:
    """Return the root element of a document from libvirt.

    Raises `HypervisorFault` for text that is not well-formed or that declares entities, which libvirt never does.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise HypervisorFault("libvirt sent XML with a document type declaration, which is not accepted")
    try:
        return ET.fromstring(text)
    except ET.ParseError as exc:
        raise HypervisorFault(f"libvirt sent XML that cannot be parsed: {exc}") from exc


def serialise(element: ET.Element) -> str:
    """Return an element as text for libvirt."""
    return ET.tostring(element, encoding="unicode")


def add(
    parent: ET.Element, tag: str, text: str | None = None, attributes: Mapping[str, str] | None = None
) -> ET.Element:
    """Append a child to ``parent`` and return it."""
    child = ET.SubElement(parent, tag, dict(attributes or {}))
    child.text = text
    return child


def attribute(root: ET.Element, path: str, name: str, default: str = "") -> str:
    """Return an attribute of the first element at ``path``, or ``default`` when either is absent."""
    element = root.find(path)
    return default if element is None else element.get(name, default)


def text(root: ET.Element, path: str, default: str = "") -> str:
    """Return the text of the first element at ``path``, or ``default``."""
    return (root.findtext(path) or default).strip()

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What we write into domains so that a later task, or another controller, finds it again."""

from __future__ import annotations

import uuid as uuids
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...libraries import library
from .faults import is_code
from .xml import parse, serialise

if TYPE_CHECKING:
    import libvirt
else:
    libvirt = library("libvirt", "libvirt-python")

#: Prefix of our elements in a domain's <metadata>. libvirt keeps one element per namespace.
PREFIX = "foresight"
#: On a placeholder: the hold it belongs to.
HOLD = "urn:foresight:migration:hold:1"
#: On a VM in flight: who moves it where.
MOVE = "urn:foresight:migration:move:1"
#: On a VM that has arrived: the guarantee it was given.
GUARANTEE = "urn:foresight:migration:guarantee:1"

_PLACEHOLDER_NAME = "foresight-hold-"
_PLACEHOLDERS = uuids.uuid5(uuids.NAMESPACE_URL, HOLD)


def placeholder_uuid(reservation_id: str, part: int) -> str:
    """Return the uuid that part ``part`` of a reservation's placeholder has, on every host and in every process."""
    return str(uuids.uuid5(_PLACEHOLDERS, f"{reservation_id}/{part}"))


def placeholder_name(uuid: str) -> str:
    """Return the name of the placeholder with that uuid."""
    return f"{_PLACEHOLDER_NAME}{uuid}"


def is_placeholder(name: str, uuid: str) -> bool:
    """Return whether a domain is a placeholder of ours, by its name, which contains its own uuid."""
    return name == placeholder_name(uuid)


def element(namespace: str, values: Mapping[str, str]) -> ET.Element:
    """Return a metadata element in ``namespace`` with ``values`` as attributes, for a new domain's XML."""
    return ET.Element(f"{{{namespace}}}mark", dict(values))


def scope(domain: libvirt.virDomain) -> int:
    """Return the flags by which a change reaches the running domain, and its definition where it has one."""
    live: int = libvirt.VIR_DOMAIN_AFFECT_LIVE
    return live | libvirt.VIR_DOMAIN_AFFECT_CONFIG if domain.isPersistent() else live


def write_mark(domain: libvirt.virDomain, namespace: str, values: Mapping[str, str]) -> None:
    """Put a mark on a running domain, in place of the one it has in that namespace."""
    text = serialise(ET.Element("mark", dict(values)))
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, PREFIX, namespace, scope(domain))


def read_mark(domain: libvirt.virDomain, namespace: str) -> dict[str, str] | None:
    """Return the values of a domain's mark, or None when it has none in that namespace."""
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, namespace)
    except libvirt.libvirtError as error:
        if is_code(error, "NO_DOMAIN_METADATA"):
            return None
        raise
    return dict(parse(text).attrib)


def remove_mark(domain: libvirt.virDomain, namespace: str) -> None:
    """Take a mark off a running domain; does nothing when there is none."""
    domain.setMetadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, PREFIX, namespace, scope(domain))

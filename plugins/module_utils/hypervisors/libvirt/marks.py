# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What we write into domains so that a later task, or another controller, finds it again."""

from __future__ import annotations

import uuid as uuids
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...estate.resources import FIELD_OF, RESOURCES, Resources
from ...libraries import library
from ..protocol import Hold
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
#: On a VM that is restrained so that what is held beside it stays free: for which holds, and what it had before.
RESTRAINT = "urn:foresight:migration:restraint:1"

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


def write_mark(
    domain: libvirt.virDomain, namespace: str, values: Mapping[str, str], *, live_only: bool = False
) -> None:
    """Put a mark on a running domain, in place of the one it has in that namespace.

    ``live_only`` leaves its definition alone, for what is to be forgotten when the domain is started anew.
    """
    text = serialise(ET.Element("mark", dict(values)))
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, text, PREFIX, namespace, _flags(domain, live_only=live_only)
    )


def read_mark(domain: libvirt.virDomain, namespace: str) -> dict[str, str] | None:
    """Return the values of a domain's mark, or None when it has none in that namespace."""
    try:
        text = domain.metadata(libvirt.VIR_DOMAIN_METADATA_ELEMENT, namespace)
    except libvirt.libvirtError as error:
        if is_code(error, "NO_DOMAIN_METADATA"):
            return None
        raise
    return dict(parse(text).attrib)


def remove_mark(domain: libvirt.virDomain, namespace: str, *, live_only: bool = False) -> None:
    """Take a mark off a running domain; does nothing when there is none."""
    domain.setMetadata(
        libvirt.VIR_DOMAIN_METADATA_ELEMENT, None, PREFIX, namespace, _flags(domain, live_only=live_only)
    )


def _flags(domain: libvirt.virDomain, *, live_only: bool) -> int:
    return libvirt.VIR_DOMAIN_AFFECT_LIVE if live_only else scope(domain)


def mark_of(hold: Hold) -> dict[str, str]:
    """Return a hold as a mark's values, with what of it the hypervisor enforces."""
    return {
        "reservation": hold.reservation_id,
        "vm": hold.vm_uuid,
        "host": hold.host_id,
        "tier": hold.tier,
        "enforced": " ".join(name for name in RESOURCES if hold.enforced_by.get(name) == "hypervisor"),
        "arriving_shares": str(hold.tokens.get("arriving_shares", 0)),
        **{name: repr(value) for name, value in hold.amount.as_dict().items()},
    }


def hold_of(mark: Mapping[str, str]) -> Hold:
    """Return the hold that a mark made by `mark_of` tells of."""
    enforced = mark.get("enforced", "").split()
    return Hold(
        reservation_id=mark["reservation"],
        host_id=mark["host"],
        vm_uuid=mark["vm"],
        amount=Resources.from_dict({name: mark[name] for name in FIELD_OF.values()}),
        tier=mark["tier"],
        enforced_by={name: "hypervisor" if name in enforced else "ledger" for name in RESOURCES},
        tokens={"arriving_shares": int(mark.get("arriving_shares", "0"))},
    )

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which property paths the vSphere API declares: a vCenter refuses any other, where its simulator follows values."""

from __future__ import annotations

from typing import Any

from ansible_collections.foresight.migration.plugins.module_utils.hypervisors.vmware.session import API_VERSION
from pyVmomi import VmomiSupport


def is_declared(kind: Any, path: str) -> bool:
    """Return whether ``path`` exists by the declared types alone, in the API version that the driver speaks."""
    for name in path.split("."):
        try:
            declared = kind._GetPropertyInfo(name)
        except AttributeError:
            return False
        if not VmomiSupport.IsChildVersion(API_VERSION, declared.version):
            return False
        kind = declared.type
    return True


def undeclared(spec: Any) -> list[str]:
    """Return the paths of a `PropertyCollector.FilterSpec` that do not exist, each with its type."""
    return [
        f"{asked.type.__name__}: {path}"
        for asked in spec.propSet
        for path in asked.pathSet
        if not is_declared(asked.type, path)
    ]

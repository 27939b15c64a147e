# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Holding capacity on a host, giving it back, and setting right what crashes left: host_reserve."""

from __future__ import annotations

from ..errors import InvalidOption
from .context import Context, Outcome
from .reconcile import reconcile
from .reserve_absent import release_capacity
from .reserve_present import hold_capacity
from .reserve_request import ReserveRequest

_STATES = {"present": hold_capacity, "absent": release_capacity, "reconciled": reconcile}


def reserve(request: ReserveRequest, context: Context) -> Outcome:
    """Bring about ``request.state``; see the function for each state. Raises `InvalidOption` for an unknown one."""
    if request.state not in _STATES:
        raise InvalidOption("state", f"{request.state!r} is not one of {', '.join(_STATES)}")
    request.check()
    return _STATES[request.state](request, context)

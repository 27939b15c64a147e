# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Move one VM live to the host on which capacity is reserved for it, and settle the reservation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from ..clock import to_iso
from ..errors import InvalidOption
from ..estate.nouns import Host
from ..estate.reservation import Reservation
from ..estate.sla import sla_from
from ..estate.snapshot import Estate
from ..hypervisors.fleet import Fleet
from ..migration.errors import DifferentFamily
from ..migration.finding import Found, find_vm, take_inventory
from ..migration.latency import parse_target
from ..migration.move import Check, Limits, Move, Terms
from ..migration.orchestrator import Moved, Orchestrator
from ..migration.planning import Plan
from ..migration.settlement import Settlement
from ..migration.strategy import DEFAULT_MEANS, MEANS, Strategy
from ..reservations.ledger import Ledger, open_ledger
from ..reservations.location import ledger_url
from ..workspace.workspace import Workspace
from .context import Context, Outcome
from .outlook import current_need, current_room

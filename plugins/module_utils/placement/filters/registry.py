# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""All filters, in the order in which reasons are given. A new filter is one class in one file, and one line here."""

from __future__ import annotations

from .affinity import Affinity
from .anti_affinity import AntiAffinity
from .base import CostFilter, HostFilter, LoadFilter
from .blackout import Blackout
from .capacity import Capacity
from .cpu_features import CpuFeatures
from .expression import Expression
from .family import Family
from .guarantees import Guarantees
from .host_affinity import HostAffinity
from .host_anti_affinity import HostAntiAffinity
from .host_state import HostState
from .networks import Networks
from .pinned import Pinned
from .preflight import Preflight
from .rival_balancer import RivalBalancer
from .size import Size
from .sla_downtime import SlaDowntime
from .sla_duration import SlaDuration
from .sla_overload import SlaOverload
from .source import SourceHost
from .storages import Storages

HOST_FILTERS: tuple[HostFilter, ...] = (
    SourceHost(),
    HostState(),
    Family(),
    Pinned(),
    CpuFeatures(),
    Networks(),
    Storages(),
    Size(),
    Guarantees(),
    AntiAffinity(),
    Affinity(),
    HostAffinity(),
    HostAntiAffinity(),
    RivalBalancer(),
    Expression(),
    Preflight(),
)
COST_FILTERS: tuple[CostFilter, ...] = (Blackout(), SlaDowntime(), SlaDuration())
LOAD_FILTERS: tuple[LoadFilter, ...] = (Capacity(), SlaOverload())

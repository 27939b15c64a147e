# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""How much each device of one VM carried in the last hour, which only the host that it runs on remembers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ..protocol import HypervisorFault
from .counters import REALTIME_S, counter_keys, mean_of
from .history import REALTIME_KEPT_S
from .sdk import pyvmomi
from .session import Session

#: Instance of a device, as vSphere's counters name it -> counter -> mean over the time there are samples of.
DeviceUse = Mapping[str, Mapping[str, float]]


def read_device_use(session: Session, vm: Any, counters: Sequence[str]) -> DeviceUse:
    """Return the means of ``counters`` (in vSphere's own units) of every device of the VM, by real-time samples.

    Devices and counters without samples are absent.
    """
    names = {key: name for name, (key, unit) in counter_keys(session, counters).items()}
    if not names:
        return {}
    manager, types = session.content.perfManager, pyvmomi.vim.PerformanceManager
    now = session.server_now_ts()
    spec = types.QuerySpec(
        entity=vm,
        metricId=[types.MetricId(counterId=key, instance="*") for key in names],
        startTime=datetime.fromtimestamp(now - REALTIME_KEPT_S, UTC),
        intervalId=REALTIME_S,
        maxSample=REALTIME_KEPT_S // REALTIME_S,
        format="csv",
    )
    try:
        answers = session.read("read its performance figures", lambda: manager.QueryPerf([spec]))
    except HypervisorFault:  # vCenter's statistics are out of order: what the devices carried is not known
        return {}
    found: defaultdict[str, dict[str, float]] = defaultdict(dict)
    for answer in answers or ():
        for series in answer.value or ():
            mean = mean_of(series)
            if mean is not None and series.id.instance:
                found[str(series.id.instance)][names[int(series.id.counterId)]] = mean
    return dict(found)

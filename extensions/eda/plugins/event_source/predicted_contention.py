# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""predicted_contention: an event source for Event-Driven Ansible.

Watches the store for a new forecast and tells of each host that it sees in contention, once per forecast:

    - foresight.migration.predicted_contention:
        store: /var/lib/foresight   # the folder or s3:// URL that the modules write to
        interval_s: 60              # how often to look (default 60)
        level: 0.5                  # the quantile of the hosts' load that counts (default 0.5)
        limits: {cpu: 0.9}          # shares of capacity that count as full (default as in host_select)

An event holds ``forecast_id`` and ``contention`` with ``host``, ``resource``, ``begins``, ``hours`` and ``vms``, the
heaviest first.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

# An event source is run as a file: it must find its own collection wherever that is installed.
sys.path.extend(
    str(folder.parent) for folder in Path(__file__).absolute().parents if folder.name == "ansible_collections"
)


async def main(queue: asyncio.Queue[dict[str, Any]], args: dict[str, Any]) -> None:
    """Put an event into the queue for every contention in every new forecast, for ever."""
    from ansible_collections.foresight.migration.plugins.module_utils.operations.predicted_contention import (
        predicted_contention,
    )

    seen: str | None = None
    while True:
        forecast_id, found = await asyncio.to_thread(
            predicted_contention, str(args["store"]), float(args.get("level", 0.5)), args.get("limits")
        )
        if forecast_id != seen:
            seen = forecast_id
            for contention in found:
                await queue.put({"forecast_id": forecast_id, "contention": contention.as_dict()})
        await asyncio.sleep(float(args.get("interval_s", 60)))

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A host's counters as a test needs them."""

from __future__ import annotations

from typing import Any

VM = "6f9619ff-8b86-d011-b42d-00c04fc964ff"
TWIN = "7f9619ff-8b86-d011-b42d-00c04fc964ff"
NIC = "aaaaaaaa-8b86-d011-b42d-00c04fc964ff"
DISK = "C:\\ClusterStorage\\Volume1\\web 01.vhdx"


def counters(at_s: float, name: str = "web 01", **changes: Any) -> dict[str, Any]:
    """Return an answer of ``counters`` at a time.

    The host's four processors are half busy; its one VM uses 1.5 cores, 80 Mbit/s, 3 MiB/s and 20 requests/s.
    """
    return {
        "ts": 0.0,
        "perf_time": at_s * 1e7,
        "perf_frequency": 1e7,
        "memory_total_kib": 8 * 2**20,
        "memory_free_kib": 2 * 2**20,
        "logical_processors": [{"instance": f"Hv LP {n}", "run_100ns": 5e6 * at_s} for n in range(4)],
        "virtual_processors": [
            {"instance": f"{name}:Hv VP 0", "run_100ns": 1e7 * at_s},
            {"instance": f"{name}:Hv VP 1", "run_100ns": 5e6 * at_s},
        ],
        "virtual_nics": [
            {
                "instance": f"{name}_Network Adapter_{VM.upper()}--{NIC}",
                "received_bytes": 4e6 * at_s,
                "sent_bytes": 6e6 * at_s,
            }
        ],
        "virtual_disks": [
            {
                "instance": "C:-ClusterStorage-Volume1-web 01.vhdx",
                "read_bytes": 2**20 * at_s,
                "written_bytes": 2**21 * at_s,
                "reads": 15 * at_s,
                "writes": 5 * at_s,
            }
        ],
        "adapters": [{"name": "NIC1", "received_bytes": 1e7 * at_s, "sent_bytes": 2.5e6 * at_s}],
        "vms": [{"id": VM, "name": name, "vcpus": 2, "cpu_percent": 30.0, "memory_assigned_mib": 4096.0}],
        "disks": [{"path": DISK, "vm_id": VM}],
        **changes,
    }

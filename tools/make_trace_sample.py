# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Make playbooks/files/demo/demand.parquet from the Bitbrains "Rnd" trace (GWA-T-12).

usage: python make_trace_sample.py TRACE.parquet OUTPUT.parquet

TRACE.parquet holds the archive's files resampled to 300 s: columns vm, ts (Unix seconds), cpu_mhz, mem_kb (active),
disk_r_kbps, disk_w_kbps, net_rx_kbps, net_tx_kbps (KB/s). The sample keeps four whole weeks of the VMs that use most
processor time, in this collection's units, rounded so that it stays small. Needs pandas and pyarrow.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

#: 2013-07-01T00:00:00Z, a Monday, and four weeks on.
START_TS = 1372636800
END_TS = START_TS + 28 * 86400
#: How many VMs the sample keeps, by mean processor use.
VMS = 46
#: Nominal speed of one core of the recorded hosts, MHz (the archive's capacity per provisioned core is 2,600-2,926).
CORE_MHZ = 2600.0
#: Column -> (significant digits, what is less counts as 0).
PRECISION = {
    "cpu_cores": (3, 1e-3),
    "memory_mib": (3, 1.0),
    "network_mbit_s": (2, 1e-2),
    "disk_mib_s": (2, 1e-2),
}


def in_our_units(trace: pd.DataFrame) -> pd.DataFrame:
    """Return the trace with one column per resource."""
    return pd.DataFrame(
        {
            "vm": trace.vm.astype(str).astype("category"),
            "ts": trace.ts.astype("int32"),
            "cpu_cores": trace.cpu_mhz / CORE_MHZ,
            "memory_mib": trace.mem_kb / 1024.0,
            "network_mbit_s": (trace.net_rx_kbps + trace.net_tx_kbps) * 1024.0 * 8.0 / 1e6,
            "disk_mib_s": (trace.disk_r_kbps + trace.disk_w_kbps) / 1024.0,
        }
    )


def rounded(values: pd.Series, digits: int, least: float) -> pd.Series:
    """Return the values with so many significant digits; what is below ``least`` becomes 0."""
    kept = values.where(values >= least, 0.0)
    unit = 10.0 ** (np.floor(np.log10(kept.clip(lower=least))) - digits + 1)
    return (np.round(kept / unit) * unit).astype("float32")


def main(source: str, target: str) -> None:
    trace = pd.read_parquet(source)
    trace = trace[(trace.ts >= START_TS) & (trace.ts < END_TS)]
    busiest = trace.groupby("vm", observed=True).cpu_mhz.mean().nlargest(VMS).index
    sample = in_our_units(trace[trace.vm.isin(busiest)])
    for column, (digits, least) in PRECISION.items():
        sample[column] = rounded(sample[column], digits, least)
    table = pa.Table.from_pandas(sample.sort_values(["vm", "ts"]), preserve_index=False)
    pq.write_table(table.replace_schema_metadata(None), target, compression="zstd", compression_level=19)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])

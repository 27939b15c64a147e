# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The Prometheus source against a real server: presets, traces, limits, TLS, logins and strange names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ansible_collections.foresight.migration.plugins.module_utils.errors import InvalidOption
from ansible_collections.foresight.migration.plugins.module_utils.estate.nouns import Host, Vm
from ansible_collections.foresight.migration.plugins.module_utils.estate.resources import Resources
from ansible_collections.foresight.migration.plugins.module_utils.estate.series import Samples, SeriesKey
from ansible_collections.foresight.migration.plugins.module_utils.estate.snapshot import Estate
from ansible_collections.foresight.migration.plugins.module_utils.sources.entities import Entities
from ansible_collections.foresight.migration.plugins.module_utils.sources.prometheus_client import LoginRefused
from ansible_collections.foresight.migration.plugins.module_utils.sources.source import SourceFailed, open_source
from ansible_collections.foresight.migration.plugins.module_utils.workspace.workspace import Workspace
from ansible_collections.foresight.migration.tests.labs.prometheus.server import (
    PrometheusServer,
    Series,
    missing_programs,
    running,
)

ROOT = Path(__file__).resolve().parents[3]
TRACE = ROOT / "playbooks" / "files" / "demo" / "demand.parquet"
START = 1_750_000_000 // 86_400 * 86_400
HOUR_S = 3600
SCRAPE_S = 30
HOSTILE = 'x"}) or vector(1) # {{ 1 }} \\ \n ../..'
VM_ID = "4c4c4544-0042-4810-8053-b6c04f4e3132"
MIB = 1048576.0

pytestmark = pytest.mark.skipif(
    bool(missing_programs()), reason=f"needs {', '.join(missing_programs())} (Debian: prometheus)"
)


def estate() -> Estate:
    vms = [
        Vm("lab", uuid, name, "lab/h1", "running", Resources())
        for uuid, name in (("u-web", "web"), ("u-hostile", HOSTILE), (VM_ID, "win"), ("t-1", "twin"), ("t-2", "twin"))
    ]
    host = Host("lab", "h1", "esx1.example.org", "vmware", "up", Resources(8, 1000))
    return Estate("", 0.0, (), {host.key: host}, {vm.key: vm for vm in vms})


def steady(rate: float = 0.0, level: float = 0.0, reset_every_s: int = 0) -> list[tuple[float, float]]:
    """Return an hour and a half of scrapes of a counter or gauge; ``reset_every_s`` restarts the counter."""
    times = range(-1800, HOUR_S + 1, SCRAPE_S)
    return [(START + t, level + rate * ((t + 1800) % reset_every_s if reset_every_s else t + 1800)) for t in times]


def libvirt(domain: str) -> list[Series]:
    base, where = "libvirt_domain_", {"domain": domain, "job": "libvirt"}
    disks = [{**where, "target_device": disk} for disk in ("vda", "vdb")]
    return [
        Series(f"{base}info_cpu_time_seconds_total", where, steady(1.5)),
        Series(f"{base}memory_stats_available_bytes", where, steady(0, 4096 * MIB)),
        Series(f"{base}memory_stats_usable_bytes", where, steady(0, 1024 * MIB)),
        Series(f"{base}info_memory_usage_bytes", where, steady(0, 8192 * MIB)),
        Series(f"{base}interface_stats_receive_bytes_total", where, steady(1e6)),
        Series(f"{base}interface_stats_transmit_bytes_total", where, steady(5e5)),
        *(Series(f"{base}block_stats_read_bytes_total", disk, steady(MIB)) for disk in disks),
        *(Series(f"{base}block_stats_write_bytes_total", disk, steady(2 * MIB)) for disk in disks),
        *(Series(f"{base}block_stats_read_requests_total", disk, steady(10)) for disk in disks),
        *(Series(f"{base}block_stats_write_requests_total", disk, steady(5)) for disk in disks),
    ]


def hyperv() -> list[Series]:
    base = "windows_hyperv_"
    adapter = {"adapter": f"win_Network Adapter_{VM_ID}--5D7A1B6C-0000-4000-8000-000000000001"}
    return [
        *(
            Series(f"{base}hypervisor_virtual_processor_total_run_time_total", {"vm": "win", "core": core}, steady(0.5))
            for core in ("0", "1", "_Total")
        ),
        Series(f"{base}dynamic_memory_vm_physical_bytes", {"vm": "win"}, steady(0, 4096 * MIB)),
        Series(f"{base}dynamic_memory_vm_pressure_current_ratio", {"vm": "win"}, steady(0, 0.75)),
        Series(f"{base}virtual_network_adapter_received_bytes_total", adapter, steady(1e6)),
        Series(f"{base}virtual_network_adapter_sent_bytes_total", adapter, steady(1e6)),
    ]


def vmware() -> list[Series]:
    host = {"host_name": "esx1.example.org", "dc_name": "dc", "cluster_name": "c"}
    vm = {**host, "vm_name": "web"}
    return [
        Series("vmware_host_cpu_max", host, steady(0, 20000)),
        Series("vmware_host_num_cpu", host, steady(0, 8)),
        Series("vmware_host_cpu_usage", host, steady(0, 5000)),
        Series("vmware_host_memory_usage", host, steady(0, 640)),
        Series("vmware_vm_cpu_usagemhz_average", vm, steady(0, 3750)),
        Series("vmware_vm_mem_active_average", vm, steady(0, 2048 * 1024)),
        Series("vmware_vm_net_received_average", vm, steady(0, 1000)),
        Series("vmware_vm_net_transmitted_average", vm, steady(0, 1000)),
        Series("vmware_vm_disk_read_average", vm, steady(0, 1024)),
        Series("vmware_vm_disk_write_average", vm, steady(0, 3072)),
    ]


def node() -> list[Series]:
    at = {"instance": "esx1.example.org:9100"}
    network = [{**at, "device": device} for device in ("eth0", "vnet3", "br0", "eth0.100")]
    disk = [{**at, "device": device} for device in ("sda", "dm-0")]
    return [
        *(Series("node_cpu_seconds_total", {**at, "cpu": "0", "mode": mode}, steady(1)) for mode in ("user", "idle")),
        Series("node_memory_MemTotal_bytes", at, steady(0, 900 * MIB)),
        Series("node_memory_MemAvailable_bytes", at, steady(0, 300 * MIB)),
        *(Series("node_network_receive_bytes_total", labels, steady(1e6)) for labels in network),
        *(Series("node_network_transmit_bytes_total", labels, steady(1e6)) for labels in network),
        *(Series("node_disk_read_bytes_total", labels, steady(MIB)) for labels in disk),
        *(Series("node_disk_written_bytes_total", labels, steady(MIB)) for labels in disk),
    ]


def gapped() -> list[Series]:
    """A gauge with values at every scrape but between minutes 20 and 40, and odd ones."""
    present = [(ts, 2.0) for ts, _unused in steady() if not 1200 <= ts - START < 2400]
    return [
        Series("app_latency_seconds", {"vm": "web"}, present),
        Series("app_latency_seconds", {"vm": "twin"}, present),
        Series("app_latency_seconds", {"vm": "nobody"}, present),
        Series("odd_values", {"vm": "web"}, [(START, float("nan")), (START + 300, -1.0), (START + 600, 3.0)]),
        Series("restarting_total", {"vm": "web"}, steady(4.0, reset_every_s=600)),
    ]


def trace_series(frame: pd.DataFrame) -> list[Series]:
    return [
        Series("trace_cpu_cores", {"vm": str(vm)}, zip(rows["ts"].tolist(), rows["cpu_cores"].tolist(), strict=True))
        for vm, rows in frame.groupby("vm", observed=True)
    ]


@pytest.fixture(scope="module")
def trace() -> pd.DataFrame:
    """Three days of recorded demand of six VMs."""
    frame = pd.read_parquet(TRACE)
    few = sorted(frame["vm"].unique())[:6]
    first = frame["ts"].min()
    chosen = frame[frame["vm"].isin(few) & (frame["ts"] < first + 3 * 86_400)]
    return chosen.sort_values(["vm", "ts"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, trace: pd.DataFrame) -> Iterator[PrometheusServer]:
    everything = [*libvirt("web"), *libvirt(HOSTILE), *hyperv(), *vmware(), *node(), *gapped(), *trace_series(trace)]
    with running(tmp_path_factory.mktemp("prometheus"), everything) as one:
        yield one


Read = Callable[..., dict[tuple[str, str, str], dict[float, float]]]


@pytest.fixture
def read(server: PrometheusServer) -> Read:
    def collect(since: float = START, until: float = START + HOUR_S, **options: Any) -> Any:
        source = open_source({**server.options, **options}, Entities(estate()))
        found: dict[tuple[str, str, str], dict[float, float]] = {}
        for samples in source.samples(since, until):
            columns = (samples.entity_kind, samples.entity_id, samples.metric, samples.ts, samples.value)
            for kind, entity, metric, ts, value in zip(*(column.tolist() for column in columns), strict=True):
                found.setdefault((kind, entity, metric), {})[ts] = value
        collect.warnings = source.warnings  # type: ignore[attr-defined]  # handed to the test beside the answer
        return found

    return collect


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        (
            "libvirt_exporter",
            {
                ("vm", vm, metric): value
                for vm in ("u-web", "u-hostile")
                for metric, value in (
                    ("cpu", 1.5), ("memory", 3072.0), ("network", 12.0), ("disk", 6.0), ("disk_iops", 30.0)
                )
            },
        ),
        (
            "windows_exporter",
            {("vm", VM_ID, "cpu"): 1.0, ("vm", VM_ID, "memory"): 3072.0, ("vm", VM_ID, "network"): 16.0},
        ),
        (
            "vmware_exporter",
            {
                ("vm", "u-web", "cpu"): 1.5,
                ("vm", "u-web", "memory"): 2048.0,
                ("vm", "u-web", "network"): 2000 * 1024 * 8 / 1e6,
                ("vm", "u-web", "disk"): 4.0,
                ("host", "lab/h1", "cpu"): 2.0,
                ("host", "lab/h1", "memory"): 640.0,
            },
        ),
        (
            "node_exporter",
            {
                ("host", "lab/h1", "cpu"): 1.0,
                ("host", "lab/h1", "memory"): 600.0,
                ("host", "lab/h1", "network"): 16.0,
                ("host", "lab/h1", "disk"): 2.0,
            },
        ),
    ],
)  # fmt: skip
def test_a_preset_gives_our_metrics_in_our_units(
    read: Read, preset: str, expected: dict[tuple[str, str, str], float]
) -> None:
    found = read(preset=preset)
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert sorted(found[key]) == [START + 300 * step for step in range(12)]
        assert list(found[key].values()) == pytest.approx([value] * 12)
    assert read.warnings == []  # type: ignore[attr-defined]


def test_the_same_trace_from_a_file_and_from_prometheus_gives_the_same_arrays(
    server: PrometheusServer, trace: pd.DataFrame, tmp_path: Path
) -> None:
    vms = sorted(map(str, trace["vm"].unique()))
    known = Estate("", 0.0, (), {}, {f"lab/{vm}": Vm("lab", vm, vm, None, "running", Resources()) for vm in vms})
    csv_path = tmp_path / "trace.csv"
    trace.to_csv(csv_path, index=False)
    from_file = {
        "name": "file", "type": "file", "path": str(csv_path), "entity_column": "vm", "time_column": "ts",
        "time_format": "unix_s", "metrics": [{"metric": "cpu", "columns": ["cpu_cores"]}],
    }  # fmt: skip
    query = {"metric": "cpu", "label": "vm", "query": "avg_over_time(trace_cpu_cores[$range])"}
    start, end = float(trace["ts"].min()), float(trace["ts"].max()) + 300
    arrays = []
    for options in (from_file, {**server.options, "queries": [query]}):
        workspace = Workspace.open(str(tmp_path / options["name"]))
        for samples in open_source(options, Entities(known)).samples(start, end):
            workspace.metrics.append(options["name"], samples)
        arrays.append(workspace.metrics.read([SeriesKey("vm", vm, "cpu") for vm in vms], start, end, 300).values)
    assert np.isfinite(arrays[0]).sum() > 4000
    np.testing.assert_allclose(arrays[0], arrays[1], rtol=1e-6)


def test_gaps_stay_gaps_and_names_that_fit_nothing_are_told(read: Read) -> None:
    query = {
        "metric": "latency_ms", "label": "vm", "entity_kind": "app",
        "query": "1000 * avg_over_time(app_latency_seconds[$range])",
    }  # fmt: skip
    found = read(queries=[query])
    assert list(found) == [("app", "u-web", "latency_ms")]
    missing = {START + 300 * step for step in range(12)} - set(found["app", "u-web", "latency_ms"])
    assert missing == {START + 1200, START + 1500, START + 1800, START + 2100}
    assert len(read.warnings) == 2  # type: ignore[attr-defined]


def test_a_counter_that_restarts_gives_no_negative_rate(read: Read) -> None:
    found = read(queries=[{"metric": "requests_s", "label": "vm", "query": "rate(restarting_total[$range])"}])
    assert min(found["vm", "u-web", "requests_s"].values()) > 3.0


def test_odd_values_reach_the_store_only_where_they_are_numbers(read: Read, tmp_path: Path) -> None:
    found = read(queries=[{"metric": "odd", "label": "vm", "query": "avg_over_time(odd_values[$range])"}])
    ts, values = map(np.array, zip(*found["vm", "u-web", "odd"].items(), strict=True))
    names = [np.array([name] * len(ts), object) for name in ("vm", "u-web", "odd")]
    report = Workspace.open(str(tmp_path)).metrics.append("prom", Samples(names[0], names[1], names[2], ts, values))
    assert (report.written, dict(report.left_out)) == (1, {"not_finite": 1, "negative": 1})


def test_more_points_than_the_server_gives_at_once_are_asked_for_in_pieces(read: Read) -> None:
    query = {"metric": "flat", "label": "vm", "query": 'label_replace(vector(7), "vm", "web", "", "")'}
    found = read(since=START - 60 * 86_400, until=START, queries=[query])
    assert len(found["vm", "u-web", "flat"]) == 60 * 288


def test_a_server_with_low_limits_is_asked_for_less_at_a_time(tmp_path: Path) -> None:
    query = {
        "metric": "cpu",
        "label": "domain",
        "query": "avg_over_time(libvirt_domain_memory_stats_usable_bytes[$range])",
    }
    with running(tmp_path, libvirt("web"), "--query.max-samples=60") as small:
        source = open_source({**small.options, "queries": [query]}, Entities(estate()))
        assert sum(len(samples) for samples in source.samples(START, START + HOUR_S)) == 12


def test_label_values_are_data_and_never_query(read: Read) -> None:
    assert {key[1] for key in read(preset="libvirt_exporter", matchers={"domain": HOSTILE})} == {"u-hostile"}
    assert read(preset="libvirt_exporter", matchers={"job": 'x"} or {job="libvirt'}) == {}
    with pytest.raises(InvalidOption):
        read(preset="libvirt_exporter", matchers={'job="libvirt"} or {x': "y"})


def test_several_series_for_one_vm_are_left_out_and_named(read: Read) -> None:
    query = {"metric": "disk", "label": "domain", "query": "rate(libvirt_domain_block_stats_read_bytes_total[$range])"}
    assert read(queries=[query]) == {}
    assert "aggregate it by 'domain'" in read.warnings[0]  # type: ignore[attr-defined]


def test_a_query_that_is_no_promql_is_named(read: Read) -> None:
    with pytest.raises(InvalidOption, match="rejects the query"):
        read(queries=[{"metric": "cpu", "label": "vm", "query": "rate(oops["}])


def test_a_query_that_finds_nothing_is_told(read: Read) -> None:
    assert read(queries=[{"metric": "cpu", "label": "vm", "query": "no_such_metric"}]) == {}
    assert "found nothing" in read.warnings[0]  # type: ignore[attr-defined]


def test_wrong_logins_certificates_and_addresses_are_told_apart(read: Read, server: PrometheusServer) -> None:
    with pytest.raises(LoginRefused):
        read(preset="libvirt_exporter", auth={"username": "foresight", "password": "wrong"})
    with pytest.raises(LoginRefused):
        read(preset="libvirt_exporter", auth=None)
    with pytest.raises(SourceFailed, match="certificate") as untrusted:
        read(preset="libvirt_exporter", ca_path=None)
    assert "ca_path" in untrusted.value.advice
    with pytest.raises(SourceFailed, match="certificate"):
        read(preset="libvirt_exporter", url=f"https://127.0.0.1:{server.port}")
    assert read(preset="libvirt_exporter", ca_path=None, validate_certs=False)
    with pytest.raises(SourceFailed, match="does not answer like Prometheus"):
        read(preset="libvirt_exporter", url=f"http://localhost:{server.port}")

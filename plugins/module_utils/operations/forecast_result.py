# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A forecast as a module returns it: figures per VM, host and resource over the horizon, and what to beware of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..clock import to_iso
from ..estate.forecast import PEAK_LEVELS, Forecast
from ..estate.nouns import Host, Vm
from ..estate.resources import UNITS
from ..estate.series import SeriesKey
from ..estate.snapshot import Estate
from ..forecasting.levels import at_level
from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: Entities shown in detail when nobody named any; all others are in the artefact.
MOST_SHOWN = 50
#: Central intervals shown.
INTERVALS = (0.8, 0.95)


def result_of(
    forecast: Forecast,
    forecast_id: str,
    estate: Estate,
    vms: Sequence[Vm],
    hosts: Sequence[Host],
    levels: Sequence[float],
    named: bool,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the module's result and its warnings.

    VMs (all that were ``named``, else the first `MOST_SHOWN`) and the first `MOST_SHOWN` hosts are shown per resource.
    """
    rows = {key: row for row, key in enumerate(forecast.keys)}
    shown = vms if named else vms[:MOST_SHOWN]
    result = {
        "forecast_id": forecast_id,
        "snapshot_id": estate.snapshot_id,
        "origin": to_iso(forecast.origin_ts),
        "end": to_iso(forecast.origin_ts + forecast.step_s * forecast.horizon_steps),
        "step_minutes": forecast.step_s // 60,
        "series": len(forecast.keys),
        "models": dict(sorted(Counter(report.model for report in forecast.reports).items())),
        "scores": _scores(forecast),
        "vms": [_entity("vm", vm.uuid, vm.name, forecast, rows, levels) for vm in shown],
        "vms_left_off": len(vms) - len(shown),
        "hosts": [_host(host, estate, forecast, levels) for host in hosts[:MOST_SHOWN]],
        "hosts_left_off": max(0, len(hosts) - MOST_SHOWN),
        "abstained": [{**key._asdict(), "reason": why} for key, why in sorted(forecast.abstained.items())[:MOST_SHOWN]],
        "abstained_count": len(forecast.abstained),
    }
    return result, _warnings(forecast)


def add_records(result: Mapping[str, Any], records: Mapping[SeriesKey, Mapping[str, Any]]) -> None:
    """Add to each shown VM's resources how its past forecasts turned out, as ``track_record``."""
    for entity in result["vms"]:
        for metric, figures in entity["resources"].items():
            record = records.get(SeriesKey("vm", entity["uuid"], metric))
            if record is not None:
                figures["track_record"] = dict(record)


def _scores(forecast: Forecast) -> dict[str, float | None]:
    """Return fleet-wide medians of the backtests' figures."""
    return {
        name: _median([getattr(report, name) for report in forecast.reports])
        for name in ("score", "coverage_80", "coverage_95")
    }


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 4) if known else None


def _entity(
    kind: str,
    entity_id: str,
    name: str,
    forecast: Forecast,
    rows: Mapping[SeriesKey, int],
    levels: Sequence[float],
) -> dict[str, Any]:
    demand = {}
    for metric in UNITS:
        key = SeriesKey(kind, entity_id, metric)
        if key in rows:
            demand[metric] = _series(forecast, rows[key], metric, levels)
    return {"name": name, "uuid": entity_id, "resources": demand}


def _series(forecast: Forecast, row: int, metric: str, levels: Sequence[float]) -> dict[str, Any]:
    """Return one series' figures: means over the horizon of what is stated per step, and the peak's distribution."""
    quantiles = forecast.quantiles[row]
    report = forecast.reports[row]
    return {
        "unit": UNITS[metric],
        "mean": _rounded(forecast.mean[row].mean()),
        "sd": _rounded(np.sqrt(np.square(forecast.sd[row]).mean())),
        "quantiles": {f"{level:g}": _rounded(at_level(quantiles, forecast.levels, level).mean()) for level in levels},
        "intervals": {
            f"{share:g}": [
                _rounded(at_level(quantiles, forecast.levels, (1 - share) / 2).mean()),
                _rounded(at_level(quantiles, forecast.levels, (1 + share) / 2).mean()),
            ]
            for share in INTERVALS
        },
        "peak": {
            "mean": _rounded(forecast.peak_mean[row]),
            "sd": _rounded(forecast.peak_sd[row]),
            **{
                f"q{level * 100:g}": _rounded(value)
                for level, value in zip(forecast.peak_levels, forecast.peak_quantiles[row], strict=True)
            },
        },
        "model": report.model,
        "why": report.why,
        "history_steps": report.history_steps,
        "score": report.score,
        "coverage_80": report.coverage_80,
        "coverage_95": report.coverage_95,
        "warnings": list(report.warnings),
    }


def _host(host: Host, estate: Estate, forecast: Forecast, levels: Sequence[float]) -> dict[str, Any]:
    """Return the distribution of what the host carries together: its VMs and its own load, summed in scenarios."""
    residents = estate.vms_by_host.get(host.key, ())
    demand = {}
    for metric in UNITS:
        group = [SeriesKey("vm", vm.uuid, metric) for vm in residents] + [SeriesKey("host", host.key, metric)]
        missing = forecast.scenarios.missing(group)
        if len(missing) == len(group):
            continue
        paths = forecast.scenarios.totals([group])[:, 0]
        peaks = paths.max(axis=1)
        demand[metric] = {
            "unit": UNITS[metric],
            "mean": _rounded(paths.mean()),
            "sd": _rounded(paths.std()),
            "quantiles": {f"{level:g}": _rounded(np.quantile(paths, level, axis=0).mean()) for level in levels},
            "peak": {f"q{level * 100:g}": _rounded(np.quantile(peaks, level)) for level in PEAK_LEVELS},
            "not_forecast": len([key for key in missing if key.entity_kind == "vm"]),
        }
    return {"name": host.name, "key": host.key, "resources": demand}


def _rounded(value: Any) -> float:
    """Return four significant digits: what a forecast can honestly state."""
    return float(f"{float(value):.4g}")


def _warnings(forecast: Forecast) -> tuple[str, ...]:
    """Return one line per kind of trouble, with how many series have it."""
    kinds = Counter(text.partition(":")[0] for report in forecast.reports for text in report.warnings)
    lines = [f"{count} of {len(forecast.keys)} series: {kind}" for kind, count in sorted(kinds.items())]
    if forecast.abstained:
        lines.append(f"{len(forecast.abstained)} series have no usable history and are not forecast")
    return tuple(lines)

# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A forecast as a picture: a page that needs nothing beside itself, or one image."""

from __future__ import annotations

import html
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import to_iso
from ..errors import ForesightError, InvalidOption
from ..estate.forecast import PEAK_LEVELS, Forecast
from ..estate.nouns import Host, Vm
from ..estate.resources import UNITS
from ..estate.series import SeriesKey, SeriesSet
from ..estate.snapshot import Estate
from ..forecasting.chart import Panel, png, svg
from ..forecasting.coarse import held
from ..forecasting.levels import sample_quantiles
from ..forecasting.request import KnownEvent
from ..libraries import library

if TYPE_CHECKING:
    import numpy as np
else:
    np = library("numpy")

#: Seconds of history shown.
SHOWN_S = 86_400
#: Entities of each kind on one report: more is no picture. Those with the widest peaks come first.
MOST_SHOWN = 20


class ReportNotWritable(ForesightError):
    """The report cannot be written where it was asked for."""

    code = "report_not_writable"


@dataclass(frozen=True)
class Picture:
    """One entity on the report: its name as the hypervisor has it, what it is, and its panels."""

    name: str
    kind: str
    panels: tuple[Panel, ...]
    events: tuple[str, ...] = ()


def pictures(
    forecast: Forecast,
    series: SeriesSet,
    estate: Estate,
    hosts: Sequence[Host],
    vms: Sequence[Vm],
    events: Sequence[KnownEvent],
) -> list[Picture]:
    """Return hosts, then VMs, each with a panel per resource that was forecast."""
    past = {key: row for row, key in enumerate(series.keys)}
    ahead = {key: row for row, key in enumerate(forecast.keys)}
    found = [_host(forecast, series, past, estate, host, events) for host in hosts[:MOST_SHOWN]]
    wide = sorted(vms, key=lambda vm: -_spread(forecast, ahead, vm))[:MOST_SHOWN]
    found += [_vm(forecast, series, past, ahead, vm, events) for vm in wide]
    return [picture for picture in found if picture.panels]


def write_report(path: str, shown: Sequence[Picture], title: str, *, check_mode: bool = False) -> bool:
    """Write an ``.html`` page or a ``.png`` image; return whether the file differs from what was there.

    In check mode nothing is written, only compared. Raises `InvalidOption` for another suffix and `ReportNotWritable`.
    """
    check_report_path(path)
    if Path(path).suffix.lower() == ".html":
        content = _page(shown, title).encode("utf-8", "replace")
    else:
        content = png([panel for picture in shown for panel in picture.panels])
    try:
        return _replace(Path(path), content, check_mode=check_mode)
    except OSError as exc:
        raise ReportNotWritable(
            f"The report {path} cannot be written: {exc.strerror}", advice="Give another report_paths."
        ) from exc


def check_report_path(path: str) -> None:
    """Raise `InvalidOption` for a path whose suffix tells no format of a report."""
    if Path(path).suffix.lower() not in (".html", ".png"):
        raise InvalidOption("report_paths", f"{path!r} ends neither in .html nor in .png")


def _replace(path: Path, content: bytes, *, check_mode: bool) -> bool:
    if path.exists() and path.read_bytes() == content:
        return False
    if check_mode:
        return True
    unfinished = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    unfinished.write_bytes(content)
    os.replace(unfinished, path)
    return True


def _spread(forecast: Forecast, rows: dict[SeriesKey, int], vm: Vm) -> float:
    row = rows.get(SeriesKey("vm", vm.uuid, "cpu"))
    return -1.0 if row is None else float(forecast.peak_quantiles[row, PEAK_LEVELS.index(0.95)])


def _vm(
    forecast: Forecast,
    series: SeriesSet,
    past: dict[SeriesKey, int],
    ahead: dict[SeriesKey, int],
    vm: Vm,
    events: Sequence[KnownEvent],
) -> Picture:
    spans = _spans(events, {vm.uuid}, forecast)
    panels = []
    for metric, unit in UNITS.items():
        key = SeriesKey("vm", vm.uuid, metric)
        if key in ahead:
            row, report = ahead[key], forecast.reports[ahead[key]]
            held = "" if report.coverage_80 is None else f", {100 * report.coverage_80:.0f} % in the 80 % band"
            panels.append(
                Panel(
                    title=metric,
                    unit=unit,
                    origin_ts=forecast.origin_ts,
                    step_s=forecast.step_s,
                    history=_recent(series, [past[key]]) if key in past else np.zeros(0),
                    quantiles=forecast.quantiles[row],
                    levels=forecast.levels,
                    peak=_peak(forecast.peak_quantiles[row]),
                    note=f"{report.model}{held}",
                    events=spans,
                )
            )
    return Picture(vm.name, "VM", tuple(panels), _named(spans))


def _spans(
    events: Sequence[KnownEvent], entity_ids: set[str], forecast: Forecast
) -> tuple[tuple[str, float, float], ...]:
    """Return name, start and end of the events of those entities that fall on what is shown."""
    mine = [event for event in events if event.entity_ids & entity_ids]
    return tuple((event.name, *span) for event in mine for span in event.spans if _near(span, forecast))


def _named(spans: Sequence[tuple[str, float, float]]) -> tuple[str, ...]:
    return tuple(f"{at + 1}: {name}, {to_iso(start)} to {to_iso(end)}" for at, (name, start, end) in enumerate(spans))


def _host(
    forecast: Forecast,
    series: SeriesSet,
    past: dict[SeriesKey, int],
    estate: Estate,
    host: Host,
    events: Sequence[KnownEvent],
) -> Picture:
    panels = []
    spans = _spans(events, {vm.uuid for vm in estate.vms_by_host.get(host.key, ())}, forecast)
    for metric, unit in UNITS.items():
        group = [SeriesKey("vm", vm.uuid, metric) for vm in estate.vms_by_host.get(host.key, ())]
        group.append(SeriesKey("host", host.key, metric))
        members = [past[key] for key in group if key in past]
        if len(forecast.scenarios.missing(group)) < len(group) and members:
            paths = forecast.scenarios.totals([group])[:, 0]
            panels.append(
                Panel(
                    title=metric,
                    unit=unit,
                    origin_ts=forecast.origin_ts,
                    step_s=forecast.scenarios.step_s,
                    history=_recent(series, members),
                    quantiles=sample_quantiles(paths.T, forecast.levels),
                    levels=forecast.levels,
                    peak=_peak(sample_quantiles(paths.max(axis=1), PEAK_LEVELS)),
                    note=f"sum of {len(members)} series in {forecast.scenarios.count} scenarios",
                    events=spans,
                )
            )
    return Picture(host.name, "host", tuple(panels), _named(spans))


def _recent(series: SeriesSet, rows: Sequence[int]) -> np.ndarray:
    shown = held(series.values[list(rows), -max(1, SHOWN_S // series.step_s) :], series.step_s)
    return np.where(np.isfinite(shown).any(axis=0), np.nansum(shown, axis=0), np.nan)


def _peak(quantiles: Iterable[float]) -> tuple[float, float]:
    by_level = dict(zip(PEAK_LEVELS, (float(value) for value in quantiles), strict=True))
    return by_level[0.5], by_level[0.95]


def _near(span: tuple[float, float], forecast: Forecast) -> bool:
    end_ts = forecast.origin_ts + forecast.horizon_steps * forecast.step_s
    return span[1] > forecast.origin_ts - SHOWN_S and span[0] < end_ts


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 78rem; color: #222; background: #fff }}
h1 {{ font-size: 1.5rem }} h2 {{ font-size: 1.15rem; margin: 1.6rem 0 .2rem; overflow-wrap: anywhere }}
.kind {{ color: #595959; font-weight: normal }} svg {{ width: 100%; height: auto }}
p, ul {{ margin: .3rem 0 }}
</style></head><body>
<h1>{title}</h1>
<p>Black is what was measured in the last day, blue the median and the 40, 80 and 95 % bands of what is to come. The
dashed line is the peak of the horizon at the 95 % level; the shade under it begins at the 50 % level. Hatched spans are
scheduled events, by number. Times are UTC.</p>
{body}
</body></html>
"""


def _page(shown: Sequence[Picture], title: str) -> str:
    parts = []
    for picture in shown:
        events = "".join(f"<li>{html.escape(text)}</li>" for text in picture.events)
        parts.append(
            f'<section><h2>{html.escape(picture.name)} <span class="kind">{picture.kind}</span></h2>'
            f"{f'<ul>{events}</ul>' if events else ''}{svg(picture.panels)}</section>"
        )
    body = "\n".join(parts) or "<p>Nothing was forecast.</p>"
    return _PAGE.format(title=html.escape(title), body=body)

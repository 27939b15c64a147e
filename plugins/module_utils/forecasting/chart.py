# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fan charts of one entity's forecast, drawn by matplotlib: history, bands, the peak's range, events."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..libraries import library

if TYPE_CHECKING:
    import matplotlib as mpl
    import matplotlib.dates as mdates
    import matplotlib.figure as mfigure
    import numpy as np
    from numpy.typing import NDArray
else:
    np = library("numpy")
    mpl = library("matplotlib")
    mdates = library("matplotlib.dates", "matplotlib")
    mfigure = library("matplotlib.figure", "matplotlib")

#: Okabe and Ito's palette, distinguishable with every common kind of colour blindness.
BLUE, VERMILLION, GREY, BLACK, YELLOW = "#0072B2", "#D55E00", "#767676", "#222222", "#F0E442"
#: Bands drawn, by the share they cover, palest first.
BANDS = ((0.025, 0.975, 0.18), (0.1, 0.9, 0.28), (0.3, 0.7, 0.40))
WIDTH_IN, HEIGHT_IN, DPI = 6.4, 2.5, 110


@dataclass(frozen=True)
class Panel:
    """What one chart shows. Times in Unix seconds; ``quantiles`` (steps, levels), ``peak`` its 50 % and 95 % level."""

    title: str
    unit: str
    origin_ts: float
    step_s: int
    history: NDArray[np.floating]
    quantiles: NDArray[np.floating]
    levels: tuple[float, ...]
    peak: tuple[float, float]
    note: str = ""
    events: tuple[tuple[str, float, float], ...] = ()


def svg(panels: Sequence[Panel]) -> str:
    """Return the panels, two a row, as an ``<svg>`` element; the same panels give the same text."""
    with mpl.rc_context({"svg.hashsalt": "foresight", "svg.fonttype": "none", "font.family": "sans-serif"}):
        stream = io.StringIO()
        _figure(panels).savefig(stream, format="svg", metadata={"Date": None, "Creator": None})
    return stream.getvalue().partition("<svg")[1] + stream.getvalue().partition("<svg")[2]


def png(panels: Sequence[Panel]) -> bytes:
    """Return the same as a PNG file."""
    stream = io.BytesIO()
    _figure(panels).savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def _figure(panels: Sequence[Panel]) -> Any:
    rows = -(-len(panels) // 2)
    figure = mfigure.Figure(figsize=(2 * WIDTH_IN, HEIGHT_IN * rows + 0.3), layout="constrained")
    for place, panel in enumerate(panels):
        axes = figure.add_subplot(rows, 2, place + 1)
        _draw(axes, panel)
        if place == 0:
            figure.legend(
                *axes.get_legend_handles_labels(), loc="outside upper left", fontsize=8, frameon=False, ncols=6
            )
    return figure


def _draw(axes: Any, panel: Panel) -> None:
    past = _times(panel.origin_ts - len(panel.history) * panel.step_s, len(panel.history), panel.step_s)
    ahead = _times(panel.origin_ts, len(panel.quantiles), panel.step_s)
    axes.plot(past, panel.history, color=BLACK, linewidth=0.9, label="measured")
    for low, high, opacity in BANDS:
        bounds = [panel.quantiles[:, _column(panel, level)] for level in (low, high)]
        label = f"{100 * (high - low):.0f} % band"
        axes.fill_between(ahead, *bounds, color=BLUE, alpha=opacity, linewidth=0, label=label)
    axes.plot(ahead, panel.quantiles[:, _column(panel, 0.5)], color=BLUE, linewidth=1.3, label="median")
    axes.fill_between(ahead, *panel.peak, color=VERMILLION, alpha=0.12, linewidth=0)
    axes.plot(ahead, np.full(len(ahead), panel.peak[1]), color=VERMILLION, linestyle="--", label="peak, 50-95 %")
    for at, (_name, start, end) in enumerate(panel.events):
        span = _clipped(start, end, panel, len(panel.history))
        if span is not None:
            axes.axvspan(*span, facecolor=YELLOW, alpha=0.35, hatch="//", edgecolor=GREY, linewidth=0, zorder=0)
            axes.annotate(str(at + 1), (span[0], 1.0), xycoords=("data", "axes fraction"), va="top", fontsize=8)
    axes.axvline(ahead[0], color=GREY, linewidth=0.8)
    _label(axes, panel)


def _label(axes: Any, panel: Panel) -> None:
    axes.set_ylim(bottom=0.0)
    axes.set_title(f"{panel.title} [{panel.unit}]", loc="left", fontsize=10, fontweight="bold", parse_math=False)
    axes.set_title(panel.note, loc="right", fontsize=8, color=GREY, parse_math=False)
    locator = mdates.AutoDateLocator(maxticks=9)  # type: ignore[no-untyped-call]  # matplotlib does not annotate it
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(mdates.ConciseDateFormatter(locator))  # type: ignore[no-untyped-call]  # nor this
    axes.tick_params(labelsize=8)
    axes.grid(color="#DDDDDD", linewidth=0.5)
    axes.margins(x=0.01)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def _times(start_ts: float, count: int, step_s: int) -> NDArray[np.datetime64]:
    return np.asarray(np.datetime64(int(start_ts), "s") + np.arange(count) * np.timedelta64(step_s, "s"))


def _clipped(start: float, end: float, panel: Panel, past: int) -> tuple[Any, Any] | None:
    first = max(start, panel.origin_ts - past * panel.step_s)
    last = min(end, panel.origin_ts + len(panel.quantiles) * panel.step_s)
    return (np.datetime64(int(first), "s"), np.datetime64(int(last), "s")) if first < last else None


def _column(panel: Panel, level: float) -> int:
    return int(np.argmin(np.abs(np.asarray(panel.levels) - level)))

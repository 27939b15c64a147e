# Copyright (c) 2026 the foresight.migration contributors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A selection as a table that a person reads: who won, by how much, and why each other host did not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from ..estate.nouns import Vm
from ..estate.resources import RESOURCES
from .policies import COMPONENTS
from .verdict import Cost, HostVerdict, Load, Selection

#: Rows of ranked hosts, and of rejected ones, that are shown without being asked for.
SHOWN = 10
#: Hosts whose own load is explained.
CAUTIONS_SHOWN = 3
#: Widest name shown; longer ones are cut.
NAME_WIDTH = 28

_HEADINGS = ("host", "score", *COMPONENTS, "overload", *(f"{name} free" for name in RESOURCES), "move", "pause")


def explain(vm: Vm, selection: Selection, asked: Collection[str] = ()) -> list[str]:
    """Return the lines of the table; ``asked`` are keys of hosts to be shown whatever their place.

    ``overload`` is the probability that any limit is passed in the window; ``free`` is what is left of the limit above
    the 95 % level of the highest load.
    """
    lines = [_decision(vm, selection), ""]
    shown = _shown(selection, asked)
    rows = [_row(verdict) for verdict in shown]
    lines += _table([_HEADINGS, *rows]) if rows else ["no host could be ranked"]
    lines += _own_load(shown)
    lines += _left_out(selection, asked)
    return lines


def why_not(verdict: HostVerdict, selection: Selection) -> str:
    """Return in a sentence why that host was not chosen."""
    name = clean(verdict.host_name)
    if verdict.reasons and verdict.status == "rejected":
        return f"{name}: rejected: " + "; ".join(f"{r.message} [{r.code}]" for r in verdict.reasons)
    best = selection.ranking[0] if selection.ranking else None
    if verdict.status == "outscored":
        top = f"{best.score:.1f}" if best is not None and best.score is not None else "-"
        return f"{name}: outscored: it can reach {verdict.bound or 0.0:.1f} at best, the best host scores {top}"
    if verdict.status == "source":
        return f"{name}: the VM is here now; staying scores {verdict.score or 0.0:.1f}"
    if best is None or verdict.host_key == best.host_key:
        return f"{name}: the best host, {verdict.score or 0.0:.1f}"
    behind = {part: best.components[part] - verdict.components[part] for part in best.components}
    worst = max(behind, key=lambda part: behind[part])
    return f"{name}: ranked {verdict.score or 0.0:.1f}; most behind in {worst}, by {behind[worst]:.0f} points"


def clean(text: str) -> str:
    """Return a name from a hypervisor fit for a line of a table: printable and not too long."""
    printable = "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)
    return printable if len(printable) <= NAME_WIDTH else printable[: NAME_WIDTH - 1] + "…"


def _decision(vm: Vm, selection: Selection) -> str:
    why = "; ".join(reason.message for reason in selection.reasons)
    where = f"move to {clean(selection.chosen.host_name)}" if selection.chosen is not None else "stay"
    return f"{clean(vm.name)}: {where}: {why}"


def _shown(selection: Selection, asked: Collection[str]) -> list[HostVerdict]:
    """Return the best hosts, those asked for, and staying, best first."""
    shown = [v for place, v in enumerate(selection.ranking) if place < SHOWN or v.host_key in asked]
    if selection.staying is not None:
        shown.append(selection.staying)
    return sorted(shown, key=lambda verdict: (-(verdict.score or 0.0), verdict.host_key))


def _row(verdict: HostVerdict) -> tuple[str, ...]:
    mark = {"chosen": "> ", "source": "= "}.get(verdict.status, "  ")
    return (
        mark + clean(verdict.host_name) + (" (stay)" if verdict.status == "source" else ""),
        f"{verdict.score or 0.0:.1f}",
        *(f"{verdict.components[name]:.0f}" if name in verdict.components else "-" for name in COMPONENTS),
        *_load_cells(verdict.load),
        *_cost_cells(verdict.cost),
    )


def _load_cells(load: Load | None) -> list[str]:
    if load is None:
        return ["-"] * (1 + len(RESOURCES))
    free = [f"{load.headroom[name]:.0%}" if name in load.headroom else "?" for name in RESOURCES]
    return [f"{load.overload_probability:.1%}", *free]


def _cost_cells(cost: Cost | None) -> list[str]:
    return ["-", "-"] if cost is None else [f"{cost.duration_s:.0f} s", f"{cost.downtime_ms:.0f} ms"]


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join([row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]


def _own_load(shown: Sequence[HostVerdict]) -> list[str]:
    """Return lines on the hosts whose own load is not forecast."""
    told = [(v, v.load.own.caution) for v in shown if v.load is not None and v.load.own is not None]
    cautions = [f"own load of {clean(verdict.host_name)}: {caution}" for verdict, caution in told if caution]
    if not cautions:
        return []
    more = len(cautions) - CAUTIONS_SHOWN
    return ["", *cautions[:CAUTIONS_SHOWN], *([f"and so for {more} more hosts"] if more > 0 else [])]


def _left_out(selection: Selection, asked: Collection[str]) -> list[str]:
    """Return lines on the hosts that are not in the table."""
    lines: list[str] = []
    if selection.outscored:
        lines.append(f"hosts that cannot reach the best score: {len(selection.outscored)}")
    if selection.rejected:
        counts = Counter(reason.code for verdict in selection.rejected for reason in verdict.reasons)
        told = ", ".join(f"{code} {count}" for code, count in sorted(counts.items()))
        lines.append(f"hosts rejected: {len(selection.rejected)} ({told})")
    wanted = [v for v in (*selection.outscored, *selection.rejected) if v.host_key in asked]
    others = [v for v in selection.rejected if v.host_key not in asked][:SHOWN]
    return ["", *lines, *("  " + why_not(verdict, selection) for verdict in [*wanted, *others])] if lines else []

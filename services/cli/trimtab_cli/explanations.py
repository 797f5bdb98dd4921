"""How `trimtab plan show` tells why a plan is what it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from trimtab_cli import output

GIB = 1024.0
CURVE = ("migrations", "hosts_in_use", "cpu_load_sd")


def show(explanation: Mapping[str, Any]) -> None:
    """Bound, cost, messages and curve; nothing for a plan that explains nothing."""
    for line in lines(explanation):
        output.console.print(escape(line))
    curve = explanation.get("curve") or []
    if not curve:
        return
    table = Table(box=None, padding=(0, 1), title="After so many of its migrations")
    for column in CURVE:
        table.add_column(column, justify="right")
    for point in curve:
        table.add_row(*("" if point.get(c) is None else f"{point[c]:g}" for c in CURVE))
    output.console.print(table)


def lines(explanation: Mapping[str, Any]) -> list[str]:
    """The same but for the curve, as sentences."""
    told = []
    if explanation.get("bound") is not None:
        told.append(
            f"{explanation['bound_of']}: {explanation['value']:g} after this plan, no plan gets below "
            f"{explanation['bound']:g} (gap {explanation['gap_pct']:g} %)"
        )
    cost = explanation.get("cost") or {}
    if cost.get("migrations"):
        memory = cost.get("memory_mib", 0) / GIB
        told.append(f"cost: {cost['migrations']:g} migrations, {memory:.1f} GiB of memory")
    told += [str(message) for message in explanation.get("messages") or []]
    ruled = explanation.get("ruled_out") or {}
    if ruled:
        most = sorted(ruled.items(), key=lambda item: -item[1])
        told.append("ruled out: " + ", ".join(f"{name} ({count:g})" for name, count in most))
    return told

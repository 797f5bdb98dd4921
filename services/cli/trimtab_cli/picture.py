"""Pictures of the cloud for the terminal: one bar a host, before and after."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table
from rich.text import Text

BAR = 24
FULL, EMPTY = "█", "░"


@dataclass(frozen=True, slots=True, kw_only=True)
class HostPicture:
    """What a person wants to see of one host. `memory_ratio`: allocated of capacity, 0..1."""

    name: str
    up: bool
    enabled: bool
    servers: int
    memory_ratio: float
    vcpu_ratio: float


def hosts_of(data_model: Iterable[Mapping[str, Any]]) -> list[HostPicture]:
    """Folds the rows of GET /v1/data_model, one a server, into one picture a host."""
    hosts: dict[str, dict[str, Any]] = {}
    for row in data_model:
        host = hosts.setdefault(row["node_hostname"], {"row": row, "n": 0, "mem": 0, "cpu": 0})
        if row.get("server_uuid"):
            host["n"] += 1
            host["mem"] += row["server_memory"]
            host["cpu"] += row["server_vcpus"]
    return [
        HostPicture(
            name=name,
            up=host["row"]["node_state"] == "up",
            enabled=host["row"]["node_status"] == "enabled",
            servers=host["n"],
            memory_ratio=_ratio(host["mem"], host["row"], "memory", "memory_mb_reserved"),
            vcpu_ratio=_ratio(host["cpu"], host["row"], "vcpu", "vcpu_reserved", total="vcpus"),
        )
        for name, host in sorted(hosts.items())
    ]


def _ratio(
    used: float, row: Mapping[str, Any], resource: str, reserved: str, total: str | None = None
) -> float:
    capacity = (row[f"node_{total or resource}"] - row[f"node_{reserved}"]) * row[
        f"node_{resource}_ratio"
    ]
    return used / capacity if capacity > 0 else 0.0


def bar(ratio: float) -> Text:
    """A bar of fixed width, green to red."""
    filled = min(BAR, round(ratio * BAR))
    colour = "green" if ratio < 0.7 else "yellow" if ratio < 0.9 else "red"  # noqa: PLR2004, a hue
    return Text(FULL * filled, style=colour) + Text(EMPTY * (BAR - filled), style="dim")


def table(
    before: Sequence[HostPicture], after: Sequence[HostPicture] | None = None, title: str = ""
) -> Table:
    """One row a host; with `after`, both pictures beside each other."""
    result = Table(title=title, box=None, padding=(0, 1))
    for heading in ("host", "memory allocated", "", "servers"):
        result.add_column(heading)
    later = {host.name: host for host in after or ()}
    if after is not None:
        for heading in ("→", "memory allocated", "", "servers", "service"):
            result.add_column(heading)
    for host in before:
        cells: list[str | Text] = [*_cells(host)]
        if after is not None:
            end = later[host.name]
            cells += [Text("→"), *_cells(end)[1:], _service(end)]
        result.add_row(*cells)
    return result


def _cells(host: HostPicture) -> list[str | Text]:
    return [host.name, bar(host.memory_ratio), f"{host.memory_ratio:4.0%}", str(host.servers)]


def _service(host: HostPicture) -> Text:
    if not host.up:
        return Text("down", style="red")
    return Text("enabled") if host.enabled else Text("disabled, free", style="bold green")

"""Edits of a snapshot for `trimtab simulate`: a host more, a host drained, a rack lost.

Servers that lose their host are put where Nova would: on the roomiest host that may take them. The
measured load follows them. Nothing here touches a cloud.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_DNS, uuid5

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.errors import InvalidArgument, NotFound
from trimtab_common.domain.snapshot import MEMORY_MIB, NO_HOST, VCPU, ComputeSnapshot, MetricsTable
from trimtab_decision.framework import StrategyContext
from trimtab_decision.strategies.board import Board

WHAT_IF = "what-if"
"""disabled_reason of hosts that an edit closes: not ours, so nothing opens them again."""
KIB_PER_MIB = 1024.0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Edited:
    """The cloud as it would be. told: what each edit did, JSON-ready."""

    snapshot: ComputeSnapshot
    metrics: MetricsTable
    told: list[dict[str, Any]]


def edit(
    snapshot: ComputeSnapshot,
    metrics: MetricsTable,
    *,
    add_hosts: Sequence[str] = (),
    drain: Sequence[str] = (),
    lose_racks: Sequence[str] = (),
) -> Edited:
    """Adds hosts, then loses racks, then drains. NotFound for a host or rack that is not there.

    add_hosts: NAME, or NAME:LIKE for one like the host LIKE; else like the commonest kind.
    lose_racks: names of host aggregates or availability zones.
    """
    told: list[dict[str, Any]] = []
    for text in add_hosts:
        snapshot, metrics = _with_host(snapshot, metrics, text, told)
    for name in lose_racks:
        hosts = _rack(snapshot, name)
        snapshot, metrics = _without(snapshot, metrics, hosts, told, lost=name)
    for name in drain:
        hosts = np.array([snapshot.host_index(name)], dtype=np.intp)
        snapshot, metrics = _without(snapshot, metrics, hosts, told, lost="")
    return Edited(snapshot=snapshot, metrics=metrics, told=told)


def _with_host(
    snapshot: ComputeSnapshot, metrics: MetricsTable, text: str, told: list[dict[str, Any]]
) -> tuple[ComputeSnapshot, MetricsTable]:
    name, _, like = text.partition(":")
    if not name or name in snapshot.host_name:
        raise InvalidArgument(f"--add-host {text}: there is a host {name or '(no name)'} already.")
    model = snapshot.host_index(like) if like else _commonest(snapshot)
    row = np.array([model])

    def longer(values: NDArray[Any]) -> NDArray[Any]:
        return np.concatenate([values, values[row]]) if len(values) else values

    like_name = snapshot.host_name[model]
    aggregates = tuple(
        dataclasses.replace(one, hosts=one.hosts | {name}) if like_name in one.hosts else one
        for one in snapshot.aggregates
    )
    grown = dataclasses.replace(
        snapshot,
        host_uuid=(*snapshot.host_uuid, str(uuid5(NAMESPACE_DNS, name))),
        host_name=(*snapshot.host_name, name),
        host_inventory=longer(snapshot.host_inventory),
        host_reserved=longer(snapshot.host_reserved),
        host_ratio=longer(snapshot.host_ratio),
        host_up=np.append(snapshot.host_up, True),
        host_enabled=np.append(snapshot.host_enabled, True),
        host_disabled_reason=(*snapshot.host_disabled_reason, None),
        host_zone=longer(snapshot.host_zone),
        host_capacity_from_nova=longer(snapshot.host_capacity_from_nova),
        aggregates=aggregates,
    )
    loads = {
        metric: np.append(values, 0.0 if metric.endswith("_usage") else np.nan)
        for metric, values in metrics.host.items()
    }
    told.append({"edit": "add_host", "host": name, "like": like_name})
    return grown, dataclasses.replace(metrics, host=loads)


def _commonest(snapshot: ComputeSnapshot) -> int:
    """A host of the kind of which there are most, by capacity and zone."""
    if not snapshot.n_hosts:
        raise NotFound("There is no host to be like; the cloud has none.")
    kinds = np.column_stack([snapshot.capacity(), snapshot.host_zone])
    _, first, counts = np.unique(kinds, axis=0, return_index=True, return_counts=True)
    return int(first[np.argmax(counts)])


def _rack(snapshot: ComputeSnapshot, name: str) -> NDArray[np.intp]:
    hosts = {host for one in snapshot.aggregates if one.name == name for host in one.hosts}
    mask = np.array([host in hosts for host in snapshot.host_name], dtype=bool)
    if name in snapshot.zones:
        mask |= snapshot.host_zone == snapshot.zones.index(name)
    if not mask.any():
        known = sorted({one.name for one in snapshot.aggregates} | set(snapshot.zones))
        raise NotFound(
            f"There is no rack {name}: it is the name of a host aggregate or an availability zone "
            f"with hosts. Known: {', '.join(known) or 'none'}."
        )
    return np.flatnonzero(mask)


def _without(
    snapshot: ComputeSnapshot,
    metrics: MetricsTable,
    hosts: NDArray[np.intp],
    told: list[dict[str, Any]],
    *,
    lost: str,
) -> tuple[ComputeSnapshot, MetricsTable]:
    """These hosts without servers: drained (excluded ones stay), or lost with all that is there."""
    up, enabled = snapshot.host_up.copy(), snapshot.host_enabled.copy()
    reason = list(snapshot.host_disabled_reason)
    if lost:
        up[hosts] = False
    else:
        enabled[hosts] = False
        for host in hosts.tolist():
            reason[host] = WHAT_IF
    closed = dataclasses.replace(
        snapshot, host_up=up, host_enabled=enabled, host_disabled_reason=tuple(reason)
    )
    board = Board(StrategyContext(compute=closed), move_locked=True)
    on_them = np.flatnonzero(np.isin(snapshot.server_host, hosts))
    if not lost:
        on_them = on_them[~snapshot.server_excluded[on_them]]
    order = on_them[np.argsort(-snapshot.server_demand[on_them, MEMORY_MIB], kind="stable")]
    homeless = [server for server in order.tolist() if not _place(board, server)]
    after = board.placement.host.astype(np.int32)
    if lost:
        after[homeless] = NO_HOST
    moved = dataclasses.replace(closed, server_host=after)
    told.append(
        {
            "edit": "lose_rack" if lost else "drain",
            "rack" if lost else "host": lost or snapshot.host_name[int(hosts[0])],
            "hosts": len(hosts),
            "servers": len(on_them),
            "placed": len(on_them) - len(homeless),
            "without_a_place": [snapshot.server_name[server] for server in homeless],
            "what_stood_in_the_way": _why_not(board, homeless),
        }
    )
    return moved, _followed(closed, metrics, after)


def _place(board: Board, server: int) -> bool:
    free = board.placement.free[:, MEMORY_MIB]
    roomiest = np.argsort(-free, kind="stable")
    targets = board.destinations(server, roomiest)
    if len(targets):
        board.placement.move(server, int(targets[0]))
    return bool(len(targets))


def _why_not(board: Board, servers: Sequence[int]) -> dict[str, int]:
    counts: dict[str, int] = {}
    hosts = np.arange(board.snapshot.n_hosts)
    for server in servers:
        for reason, count in board.why_not(server, hosts).items():
            counts[reason] = counts.get(reason, 0) + count
    return counts


def _followed(
    snapshot: ComputeSnapshot, metrics: MetricsTable, after: NDArray[np.int32]
) -> MetricsTable:
    """Host loads with those of the servers that moved taken along."""
    host = dict(metrics.host)
    moved = np.flatnonzero(after != snapshot.server_host)
    pairs = (
        ("host_cpu_usage", "instance_cpu_usage", VCPU),
        ("host_ram_usage", "instance_ram_usage", MEMORY_MIB),
    )
    for name, of_server, axis in pairs:
        load, usage = host.get(name), metrics.server.get(of_server)
        if load is None or usage is None:
            continue
        amount = np.nan_to_num(usage[moved])
        if axis == VCPU:
            amount = amount * snapshot.server_demand[moved, VCPU]
            size = np.maximum(snapshot.host_inventory[:, VCPU].astype(np.float64), 1.0)
        else:
            amount, size = amount * KIB_PER_MIB, np.ones(snapshot.n_hosts)
        load = load.copy()
        for hosts, sign in ((snapshot.server_host[moved], -1.0), (after[moved], 1.0)):
            there = hosts >= 0
            np.add.at(load, hosts[there], sign * amount[there] / size[hosts[there]])
        host[name] = load
    return dataclasses.replace(metrics, host=host)

"""BtrPlace's instances (JSON, packed with gzip or not) as a repair problem of the core."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trimtab_decision.optimizer.repairing import Repair

KNOWN = frozenset(
    {"spread", "among", "fence", "ban", "preserve", "online", "offline", "running", "ready"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """The document, and which node and VM each index of the arrays means."""

    document: dict[str, Any]
    nodes: list[int]
    vms: list[int]


def read_instance(path: Path) -> Instance:
    """ValueError for a constraint that is not among those of the benchmark."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt") as file:
        document = json.load(file)
    unknown = {one["id"] for one in document["constraints"]} - KNOWN
    if unknown:
        raise ValueError(f"{path}: constraints {sorted(unknown)} are not known")
    mapping = document["model"]["mapping"]
    nodes = sorted([*map(int, mapping["onlineNodes"]), *mapping["offlineNodes"]])
    vms = set(mapping["readyVMs"])
    for held in mapping["onlineNodes"].values():
        vms.update(held["runningVMs"])
    return Instance(document=document, nodes=nodes, vms=sorted(vms))


def problem_of(instance: Instance) -> Repair:
    """Nodes that are or will be offline are not usable; VMs that stay ready need nothing."""
    document = instance.document
    node_at = {node: at for at, node in enumerate(instance.nodes)}
    vm_at = {vm: at for at, vm in enumerate(instance.vms)}
    mapping = document["model"]["mapping"]
    host = np.full(len(instance.vms), -1, dtype=np.int64)
    for node, held in mapping["onlineNodes"].items():
        for vm in held["runningVMs"]:
            host[vm_at[vm]] = node_at[int(node)]
    views = [view for view in document["model"]["views"] if "rcId" in view]
    capacity = np.empty((len(instance.nodes), len(views)))
    demand = np.empty((len(instance.vms), len(views)))
    axis_of = {view["rcId"]: axis for axis, view in enumerate(views)}
    for axis, view in enumerate(views):
        given, needed = view["nodes"], view["vms"]
        capacity[:, axis] = [given.get(str(n), view["defCapacity"]) for n in instance.nodes]
        demand[:, axis] = [needed.get(str(v), view["defConsumption"]) for v in instance.vms]
    usable = np.ones(len(instance.nodes), dtype=bool)
    for node in mapping["offlineNodes"]:
        usable[node_at[node]] = False
    starts = set(mapping["readyVMs"])
    masks: dict[int, np.ndarray] = {}
    apart = []
    amongs = []
    for one in document["constraints"]:
        kind = one["id"]
        if kind == "preserve":
            cell = (vm_at[one["vm"]], axis_of[one["rc"]])
            demand[cell] = max(demand[cell], one["amount"])
        elif kind == "offline":
            usable[node_at[one["node"]]] = False
        elif kind == "spread":
            apart.append(tuple(vm_at[vm] for vm in one["vms"]))
        elif kind == "among":
            amongs.append(one)
        elif kind in {"fence", "ban"}:
            mask = np.zeros(len(instance.nodes), dtype=bool)
            mask[[node_at[node] for node in one["nodes"]]] = True
            for vm in [one["vm"]] if "vm" in one else one["vms"]:
                _narrow(masks, vm_at[vm], mask if kind == "fence" else ~mask)
        elif kind == "ready":
            starts.discard(one["vm"])
    _choose_parts(amongs, (node_at, vm_at), host, (masks, usable, capacity))
    allowed, server_class = _classes(masks, len(instance.vms), len(instance.nodes))
    waiting = np.array([vm in starts for vm in instance.vms]) | (host >= 0)
    keep = np.flatnonzero(~waiting)
    if len(keep):
        raise ValueError(f"{len(keep)} VMs are to stay ready; the benchmark has none")
    return Repair(
        capacity=capacity,
        demand=demand,
        host=host,
        usable=usable,
        allowed=allowed,
        server_class=server_class,
        apart=tuple(apart),
    )


def _narrow(masks: dict[int, np.ndarray], server: int, mask: np.ndarray) -> None:
    masks[server] = masks[server] & mask if server in masks else mask


def _choose_parts(
    amongs: list[dict[str, Any]],
    index: tuple[dict[int, int], dict[int, int]],
    host: np.ndarray,
    room: tuple[dict[int, np.ndarray], np.ndarray, np.ndarray],
) -> None:
    """The part of an `among` where most of its VMs run, or the roomiest where none runs."""
    node_at, vm_at = index
    masks, usable, capacity = room
    parts_of: dict[str, list[np.ndarray]] = {}
    for one in amongs:
        key = json.dumps(one["parts"])
        if key not in parts_of:
            parts_of[key] = []
            for part in one["parts"]:
                mask = np.zeros(len(node_at), dtype=bool)
                mask[[node_at[node] for node in part]] = True
                parts_of[key].append(mask)
        parts = parts_of[key]
        members = [vm_at[vm] for vm in one["vms"]]
        running: Counter[int] = Counter()
        for member in members:
            if host[member] >= 0:
                running.update(k for k, mask in enumerate(parts) if mask[host[member]])
        if running:
            chosen = running.most_common(1)[0][0]
        else:
            chosen = int(np.argmax([capacity[mask & usable].sum() for mask in parts]))
        for member in members:
            _narrow(masks, member, parts[chosen])


def _classes(
    masks: dict[int, np.ndarray], n_vms: int, n_nodes: int
) -> tuple[np.ndarray, np.ndarray]:
    rows = [np.ones(n_nodes, dtype=bool)]
    known: dict[bytes, int] = {rows[0].tobytes(): 0}
    server_class = np.zeros(n_vms, dtype=np.int64)
    for server, mask in masks.items():
        key = mask.tobytes()
        if key not in known:
            known[key] = len(rows)
            rows.append(mask)
        server_class[server] = known[key]
    return np.array(rows), server_class

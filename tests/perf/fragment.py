"""Fewer fragments of 16 cores on ByteDance's cluster within a number of moves; one JSON object.

    python -m tests.perf.fragment FILE --moves 50 [--seconds 3] [--seed 1] [--copies 4]

`cost` is the fragment rate after the moves: free cores of NUMA nodes modulo 16, by free cores. All
clusters of the file are one, as in the published environment. `violations` are counted by a replay
of the moves, one after the other, that shares no code with the search. `--copies 4` puts four
clusters of the same servers side by side, and four times the moves.
"""

from __future__ import annotations

import argparse
import json
import lzma
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from trimtab_decision.optimizer.defragmenting import Fragmentation, defragment

PIECE = 16


def read_clusters(path: Path) -> dict[str, Any]:
    """All hosts and servers of the file, names kept apart by cluster."""
    opened = lzma.open if path.suffix == ".xz" else open
    with opened(path, "rt") as file:
        document = json.load(file)
    hosts, servers = [], []
    for cluster in document["cluster_list"]:
        hosts += cluster["host_info"]
        servers += cluster["vm_instance"]
    return {"hosts": hosts, "servers": servers}


def copied(clusters: dict[str, Any], copies: int) -> dict[str, Any]:
    """The same clusters several times, under other names."""
    hosts, servers = [], []
    for copy in range(copies):
        hosts += [host | {"node_id": f"{copy}/{host['node_id']}"} for host in clusters["hosts"]]
        servers += [
            server
            | {
                "instance_id": f"{copy}/{server['instance_id']}",
                "host_id": f"{copy}/{server['host_id']}",
            }
            for server in clusters["servers"]
        ]
    return {"hosts": hosts, "servers": servers}


def problem_of(clusters: dict[str, Any]) -> Fragmentation:
    """The clusters as arrays; node 2h + k is NUMA node k of host h."""
    index = {host["node_id"]: h for h, host in enumerate(clusters["hosts"])}
    nodes = [sorted(host["numa"], key=lambda n: n["node"]) for host in clusters["hosts"]]
    servers = clusters["servers"]
    first = [min(server["numa"], key=lambda n: n["node"]) for server in servers]
    return Fragmentation(
        cores=np.array([int(n["free_cpu"]) for pair in nodes for n in pair], dtype=np.int64),
        memory=np.array(
            [int(n["memory_huge_free_mb"]) for pair in nodes for n in pair], dtype=np.int64
        ),
        place=np.array(
            [
                2 * index[server["host_id"]] + one["node"]
                for server, one in zip(servers, first, strict=True)
            ],
            dtype=np.int64,
        ),
        need_cores=np.array([int(one["cpu"]) for one in first], dtype=np.int64),
        need_memory=np.array([int(one["mem_mb"]) for one in first], dtype=np.int64),
        is_double=np.array([len(server["numa"]) == 2 for server in servers]),
        movable=np.array([bool(server["allow_migration"]) for server in servers]),
        piece=PIECE,
    )


def replayed(
    clusters: dict[str, Any], moves: list[tuple[int, int]], max_moves: int
) -> tuple[float, list[str]]:
    """(fragment rate, broken rules) after the moves, one by one; a target is taken before a
    source is released."""
    cores = {(h["node_id"], n["node"]): n["free_cpu"] for h in clusters["hosts"] for n in h["numa"]}
    memory = {
        (h["node_id"], n["node"]): n["memory_huge_free_mb"]
        for h in clusters["hosts"]
        for n in h["numa"]
    }
    broken, seen = [], set()
    if len(moves) > max_moves:
        broken.append(f"{len(moves)} moves of {max_moves}")
    for number, node in moves:
        server = clusters["servers"][number]
        name = clusters["hosts"][node // 2]["node_id"]
        if number in seen or not server["allow_migration"] or name == server["host_id"]:
            broken.append(f"{server['instance_id']} may not move to {name}")
        seen.add(number)
        pieces = sorted(server["numa"], key=lambda n: n["node"])
        for k, piece in enumerate(pieces):
            there = (name, (node % 2) + k)
            if there not in cores or (len(pieces) == 2 and node % 2):
                broken.append(f"{server['instance_id']} on no node {there}")
                continue
            cores[there] -= piece["cpu"]
            memory[there] -= piece["mem_mb"]
            if cores[there] < 0 or memory[there] < 0:
                broken.append(f"{server['instance_id']} has no room on {there}")
        for piece in pieces:
            cores[server["host_id"], piece["node"]] += piece["cpu"]
            memory[server["host_id"], piece["node"]] += piece["mem_mb"]
    free = sum(cores.values())
    return sum(value % PIECE for value in cores.values()) / max(free, 1), broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--moves", type=int, default=50, help="at most; for each copy")
    parser.add_argument("--seconds", type=float, default=2.5, help="CPU seconds of the search")
    parser.add_argument("--tries", type=int, help="tries instead of seconds: repeatable")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--copies", type=int, default=1)
    options = parser.parse_args()
    clusters = copied(read_clusters(options.file), options.copies)
    problem = problem_of(clusters)
    max_moves = options.moves * options.copies
    defragment(problem, max_moves=max_moves, tries=1)  # compiles, or loads what was compiled
    began = time.process_time()
    found = defragment(
        problem,
        max_moves=max_moves,
        seed=options.seed,
        seconds=None if options.tries else options.seconds,
        tries=options.tries,
    )
    cpu_s = time.process_time() - began
    rate, broken = replayed(clusters, list(found.moves), max_moves)
    before, _ = replayed(clusters, [], max_moves)
    answer = {
        "cost": round(rate, 4),
        "bound": round(found.bound / max(int(problem.cores.sum()), 1), 4),
        "violations": len(broken),
        "moves": len(found.moves),
        "cpu_s": round(cpu_s, 2),
        "seed": options.seed,
        "cost_before": round(before, 4),
        "hosts": len(clusters["hosts"]),
        "servers": len(clusters["servers"]),
        "evaluated": found.evaluated,
    }
    print(json.dumps(answer))
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())

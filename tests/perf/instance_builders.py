"""Small instances of the published families, made from a seed, in the families' own file formats."""

from __future__ import annotations

import json
import random
from pathlib import Path


def write_roadef(folder: Path, seed: int, *, machines: int = 8, processes: int = 60) -> list[Path]:
    """[model file, assignment file] of a feasible machine reassignment that is not yet good."""
    draw = random.Random(seed)
    n_resources = 3
    transient = [0, 1, 0]
    location = [machine % 4 for machine in range(machines)]
    neighbourhood = [machine % 2 for machine in range(machines)]
    service: list[int] = []
    while len(service) < processes:
        service += [max(service, default=-1) + 1] * draw.randint(1, 4)
    del service[processes:]
    n_services = max(service) + 1
    taken: set[tuple[int, int]] = set()
    home = []
    for one in service:
        free = [machine for machine in range(machines) if (one, machine) not in taken]
        home.append(draw.choice(free))
        taken.add((one, home[-1]))
    requirement = [[draw.randint(1, 90) for _ in range(n_resources)] for _ in service]
    used = [[0] * n_resources for _ in range(machines)]
    for process, machine in enumerate(home):
        for resource in range(n_resources):
            used[machine][resource] += requirement[process][resource]
    areas = [{neighbourhood[m] for s, m in taken if s == one} for one in range(n_services)]
    lines = [str(n_resources), *(f"{flag} {draw.randint(1, 10)}" for flag in transient)]
    lines.append(str(machines))
    for machine in range(machines):
        limit = [int(amount * draw.uniform(1.05, 1.6)) + 60 for amount in used[machine]]
        safe = [int(amount * draw.uniform(0.4, 0.9)) for amount in limit]
        distance = [0 if other == machine else draw.randint(1, 3) for other in range(machines)]
        row = [neighbourhood[machine], location[machine], *limit, *safe, *distance]
        lines.append(" ".join(map(str, row)))
    lines.append(str(n_services))
    for one in range(n_services):
        here = {location[m] for s, m in taken if s == one}
        could = [
            other for other in range(n_services) if other != one and areas[one] <= areas[other]
        ]
        needs = draw.sample(could, min(len(could), draw.randint(0, 2)))
        lines.append(" ".join(map(str, [draw.randint(1, len(here)), len(needs), *needs])))
    lines.append(str(processes))
    for process in range(processes):
        row = [service[process], *requirement[process], draw.randint(0, 20)]
        lines.append(" ".join(map(str, row)))
    lines += ["1", "0 2 3", "5", "1 10 100"]
    model, assignment = folder / "model.txt", folder / "assignment.txt"
    model.write_text("\n".join(lines) + "\n")
    assignment.write_text(" ".join(map(str, home)) + "\n")
    return [model, assignment]


def write_fragments(folder: Path, seed: int, *, hosts: int = 12) -> Path:
    """A cluster of hosts with two NUMA nodes, and servers on one of them or on both."""
    draw = random.Random(seed)
    host_info, servers = [], []
    for number in range(hosts):
        cores, memory = [44, 44], [180_000, 180_000]
        for _ in range(draw.randint(3, 9)):
            need = draw.choice([2, 4, 8, 16])
            nodes = [0, 1] if draw.random() < 0.3 else [draw.randint(0, 1)]
            if any(cores[node] < need for node in nodes):
                continue
            for node in nodes:
                cores[node] -= need
                memory[node] -= need * 2048
            servers.append(
                {
                    "instance_id": f"vm_{len(servers)}",
                    "host_id": f"pm_{number}",
                    "allow_migration": draw.random() < 0.9,
                    "numa": [
                        {"node": node, "cpu": need, "mem_mb": need * 2048.0} for node in nodes
                    ],
                }
            )
        host_info.append(
            {
                "node_id": f"pm_{number}",
                "numa": [
                    {
                        "node": node,
                        "total_cpu": 44,
                        "free_cpu": float(cores[node]),
                        "memory_huge_free_mb": float(memory[node]),
                    }
                    for node in (0, 1)
                ],
            }
        )
    path = folder / "fragments.json"
    path.write_text(
        json.dumps({"cluster_list": [{"host_info": host_info, "vm_instance": servers}]})
    )
    return path


def write_btrplace(folder: Path, seed: int, *, nodes: int = 20, per_node: int = 5) -> Path:
    """Nodes in two halves, one of them offline; demands that rise, VMs to start, rules that hold."""
    draw = random.Random(seed)
    halves = [list(range(nodes // 2)), list(range(nodes // 2, nodes))]
    offline = [0]
    running = {
        node: list(range(node * per_node, (node + 1) * per_node)) for node in range(1, nodes)
    }
    ready = list(range(per_node))
    cpu = {vm: draw.randint(5, 15) for vm in range(nodes * per_node)}
    constraints: list[dict[str, object]] = [{"id": "offline", "node": 0, "continuous": False}]
    constraints += [{"id": "running", "vm": vm, "continuous": False} for vm in ready]
    constraints += [
        {"id": "preserve", "rc": "uCpu", "vm": vm, "amount": 60}
        for node in draw.sample(range(1, nodes), 4)
        for vm in running[node][:2]
    ]
    for half in halves:
        inside = [node for node in half if node not in offline]
        vms = [draw.choice(running[node]) for node in draw.sample(inside, 4)]
        constraints.append({"id": "spread", "vms": vms, "continuous": True})
        constraints.append({"id": "among", "vms": vms, "parts": halves, "continuous": True})
    view = {
        "id": "shareableResource",
        "rcId": "uCpu",
        "defCapacity": 130,
        "defConsumption": 0,
        "nodes": {},
        "vms": {str(vm): amount for vm, amount in cpu.items()},
    }
    mapping = {
        "readyVMs": ready,
        "offlineNodes": offline,
        "onlineNodes": {
            str(node): {"runningVMs": vms, "sleepingVMs": []} for node, vms in running.items()
        },
    }
    path = folder / "btrplace.json"
    path.write_text(
        json.dumps({"model": {"mapping": mapping, "views": [view]}, "constraints": constraints})
    )
    return path

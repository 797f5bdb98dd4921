"""A model as a graph: machines and pools below, servers and volumes above, edges between (C-020, C-025).

What `trimtab model graph` writes as JSON; plain dictionaries, so that any graph tool reads them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trimtab_common.domain import storage
from trimtab_common.domain.changes import host_rows, server_rows
from trimtab_common.domain.elements import ElementSnapshot
from trimtab_common.domain.snapshot import ComputeSnapshot

PHYSICAL, VIRTUAL = "physical", "virtual"


@dataclass(slots=True)
class Graph:
    """Vertices by id with free attributes, and directed edges (source, target, kind)."""

    vertices: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    edges: list[tuple[str, str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """{"vertices": [{id, ...}], "edges": [{source, target, kind}]}, sorted."""
        return {
            "vertices": [{"id": key, **self.vertices[key]} for key in sorted(self.vertices)],
            "edges": [
                {"source": source, "target": target, "kind": kind}
                for source, target, kind in sorted(self.edges)
            ],
        }

    def shortest_path(self, start: str, end: str) -> list[str]:
        """Ids from start to end over the fewest edges, in whichever direction; [] for none."""
        beside: dict[str, list[str]] = {}
        for source, target, _ in self.edges:
            beside.setdefault(source, []).append(target)
            beside.setdefault(target, []).append(source)
        came_from = {start: start}
        waiting = deque([start] if start in self.vertices else [])
        while waiting:
            here = waiting.popleft()
            if here == end:
                path = [end]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            for there in beside.get(here, ()):
                if there not in came_from:
                    came_from[there] = here
                    waiting.append(there)
        return []

    def joined(self, other: Graph) -> Graph:
        """Both; a server that has a volume of the other joins them."""
        return Graph({**self.vertices, **other.vertices}, [*self.edges, *other.edges])


def compute_graph(snapshot: ComputeSnapshot) -> Graph:
    """Servers on hosts, hosts in aggregates and zones, members of server groups."""
    graph = Graph()
    for host in host_rows(snapshot):
        graph.vertices[host.uuid] = {
            "type": "machine",
            "layer": PHYSICAL,
            "name": host.hostname,
            "vcpus": host.inventory[0],
            "memory_mib": host.inventory[1],
            "disk_gib": host.inventory[2],
            "up": host.up,
            "enabled": host.enabled,
        }
        if host.zone:
            zone = f"zone {host.zone}"
            graph.vertices[zone] = {"type": "zone", "layer": PHYSICAL, "name": host.zone}
            graph.edges.append((host.uuid, zone, "in"))
    by_name = dict(zip(snapshot.host_name, snapshot.host_uuid, strict=True))
    for aggregate in snapshot.aggregates:
        key = f"aggregate {aggregate.id}"
        graph.vertices[key] = {"type": "aggregate", "layer": PHYSICAL, "name": aggregate.name}
        known = sorted(name for name in aggregate.hosts if name in by_name)
        graph.edges += [(by_name[name], key, "in") for name in known]
    for server in server_rows(snapshot):
        graph.vertices[server.uuid] = {
            "type": "server",
            "layer": VIRTUAL,
            "name": server.name,
            "state": server.state_text or server.state.text,
            "vcpus": server.demand[0],
            "memory_mib": server.demand[1],
            "disk_gib": server.demand[2],
            "project_id": server.project_id,
        }
        if server.hostname in by_name:
            graph.edges.append((server.uuid, by_name[server.hostname], "on"))
    for group in snapshot.groups:
        graph.vertices[group.uuid] = {
            "type": "server_group",
            "layer": VIRTUAL,
            "name": group.name,
            "policy": group.policy,
        }
        members = sorted(uuid for uuid in group.members if uuid in graph.vertices)
        graph.edges += [(uuid, group.uuid, "member") for uuid in members]
    return graph


def storage_graph(snapshot: ElementSnapshot) -> Graph:
    """Volumes in pools, pools on nodes, volumes attached to servers."""
    graph = Graph()
    for node in snapshot.of(storage.NODE):
        graph.vertices[node.host] = {"type": "storage_node", "layer": PHYSICAL, "name": node.host}
    for pool in snapshot.of(storage.POOL):
        graph.vertices[pool.name] = {
            "type": "pool",
            "layer": PHYSICAL,
            "name": pool.name,
            "total_gb": pool.total_gb,
            "free_gb": pool.free_gb,
        }
        if (host := storage.node_of(pool.name)) in graph.vertices:
            graph.edges.append((pool.name, host, "on"))
    for volume in snapshot.of(storage.VOLUME):
        graph.vertices[volume.uuid] = {
            "type": "volume",
            "layer": VIRTUAL,
            "name": volume.name,
            "size_gb": volume.size_gb,
            "status": volume.status,
        }
        if volume.pool in graph.vertices:
            graph.edges.append((volume.uuid, volume.pool, "in"))
        graph.edges += [(volume.uuid, item.server, "attached") for item in volume.attachments]
    return graph

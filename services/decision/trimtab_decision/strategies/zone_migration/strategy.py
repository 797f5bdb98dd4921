"""Zone migration: servers and volumes off the given nodes and pools, a few in each plan.

Goal: hardware_maintenance. Metrics: none. Volumes first; limits say how many actions one plan may
have, and a CONTINUOUS audit goes on until the zone is empty (B-185..B-191). Example with numbers:
README.md beside this file, which a test runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.storage import VOLUME, VolumeRow
from trimtab_decision.framework import Solution, Strategy, StrategyContext
from trimtab_decision.framework.destinations import find_servers
from trimtab_decision.framework.errors import ClusterStateNotDefined
from trimtab_decision.optimizer.eligibility import LIVE_STATES, may_migrate
from trimtab_decision.strategies.board import Board
from trimtab_decision.strategies.moves import add_migration
from trimtab_decision.strategies.volume_moves import add_volume_move
from trimtab_decision.strategies.zone_migration import params
from trimtab_decision.strategies.zone_migration.priority import ordered_servers, ordered_volumes

P = TypeVar("P")


class ZoneMigration(Strategy):
    """Empties a set of nodes and pools, by priority and within limits."""

    name: ClassVar[str] = "zone_migration"
    display_name: ClassVar[str] = "Zone migration"
    goal_name: ClassVar[str] = "hardware_maintenance"
    parameters_schema: ClassVar[Mapping[str, Any]] = params.SCHEMA
    needs_compute_model: ClassVar[bool] = True

    @classmethod
    def models(cls, parameters: Mapping[str, Any]) -> frozenset[str]:
        """The storage model only when pools are given."""
        return frozenset({"storage"} if parameters.get("storage_pools") else ())

    def do_execute(self, context: StrategyContext, solution: Solution) -> None:
        """Volumes, each with its servers where that is asked, then servers."""
        zone = _Zone(context, solution)
        volumes = zone.volumes()
        servers = zone.servers()
        for volume in volumes:
            if zone.is_full():
                break
            if zone.move_volume(volume) and context.parameters["with_attached_volume"]:
                attached = set(
                    find_servers(context.snapshot, (a.server for a in volume.attachments)).tolist()
                )
                for server in servers:
                    if server in attached:
                        zone.move_server(server)
        for server in servers:
            zone.move_server(server)
        zone.report(volumes, servers)


class _Zone:
    """What is to move, what was planned, and the limits."""

    def __init__(self, context: StrategyContext, solution: Solution) -> None:
        given = context.parameters
        self.context, self.solution, self.given = context, solution, given
        self.board = Board(context, move_locked=True)
        self.snapshot = context.snapshot
        self.priority = given.get("priority", {})
        nodes = given.get("compute_nodes", ())
        self.target_of = {entry["src_node"]: entry.get("dst_node") for entry in nodes}
        self.place = {name: index for index, name in enumerate(self.snapshot.host_name)}
        self.total = 0
        self.per_node: Counter[str] = Counter()
        self.per_pool: Counter[str] = Counter()
        self.done: set[int] = set()
        self.planned: Counter[str] = Counter()

    def is_full(self) -> bool:
        return self.total >= int(self.given["parallel_total"])

    def servers(self) -> list[int]:
        """The servers that should move, the most urgent first (B-185, B-188)."""
        hosts = []
        for name in self.target_of:
            if name in self.place:
                hosts.append(self.place[name])
            else:
                self.solution.note(f"Compute node {name} is not in the model.")
        touchable = may_migrate(
            self.snapshot, check_optimize_metadata=self.given["check_optimize_metadata"]
        )
        on_zone = np.isin(self.snapshot.server_host, hosts)
        return ordered_servers(
            self.snapshot, np.flatnonzero(on_zone & touchable).tolist(), self.priority
        )

    def volumes(self) -> list[VolumeRow]:
        """The volumes that should move, the most urgent first (B-185)."""
        entries = self.given.get("storage_pools", ())
        if not entries:
            return []
        if self.context.storage is None:
            raise ClusterStateNotDefined(
                "The storage model is not defined: collector reads no Cinder. "
                "Configure it, then create the audit again."
            )
        chosen = [
            volume
            for volume in self.context.storage.of(VOLUME)
            if self._entry(volume.pool, volume.volume_type) is not None
        ]
        return ordered_volumes(chosen, self.priority)

    def _entry(self, pool: str, volume_type: str) -> Mapping[str, str] | None:
        """The entry of a volume: its pool with its type, else its pool without a type (B-187)."""
        of_pool = [e for e in self.given["storage_pools"] if e["src_pool"] == pool]
        exact = [e for e in of_pool if e.get("src_type") == volume_type]
        general = [e for e in of_pool if "src_type" not in e]
        return next(iter(exact + general), None)

    def _next(self, place: tuple[str, str]) -> tuple[str, str] | None:
        """Where a volume of this pool and type is to be, as far as it can be said."""
        pool, volume_type = place
        entry = self._entry(pool, volume_type) or {}
        wanted = entry.get("dst_type") or volume_type
        if wanted != volume_type:
            return pool, wanted  # Cinder chooses the pool, and may choose this one
        target = entry.get("dst_pool")
        return None if target is None else (target, volume_type)

    def move_volume(self, volume: VolumeRow) -> bool:
        """Plan the volume's action, unless its pool has its share; whether it was planned."""
        entry = self._entry(volume.pool, volume.volume_type)
        if entry is None or self.is_full():
            return False
        if self.per_pool[volume.pool] >= int(self.given["parallel_per_pool"]):
            return False
        kind, target = "", ""
        if entry.get("dst_type") and entry["dst_type"] != volume.volume_type:
            kind, target = "retype", entry["dst_type"]
        elif entry.get("dst_pool"):
            kind, target = "migrate", entry["dst_pool"]
        if not kind or target == volume.pool:
            self.solution.note(
                f"Volume {volume.uuid} has the type {volume.volume_type or 'none'} already and no "
                "other pool is given; it stays."
            )
            return False
        if _comes_back((volume.pool, volume.volume_type), self._next):
            self.solution.note(
                f"Pool {volume.pool} is on a round way of destinations that ends in itself: it would never be empty, "
                "and its volumes stay."
            )
            return False
        reason = f"Pool {volume.pool} is being emptied."
        add_volume_move(self.solution, volume, kind=kind, target=target, reason=reason)
        self.planned["update" if volume.status == "in-use" else "detached"] += 1
        self.per_pool[volume.pool] += 1
        self.total += 1
        return True

    def move_server(self, server: int) -> None:
        """Plan the server's migration, unless a limit or its destination forbids it."""
        source = self.snapshot.host_name[int(self.snapshot.server_host[server])]
        is_over = self.per_node[source] >= int(self.given["parallel_per_node"])
        if server in self.done or self.is_full() or is_over:
            return
        if not self.snapshot.host_up[self.place[source]]:
            self.solution.note(f"{source} is down: its servers cannot be migrated.")
            return
        target = self.target_of[source]
        if _comes_back(source, self.target_of.get):
            self.solution.note(
                f"{source} is on a round way of destinations that ends in itself: it would never be empty, and its "
                "servers stay."
            )
            return
        destination = None if target is None else self._destination(server, target)
        if target is not None and destination is None:
            return
        where = "Nova chooses the target" if target is None else f"{target} is given"
        reason = f"{source} is being emptied; {where}."
        add_migration(self.solution, self.snapshot, server, destination, reason=reason)
        if destination is not None:
            self.board.placement.move(server, destination)
        self.planned[_kind(self, server)] += 1
        self.per_node[source] += 1
        self.total += 1
        self.done.add(server)

    def _destination(self, server: int, name: str) -> int | None:
        """The given node when it may and can take the server (B-059), else None with a message."""
        host = self.place.get(name)
        if host is None:
            self.solution.note(f"Destination {name} is not in the model.")
            return None
        if len(self.board.destinations(server, np.array([host], dtype=np.intp))):
            return host
        why = self.board.why_not(server, np.array([host], dtype=np.intp))
        self.solution.rejections.update(why)
        shown = ", ".join(why) or "it is there already"
        self.solution.note(
            f"{name} cannot take {self.snapshot.server_name[server]}: {shown}. It stays."
        )
        return None

    def report(self, volumes: list[VolumeRow], servers: list[int]) -> None:
        """The indicators of hardware_maintenance (B-191)."""
        kinds = Counter(_kind(self, server) for server in servers)
        in_use = sum(1 for volume in volumes if volume.status == "in-use")
        for name, count, key in (
            ("live_migrate_instance_count", kinds["live"], "live"),
            ("cold_migrate_instance_count", kinds["cold"], "cold"),
            ("volume_migrate_count", len(volumes) - in_use, "detached"),
            ("volume_update_count", in_use, "update"),
        ):
            self.solution.set_indicator(name, count)
            self.solution.set_indicator(f"planned_{name}", self.planned[key])
        left = len(volumes) + len(servers) - self.total
        if left and self.is_full():
            self.solution.note(
                f"{left} more servers and volumes wait for the next plan (parallel_total "
                f"{self.given['parallel_total']})."
            )
        elif not volumes and not servers:
            self.solution.note("There is nothing to move on the given nodes and pools.")


def _comes_back(start: P, following: Callable[[P], P | None]) -> bool:
    """Whether who goes on from each to the one that follows it comes back to the start."""
    seen = {start}
    place = following(start)
    while place is not None and place not in seen:
        seen.add(place)
        place = following(place)
    return place == start


def _kind(zone: _Zone, server: int) -> str:
    state = ServerState(int(zone.snapshot.server_state[server]))
    return "live" if state in LIVE_STATES else "cold"

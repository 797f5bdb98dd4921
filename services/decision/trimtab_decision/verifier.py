"""Checks a finished plan against the snapshot it was made from; shares no code with the search.

Strategy -> planner -> this -> the record. A target is reserved when a move starts and a source is
released when it ends, and everything that the graph lets run together does: so the worst moment of
every action is checked. Only what the plan itself causes or worsens counts, not what was wrong.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

import numpy as np

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.snapshot import RESOURCES, ComputeSnapshot
from trimtab_decision.framework.planning import PlannedAction
from trimtab_decision.verifier_flow import most_covered

EPSILON = 1e-6
UNKNOWN_HOST = -2
UUID_BYTES = 16
N_RESOURCES = len(RESOURCES)
LIVE = frozenset({ServerState.ACTIVE, ServerState.PAUSED})
COLD = frozenset({ServerState.ACTIVE, ServerState.STOPPED})
PREFIX_OF_OWN_REASONS = "watcher"


class ViolationKind(StrEnum):
    """What a plan may not do."""

    OVER_CAPACITY = "over_capacity"
    DOWN_TARGET = "down_target"
    DISABLED_TARGET = "disabled_target"
    FOREIGN_ENABLE = "enables_host_disabled_by_others"
    DOWN_SOURCE = "down_source"
    EXCLUDED_SERVER = "excluded_server"
    MOVED_TWICE = "moved_twice"
    WRONG_SOURCE = "wrong_source"
    WRONG_STATE = "wrong_state"
    WRONG_ZONE = "wrong_zone"
    SERVER_GROUP = "server_group"
    UNKNOWN_ELEMENT = "unknown_element"
    BROKEN_GRAPH = "broken_graph"


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One rule broken by one action."""

    kind: ViolationKind
    index: int
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A migration as indexes. `target` -1: Nova chooses."""

    index: int
    server: int
    source: int
    target: int


def verify(snapshot: ComputeSnapshot, planned: Sequence[PlannedAction]) -> list[Violation]:
    """Every rule that the plan breaks, in plan order; [] for a clean plan."""
    return _Verifier(snapshot, planned).run()


class _Index:
    """Uuid text -> index of the server; building it costs tens of milliseconds at 200,000."""

    def __init__(self, snapshot: ComputeSnapshot) -> None:
        raw = np.ascontiguousarray(snapshot.server_uuid).tobytes()
        self._place = {raw[i * 16 : i * 16 + 16]: i for i in range(snapshot.n_servers)}

    def get(self, text: str) -> int | None:
        """None for what is no uuid, or no server's."""
        try:
            raw = bytes.fromhex(text.replace("-", ""))
            return self._place.get(raw if len(raw) == UUID_BYTES else UUID(text).bytes)
        except ValueError:
            return None


class _Verifier:
    def __init__(self, snapshot: ComputeSnapshot, planned: Sequence[PlannedAction]) -> None:
        self.snapshot = snapshot
        self.planned = planned
        self.found: list[Violation] = []
        self.hosts = {name: i for i, name in enumerate(snapshot.host_name)}
        self.servers = _Index(snapshot)
        # lists, because one element of an array costs several times as much as one of a list
        self.home: list[int] = snapshot.server_host.tolist()
        self.state: list[int] = snapshot.server_state.tolist()
        self.is_excluded: list[bool] = snapshot.server_excluded.tolist()
        self.is_up: list[bool] = snapshot.host_up.tolist()
        self.is_enabled: list[bool] = snapshot.host_enabled.tolist()
        self.switches: dict[int, list[tuple[int, bool]]] = defaultdict(list)
        self.steps: list[_Step] = []
        self.level: list[int] = []

    def run(self) -> list[Violation]:
        if self._graph():
            self._read()
            for step in self.steps:
                self._target(step)
            if self._is_layered():
                self._groups(lambda first, then: self.level[first] < self.level[then])
                self._capacity_by_layer()
            elif any(step.target >= 0 for step in self.steps):  # else Nova sees to room and groups
                before = self._ancestors()
                self._groups(lambda first, then: bool(before[then] >> first & 1))
                self._capacity_by_ancestors(before)
        return sorted(self.found, key=lambda violation: violation.index)

    def _add(self, kind: ViolationKind, index: int, detail: str) -> None:
        self.found.append(Violation(kind=kind, index=index, detail=detail))

    def _graph(self) -> bool:
        for place, action in enumerate(self.planned):
            if action.index != place or any(not 0 <= p < place for p in action.parents):
                self._add(
                    ViolationKind.BROKEN_GRAPH, place, "a parent does not come before its child"
                )
                return False
            self.level.append(1 + max((self.level[p] for p in action.parents), default=-1))
        return True

    def _is_layered(self) -> bool:
        """Whether each action waits for exactly the whole layer before its own."""
        sizes: dict[int, int] = defaultdict(int)
        for level in self.level:
            sizes[level] += 1
        return all(
            all(self.level[p] == self.level[a.index] - 1 for p in a.parents)
            and len(set(a.parents)) == (sizes[self.level[a.index] - 1] if a.parents else 0)
            for a in self.planned
        )

    def _read(self) -> None:
        moved: dict[int, list[int]] = defaultdict(list)
        for step in self.planned:
            kind, inputs = step.action.action_type, step.action.input_parameters
            if kind == "change_nova_service_state":
                self._read_switch(step)
            elif kind in {"migrate", "stop", "resize"}:
                server = self.servers.get(str(inputs.get("resource_id")))
                if server is None:
                    self._add(
                        ViolationKind.UNKNOWN_ELEMENT,
                        step.index,
                        f"no server {inputs.get('resource_id')}",
                    )
                    continue
                if self.is_excluded[server]:
                    self._add(ViolationKind.EXCLUDED_SERVER, step.index, self._name(server))
                if kind == "migrate":
                    self._read_move(step, server, moved[server])
                    moved[server].append(step.index)

    def _read_switch(self, step: PlannedAction) -> None:
        inputs = step.action.input_parameters
        host = self.hosts.get(str(inputs.get("resource_name")))
        if host is None:
            self._add(
                ViolationKind.UNKNOWN_ELEMENT, step.index, f"no host {inputs.get('resource_name')}"
            )
            return
        enable = inputs.get("state") == "enabled"
        self.switches[host].append((step.index, enable))
        reason = self.snapshot.host_disabled_reason[host] or ""
        foreign = not reason.lower().startswith(PREFIX_OF_OWN_REASONS)
        if enable and not self.snapshot.host_enabled[host] and foreign:
            self._add(ViolationKind.FOREIGN_ENABLE, step.index, f"{self.snapshot.host_name[host]}")

    def _is_detour(self, step: PlannedAction, server: int, earlier: list[int]) -> bool:
        """The last leg of a server that had to go out of the way, its target being full at first.

        It waits for the first leg, and there are two of them and no more.
        """
        inputs = step.action.input_parameters
        first = self.planned[earlier[0]].action.input_parameters
        target = self.hosts.get(str(inputs.get("destination_node")))
        is_chained = len(earlier) == 1 and earlier[0] in step.parents
        if target is None or not is_chained:
            return False
        room = self.snapshot.capacity()[target] - self.snapshot.used()[target]
        was_full = bool((self.snapshot.server_demand[server] > room + EPSILON).any())
        return was_full and first.get("destination_node") == inputs.get("source_node")

    def _read_move(self, step: PlannedAction, server: int, earlier: list[int]) -> None:
        inputs, snapshot = step.action.input_parameters, self.snapshot
        source = self.hosts.get(str(inputs.get("source_node")), -1)
        is_second = bool(earlier)
        if is_second and not self._is_detour(step, server, earlier):
            self._add(ViolationKind.MOVED_TWICE, step.index, self._name(server))
            return
        wanted = inputs.get("destination_node")
        target = -1 if wanted is None else self.hosts.get(str(wanted), UNKNOWN_HOST)
        if source < 0 or (not is_second and source != self.home[server]):
            self._add(
                ViolationKind.WRONG_SOURCE,
                step.index,
                f"{self._name(server)} is not on {inputs.get('source_node')}",
            )
            return
        if target in {UNKNOWN_HOST, source}:
            self._add(ViolationKind.UNKNOWN_ELEMENT, step.index, f"{wanted} is no other host")
            return
        live = inputs.get("migration_type") == "live"
        if self.state[server] not in (LIVE if live else COLD):
            state = ServerState(self.state[server])
            self._add(
                ViolationKind.WRONG_STATE, step.index, f"{self._name(server)} is {state.text}"
            )
        if not self.is_up[source]:
            self._add(ViolationKind.DOWN_SOURCE, step.index, snapshot.host_name[source])
        self.steps.append(_Step(index=step.index, server=server, source=source, target=target))

    def _target(self, step: _Step) -> None:
        if step.target < 0:
            return
        snapshot, target = self.snapshot, step.target
        if not self.is_up[target]:
            self._add(ViolationKind.DOWN_TARGET, step.index, snapshot.host_name[target])
        enabled = self.is_enabled[target]
        for index, enable in self.switches.get(target, ()):
            if self.level[index] < self.level[step.index] or not enable:
                enabled = enable
        if not enabled:
            self._add(ViolationKind.DISABLED_TARGET, step.index, snapshot.host_name[target])
        if zone := snapshot.server_pinned_zone.get(step.server):
            zone_of_target = int(snapshot.host_zone[target])
            if zone_of_target < 0 or snapshot.zones[zone_of_target] != zone:
                detail = f"{self._name(step.server)} belongs to {zone}"
                self._add(ViolationKind.WRONG_ZONE, step.index, detail)

    def _capacity_by_layer(self) -> None:
        """All that arrives in a layer has its room before anything of the layer has left."""
        used: list[list[float]] = self.snapshot.used().astype(np.float64).tolist()
        capacity: list[list[float]] = self.snapshot.capacity().tolist()
        demand = self.snapshot.server_demand[[step.server for step in self.steps]]
        needs: list[list[float]] = demand.astype(np.float64).tolist()
        layers: dict[int, list[tuple[_Step, list[float]]]] = defaultdict(list)
        for step, need in zip(self.steps, needs, strict=True):
            layers[self.level[step.index]].append((step, need))
        for _, steps in sorted(layers.items()):
            arriving: dict[int, tuple[int, list[float]]] = {}
            for step, need in steps:
                if step.target >= 0:
                    self._add_up(used[step.target], need)
                    if step.target in arriving:
                        self._add_up(arriving[step.target][1], need)
                    else:
                        arriving[step.target] = (step.index, need.copy())
            for host, (first, came) in arriving.items():
                room, limit = used[host], capacity[host]
                self._over(
                    first,
                    host,
                    [r for r in range(N_RESOURCES) if came[r] > 0 and room[r] > limit[r] + EPSILON],
                )
            for step, need in steps:
                left = used[step.source]
                for resource in range(N_RESOURCES):
                    left[resource] -= need[resource]

    @staticmethod
    def _add_up(total: list[float], need: list[float]) -> None:
        for resource in range(N_RESOURCES):
            total[resource] += need[resource]

    def _ancestors(self) -> list[int]:
        """Per action a bit for each action that has ended before it starts."""
        before: list[int] = []
        for action in self.planned:
            mask = 0
            for parent in action.parents:
                mask |= before[parent] | (1 << parent)
            before.append(mask)
        return before

    def _groups(self, has_ended: Callable[[int, int], bool]) -> None:
        """Hard server groups: what the plan itself breaks, at the worst moment of each move.

        `has_ended(first, then)`: whether action `first` is over before action `then` starts.
        """
        moves = {step.server: step for step in self.steps}  # of a detour its last leg
        for group in self.snapshot.groups:
            if group.policy not in {"affinity", "anti-affinity"}:
                continue
            found = (self.servers.get(uuid) for uuid in group.members)
            members = [server for server in found if server is not None]
            for server in members:
                step = moves.get(server)
                if step is None or step.target < 0:
                    continue
                there, elsewhere = 0, 0
                for other in members:
                    if other == server:
                        continue
                    home, move = int(self.snapshot.server_host[other]), moves.get(other)
                    left = move is not None and has_ended(move.index, step.index)
                    comes = move is not None and not has_ended(step.index, move.index)
                    is_there = (home == step.target and not left) or (
                        move is not None and move.target == step.target and comes
                    )
                    there += is_there
                    elsewhere += home >= 0 and not is_there
                if group.policy == "anti-affinity":
                    is_broken = there + 1 > (group.max_per_host or 1)
                else:
                    is_broken = bool(elsewhere) and not there
                if is_broken:
                    detail = f"{self._name(server)} breaks {group.policy} of {group.name}"
                    self._add(ViolationKind.SERVER_GROUP, step.index, detail)

    def _capacity_by_ancestors(self, before: list[int]) -> None:
        """The worst moment of a move: all that it need not wait for has started and not ended."""
        used, capacity = self.snapshot.used().astype(np.float64), self.snapshot.capacity()
        demand = self.snapshot.server_demand
        by_target: dict[int, list[_Step]] = defaultdict(list)
        by_source: dict[int, list[_Step]] = defaultdict(list)
        for step in self.steps:
            by_source[step.source].append(step)
            if step.target >= 0:
                by_target[step.target].append(step)
        for host, arriving in by_target.items():
            leaving = by_source.get(host, [])
            for step in arriving:
                worst = used[host].copy()
                for other in arriving:
                    if not before[other.index] >> step.index & 1:
                        worst += demand[other.server]
                released = [o.server for o in leaving if before[step.index] >> o.index & 1]
                worst -= demand[released].sum(axis=0)
                over = (worst > capacity[host] + EPSILON) & (demand[step.server] > 0)
                for axis in np.flatnonzero(over):  # seldom: that sum credits only its own ancestors
                    peak = self._peak(step, int(axis), arriving, leaving, before)
                    over[axis] = used[host, axis] + peak > capacity[host, axis] + EPSILON
                self._over(step.index, host, np.flatnonzero(over).tolist())

    def _peak(
        self,
        step: _Step,
        axis: int,
        arriving: Sequence[_Step],
        leaving: Sequence[_Step],
        before: list[int],
    ) -> float:
        """The most that a host can have gained while `step` has started, whatever takes how long.

        Arrivals that have started imply that their ancestors among the departures have ended: the
        set of arrivals of largest (demand - what must have left) is a closure of largest weight,
        found as a minimum cut.
        """
        demand = self.snapshot.server_demand[:, axis].astype(np.float64)
        sure = before[step.index]
        gained = sum(demand[a.server] for a in arriving if a is step or sure >> a.index & 1)
        gained -= sum(demand[d.server] for d in leaving if sure >> d.index & 1)
        free = [
            a
            for a in arriving
            if a is not step and not sure >> a.index & 1 and not before[a.index] >> step.index & 1
        ]
        open_departures = [
            d for d in leaving if not sure >> d.index & 1 and not before[d.index] >> step.index & 1
        ]
        needs = [
            [k for k, d in enumerate(open_departures) if before[a.index] >> d.index & 1]
            for a in free
        ]
        weights = [float(demand[a.server]) for a in free]
        costs = [float(demand[d.server]) for d in open_departures]
        return float(gained) + sum(weights) - most_covered(weights, costs, needs)

    def _over(self, index: int, host: int, resources: Sequence[int]) -> None:
        for axis in resources:
            self._add(
                ViolationKind.OVER_CAPACITY,
                index,
                f"{self.snapshot.host_name[host]} has not enough {RESOURCES[axis]}",
            )

    def _name(self, server: int) -> str:
        return f"server {self.snapshot.uuid_of(server)}"

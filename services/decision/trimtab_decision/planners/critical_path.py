"""The planner `critical_path`: every action waits for what it truly needs, and for nothing else.

Where `weight` runs chunk after chunk, this one lets moves of different hosts run side by side: each
waits for a slot of its two hosts, for the room that it fills, and for the servers of its group that
have to leave first. Swap cycles are broken by sending a server out of the way once, or reported.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from trimtab_common.domain.snapshot import NO_HOST, ComputeSnapshot
from trimtab_decision.framework.errors import PlanStuck
from trimtab_decision.framework.planning import Forecast, PlannedAction
from trimtab_decision.framework.solution import ProposedAction
from trimtab_decision.optimizer.eligibility import Eligibility, eligibility
from trimtab_decision.optimizer.restrictions import bound_together
from trimtab_decision.planners.action_links import PARTS_NOTHING, Links
from trimtab_decision.planners.move_schedule import (
    NOWHERE,
    Limits,
    Move,
    Schedule,
    best_schedule,
    lower_bound,
)
from trimtab_decision.planners.weight import integers

MIB_PER_GIB = 1024.0
SHOWN = 5
DEFAULTS: Mapping[str, int] = {
    "migrations_per_source": 1,
    "migrations_per_destination": 1,
    "migrations": 0,
    "bandwidth_mib_s": 500,
    "overhead_s": 5,
}
"""Nova itself runs one live migration at a time out of a host, unless it was told otherwise."""


class CriticalPathPlanner:
    """Options are those of DEFAULTS; the first three are numbers of moves at once, 0 for no limit."""

    name: ClassVar[str] = "critical_path"

    def __init__(self, **options: Any) -> None:
        given = {key: value for key, value in options.items() if value is not None}
        self._options = {**DEFAULTS, **integers("critical_path", given)}
        self.forecast: Forecast | None = None

    @classmethod
    def from_options(cls, options: Mapping[str, Any]) -> Self:
        """A planner with the options of [watcher_planners.critical_path]."""
        return cls(**options)

    def plan(self, actions: Sequence[ProposedAction]) -> tuple[PlannedAction, ...]:
        """Without a model: a move waits for all that left its target before it in the solution.

        And for what it says itself (`after`).
        """
        return self._plan(actions, None)

    def plan_on(
        self, snapshot: ComputeSnapshot, actions: Sequence[ProposedAction]
    ) -> tuple[PlannedAction, ...]:
        """The actions with their true dependencies, bypasses among them. PlanStuck.

        What moves say that they wait for is one way to hand over the room; it is taken where an own way
        is not found, or only with bypasses.
        """
        return self._plan(actions, snapshot)

    def _plan(
        self, actions: Sequence[ProposedAction], snapshot: ComputeSnapshot | None
    ) -> tuple[PlannedAction, ...]:
        given = self._options
        limits = Limits(
            out_of_host=given["migrations_per_source"],
            into_host=given["migrations_per_destination"],
            in_all=given["migrations"],
        )
        problem = _Problem(actions, snapshot, given["bandwidth_mib_s"], given["overhead_s"])
        schedule = best_schedule(problem.moves, problem.room, limits, problem.bypass)
        if schedule.stuck or len(schedule.moves) > len(problem.moves):
            told = best_schedule(problem.moves_as_told(), problem.room, limits, problem.bypass)
            schedule = min(schedule, told, key=lambda one: (len(one.stuck), len(one.moves)))
        if schedule.stuck:
            raise PlanStuck(problem.told(schedule))
        bypasses = len(schedule.moves) - len(problem.moves)
        self.forecast = Forecast(
            makespan_s=schedule.makespan_s,
            bound_s=lower_bound(problem.moves, limits),
            moves=len(problem.moves),
            bypasses=bypasses,
        )
        return _linked(actions, problem, schedule)


class _Problem:
    """The moves among the actions, as indexes."""

    def __init__(
        self,
        actions: Sequence[ProposedAction],
        snapshot: ComputeSnapshot | None,
        bandwidth_mib_s: int,
        overhead_s: int,
    ) -> None:
        self.actions, self.snapshot = actions, snapshot
        self.hosts = _Names(snapshot.host_name if snapshot is not None else ())
        self.places = [i for i, a in enumerate(actions) if a.action_type == "migrate"]
        rows = [self._read(actions[i], bandwidth_mib_s, overhead_s) for i in self.places]
        self.servers = _servers(snapshot, [actions[i] for i in self.places])
        if snapshot is None:
            self.room = np.zeros((len(self.hosts.names), 0))
            left = _after_all_that_left(rows)
            after = [(*a, *b) for a, b in zip(left, self._said(), strict=True)]
        else:
            extra = len(self.hosts.names) - snapshot.n_hosts  # unknown hosts: the verifier says so
            free = snapshot.capacity() - snapshot.used()
            self.room = np.vstack([free, np.full((extra, free.shape[1]), np.inf)])
            after = self._after_group(rows)
        after = [(*found, *more) for found, more in zip(after, self._partings(), strict=True)]
        self.moves = [
            Move(
                server=number,
                source=row.source,
                target=row.target,
                demand=self._demand(number),
                duration_s=row.duration_s,
                after=after[number],
            )
            for number, row in enumerate(rows)
        ]
        self._masks: Eligibility | None = None

    def moves_as_told(self) -> list[Move]:
        """The moves, each waiting for those too that its action names."""
        return [
            replace(move, after=(*move.after, *said))
            for move, said in zip(self.moves, self._said(), strict=True)
        ]

    def _said(self) -> list[tuple[int, ...]]:
        """Per move the numbers of those that its action says it waits for."""
        actions = [self.actions[place] for place in self.places]
        number_of = {action.resource_id: number for number, action in enumerate(actions)}
        return [
            tuple(number_of[name] for name in action.after if name in number_of)
            for action in actions
        ]

    def _read(self, action: ProposedAction, bandwidth: int, overhead: int) -> _Row:
        inputs, facts = action.input_parameters, action.facts
        wanted = inputs.get("destination_node")
        is_live = inputs.get("migration_type") == "live"
        mib = float(facts.get("memory_mib", 0) or 0)
        if not is_live:
            mib = float(facts.get("disk_gib", 0) or 0) * MIB_PER_GIB
        return _Row(
            source=self.hosts.index(str(inputs.get("source_node"))),
            target=self.hosts.index(str(wanted)) if wanted else NOWHERE,
            duration_s=max(1e-3, overhead + mib / max(1, bandwidth)),
        )

    def _demand(self, number: int) -> tuple[float, ...]:
        server = self.servers[number]
        if self.snapshot is None or server is None:
            return (0.0,) * self.room.shape[1]
        return tuple(self.snapshot.server_demand[server].astype(np.float64).tolist())

    def _partings(self) -> list[tuple[int, ...]]:
        """Moves behind a sleep wait for all moves before it."""
        before: tuple[int, ...] = ()
        since: list[int] = []
        found = []
        for action in self.actions:
            if action.action_type == "migrate":
                found.append(before)
                since.append(len(found) - 1)
            elif action.action_type not in PARTS_NOTHING and since:
                before, since = tuple(since), []
        return found

    def _after_group(self, rows: Sequence[_Row]) -> list[tuple[int, ...]]:
        """A member of an anti-affinity group waits for members that leave where it goes."""
        assert self.snapshot is not None  # noqa: S101, for mypy
        after: list[set[int]] = [set() for _ in rows]
        number_of = {
            self.snapshot.uuid_of(s): n for n, s in enumerate(self.servers) if s is not None
        }
        for group in self.snapshot.groups:
            if group.policy != "anti-affinity":
                continue
            moving = [number_of[uuid] for uuid in group.members if uuid in number_of]
            for one in moving:
                after[one].update(
                    other for other in moving if rows[other].source == rows[one].target
                )
        return [tuple(sorted(found)) for found in after]

    def bypass(self, move: Move, room: NDArray[np.float64]) -> int:
        """The roomiest host that may take the server for a while; none for servers of groups."""
        snapshot, server = self.snapshot, self.servers[move.server]
        if snapshot is None or server is None:
            return NOWHERE
        if self._masks is None:
            self._masks = eligibility(snapshot)
            self._bound = bound_together(snapshot)
            self._grouped = {uuid for group in snapshot.groups for uuid in group.members}
            self._closing = _disabled(self.actions, self.hosts)
        masks = self._masks
        if (
            self._bound[server]
            or not masks.movable[server]
            or snapshot.uuid_of(server) in self._grouped
        ):
            return NOWHERE
        mask = masks.targets & masks.class_hosts[masks.server_class[server]]
        mask &= (room[: snapshot.n_hosts] >= np.array(move.demand)).all(axis=1)
        mask[[host for host in self._closing if host < snapshot.n_hosts]] = False
        for host in (move.source, move.target):
            mask[host] = False
        fitting = np.flatnonzero(mask)
        if not len(fitting):
            return NOWHERE
        return int(fitting[np.argmax(room[fitting].sum(axis=1))])

    def told(self, schedule: Schedule) -> str:
        """The moves that wait for each other, in words."""
        moves, names = schedule.moves, self.hosts.names
        shown = [
            f"{self._name(moves[i])} {names[moves[i].source]} -> {names[moves[i].target]}"
            for i in schedule.stuck[:SHOWN]
        ]
        more = len(schedule.stuck) - len(shown)
        return (
            f"{len(schedule.stuck)} moves wait for each other's room and no host can take a server "
            f"for a while: {'; '.join(shown)}{f' and {more} more' if more > 0 else ''}. "
            "Make room on one host more, or plan fewer moves with max_migrations."
        )

    def _name(self, move: Move) -> str:
        inputs = self.actions[self.places[move.server]].input_parameters
        return str(inputs.get("resource_name") or inputs.get("resource_id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    source: int
    target: int
    duration_s: float


class _Names:
    """Hosts by name, unknown ones behind the model's."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._place = {name: place for place, name in enumerate(self.names)}

    def index(self, name: str) -> int:
        found = self._place.setdefault(name, len(self.names))
        if found == len(self.names):
            self.names.append(name)
        return found


def _servers(
    snapshot: ComputeSnapshot | None, actions: Sequence[ProposedAction]
) -> list[int | None]:
    """Index of the server of each action; None for one that the model does not hold."""
    if snapshot is None:
        return [None] * len(actions)
    raw = np.ascontiguousarray(snapshot.server_uuid).tobytes()
    place = {raw[i * 16 : i * 16 + 16]: i for i in range(snapshot.n_servers)}
    found: list[int | None] = []
    for action in actions:
        try:
            server = place.get(UUID(str(action.input_parameters.get("resource_id"))).bytes)
        except ValueError:
            server = None
        known = server is not None and int(snapshot.server_host[server]) != NO_HOST
        found.append(server if known else None)
    return found


def _after_all_that_left(rows: Sequence[_Row]) -> list[tuple[int, ...]]:
    left: dict[int, list[int]] = defaultdict(list)
    after = []
    for number, row in enumerate(rows):
        after.append(tuple(left.get(row.target, ())))
        left[row.source].append(number)
    return after


def _disabled(actions: Sequence[ProposedAction], hosts: _Names) -> set[int]:
    """Hosts that the plan closes or switches off: nobody waits there."""
    found = set()
    for action in actions:
        inputs = action.input_parameters
        if inputs.get("state") in {"disabled", "off"} and inputs.get("resource_name"):
            found.add(hosts.index(str(inputs["resource_name"])))
    return found


def _linked(
    actions: Sequence[ProposedAction], problem: _Problem, schedule: Schedule
) -> tuple[PlannedAction, ...]:
    """Moves with the parents of the schedule, all others around them as they depend on them."""
    hosts = problem.hosts.names
    entries: list[ProposedAction] = []
    parents: list[set[int]] = []
    place_of_move: dict[int, int] = {}
    for index in schedule.order:
        move = schedule.moves[index]
        action = actions[problem.places[move.server]]
        if index >= len(problem.moves) or move.source != problem.moves[index].source:
            action = _rewritten(action, hosts[move.source], hosts[move.target], move.is_bypass)
        place_of_move[index] = len(entries)
        entries.append(action)
        parents.append({place_of_move[parent] for parent in schedule.parents[index]})
    order = [problem.places[schedule.moves[index].server] for index in schedule.order]
    return Links(actions, entries, parents, order).planned()


def _rewritten(
    action: ProposedAction,
    source: str,
    target: str,
    is_bypass: bool,  # noqa: FBT001, private
) -> ProposedAction:
    """The same migration on one leg of its detour."""
    inputs = {**action.input_parameters, "source_node": source, "destination_node": target}
    facts = {k: v for k, v in action.facts.items() if not (is_bypass and "destination" in k)}
    where = "goes out of the way to" if is_bypass else "comes back from its detour over"
    reason = f"{action.reason} It {where} {target if is_bypass else source}: a cycle of moves."
    return ProposedAction(
        action_type=action.action_type,
        input_parameters=inputs,
        resource_id=action.resource_id,
        reason=reason.strip(),
        facts={**facts, "host": source},
    )

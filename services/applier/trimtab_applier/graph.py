"""The order of a plan's actions: which may run now. Pure; the record stays the truth.

`build_graph` checks the parents once, in O(n). `Frontier` then follows the run: the runner tells
it what ended, it tells the runner what may start next, in the order of the plan.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from trimtab_applier.errors import PlanGraphInvalid
from trimtab_common.domain.lifecycle import TERMINAL_ACTION, ActionState
from trimtab_common.domain.records import Action


class ExecutionRule(StrEnum):
    """When a child runs: always, or only if no parent succeeded (B-274, B-275)."""

    ALWAYS = "ALWAYS"
    ANY = "ANY"


@dataclass(frozen=True, slots=True)
class PlanGraph:
    """Actions by their place in the plan; `order` is one topological order of the places."""

    uuids: tuple[str, ...]
    parents: tuple[tuple[int, ...], ...]
    children: tuple[tuple[int, ...], ...]
    order: tuple[int, ...]


def build_graph(actions: Sequence[Action]) -> PlanGraph:
    """The graph of a plan. O(actions + parents).

    Raises:
        PlanGraphInvalid: a parent is no action of this plan, or there is a cycle (B-271).
    """
    places = {action.uuid: place for place, action in enumerate(actions)}
    children: list[list[int]] = [[] for _ in actions]
    parents: list[tuple[int, ...]] = []
    for place, action in enumerate(actions):
        unknown = [uuid for uuid in action.parents if uuid not in places]
        if unknown:
            raise PlanGraphInvalid(
                f"Action {action.uuid} has the parent {unknown[0]}, which is no action of its plan"
            )
        own = tuple(dict.fromkeys(places[uuid] for uuid in action.parents))
        parents.append(own)
        for parent in own:
            children[parent].append(place)
    order = _topological(parents, children)
    if len(order) != len(actions):
        left = min(set(range(len(actions))) - set(order))
        raise PlanGraphInvalid(f"Action {actions[left].uuid} is part of or behind a cycle")
    return PlanGraph(
        uuids=tuple(action.uuid for action in actions),
        parents=tuple(parents),
        children=tuple(tuple(c) for c in children),
        order=tuple(order),
    )


def _topological(parents: Sequence[Sequence[int]], children: Sequence[Sequence[int]]) -> list[int]:
    waiting_for = [len(own) for own in parents]
    free = deque(place for place, count in enumerate(waiting_for) if not count)
    order: list[int] = []
    while free:
        place = free.popleft()
        order.append(place)
        for child in children[place]:
            waiting_for[child] -= 1
            if not waiting_for[child]:
                free.append(child)
    return order


class Frontier:
    """What may start next. Every action passes through it once."""

    def __init__(
        self, graph: PlanGraph, states: Mapping[str, ActionState], rule: ExecutionRule
    ) -> None:
        self._graph = graph
        self._rule = rule
        self._place = {uuid: place for place, uuid in enumerate(graph.uuids)}
        self._waiting_for = [len(own) for own in graph.parents]
        self._blocking = [False] * len(graph.uuids)  # under ANY: its children are ignored
        self._ready: list[int] = []
        self._ignored: list[int] = []
        started = {
            place
            for place, uuid in enumerate(graph.uuids)
            if states[uuid] is not ActionState.PENDING
        }
        for place in graph.order:
            if place not in started and not graph.parents[place]:
                heapq.heappush(self._ready, place)
            if place in started and states[graph.uuids[place]] in TERMINAL_ACTION:
                self._end(place, states[graph.uuids[place]], started)

    def end(self, uuid: str, state: ActionState) -> None:
        """This action is over; its children may have become ready."""
        self._end(self._place[uuid], state, frozenset())

    def next(self) -> str | None:
        """Takes the ready action that comes first in the plan."""
        return self._graph.uuids[heapq.heappop(self._ready)] if self._ready else None

    def take_ignored(self) -> list[str]:
        """Takes the actions that the rule ANY leaves out, and everything behind them (B-276)."""
        taken: list[str] = []
        while self._ignored:
            place = self._ignored.pop()
            taken.append(self._graph.uuids[place])
            self._end(place, ActionState.SKIPPED, frozenset())
        return taken

    def _end(self, place: int, state: ActionState, started: set[int] | frozenset[int]) -> None:
        self._blocking[place] |= state is ActionState.SUCCEEDED or self._is_ignored(place)
        for child in self._graph.children[place]:
            self._waiting_for[child] -= 1
            if self._waiting_for[child] or child in started:
                continue
            if self._is_ignored(child):
                self._ignored.append(child)
            else:
                heapq.heappush(self._ready, child)

    def _is_ignored(self, place: int) -> bool:
        return self._rule is ExecutionRule.ANY and any(
            self._blocking[parent] for parent in self._graph.parents[place]
        )

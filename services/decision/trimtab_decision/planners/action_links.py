"""The other actions of a plan around its moves: who waits for whom, by host, server and volume.

An enabled host is open before servers come, a disabled one closed before they leave (B-217); a machine is
on before its host opens, and off after everything has left (B-221). What is for one server or volume
runs in the solution's order; a sleep, and a type that nobody knows, parts what is before it from what
is behind it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from trimtab_common.domain.errors import Bug
from trimtab_decision.framework.planning import PlannedAction
from trimtab_decision.framework.solution import ProposedAction

SWITCH, POWER, VOLUME, MOVE = (
    "change_nova_service_state",
    "change_node_power_state",
    "volume_migrate",
    "migrate",
)
PER_SERVER = frozenset({"stop", "resize", MOVE})
FREE = frozenset({"nop"})
MOST_WAITED_FOR = 64
"""More parents of one kind are named by one that waits for them: a large plan would have millions."""
PARTS_NOTHING = PER_SERVER | FREE | {SWITCH, POWER, VOLUME}


class Links:
    """Nodes are the scheduled moves first, in their order, then all other actions.

    actions: the solution. moves, parents: as scheduled. places: index in the solution of each move.
    """

    def __init__(
        self,
        actions: Sequence[ProposedAction],
        moves: Sequence[ProposedAction],
        parents: Sequence[Iterable[int]],
        places: Sequence[int],
    ) -> None:
        others = [i for i, action in enumerate(actions) if action.action_type != MOVE]
        self.nodes = [*moves, *(actions[i] for i in others)]
        self.place = [*places, *others]
        self.parents = [set(found) for found in parents] + [set[int]() for _ in others]
        self.by_place = sorted(range(len(self.nodes)), key=lambda node: (self.place[node], node))

    def planned(self) -> tuple[PlannedAction, ...]:
        """All actions, parents before children."""
        self._hosts()
        self._chains()
        self._partings()
        return self._sorted()

    def _hosts(self) -> None:
        ends = _Ends(self.nodes)
        switches, powers = self._of_hosts(SWITCH), self._of_hosts(POWER)
        closing, reopening = [], []
        for host, (first, *later) in switches.items():
            touching = [*ends.leaving[host], *ends.coming[host]]
            self._before(first, touching)
            if self._state(first) == "disabled":
                closing.append(first)
                reopening += later
            for node in later:  # opened again at the end, or closed
                self.parents[node].update([first, *touching])
        self._around_unnamed(ends.unnamed, closing, reopening)
        for host, found in powers.items():
            for node in found:
                if self._state(node) == "on":
                    self._before(node, [*ends.coming[host], *switches[host]])
                    continue
                touching = [*ends.leaving[host], *ends.coming[host], *ends.unnamed]
                self.parents[node].update([*touching, *switches[host]])

    def _around_unnamed(
        self, unnamed: Sequence[int], closing: Sequence[int], reopening: Sequence[int]
    ) -> None:
        """Nova must not choose a host that is closed: all are closed before, and opened after.

        Where there are many, the last one to close waits for the others and the moves for it, the
        first one to reopen for the moves and the others for it.
        """
        closed = self._gate(closing)
        for node in unnamed:
            self.parents[node].update(closed)
        if not unnamed or not reopening:
            return
        first, *others = sorted(reopening, key=lambda node: self.place[node])
        self.parents[first].update(unnamed)
        for node in others:
            self.parents[node].update([first] if len(reopening) > MOST_WAITED_FOR else unnamed)

    def _gate(self, nodes: Sequence[int]) -> Sequence[int]:
        """Whom to wait for to have waited for all of these."""
        if len(nodes) <= MOST_WAITED_FOR:
            return nodes
        *others, last = sorted(nodes, key=lambda node: self.place[node])
        self.parents[last].update(others)
        return [last]

    def _of_hosts(self, kind: str) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for node in self.by_place:
            if self.nodes[node].action_type == kind:
                found[_host(self.nodes[node])].append(node)
        return found

    def _chains(self) -> None:
        """One thing at a time for a server or volume; a volume before the server that has it."""
        last: dict[str, int] = {}
        for node in self.by_place:
            action = self.nodes[node]
            if action.action_type not in PER_SERVER | {VOLUME}:
                continue
            own = str(action.input_parameters.get("resource_id"))
            if own in last:
                self.parents[node].add(last[own])
            last[own] = node
            if action.action_type == VOLUME:
                for server in action.facts.get("servers", ()):
                    last[str(server)] = node

    def _partings(self) -> None:
        """Who is behind a sleep waits for it, it waits for all before it."""
        parting: int | None = None
        since: list[int] = []
        for node in self.by_place:
            kind = self.nodes[node].action_type
            if kind in PARTS_NOTHING:
                if parting is not None:
                    self.parents[node].add(parting)
                since.append(node)
                continue
            self.parents[node].update(since)
            if parting is not None:
                self.parents[node].add(parting)
            parting, since = node, []

    def _before(self, first: int, others: Iterable[int]) -> None:
        for node in others:
            self.parents[node].add(first)

    def _state(self, node: int) -> str:
        return str(self.nodes[node].input_parameters.get("state"))

    def _sorted(self) -> tuple[PlannedAction, ...]:
        """By depth, then in the solution's order."""
        children: dict[int, list[int]] = defaultdict(list)
        open_parents = [len(found) for found in self.parents]
        for node, found in enumerate(self.parents):
            for parent in found:
                children[parent].append(node)
        ready = [node for node in self.by_place if not open_parents[node]]
        index: dict[int, int] = {}
        result: list[PlannedAction] = []
        for node in ready:  # grows while it is walked
            index[node] = len(result)
            result.append(
                PlannedAction(
                    index=len(result),
                    action=self.nodes[node],
                    parents=tuple(sorted(index[parent] for parent in self.parents[node])),
                )
            )
            for child in children[node]:
                open_parents[child] -= 1
                if not open_parents[child]:
                    ready.append(child)
        if len(result) < len(self.nodes):
            raise Bug("actions of a plan wait for each other in a circle")
        return tuple(result)


def _host(action: ProposedAction) -> str:
    inputs = action.input_parameters
    return str(inputs.get("resource_name") or inputs.get("resource_id"))


class _Ends:
    """Moves by host: out of it, into it, and those whose target Nova chooses."""

    def __init__(self, nodes: Sequence[ProposedAction]) -> None:
        self.leaving: dict[str, list[int]] = defaultdict(list)
        self.coming: dict[str, list[int]] = defaultdict(list)
        self.unnamed: list[int] = []
        for node, action in enumerate(nodes):
            if action.action_type != MOVE:
                continue
            self.leaving[str(action.input_parameters.get("source_node"))].append(node)
            target = action.input_parameters.get("destination_node")
            if target:
                self.coming[str(target)].append(node)
            else:
                self.unnamed.append(node)

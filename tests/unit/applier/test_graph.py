"""The order of actions, without any run."""

from __future__ import annotations

import random

import pytest

from trimtab_applier.errors import PlanGraphInvalid
from trimtab_applier.graph import ExecutionRule, Frontier, build_graph
from trimtab_common.domain.lifecycle import ActionState
from trimtab_common.domain.records import Action

PENDING, DONE = ActionState.PENDING, ActionState.SUCCEEDED


def actions(parents: list[list[int]]) -> list[Action]:
    return [
        Action(
            uuid=f"u{number}",
            action_plan_id=1,
            action_type="nop",
            parents=tuple(f"u{parent}" for parent in own),
        )
        for number, own in enumerate(parents)
    ]


@pytest.mark.req("B-271")
@pytest.mark.parametrize("seed", range(20))
def test_every_action_comes_once_and_after_its_parents(seed: int):
    rng = random.Random(seed)
    size = 60
    parents = [rng.sample(range(n), min(n, rng.randrange(4))) for n in range(size)]
    graph = build_graph(actions(parents))
    frontier = Frontier(graph, {f"u{n}": PENDING for n in range(size)}, ExecutionRule.ALWAYS)
    running: list[str] = []
    seen: list[str] = []
    while True:
        while (uuid := frontier.next()) is not None:
            running.append(uuid)
        if not running:
            break
        uuid = running.pop(rng.randrange(len(running)))
        seen.append(uuid)
        frontier.end(uuid, DONE)
    assert sorted(seen) == sorted(f"u{n}" for n in range(size))
    place = {uuid: number for number, uuid in enumerate(seen)}
    for number, own in enumerate(parents):
        assert all(place[f"u{parent}"] < place[f"u{number}"] for parent in own)


@pytest.mark.req("B-291")
def test_what_ended_before_a_restart_is_not_offered_again():
    graph = build_graph(actions([[], [0], [0], [1, 2]]))
    states = dict.fromkeys(("u0", "u1"), DONE) | dict.fromkeys(("u2", "u3"), PENDING)
    frontier = Frontier(graph, states, ExecutionRule.ALWAYS)
    assert (frontier.next(), frontier.next()) == ("u2", None)
    frontier.end("u2", DONE)
    assert frontier.next() == "u3"


@pytest.mark.req("B-271")
def test_a_chain_of_fifty_thousand_is_no_trouble():
    graph = build_graph(actions([[n - 1] if n else [] for n in range(50_000)]))
    assert graph.order == tuple(range(50_000))


@pytest.mark.req("B-271")
def test_what_is_wrong_with_a_graph_is_named():
    with pytest.raises(PlanGraphInvalid, match="u1 has the parent u9"):
        build_graph(actions([[], [9]]))
    with pytest.raises(PlanGraphInvalid, match=r"u1 .*cycle"):
        build_graph(actions([[], [2], [1], [2]]))

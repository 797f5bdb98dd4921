"""node_resource_consolidation: groups of nodes, and a plan that Nova can fill in."""

import pytest
from cluster_builders import cloud, host, migrations, plan, run, server, switches, uuid_of

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_decision.framework import ProposedAction
from trimtab_decision.framework.errors import UnsupportedActionType
from trimtab_decision.planners.node_resource_consolidation import NodeResourceConsolidationPlanner
from trimtab_decision.verifier import verify

REASON = "Watcher node resource consolidation strategy"
EXAMPLE = cloud(
    [host("a"), host("b"), host("c")],
    [server("a1", "a"), server("a2", "a", vcpus=4), server("b1", "b", vcpus=8, memory=16384)],
)


def consolidate(clouds, **parameters):
    solution = run("node_resource_consolidation", clouds, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


def shown(solution):
    return [
        (a.input_parameters.get("state", "move"), a.input_parameters["resource_name"])
        for a in solution.actions
    ]


@pytest.mark.req("B-116", "B-118", "B-120")
def test_auto_disables_moves_without_destination_and_enables_the_same_nodes():
    solution = consolidate(EXAMPLE)
    assert shown(solution) == [
        ("disabled", "a"),
        ("disabled", "c"),
        ("move", "a2"),
        ("move", "a1"),
        ("enabled", "a"),
        ("enabled", "c"),
    ]
    assert migrations(solution)["a1"] == ("a", None, "live")
    assert solution.actions[0].input_parameters["disabled_reason"] == REASON
    assert solution.indicators == {
        "compute_nodes_count": 3,
        "released_compute_nodes_count": 1,
        "instance_migrations_count": 2,
    }


@pytest.mark.req("B-119")
def test_specify_names_the_tightest_node_and_switches_nothing():
    solution = consolidate(EXAMPLE, host_choice="specify")
    assert switches(solution) == {}
    assert migrations(solution) == {"a1": ("a", "b", "live"), "a2": ("a", "b", "live")}


@pytest.mark.req("B-116", "B-120")
def test_every_server_of_a_source_moves_and_one_node_takes_those_of_several():
    clouds = cloud(
        [host("a"), host("b"), host("c", vcpus=32, memory=65536)],
        [
            *(server(f"a{i}", "a", vcpus=1) for i in range(4)),
            *(server(f"b{i}", "b", vcpus=1) for i in range(4)),
            server("c1", "c", vcpus=16, memory=32768),
        ],
    )
    solution = consolidate(clouds, host_choice="specify")
    assert len(migrations(solution)) == 8
    assert {target for _, target, _ in migrations(solution).values()} == {"c"}
    assert solution.indicators["released_compute_nodes_count"] == 2


@pytest.mark.req("B-120")
def test_a_stopped_server_moves_cold():
    clouds = cloud(
        [host("a"), host("b")],
        [server("a1", "a", state=ServerState.STOPPED), server("b1", "b", vcpus=8)],
    )
    assert migrations(consolidate(clouds))["a1"][2] == "cold"


@pytest.mark.req("B-117")
def test_a_node_with_a_server_that_failed_before_is_no_source_but_may_take_others():
    failed = frozenset({uuid_of("a1"), uuid_of("vanished")})
    solution = consolidate(EXAMPLE, host_choice="specify", context={"failed_servers": failed})
    assert migrations(solution) == {"b1": ("b", "a", "live")}


@pytest.mark.req("B-039")
def test_a_node_that_keeps_an_excluded_server_is_no_source():
    clouds = cloud(
        [host("a"), host("b")],
        [server("a1", "a", excluded=True), server("a2", "a"), server("b1", "b", excluded=True)],
    )
    assert consolidate(clouds).actions == []


@pytest.mark.req("B-115")
def test_an_unknown_host_choice_is_refused():
    with pytest.raises(InvalidArgument):
        consolidate(EXAMPLE, host_choice="random")


def switch(name, state):
    return ProposedAction(
        action_type="change_nova_service_state",
        input_parameters={"resource_name": name, "state": state},
    )


def move(server_name, source):
    inputs = {"resource_id": server_name, "source_node": source}
    return ProposedAction(action_type="migrate", input_parameters=inputs)


@pytest.mark.req("B-220")
def test_the_planner_chains_the_migrations_of_each_node_between_disables_and_enables():
    actions = [
        switch("a", "disabled"),
        switch("b", "disabled"),
        move("a1", "a"),
        move("a2", "a"),
        move("b1", "b"),
        switch("a", "enabled"),
        switch("b", "enabled"),
    ]
    planned = NodeResourceConsolidationPlanner().plan(actions)
    assert [step.parents for step in planned] == [(), (), (0, 1), (0, 1, 2), (0, 1), (3, 4), (3, 4)]


def waits(planned):
    """Index -> all that must have ended before it."""
    found = []
    for step in planned:
        found.append(set(step.parents).union(*(found[parent] for parent in step.parents)))
    return found


@pytest.mark.req("B-220")
def test_a_large_plan_keeps_its_order_with_few_parents():
    names = [f"h{i}" for i in range(100)]
    actions = [switch(name, "disabled") for name in names]
    actions += [move(f"{name}-{i}", name) for name in names for i in range(20)]
    actions += [switch(name, "enabled") for name in names]
    planned = NodeResourceConsolidationPlanner().plan(actions)
    assert sum(len(step.parents) for step in planned) < 3 * len(actions)
    before = waits(planned)
    disables, moves, enables = range(100), range(100, 2100), range(2100, 2200)
    for step in (planned[i] for i in moves):
        assert before[step.index].issuperset(disables)
        others = {i for i in before[step.index] if i in moves}
        assert {planned[i].action.input_parameters["source_node"] for i in others} <= {
            step.action.input_parameters["source_node"]
        }
        assert len(others) == (step.index - 100) % 20
    assert all(before[i].issuperset(moves) for i in enables)
    assert not any(before[i] for i in disables[:-1])


@pytest.mark.req("B-220")
def test_the_planner_refuses_other_action_types():
    with pytest.raises(UnsupportedActionType, match="'nop'"):
        NodeResourceConsolidationPlanner().plan(
            [ProposedAction(action_type="nop", input_parameters={})]
        )


@pytest.mark.req("B-210")
def test_the_strategy_names_its_planner():
    assert consolidate(EXAMPLE).planner_name == "node_resource_consolidation"

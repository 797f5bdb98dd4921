"""The planners: who waits for whom."""

import itertools

import pytest

from trimtab_common.domain.errors import Bug
from trimtab_decision.framework import PlannedAction, ProposedAction, planned_by
from trimtab_decision.framework.errors import PlannerMisconfigured, UnsupportedActionType
from trimtab_decision.planners.critical_path import CriticalPathPlanner
from trimtab_decision.planners.node_resource_consolidation import NodeResourceConsolidationPlanner
from trimtab_decision.planners.weight import WeightPlanner
from trimtab_decision.planners.workload_stabilization import WorkloadStabilizationPlanner


def act(kind, name="", **inputs):
    return ProposedAction(action_type=kind, input_parameters={"resource_id": name, **inputs})


def chain(planned):
    """[(resource ids), ...] chunk by chunk, from the parents alone."""
    chunks = {}
    level = {}
    for step in planned:
        level[step.index] = 1 + max((level[p] for p in step.parents), default=-1)
        chunks.setdefault(level[step.index], []).append(step)
    for depth in range(1, len(chunks)):
        whole = tuple(step.index for step in chunks[depth - 1])
        assert all(step.parents == whole for step in chunks[depth])
    return [
        tuple(s.action.input_parameters["resource_id"] for s in chunks[d]) for d in sorted(chunks)
    ]


@pytest.mark.req("B-215")
def test_the_specifications_example():
    planner = WeightPlanner(
        weights={"sleep": 170, "migrate": 160, "resize": 150},
        parallelization={"sleep": 2, "migrate": 3, "resize": 2},
    )
    actions = [
        *(act("migrate", f"m{i}") for i in (1, 2, 3)),
        *(act("resize", f"r{i}") for i in (1, 2, 3)),
        *(act("sleep", f"s{i}") for i in (1, 2)),
    ]
    assert chain(planner.plan(actions)) == [("s1", "s2"), ("m1", "m2", "m3"), ("r1", "r2"), ("r3",)]


@pytest.mark.req("B-215", "B-217")
def test_service_states_change_before_servers_move():
    planned = WeightPlanner().plan(
        [
            act("migrate", "a"),
            act("migrate", "b"),
            act("migrate", "c"),
            act("change_nova_service_state", "h"),
        ]
    )
    assert chain(planned) == [("h",), ("a", "b"), ("c",)]


@pytest.mark.req("B-216")
def test_configured_texts_are_numbers_and_merge_over_the_defaults():
    planner = WeightPlanner.from_options(
        {"weights": {"nop": "8"}, "parallelization": {"migrate": "0"}}
    )
    planned = planner.plan(
        [
            act("nop", "n"),
            act("change_node_power_state", "p"),
            act("migrate", "a"),
            act("migrate", "b"),
        ]
    )
    assert chain(planned) == [("a",), ("b",), ("p",), ("n",)]


@pytest.mark.req("B-216")
def test_two_types_may_not_share_a_weight():
    with pytest.raises(PlannerMisconfigured, match="share"):
        WeightPlanner(weights={"nop": 30})


@pytest.mark.req("B-216")
def test_a_weight_that_is_no_integer_is_named():
    with pytest.raises(PlannerMisconfigured, match="'nop' must be an integer"):
        WeightPlanner(weights={"nop": "many"})


@pytest.mark.req("B-216")
def test_unknown_types_come_last_one_at_a_time():
    planned = WeightPlanner().plan([act("odd", "x"), act("even", "y"), act("migrate", "m")])
    assert chain(planned) == [("m",), ("x",), ("y",)]


@pytest.mark.req("B-218")
def test_unlinked_actions_are_fully_parallel():
    planned = WorkloadStabilizationPlanner().plan(
        [act("migrate", "a"), act("migrate", "b"), act("nop", "n")]
    )
    assert [s.action.input_parameters["resource_id"] for s in planned] == ["n", "a", "b"]
    assert all(step.parents == () for step in planned)


@pytest.mark.req("B-218")
def test_a_resize_waits_for_its_server_and_power_down_for_what_leaves_the_host():
    planned = WorkloadStabilizationPlanner().plan(
        [
            act("turn_host_to_acpi_s3_state", "h1", resource_name="h1"),
            act("resize", "a"),
            act("migrate", "a", source_node="h1"),
            act("migrate", "b", source_node="h1"),
        ]
    )
    kinds = {(s.action.action_type, s.action.input_parameters["resource_id"]): s for s in planned}
    assert kinds["resize", "a"].parents == (kinds["migrate", "a"].index,)
    assert set(kinds["turn_host_to_acpi_s3_state", "h1"].parents) == {
        kinds["resize", "a"].index,
        kinds["migrate", "b"].index,
    }


@pytest.mark.req("B-218")
@pytest.mark.parametrize("kind", ["stop", "volume_migrate", "change_node_power_state"])
def test_it_takes_the_types_that_came_after_it(kind):
    planned = WorkloadStabilizationPlanner().plan([act("migrate", "a"), act(kind, "x")])
    assert {step.action.action_type for step in planned} == {"migrate", kind}


@pytest.mark.req("B-218")
def test_other_action_types_are_refused():
    with pytest.raises(UnsupportedActionType):
        WorkloadStabilizationPlanner().plan([act("odd")])


@pytest.mark.req("B-262")
@pytest.mark.parametrize("planner", [WeightPlanner, WorkloadStabilizationPlanner])
def test_the_order_of_a_solution_decides_nothing_between_types(planner):
    actions = [
        act("migrate", "a", source_node="h1"),
        act("change_nova_service_state", "h1", resource_name="h1"),
        act("resize", "a"),
        act("nop", "n"),
    ]

    def links(order):
        planned = planner().plan(order)
        name = {
            s.index: (s.action.action_type, s.action.input_parameters["resource_id"])
            for s in planned
        }
        return {name[s.index]: {name[p] for p in s.parents} for s in planned}

    assert all(links(list(order)) == links(actions) for order in itertools.permutations(actions))


def move(name, source, target, *after):
    inputs = {"resource_id": name, "source_node": source, "destination_node": target}
    return ProposedAction(
        action_type="migrate", input_parameters=inputs, resource_id=name, after=after
    )


def waits(planned):
    """{resource id: resource ids of the parents}; parents come first in the plan."""
    assert all(parent < step.index for step in planned for parent in step.parents)
    assert [step.index for step in planned] == list(range(len(planned)))
    name = [step.action.resource_id for step in planned]
    return {name[step.index]: {name[p] for p in step.parents} for step in planned}


def test_what_a_move_names_becomes_its_parent():
    actions = [move("a", "h1", "h2"), move("b", "h3", "h1", "a"), move("c", "h3", "h4")]
    planned = planned_by(WorkloadStabilizationPlanner(), None, actions)
    assert waits(planned) == {"a": set(), "b": {"a"}, "c": set()}


def test_chunks_keep_their_parents_beside_what_a_move_names():
    actions = [move("a", "h1", "h2"), move("b", "h3", "h1", "a"), move("c", "h3", "h4")]
    planned = planned_by(WeightPlanner(), None, actions)
    assert waits(planned) == {"a": set(), "b": {"a"}, "c": {"a", "b"}}


def test_a_planner_that_rearranges_moves_is_put_right():
    actions = [move("a", "h1", "h5"), move("b", "h2", "h5"), move("c", "h1", "h2", "b")]
    planned = planned_by(NodeResourceConsolidationPlanner(), None, actions)
    assert waits(planned) == {"a": set(), "b": set(), "c": {"a", "b"}}


def test_critical_path_without_a_model_keeps_what_a_move_names():
    actions = [move("a", "h1", "h2"), move("b", "h3", "h4", "a"), move("c", "h5", "h6")]
    planned = planned_by(CriticalPathPlanner(), None, actions)
    assert waits(planned) == {"a": set(), "b": {"a"}, "c": set()}


class Backwards:
    """Lets each move wait for the next one."""

    def plan(self, actions):
        return tuple(
            PlannedAction(index=i, action=action, parents=(i - 1,) if i else ())
            for i, action in enumerate(reversed(actions))
        )


def test_a_planner_that_lets_moves_wait_in_a_circle_is_refused():
    with pytest.raises(PlannerMisconfigured):
        planned_by(Backwards(), None, [move("a", "h1", "h2"), move("b", "h3", "h1", "a")])


def test_waiting_for_what_does_not_migrate_is_a_bug():
    with pytest.raises(Bug):
        planned_by(WorkloadStabilizationPlanner(), None, [move("b", "h3", "h1", "a")])

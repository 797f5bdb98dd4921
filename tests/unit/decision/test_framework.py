"""The framework: solutions, goals, efficacy, registry."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from trimtab_decision import efficacy
from trimtab_decision.framework import Registry, Solution, Strategy, StrategyContext
from trimtab_decision.framework.errors import (
    ClusterStateNotDefined,
    GlobalEfficacyComputationError,
    InvalidIndicatorValue,
    NoAvailableStrategyForGoal,
    ReservedWord,
    UnknownPlugin,
)
from trimtab_decision.goals import GOALS
from trimtab_decision.plugins import load_registry


def solution(goal_name="server_consolidation"):
    return Solution(goal_name=goal_name, strategy_name="any")


@pytest.mark.req("B-037")
def test_resource_id_among_the_inputs_is_a_reserved_word():
    with pytest.raises(ReservedWord):
        solution().add_action("migrate", input_parameters={"resource_id": "x"})


@pytest.mark.req("B-037")
def test_resource_id_is_stored_among_the_inputs():
    result = solution()
    result.add_action("stop", input_parameters={"a": 1}, resource_id="x")
    assert result.actions[0].input_parameters == {"a": 1, "resource_id": "x"}


@pytest.mark.req("B-037")
def test_an_identical_action_is_dropped_with_a_message():
    result = solution()
    result.add_action("nop", input_parameters={"message": "a", "x": 1})
    result.add_action("nop", input_parameters={"x": 1, "message": "a"})
    result.add_action("nop", input_parameters={"x": 2, "message": "a"})
    assert len(result.actions) == 2
    assert len(result.messages) == 1


@pytest.mark.req("B-012")
@pytest.mark.parametrize("value", ["1", None, True, float("nan"), float("inf")])
def test_an_indicator_must_be_a_number(value):
    with pytest.raises(InvalidIndicatorValue):
        solution().set_indicator("compute_nodes_count", value)


@pytest.mark.req("B-001")
def test_there_are_ten_goals_in_order_of_name():
    names = [goal.name for goal in GOALS]
    assert len(names) == 10
    assert names == sorted(names)


def filled(**values):
    result = solution()
    for name, value in values.items():
        result.set_indicator(name, value)
    return result


@pytest.mark.req("B-018", "B-014")
def test_released_nodes_ratio_is_a_float_and_zero_without_nodes():
    goal = load_registry().goal("server_consolidation")
    counts = {"released_compute_nodes_count": 1, "instance_migrations_count": 4}
    assert [
        e["value"] for e in efficacy.global_efficacy(goal, filled(compute_nodes_count=3, **counts))
    ] == [pytest.approx(100 / 3)]
    empty = efficacy.global_efficacy(goal, filled(compute_nodes_count=0, **counts))
    assert empty[0] == {
        "name": "released_nodes_ratio",
        "description": goal.efficacy.global_indicators[0].description,
        "unit": "%",
        "value": 0.0,
    }


@pytest.mark.req("B-018")
def test_live_migrations_count_is_guarded_against_no_instances():
    goal = load_registry().goal("workload_balancing")
    assert efficacy.global_efficacy(goal, filled(instance_migrations_count=0))[0]["value"] == 0.0
    result = filled(instance_migrations_count=1, instances_count=8)
    assert efficacy.global_efficacy(goal, result)[0]["value"] == 12.5


@pytest.mark.req("B-018")
def test_hardware_maintenance_has_four_ratios_each_guarded():
    goal = load_registry().goal("hardware_maintenance")
    values = {spec.name: 0 for spec in goal.efficacy.indicators}
    values |= {"volume_update_count": 4, "planned_volume_update_count": 1}
    assert [e["value"] for e in efficacy.global_efficacy(goal, filled(**values))] == [0, 0, 0, 25.0]


@pytest.mark.req("B-011", "B-013")
def test_a_missing_required_indicator_is_refused():
    goal = load_registry().goal("server_consolidation")
    result = filled(compute_nodes_count=3)
    assert not efficacy.check_efficacy_indicators(goal, result)
    with pytest.raises(GlobalEfficacyComputationError, match="released_compute_nodes_count"):
        efficacy.global_efficacy(goal, result)


@pytest.mark.req("B-012")
def test_an_indicator_outside_the_specification_is_refused():
    goal = load_registry().goal("server_consolidation")
    with pytest.raises(GlobalEfficacyComputationError, match="surprise"):
        efficacy.global_efficacy(goal, filled(surprise=1))


@pytest.mark.req("B-011")
def test_no_indicators_skip_validation():
    assert efficacy.global_efficacy(load_registry().goal("server_consolidation"), solution()) == []


@pytest.mark.req("B-015")
def test_indicator_records_keep_the_order_in_which_they_were_set():
    goal = load_registry().goal("workload_balancing")
    result = filled(instances_count=8, instance_migrations_count=1)
    assert [r.name for r in efficacy.indicator_records(goal, result)] == [
        "instances_count",
        "instance_migrations_count",
    ]


class _Named(Strategy):
    goal_name = "dummy"

    def do_execute(self, context, solution):
        solution.note(context.snapshot.epoch)


class Zeta(_Named):
    name = "zeta"
    display_name = "Z"
    needs_compute_model = True


class Alpha(_Named):
    name = "alpha"
    display_name = "A"


@pytest.mark.req("B-030")
def test_the_first_strategy_by_entry_name_serves_a_goal():
    registry = Registry(goals=GOALS, strategies=[Zeta, Alpha], planners=[])
    assert registry.select_strategy("dummy").name == "alpha"
    assert registry.select_strategy("dummy", "zeta").name == "zeta"


@pytest.mark.req("B-030")
def test_a_goal_without_strategy_is_refused():
    registry = Registry(goals=GOALS, strategies=[Zeta], planners=[])
    with pytest.raises(NoAvailableStrategyForGoal):
        registry.select_strategy("saving_energy")
    with pytest.raises(UnknownPlugin):
        registry.select_strategy("no_such_goal")


@pytest.mark.req("B-002")
def test_plug_ins_of_other_distributions_are_loaded_and_broken_ones_are_told():
    group = "trimtab_strategies"
    registry = Registry(goals=GOALS, strategies=[Zeta], planners=[])
    registry.load_entry_points(
        EntryPoints(
            [
                EntryPoint("outside", "trimtab_decision.strategies.dummy.strategy:Dummy", group),
                EntryPoint("broken", "no_such_module:Thing", group),
                EntryPoint("zeta", "trimtab_decision.strategies.dummy.strategy:Dummy", group),
            ]
        )
    )
    assert list(registry.strategies) == ["outside", "zeta"]
    assert [(name, error) for _, name, error in registry.failures] == [
        ("broken", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("zeta", "the name is already taken"),
    ]


@pytest.mark.req("B-036")
def test_a_strategy_that_needs_a_model_refuses_to_run_without():
    with pytest.raises(ClusterStateNotDefined):
        Zeta().execute(StrategyContext())


@pytest.mark.req("B-002")
def test_every_built_in_strategy_serves_a_known_goal_and_names_a_known_planner():
    registry = load_registry()
    for strategy in registry.strategies.values():
        assert strategy.goal_name in registry.goals
        assert registry.planner(strategy.planner).name == strategy.planner

"""What every strategy says of itself, and what every action says of what it changes."""

import jsonschema
import pytest
from cluster_builders import cloud, host, run, server

from trimtab_decision.plugins import load_registry


@pytest.mark.req("A-036")
def test_every_strategy_declares_its_goal_its_names_and_its_parameters():
    registry = load_registry(entry_points=False)
    for name, strategy in registry.strategies.items():
        assert strategy.name == name
        assert strategy.display_name
        assert strategy.goal_name in registry.goals
        jsonschema.Draft4Validator.check_schema(dict(strategy.parameters_schema))


@pytest.mark.req("A-139")
def test_the_strategies_that_the_stock_tests_want_are_there():
    registry = load_registry(entry_points=False)
    assert {"dummy", "server_consolidation"} <= set(registry.goals)
    assert registry.strategies["dummy"].goal_name == "dummy"


@pytest.mark.req("A-152")
def test_actions_carry_the_name_beside_the_id_of_what_they_change():
    now = cloud(
        [host("a", vcpus=16), host("b", vcpus=16)],
        [server("s1", "a", vcpus=2, cpu_pct=10), server("s2", "b", vcpus=2, cpu_pct=10)],
    )
    solution = run("vm_workload_consolidation", now)
    assert solution.actions
    for action in solution.actions:
        assert action.input_parameters["resource_name"] in {"a", "b", "s1", "s2"}

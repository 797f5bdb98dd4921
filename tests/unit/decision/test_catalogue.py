"""The catalogue of goals, strategies and planners is Watcher's."""

import jsonschema
import pytest

from trimtab_decision.plugins import STRATEGIES, load_registry

CATALOGUE = {
    "actuator": ("Actuator", "unclassified", "weight"),
    "basic": ("Basic offline consolidation", "server_consolidation", "weight"),
    "dummy": ("Dummy strategy", "dummy", "weight"),
    "dummy_with_resize": ("Dummy strategy with resize", "dummy", "weight"),
    "dummy_with_scorer": ("Dummy Strategy using sample Scoring Engines", "dummy", "weight"),
    "host_maintenance": ("Host Maintenance Strategy", "cluster_maintaining", "weight"),
    "node_resource_consolidation": (
        "Node Resource Consolidation strategy",
        "server_consolidation",
        "node_resource_consolidation",
    ),
    "noisy_neighbor": ("Noisy Neighbor", "noisy_neighbor", "weight"),
    "outlet_temperature": ("Outlet temperature based strategy", "thermal_optimization", "weight"),
    "saving_energy": ("Saving Energy Strategy", "saving_energy", "weight"),
    "storage_capacity_balance": (
        "Storage Capacity Balance Strategy",
        "workload_balancing",
        "weight",
    ),
    "uniform_airflow": ("Uniform airflow migration strategy", "airflow_optimization", "weight"),
    "vm_workload_consolidation": (
        "VM Workload Consolidation Strategy",
        "server_consolidation",
        "weight",
    ),
    "workload_balance": (
        "Workload Balance Migration Strategy",
        "workload_balancing",
        "workload_stabilization",
    ),
    "workload_stabilization": (
        "Workload stabilization",
        "workload_balancing",
        "workload_stabilization",
    ),
    "zone_migration": ("Zone migration", "hardware_maintenance", "weight"),
}


@pytest.mark.req("B-001", "B-079", "B-210")
def test_names_goals_and_planners_of_the_sixteen_strategies():
    found = {s.name: (s.display_name, s.goal_name, s.planner) for s in STRATEGIES}
    assert found == CATALOGUE


@pytest.mark.req("B-001")
def test_every_goal_has_a_strategy():
    registry = load_registry(entry_points=False)
    assert len(registry.goals) == 10
    assert {s.goal_name for s in STRATEGIES} == set(registry.goals)


@pytest.mark.req("B-001", "B-033")
@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_every_parameter_schema_is_one_and_says_nothing_that_is_no_keyword(strategy):
    jsonschema.Draft4Validator.check_schema(dict(strategy.parameters_schema))
    for name, schema in strategy.parameters_schema["properties"].items():
        assert schema["description"], name
        assert not {"choice", "minlength", "anyof"} & set(schema), name


@pytest.mark.req("B-210", "B-222")
def test_every_strategy_names_a_loaded_planner():
    registry = load_registry(entry_points=False)
    assert {s.planner for s in STRATEGIES} | {"critical_path"} == set(registry.planners)

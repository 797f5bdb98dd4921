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


DECLARED = {
    "basic": ["host_cpu_usage", "instance_cpu_usage"],
    "noisy_neighbor": ["instance_l3_cache_usage"],
    "outlet_temperature": ["host_outlet_temp"],
    "uniform_airflow": ["host_airflow", "host_inlet_temp", "host_power"],
    "vm_workload_consolidation": [
        "host_cpu_usage", "host_ram_usage", "instance_cpu_usage", "instance_ram_allocated",
        "instance_ram_usage", "instance_root_disk_size",
    ],
    "workload_balance": ["instance_cpu_usage", "instance_ram_usage"],
    "workload_stabilization": [
        "host_cpu_usage", "host_ram_usage", "instance_cpu_usage", "instance_ram_usage",
    ],
}  # fmt: skip


@pytest.mark.req("C-136")
def test_each_strategy_declares_its_metrics_and_the_others_none():
    registry = load_registry(entry_points=False)
    declared = {name: sorted(one.metrics()) for name, one in registry.strategies.items()}
    assert {name: metrics for name, metrics in declared.items() if metrics} == DECLARED

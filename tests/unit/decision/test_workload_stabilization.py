"""workload_stabilization: flatter load, few moves, hard rules kept."""

import numpy as np
import pytest
from cluster_builders import cloud, host, migrations, plan, run, server

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import MetricsTable
from trimtab_common.rules import parameters as rules
from trimtab_decision.framework import StrategyContext
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.strategies.workload_stabilization.strategy import WorkloadStabilization
from trimtab_decision.verifier import verify

STRATEGY = "workload_stabilization"


def stabilise(clouds, **parameters):
    solution = run(STRATEGY, clouds, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


def hot_and_cold(**cold):
    return cloud(
        [host("a", cpu_pct=80), host("b", cpu_pct=10, **cold)],
        [server(f"s{i}", "a", vcpus=4, cpu_pct=80) for i in range(4)],
    )


@pytest.mark.req("B-126", "B-127", "B-132")
def test_the_worked_example_of_its_page():
    solution = stabilise(hot_and_cold())
    # 0.8 and 0.1: deviation 0.35. One server is 3.2 cores of 16: 0.6 and 0.3, then 0.4 and 0.5.
    assert [k for _, _, k in migrations(solution).values()] == ["live", "live"]
    assert solution.indicators == {
        "instance_migrations_count": 2,
        "instances_count": 4,
        "standard_deviation_before_audit": pytest.approx(0.35),
        "standard_deviation_after_audit": pytest.approx(0.05),
    }
    assert solution.actions[0].reason == (
        "a is at 80% cpu, b at 10%; this lowers the deviation from 0.3500 to 0.1500."
    )


@pytest.mark.req("B-126")
def test_nothing_happens_at_or_below_the_threshold():
    solution = stabilise(hot_and_cold(), thresholds={"instance_cpu_usage": 0.35})
    assert solution.actions == []
    assert solution.indicators["standard_deviation_after_audit"] == pytest.approx(0.35)


@pytest.mark.req("B-131")
@pytest.mark.parametrize("small", [{"vcpus": 3}, {"memory": 1024}, {"disk": 1}])
def test_a_target_needs_room_in_every_dimension(small):
    solution = stabilise(hot_and_cold(**small))
    assert migrations(solution) == {}
    assert any("No further move" in message for message in solution.messages)


@pytest.mark.parametrize(
    "target", [{"up": False}, {"enabled": False, "reason": "operator"}, {"enabled": False}]
)
def test_down_and_disabled_hosts_are_no_targets(target):
    assert stabilise(hot_and_cold(**target)).actions == []


@pytest.mark.req("B-128", "B-039")
@pytest.mark.parametrize(
    "kept",
    [{"excluded": True}, {"locked": True}, {"state": ServerState.STOPPED}, {"cpu_pct": np.nan}],
)
def test_servers_that_may_not_move_stay(kept):
    fields = {"vcpus": 4, "cpu_pct": 80} | kept
    clouds = cloud([host("a", cpu_pct=80), host("b", cpu_pct=10)], [server("s", "a", **fields)])
    assert migrations(stabilise(clouds)) == {}


@pytest.mark.req("B-130")
def test_a_server_moves_at_most_once_whatever_the_host_choice():
    for choice in ("cycle", "retry", "fullsearch"):
        solution = stabilise(hot_and_cold(), host_choice=choice, retry_count=99)
        assert len(migrations(solution)) == 2


@pytest.mark.req("B-125", "B-042")
def test_a_host_without_value_is_left_out_and_said_once():
    clouds = cloud(
        [host("a", cpu_pct=80), host("b", cpu_pct=10), host("c")],
        [server(f"s{i}", "a", vcpus=4, cpu_pct=80) for i in range(4)],
    )
    solution = stabilise(clouds)
    assert {target for _, target, _ in migrations(solution).values()} == {"b"}
    assert "1 compute nodes without measurements are left out." in solution.messages


def test_without_the_metric_at_all_the_audit_fails():
    snapshot, _ = hot_and_cold()
    with pytest.raises(MetricNotAvailable, match="host_cpu_usage"):
        run(STRATEGY, (snapshot, MetricsTable()))


@pytest.mark.req("B-129")
def test_it_goes_on_until_all_metrics_are_below_their_thresholds():
    hosts = [
        host("a", cpu_pct=20, ram_kib=24576 * 1024),
        host("b", cpu_pct=20, ram_kib=2048 * 1024),
    ]
    servers = [server(f"s{i}", "a", vcpus=1, cpu_pct=1, ram_mib=5000) for i in range(4)]
    clouds = cloud(hosts, servers)
    assert migrations(stabilise(clouds)) == {}  # cpu alone is balanced
    both = stabilise(clouds, metrics=["instance_cpu_usage", "instance_ram_usage"])
    assert len(migrations(both)) == 2


@pytest.mark.req("B-127")
def test_a_missing_weight_is_an_error():
    snapshot, metrics = hot_and_cold()
    parameters = rules.checked({}, WorkloadStabilization.parameters_schema) | {"weights": {}}
    context = StrategyContext(compute=snapshot, metrics=metrics, parameters=parameters)
    with pytest.raises(InvalidArgument, match="weights lacks instance_cpu_usage_weight"):
        WorkloadStabilization().execute(context)


@pytest.mark.req("B-133")
def test_deprecated_keys_are_warned_about():
    given = {"periods": {"node": 60}, "aggregation_method": {"node": "max"}}
    messages = stabilise(hot_and_cold(), **given).messages
    assert "periods.node is deprecated; use periods.compute_node." in messages


@pytest.mark.req("B-033")
@pytest.mark.parametrize(
    "wrong",
    [
        {"host_choice": "any"},
        {"retry_count": 0},
        {"metrics": ["other"]},
        {"thresholds": {"instance_cpu_usage": 1.1}},
        {"thresholds": {"surprise": 0.1}},
        {"periods": {"instance": -1}},
    ],
)
def test_bounds_and_enums_are_enforced(wrong):
    with pytest.raises(InvalidArgument):
        run(STRATEGY, hot_and_cold(), **wrong)

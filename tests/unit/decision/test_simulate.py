"""simulate: a whole audit without a cloud."""

import json

import numpy as np
import pytest
from cluster_builders import cloud, host, server

from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import MetricsTable
from trimtab_decision.framework.errors import UnknownPlugin
from trimtab_decision.simulate import simulate

CLOUD = cloud(
    [host("a", cpu_pct=40), host("b", cpu_pct=20), host("c", cpu_pct=0)],
    [server("x", "a", vcpus=4, cpu_pct=80), server("y", "b"), server("z", "b")],
)


def test_the_report_has_the_members_that_the_command_prints():
    report = simulate(*CLOUD, "server_consolidation", "vm_workload_consolidation", seed=7).as_dict()
    expected = {
        "strategy": "vm_workload_consolidation",
        "seed": 7,
        "hosts_in_use_before": 2,
        "hosts_in_use_after": 1,
        "violations": 0,
        "migrations": 1,
        "actions": 3,
    }
    assert expected.items() <= report.items()
    assert report["efficacy"][0]["name"] == "released_nodes_ratio"
    assert {"cpu_s", "peak_mib"} <= set(report)
    assert report["moves"][-1]["reason"]
    json.dumps(report, allow_nan=False)


def test_load_follows_the_servers_that_move():
    report = simulate(*CLOUD, "server_consolidation")
    assert report.cpu_load_sd_before == pytest.approx(np.std([0.4, 0.2, 0.0]))
    assert report.cpu_load_sd_after == pytest.approx(np.std([0.2, 0.4, 0.0]))


def test_without_measurements_the_deviation_is_unknown():
    report = simulate(CLOUD[0], MetricsTable(), "server_consolidation")
    assert report.cpu_load_sd_before is None
    assert report.violations == ()


def test_a_scope_is_respected():
    scope = [{"compute": [{"exclude": [{"compute_nodes": [{"name": "b"}]}]}]}]
    report = simulate(*CLOUD, "server_consolidation", scope=scope)
    assert (report.hosts_in_use_before, report.migrations) == (1, 0)


def test_where_nova_chooses_the_roomiest_host_is_assumed():
    parameters = {"maintenance_node": "a"}
    report = simulate(*CLOUD, "cluster_maintaining", parameters=parameters)
    assert (report.hosts_in_use_before, report.hosts_in_use_after) == (2, 2)


@pytest.mark.parametrize(
    ("goal", "strategy", "parameters", "error"),
    [
        ("nothing", None, {}, UnknownPlugin),
        ("dummy", "nothing", {}, UnknownPlugin),
        ("dummy", "dummy", {"para1": 99}, InvalidArgument),
        ("dummy", "dummy", {"para3": 1}, InvalidArgument),
    ],
)
def test_wrong_requests_are_refused(goal, strategy, parameters, error):
    with pytest.raises(error):
        simulate(*CLOUD, goal, strategy, parameters=parameters)


@pytest.mark.parametrize(
    "action",
    [
        {"action_type": "migrate", "resource_id": "nobody", "input_parameters": {}},
        {
            "action_type": "change_nova_service_state",
            "resource_id": "nowhere",
            "input_parameters": {"state": "disabled"},
        },
    ],
)
def test_an_action_on_what_the_model_does_not_hold_moves_nothing(action):
    report = simulate(*CLOUD, "unclassified", parameters={"actions": [action]})
    assert report.hosts_in_use_before == report.hosts_in_use_after


def test_a_strategy_of_another_goal_is_refused():
    with pytest.raises(InvalidArgument, match="dummy does not serve the goal server_consolidation"):
        simulate(*CLOUD, "server_consolidation", strategy="dummy")

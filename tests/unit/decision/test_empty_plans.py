"""An empty plan says which threshold or constraint stopped what."""

import pytest
from cluster_builders import cloud, host, run, server


def said(strategy, clouds, **parameters):
    solution = run(strategy, clouds, **parameters)
    assert not solution.actions
    return " ".join(solution.messages)


def balanced(**fields):
    hosts = [host(name, vcpus=16, cpu_pct=10) for name in "ab"]
    return cloud(hosts, [server(f"s{at}", at, cpu_pct=40, **fields) for at in "ab"])


def test_a_threshold_that_nothing_reaches_is_named_with_what_comes_nearest():
    text = said("workload_balance", balanced(), threshold=50.0)
    assert "threshold of 50 %" in text
    assert "the most loaded one, a, is at 5.0 %" in text


def test_deviations_are_shown_beside_their_thresholds():
    assert "instance_cpu_usage 0.0000 of 0.1" in said("workload_stabilization", balanced())


def test_a_budget_of_nothing_is_named():
    clouds = cloud([host("a"), host("b")], [server("s1", "a"), server("s2", "b")])
    text = said("vm_workload_consolidation", clouds, max_migrations=0)
    assert "max_migrations is 0" in text


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"locked": True}, "2 locked"),
        ({"excluded": True}, "2 excluded"),
        ({"metadata": {"optimize": "no"}}, "2 not opted in"),
    ],
)
def test_servers_that_may_not_move_are_counted_by_reason(fields, words):
    clouds = cloud(
        [host("a"), host("b")], [server("s1", "a", **fields), server("s2", "b", **fields)]
    )
    text = said("vm_workload_consolidation", clouds, check_optimize_metadata="metadata" in fields)
    assert "Of 2 servers 2 were no candidates" in text
    assert words in text


def test_what_ruled_targets_out_is_counted():
    hosts = [host("a", vcpus=4), host("b", vcpus=4)]
    servers = [server("s1", "a", vcpus=4, cpu_pct=90), server("s2", "b", vcpus=4, cpu_pct=5)]
    text = said("workload_balance", cloud(hosts, servers), threshold=30.0)
    assert "stood in the way" in text

"""workload_balance: the threshold, the choice of server and target, and no ping-pong."""

import dataclasses

import numpy as np
import pytest
from cluster_builders import cloud, host, migrations, plan, run, server

from trimtab_common.domain.compute_terms import ServerState
from trimtab_common.domain.errors import InvalidArgument
from trimtab_common.domain.snapshot import MetricsTable
from trimtab_decision.framework.errors import MetricNotAvailable
from trimtab_decision.simulate import hosts_after
from trimtab_decision.verifier import verify


def balance(clouds, **parameters):
    solution = run("workload_balance", clouds, **parameters)
    assert verify(clouds[0], plan(solution)) == []
    return solution


def used(name, on, cores, **fields):
    return server(name, on, vcpus=4, cpu_pct=25 * cores, **fields)


EXAMPLE = cloud(
    [host("a"), host("b")], [used("a1", "a", 2), used("a2", "a", 3), used("a3", "a", 1)]
)


@pytest.mark.req("B-140", "B-141", "B-142", "B-144", "B-038")
def test_the_worked_example_of_its_page():
    solution = balance(EXAMPLE)
    assert migrations(solution) == {"a2": ("a", "b", "live")}
    assert solution.indicators == {"instance_migrations_count": 1, "instances_count": 3}


@pytest.mark.req("B-140")
@pytest.mark.parametrize(("threshold", "moved"), [(37.5, 1), (37.6, 0)])
def test_a_host_exactly_at_the_threshold_is_a_source(threshold, moved):
    assert len(balance(EXAMPLE, threshold=threshold).actions) == moved


@pytest.mark.req("B-142")
def test_a_target_stays_strictly_below_the_threshold():
    clouds = cloud(
        [host("a"), host("b", vcpus=8, memory=65536), host("c", vcpus=8)],
        [used("a1", "a", 2), used("a2", "a", 2), used("b1", "b", 0.04), used("c1", "c", 1)],
    )
    # 2 cores are 25 % of 8 vCPUs: neither b nor c may take one
    solution = balance(clouds)
    assert solution.actions == []
    assert any("no server of theirs fits" in message for message in solution.messages)


@pytest.mark.req("B-143")
def test_when_the_best_server_fits_nowhere_the_next_one_is_tried():
    clouds = cloud(
        [host("a"), host("b", vcpus=2)],
        [used("a1", "a", 3), server("a2", "a", vcpus=2, cpu_pct=20), used("a3", "a", 2)],
    )
    assert set(migrations(balance(clouds))) == {"a2"}


@pytest.mark.req("B-143")
def test_the_next_source_is_tried_when_the_first_has_no_candidate():
    clouds = cloud(
        [host("a"), host("b", vcpus=8), host("c"), host("d"), host("e")],
        [
            used("a1", "a", 4, excluded=True),
            used("a2", "a", 4, state=ServerState.STOPPED),
            used("b1", "b", 3),
            used("b2", "b", 0.5),
        ],
    )
    assert migrations(balance(clouds)) == {"b2": ("b", "c", "live")}


@pytest.mark.req("B-143")
def test_with_a_larger_limit_it_goes_on_until_nothing_is_above_the_threshold():
    clouds = cloud(
        [host("a"), *(host(name, vcpus=16) for name in "bcd")],
        [used(f"a{i}", "a", 1) for i in range(8)],
    )
    assert len(migrations(balance(clouds, max_migrations=10))) == 5
    assert len(migrations(balance(clouds, max_migrations=2))) == 2


@pytest.mark.req("B-143")
def test_the_next_audit_never_moves_a_server_back():
    snapshot, metrics = EXAMPLE
    for _ in range(5):
        solution = balance((snapshot, metrics), threshold=10)
        places = dict(zip(snapshot.server_name, snapshot.server_host.tolist(), strict=True))
        after = hosts_after(snapshot, plan(solution))
        for name, (source, _, _) in migrations(solution).items():
            assert snapshot.host_name[places[name]] == source
        if (after == snapshot.server_host).all():
            return
        snapshot = dataclasses.replace(snapshot, server_host=after)
    pytest.fail("it never comes to rest")


@pytest.mark.req("B-042", "B-144")
def test_a_server_without_a_value_counts_nothing_and_does_not_move():
    clouds = cloud(
        [host("a"), host("b")], [server("a1", "a", vcpus=4), used("a2", "a", 3), used("a3", "a", 1)]
    )
    assert set(migrations(balance(clouds))) <= {"a2", "a3"}


@pytest.mark.req("B-140")
def test_memory_is_balanced_when_asked():
    clouds = cloud(
        [host("a"), host("b")],
        [server("a1", "a", ram_mib=6000), server("a2", "a", ram_mib=4000)],
    )
    assert migrations(balance(clouds, metrics="instance_ram_usage")) == {"a2": ("a", "b", "live")}


def test_a_metric_that_nobody_delivers_is_named():
    with pytest.raises(MetricNotAvailable, match="instance_cpu_usage"):
        balance((EXAMPLE[0], MetricsTable(server={"x": np.zeros(3)})))


@pytest.mark.req("B-033")
@pytest.mark.parametrize("given", [{"threshold": 101}, {"threshold": -1}, {"metrics": "disk"}])
def test_parameters_out_of_bounds_are_refused(given):
    with pytest.raises(InvalidArgument):
        balance(EXAMPLE, **given)
